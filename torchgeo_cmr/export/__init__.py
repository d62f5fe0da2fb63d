"""Export: results as layers and pictures that other programs open."""

from .clips import clip_hits
from .compare import compare_records
from .describe import describe_layer
from .flatgeobuf import to_flatgeobuf
from .geojson import to_geojson
from .geopackage import to_geopackage
from .html import to_html
from .manifest import read_manifest, write_manifest
from .outputs import check_all, write_all
from .parquet import to_parquet
from .project import to_project
from .raster import similarity, to_geotiff
from .record import make_record, scenes_of
from .saved import SavedSearch, read_search
from .sheet import to_sheet
from .spreadsheet import to_csv
from .stac import to_stac
from .thumbnails import PatchReader
from .write import check_outputs, write

__all__ = (
    'PatchReader',
    'SavedSearch',
    'check_all',
    'check_outputs',
    'clip_hits',
    'compare_records',
    'describe_layer',
    'make_record',
    'read_manifest',
    'read_search',
    'scenes_of',
    'similarity',
    'to_csv',
    'to_flatgeobuf',
    'to_geojson',
    'to_geopackage',
    'to_geotiff',
    'to_html',
    'to_parquet',
    'to_project',
    'to_sheet',
    'to_stac',
    'write',
    'write_all',
    'write_manifest',
)
