"""The verb export: a saved thing in, layers out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import geopandas as gpd


def export(
    source: str,
    *,
    out: list[str] | None = None,
    project: bool = False,
    heatmap: bool = False,
    html: bool = False,
    clips: str | None = None,
    links: bool = False,
    overwrite: bool = False,
) -> None:
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
        out: File to write; may be repeated. The suffix names the format: .gpkg (for QGIS),
            .geojson, .fgb, .csv, .parquet, and of a result .html, .tif (similarity raster) and
            .stac.json.
        project: Write a QGIS project NAME.qgz next to the GeoPackage.
        heatmap: Write the best score of each place as NAME_similarity.tif; the project
            shows it.
        html: Write NAME.html, a page with map, table and thumbnails for any browser.
        clips: Folder to cut the pixels of the hits into, in every sensor whose scenes the
            saved search names.
        links: Draw lines from each query to its hits, as a layer of the GeoPackage.
        overwrite: Replace existing files.
    """
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import check_all, write_all

    if not out and not clips:
        raise QueryError(
            'nothing to write: name a file with --out, or a folder with --clips'
        )
    outputs: dict[str, Any] = {
        'project': project,
        'heatmap': heatmap,
        'html': html,
        'clips': clips,
        'links': links,
        'overwrite': overwrite,
    }
    check_all(out or [], **outputs)
    frame, layers = _together(Path(source))
    for path, summary in write_all(frame, out or [], **layers, **outputs):
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
    from pyogrio.errors import DataLayerError, DataSourceError

    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import read_search
    from torchgeo_cmr.table import EmbeddingTable

    if source.is_dir():
        return EmbeddingTable.load(source).frame
    if not source.exists():
        raise QueryError(
            f'{source} is not there; name an archive folder or a vector file'
        )
    if source.suffix.lower() == '.parquet':
        return read_search(source).results
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(source)]
        if len(layers) > 1 and 'results' not in layers:
            raise QueryError(
                f'{source} has the layers {", ".join(layers)} and none is called results; '
                'save the one you mean as a file of its own'
            )
        chosen = 'results' if 'results' in layers else None
        frame = gpd.read_file(source, layer=chosen)
    except (DataLayerError, DataSourceError) as error:
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
