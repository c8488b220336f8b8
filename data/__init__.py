"""The project's own pictures and the code that makes them."""
