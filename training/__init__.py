"""Training of the unified embedding: recipes, data sets, model, trainer, export, evaluation."""
