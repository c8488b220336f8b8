"""Sources of pictures and the pipeline that takes them into a collection."""
