"""Vector formats, one a file."""
