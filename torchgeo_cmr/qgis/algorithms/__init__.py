"""The algorithms, one command each."""
