"""What both halves need to know of a vector file before they use its features: what may be opened, which layer, ground."""
