"""The HTTP API and the browser UI over a collection. Not built yet."""
