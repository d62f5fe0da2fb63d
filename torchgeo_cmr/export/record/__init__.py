"""The record of a search: written, read back and compared."""
