"""Georeferenced scenes to rows: inputs, windows, footprints."""
