"""The contents of an index, in memory and on disk."""
