"""Training of the unified embedding: data sets, recipes, model, trainer, export. Not built yet."""
