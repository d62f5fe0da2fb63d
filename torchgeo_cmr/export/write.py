"""The entry point of all writers: the suffix of a file names its format."""

import os
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd

from torchgeo_cmr.drafts import check_on_disk
from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export.layers.extent import check_drawable
from torchgeo_cmr.export.pictures.html import to_html
from torchgeo_cmr.export.vector.flatgeobuf import to_flatgeobuf
from torchgeo_cmr.export.vector.geojson import to_geojson
from torchgeo_cmr.export.vector.geopackage import to_geopackage
from torchgeo_cmr.export.vector.parquet import to_parquet
from torchgeo_cmr.export.vector.spreadsheet import to_csv
from torchgeo_cmr.export.vector.stac_items import check_items, to_stac
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.vectors.vector_contents import check_vector_name


def _to_geotiff(
    results: gpd.GeoDataFrame, path: str | PathLike[str], **how: Any
) -> Path:
    """Write the similarity raster; loaded here, since layers need no rasterio."""
    from torchgeo_cmr.export.pictures.similarity_raster import to_geotiff

    return to_geotiff(results, path, **how)


#: Suffix -> writer. All take the arguments of :func:`write`.
WRITERS: dict[str, Callable[..., Path]] = {
    '.gpkg': to_geopackage,
    '.geojson': to_geojson,
    '.fgb': to_flatgeobuf,
    '.csv': to_csv,
    '.parquet': to_parquet,
    '.html': to_html,
    '.tif': _to_geotiff,
    '.stac.json': to_stac,
}
#: Suffix -> what refuses a result that the format cannot hold, before anything is written.
_CHECKS: dict[str, Callable[[gpd.GeoDataFrame], None]] = {
    '.tif': check_drawable,
    '.stac.json': check_items,
}
#: Formats that pyogrio writes and reads, and the project, which reads one.
_BY_PYOGRIO = ('.gpkg', '.geojson', '.fgb', '.qgz')
#: Formats with a style in a file next to them.
STYLED = ('.geojson', '.fgb', '.tif')


def write(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a layer in the format that the suffix of its path names.

    Args:
        results: What a search gave, or any GeoDataFrame with a CRS; ``.tif``, ``.html`` and
            ``.stac.json`` need a search's result.
        path: File to write: ``.gpkg``, ``.geojson``, ``.fgb``, ``.csv``, ``.parquet``, ``.html``,
            ``.tif`` (the similarity raster) or ``.stac.json``, in upper or lower case.
        queries: The queries of the search, for formats that hold several layers.
        area: The area that was searched, for the same formats.
        record: How the search was made, for formats that keep it.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If no writer has that suffix, or the layer does not fit the format.
        OutputExistsError: If the file is there and ``overwrite`` is False.

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> import tempfile
        >>> from torchgeo_cmr.search import RetrievalIndex
        >>> folder = tempfile.TemporaryDirectory()
        >>> hits = RetrievalIndex(table).search(table.select([0]), 2)
        >>> write(hits, f'{folder.name}/hits.geojson').name
        'hits.geojson'
        >>> gpd.read_file(f'{folder.name}/hits.geojson')['patch_id'].tolist()
        ['b', 'c']
        >>> folder.cleanup()
    """
    writer = WRITERS[suffix_of(path)]
    if Path(path).suffix.lower() in _BY_PYOGRIO:
        check_vector_name(path, QueryError)
    return writer(
        results, path, queries=queries, area=area, record=record, overwrite=overwrite
    )


def check_fits(results: gpd.GeoDataFrame, path: str | PathLike[str]) -> None:
    """Refuse a result that the format of a path cannot hold.

    Args:
        results: What a search gave.
        path: File to write.

    Raises:
        QueryError: If the format needs what the result has not: a place, a time, a hit.
    """
    check = _CHECKS.get(suffix_of(path))
    if check is not None:
        check(results)


def check_outputs(
    paths: Iterable[str | PathLike[str]], *, overwrite: bool = False
) -> None:
    """Refuse outputs that could not be written, before any work is done for them.

    Nothing is created. A full disk is not foreseen.

    Args:
        paths: Files to write with :func:`write`; the style file of each is checked too.
        overwrite: Whether existing files may be replaced.

    Raises:
        QueryError: If a suffix is not known, a file is named twice, or its folder cannot be
            written to.
        OutputExistsError: If a file is there and is not to be replaced, or is a folder.
    """
    check_places(
        [target for path in paths for target in (Path(path), *sidecars(path))],
        overwrite=overwrite,
    )


def check_places(paths: Iterable[Path], *, overwrite: bool = False) -> None:
    """Refuse files that could not be written, whatever their format.

    Args:
        paths: Files to be written, each before its style.
        overwrite: Whether existing files may be replaced.

    Raises:
        QueryError: If a file is named twice, or its folder cannot be written to.
        OutputExistsError: If a file is there and is not to be replaced, or is a folder.
    """
    seen: dict[Path, Path] = {}
    layer = Path()
    for path in paths:
        if path.suffix != '.qml':
            layer = path
        elif first := seen.get(path.absolute()):
            raise QueryError(
                f'{first} and {layer} would share the style {path}; give one of them another name'
            )
        if path.absolute() in seen:
            raise QueryError(f'{path} is named twice as output; name it once')
        seen[path.absolute()] = layer
        check_on_disk(path)
        if path.suffix.lower() in _BY_PYOGRIO:
            check_vector_name(path, QueryError)
        if path.is_dir():
            raise OutputExistsError(f'{path} is a folder; name a file to write')
        if os.path.lexists(path) and not overwrite:
            raise OutputExistsError(
                f'{path} is there already; choose another name or overwrite it'
            )
        folder = next(p for p in path.absolute().parents if os.path.lexists(p))
        if not folder.is_dir():
            raise QueryError(
                f'{path} cannot be written: {folder} is a file; name another folder'
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise QueryError(
                f'{path} cannot be written: {folder} is closed to you; name another folder'
            )


def suffix_of(path: str | PathLike[str]) -> str:
    """Give the suffix of a path as :data:`WRITERS` knows it.

    Args:
        path: File to write.

    Returns:
        The suffix, such as ``'.gpkg'``.

    Raises:
        QueryError: If no writer has that suffix.
    """
    path = Path(path)
    suffixes = [s.lower() for s in path.suffixes]
    for found in (''.join(suffixes[-2:]), ''.join(suffixes[-1:])):
        if found in WRITERS:
            return found
    known, suffix = ', '.join(WRITERS), path.suffix.lower()
    if suffix == '.json':
        raise QueryError(
            f'{path} may hold anything; name it {path.stem}.geojson if you want that format '
            f'(known: {known})'
        )
    problem = (
        f'has the suffix {suffix}, which no writer knows' if suffix else 'has no suffix'
    )
    raise QueryError(f'{path} {problem}; name a file that ends in one of {known}')


def sidecars(path: str | PathLike[str]) -> tuple[Path, ...]:
    """Give the extra files that a writer writes next to its own.

    Args:
        path: File to write.

    Raises:
        QueryError: If no writer has its suffix.
    """
    return (Path(path).with_suffix('.qml'),) if suffix_of(path) in STYLED else ()
