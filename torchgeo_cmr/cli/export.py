"""The verb export: a saved thing in, layers out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import geopandas as gpd


def export(source: str, *, out: list[str], overwrite: bool = False) -> None:
    """Turn an archive or a saved result into layers that other programs open.

    All footprints of an archive with their attributes, for QGIS or any web map:
    torchgeo-cmr export archive --out footprints.geojson

    A result, or any vector file that GDAL reads, in another format:
    torchgeo-cmr export hits.gpkg --out hits.geojson

    Args:
        source: Archive folder, or a vector file with a CRS, such as what search wrote. Of a
            file with several layers, the one called results is taken.
        out: File to write; may be repeated. The suffix names the format; .geojson is known.
        overwrite: Replace files that are there.
    """
    from torchgeo_cmr.export import check_outputs, write

    check_outputs(out, overwrite=overwrite)
    frame = _read(Path(source))
    for path in out:
        write(frame, path, overwrite=overwrite)
        sys.stdout.write(f'{path}: {len(frame)} rows\n')


def _read(source: Path) -> 'gpd.GeoDataFrame':
    import geopandas as gpd
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.table import EmbeddingTable

    if source.is_dir():
        return EmbeddingTable.load(source).frame
    if not source.exists():
        raise QueryError(
            f'{source} is not there; name an archive folder or a vector file'
        )
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
