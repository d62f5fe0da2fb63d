"""Embedding tables: vectors with footprints, in memory and as a GeoParquet archive."""

from .archive_check import verify_archive
from .archive_summary import describe
from .dates import over_dates
from .footprints import densify, to_wgs84
from .sink import ParquetSink, read_header
from .table import EmbeddingTable

__all__ = (
    'EmbeddingTable',
    'ParquetSink',
    'densify',
    'describe',
    'over_dates',
    'read_header',
    'to_wgs84',
    'verify_archive',
)
