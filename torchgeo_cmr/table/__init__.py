"""Embedding tables: vectors with footprints, in memory and as a GeoParquet archive."""

from typing import TYPE_CHECKING

import torchgeo_cmr.lazy as lazily

from .archive.archive_check import verify_archive
from .archive.archive_summary import describe
from .archive.folder import read_header
from .archive.sink import ParquetSink
from .dates import over_dates
from .footprints import densify, to_wgs84
from .table import EmbeddingTable

if TYPE_CHECKING:
    from .others.pixel_means import from_pixels
    from .others.vector_raster import VectorRaster

__all__ = (
    'EmbeddingTable',
    'ParquetSink',
    'VectorRaster',
    'densify',
    'describe',
    'from_pixels',
    'over_dates',
    'read_header',
    'to_wgs84',
    'verify_archive',
)

#: Names that need rasterio, which tables do without.
_HOMES = {'VectorRaster': 'others.vector_raster', 'from_pixels': 'others.pixel_means'}

__getattr__, __dir__ = lazily.lazy(__name__, _HOMES, __all__)
