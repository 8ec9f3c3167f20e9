"""Datasets as they are downloaded: each one's own annotation files, and the media beside them."""
