"""What becomes a scene: products, sets of band files, cubes and STAC items."""
