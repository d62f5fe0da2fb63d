"""Vector formats, one per file."""
