"""Scenes: the rasters that files, products, cubes and catalogues hold. Nothing here needs torch."""
