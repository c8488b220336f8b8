"""visearch."""
