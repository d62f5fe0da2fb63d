"""Files without a place to rows: sound and plain images."""
