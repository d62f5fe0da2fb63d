"""The command export: a saved thing in, layers out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgeo_cmr.cli.options import ResultOptions

if TYPE_CHECKING:
    import geopandas as gpd


def export(source: str, *, output: ResultOptions) -> None:
    """Turn an archive or a saved result into layers that other programs open.

    All footprints of an archive with their attributes, for QGIS or any web map:

        torchgeo-cmr export archive --out footprints.gpkg

    A saved search, as a page for the browser and a project for QGIS:

        torchgeo-cmr export hits.gpkg --out again.gpkg --project --heatmap --html

    The pixels of its hits, in every sensor:

        torchgeo-cmr export hits.gpkg --clips clips

    Any vector file that GDAL reads, in another format:

        torchgeo-cmr export area.shp --out area.geojson

    Args:
        source: Archive folder, a search saved as .gpkg, or a vector file with a CRS.
            Of a file with several layers, the one called results is used.
    """
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import write_all

    if not output.files and not output.clips:
        raise QueryError(
            'nothing to write: name a file with --out, or a folder with --clips'
        )
    output.check()
    frame, layers = _together(Path(source))
    for path, summary in write_all(frame, output.files, **layers, **output.written()):
        sys.stdout.write(f'{path}: {summary}\n')


def _together(source: Path) -> tuple['gpd.GeoDataFrame', dict[str, Any]]:
    """Read what is to be written, and of a saved search the queries, area and record too."""
    from torchgeo_cmr.export import read_search

    frame = _read(source)
    if source.is_dir() or not {'query_id', 'rank', 'score', 'patch_id'} <= set(frame):
        return frame, {}
    results, queries, area, record = read_search(source)
    return results, {'queries': queries, 'area': area, 'record': record or None}


def _read(source: Path) -> 'gpd.GeoDataFrame':
    import geopandas as gpd
    import pyogrio

    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import read_search
    from torchgeo_cmr.table import EmbeddingTable
    from torchgeo_cmr.vector_contents import check_vector

    if source.is_dir():
        return EmbeddingTable.load(source).frame
    if not source.exists():
        raise QueryError(
            f'{source} is not there; name an archive folder or a vector file'
        )
    if source.suffix.lower() == '.parquet':
        return read_search(source).results
    try:
        checked = check_vector(source, QueryError)
        layers = [str(name) for name, _ in pyogrio.list_layers(checked)]
        if len(layers) > 1 and 'results' not in layers:
            raise QueryError(
                f'{source} has the layers {", ".join(layers)} and none is called results; '
                'save the one you mean as a file of its own'
            )
        chosen = 'results' if 'results' in layers else None
        frame = gpd.read_file(checked, layer=chosen)
    except QueryError:
        raise
    except Exception as error:  # GDAL and GEOS raise kinds of their own
        raise QueryError(
            f'{source} cannot be read as a vector file ({error}); name an archive folder or '
            'a vector file'
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise QueryError(f'{source} has no geometry; name a file with footprints')
    if frame.crs is None:
        raise QueryError(
            f'{source} has no CRS; declare it in the program that wrote it'
        )
    return frame
