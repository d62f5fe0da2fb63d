"""Export: results as layers and pictures that other programs open."""

from .geojson import to_geojson
from .sheet import to_sheet
from .thumbnails import PatchReader

__all__ = ('PatchReader', 'to_geojson', 'to_sheet')
