"""Embeddings that others have published, read without torch."""
