"""What both halves need to know of a raster before they read its pixels: what may be opened, alpha, north."""
