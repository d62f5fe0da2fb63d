"""Export: results as layers and pictures that other programs open."""

from typing import TYPE_CHECKING

import torchgeo_cmr.lazy as lazily
from torchgeo_cmr.export.pictures.html import to_html
from torchgeo_cmr.export.pictures.sheet import to_sheet
from torchgeo_cmr.export.qgis.project import to_project
from torchgeo_cmr.export.record.cards import to_data_card, to_model_card
from torchgeo_cmr.export.record.compare import compare_records
from torchgeo_cmr.export.record.manifest import read_manifest, write_manifest
from torchgeo_cmr.export.record.record import make_record, scenes_of
from torchgeo_cmr.export.record.saved_search import SavedSearch, read_search
from torchgeo_cmr.export.record.search_check import verify_search
from torchgeo_cmr.export.vector.flatgeobuf import to_flatgeobuf
from torchgeo_cmr.export.vector.geojson import to_geojson
from torchgeo_cmr.export.vector.geopackage import to_geopackage
from torchgeo_cmr.export.vector.parquet import to_parquet
from torchgeo_cmr.export.vector.postgres_layer import to_postgres
from torchgeo_cmr.export.vector.spreadsheet import to_csv
from torchgeo_cmr.export.vector.stac_collection import (
    Catalogue,
    to_collection,
    to_stac_geoparquet,
)
from torchgeo_cmr.export.vector.stac_items import to_stac

from .layer_info import describe_layer
from .outputs import check_all, write_all
from .write import check_outputs, write

if TYPE_CHECKING:
    from torchgeo_cmr.export.pictures.clips import clip_hits
    from torchgeo_cmr.export.pictures.embedding_map import (
        principal_colours,
        to_embedding_map,
    )
    from torchgeo_cmr.export.pictures.pixel_similarity import pixel_similarity
    from torchgeo_cmr.export.pictures.similarity_raster import similarity, to_geotiff
    from torchgeo_cmr.export.pictures.space_plots import plot_gap, plot_hubs
    from torchgeo_cmr.export.pictures.thumbnails import PatchReader

__all__ = (
    'Catalogue',
    'PatchReader',
    'SavedSearch',
    'check_all',
    'check_outputs',
    'clip_hits',
    'compare_records',
    'describe_layer',
    'make_record',
    'pixel_similarity',
    'plot_gap',
    'plot_hubs',
    'principal_colours',
    'read_manifest',
    'read_search',
    'scenes_of',
    'similarity',
    'to_collection',
    'to_csv',
    'to_data_card',
    'to_embedding_map',
    'to_flatgeobuf',
    'to_geojson',
    'to_geopackage',
    'to_geotiff',
    'to_html',
    'to_model_card',
    'to_parquet',
    'to_postgres',
    'to_project',
    'to_sheet',
    'to_stac',
    'to_stac_geoparquet',
    'verify_search',
    'write',
    'write_all',
    'write_manifest',
)

#: Names that need rasterio or draw, which layers do without.
_HOMES = {
    'PatchReader': 'pictures.thumbnails',
    'clip_hits': 'pictures.clips',
    'pixel_similarity': 'pictures.pixel_similarity',
    'plot_gap': 'pictures.space_plots',
    'plot_hubs': 'pictures.space_plots',
    'principal_colours': 'pictures.embedding_map',
    'similarity': 'pictures.similarity_raster',
    'to_embedding_map': 'pictures.embedding_map',
    'to_geotiff': 'pictures.similarity_raster',
}

__getattr__, __dir__ = lazily.lazy(__name__, _HOMES, __all__)
