"""Export: results as layers and pictures that other programs open."""

from .geojson import to_geojson
from .sheet import to_sheet
from .thumbnails import PatchReader
from .write import check_outputs, write

__all__ = ('PatchReader', 'check_outputs', 'to_geojson', 'to_sheet', 'write')
