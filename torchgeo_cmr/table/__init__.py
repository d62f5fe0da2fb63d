"""Embedding tables: vectors with footprints, in memory and as a GeoParquet archive."""

from .footprints import densify, to_wgs84
from .sink import ParquetSink, read_header
from .table import EmbeddingTable

__all__ = ('EmbeddingTable', 'ParquetSink', 'densify', 'read_header', 'to_wgs84')
