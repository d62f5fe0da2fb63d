"""Export: results as layers and pictures that other programs open."""

from .describe import describe_layer
from .geojson import to_geojson
from .sheet import to_sheet
from .thumbnails import PatchReader
from .write import check_outputs, write

__all__ = (
    'PatchReader',
    'check_outputs',
    'describe_layer',
    'to_geojson',
    'to_sheet',
    'write',
)
