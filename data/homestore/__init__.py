"""A home store of our own: products, rooms and phone photos, rendered, with exact truth. See README.md."""
