"""Filters: which rows of an archive a search may look at."""
