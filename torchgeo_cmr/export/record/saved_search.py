"""Saved searches read back: results, queries, area and record from one file.

A GeoPackage that :func:`~torchgeo_cmr.export.to_geopackage` wrote holds all four, also after
somebody has filled ``relevant`` in QGIS. Other vector files hold the results only.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from shapely import Geometry

from torchgeo_cmr.errors import CMRError, QueryError
from torchgeo_cmr.export.layers.arrow_batches import NAMES
from torchgeo_cmr.search.results import RESULT_COLUMNS, check_result
from torchgeo_cmr.table import to_wgs84
from torchgeo_cmr.table.footprints import WGS84, is_wgs84
from torchgeo_cmr.table.schema import TEXT, TIME
from torchgeo_cmr.table.whole_numbers import in_pandas
from torchgeo_cmr.typed_json import decode
from torchgeo_cmr.vectors.vector_contents import check_vector

from .manifest import read_manifest
from .record_types import read_record

#: What the record's row in ``gpkg_metadata`` names as its standard.
RECORD_URI = 'torchgeo_cmr.search'
#: Description of a column in ``gpkg_data_columns`` if the format changed its name.
RENAMED = 'torchgeo_cmr: the name of this column before it was written'

_TYPES: dict[str, Any] = {
    'rank': 'int32',
    'score': 'float64',
    'exact': 'bool',
    'relevant': 'boolean',
    'time_start': TIME,
    'time_end': TIME,
    'valid_fraction': 'float64',
}
_TRUTH = {'true': True, 'false': False, '1': True, '0': False, '': None}
_CURE = 'save the search again'
_OPTIONAL = ('time_start', 'time_end', 'relevant')


class SavedSearch(NamedTuple):
    """A search as it was saved; unpacks into its four parts.

    Args:
        results: As :meth:`~torchgeo_cmr.search.RetrievalIndex.search` gives them: the same
            columns and types, EPSG:4326, ``relevant`` as the user left it.
        queries: The queries, one row each, ``query_id`` first; None if not saved.
        area: The searched area in EPSG:4326; None if not saved.
        record: How the search was made; empty if not saved.
    """

    results: gpd.GeoDataFrame
    queries: gpd.GeoDataFrame | None
    area: Geometry | None
    record: dict[str, Any]


def read_search(path: str | PathLike[str]) -> SavedSearch:
    """Read a saved search.

    Columns have the names of the result that was written. GeoParquet gives all of it back. Of
    the others, what does not come back: native corners and other lists, and the exact numbers of
    coordinates (footprints were densified when they were written).

    Args:
        path: A GeoPackage, GeoJSON, FlatGeobuf or GeoParquet file that an export wrote. Of all
            but the first the results come back, and the record where the file holds one or the
            manifest ``NAME.json`` lies next to it.

    Returns:
        Results, queries, area and record.

    Raises:
        QueryError: If the file is not there, cannot be read, or does not hold results.

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
        >>> from torchgeo_cmr.export import to_geopackage
        >>> path = to_geopackage(hits, f'{folder.name}/hits.gpkg')
        >>> read_search(path).results['patch_id'].tolist()
        ['b', 'c']
        >>> folder.cleanup()
    """
    source = Path(path)
    if not source.is_file():
        raise QueryError(f'{source} is not a file; name a saved search')
    try:
        return _read(source)
    except CMRError:
        raise
    except Exception as error:  # GDAL, SQLite, Arrow and GEOS raise kinds of their own
        raise QueryError(
            f'{source} cannot be read as a saved search ({error}); name what an export wrote'
        ) from error


def _read(source: Path) -> SavedSearch:
    """Read a file by its format."""
    if source.suffix.lower() == '.parquet':
        frame, record = _parquet(source)
        return SavedSearch(_results(frame, source), None, None, record)
    check_vector(source, QueryError)
    layers = [str(name) for name, _ in pyogrio.list_layers(source.absolute())]
    if source.suffix.lower() != '.gpkg':
        frame = _layer(source)
        beside = _manifest(source.with_suffix('.json'))
        return SavedSearch(_results(frame, source), None, None, beside)
    if 'results' not in layers:
        raise QueryError(
            f'{source} has no layer called results but {", ".join(layers) or "none"}; '
            'name a search that was saved'
        )
    parts = {
        name: _layer(source, name)
        for name in ('query', 'results', 'area_of_interest')
        if name in layers
    }
    for name, original in _own_names(source).items():
        if name in parts:
            parts[name] = gpd.GeoDataFrame(parts[name].rename(columns=original))
    queries, area = parts.get('query'), parts.get('area_of_interest')
    return SavedSearch(
        _results(parts['results'], source),
        None if queries is None else _typed(_geographic(queries)),
        None if area is None else shapely.union_all(_geographic(area).geometry),
        _record(source),
    )


def read_record_of(source: Path) -> dict[str, Any]:
    """Read the record of a saved search, and none of its rows.

    Args:
        source: A vector file that an export wrote, or any other.

    Returns:
        The record; empty if there is none.

    Raises:
        QueryError: If it is broken.
    """
    suffix = source.suffix.lower()
    try:
        if suffix in ('.parquet', '.geoparquet'):
            import pyarrow.parquet as pq

            metadata = pq.read_schema(source).metadata or {}
            return _json(metadata.get(b'torchgeo_cmr'), source)
        if suffix == '.gpkg':
            return _record(source)
    except CMRError:
        raise
    except Exception as error:  # SQLite and Arrow raise kinds of their own
        raise QueryError(f'the record in {source} cannot be read ({error})') from error
    return _manifest(source.with_suffix('.json'))


def _layer(source: Path, name: str | None = None) -> gpd.GeoDataFrame:
    """Read a layer: numbers and truth values with nulls as such, columns by the names they had."""
    info = pyogrio.read_info(source.absolute(), layer=name)
    frame = pyogrio.read_dataframe(source.absolute(), layer=name)
    for field, kind in zip(info['fields'], info['dtypes'], strict=True):
        # Nulls among them make numbers of true and false.
        if kind == 'bool' and frame[field].dtype != bool:
            frame[field] = frame[field].astype('boolean')
        # And floats of whole numbers, which rounds long ones.
        if (
            kind == 'int64'
            and frame[field].dtype == float
            and frame[field].abs().max() >= 2**53
        ):
            frame[field] = _whole(source, name, field)
    description = str((info['layer_metadata'] or {}).get('DESCRIPTION') or '')
    if description.startswith(NAMES):
        frame = gpd.GeoDataFrame(
            frame.rename(columns=_names(description.removeprefix(NAMES), source))
        )
    return frame


def _whole(source: Path, layer: str | None, field: str) -> pd.Series:
    """Read a column of whole numbers, and none of them as a float."""
    _, table = pyogrio.read_arrow(
        source.absolute(), layer=layer, columns=[field], read_geometry=False
    )
    return in_pandas(table.select([field]))[field]


def _parquet(source: Path) -> tuple[gpd.GeoDataFrame, dict[str, Any]]:
    """Read GeoParquet and the record among its metadata."""
    import pyarrow.parquet as pq

    table = pq.read_table(source, partitioning=None)
    table.validate(full=True)  # text that is not Unicode fails only where it is shown
    frame = gpd.read_parquet(source)
    metadata = table.schema.metadata or {}
    return frame, _json(metadata.get(b'torchgeo_cmr'), source)


def _manifest(path: Path) -> dict[str, Any]:
    """Read the manifest next to a file; empty if missing or of another file."""
    try:
        return read_manifest(path)
    except QueryError:
        return {}


def _own_names(source: Path) -> dict[str, dict[str, str]]:
    """Give the columns of each layer whose names the format changed, and those they had."""
    found: dict[str, dict[str, str]] = {}
    with closing(
        sqlite3.connect(f'{source.absolute().as_uri()}?mode=ro', uri=True)
    ) as db:
        exists = "SELECT 1 FROM sqlite_master WHERE name = 'gpkg_data_columns'"
        if db.execute(exists).fetchone() is not None:
            rows = db.execute(
                'SELECT table_name, column_name, title FROM gpkg_data_columns '
                'WHERE description = ?',
                (RENAMED,),
            )
            for layer, column, name in rows:
                if not isinstance(name, str):
                    raise QueryError(f'{source} names no column for {column}; {_CURE}')
                found.setdefault(layer, {})[column] = name
    return found


def _record(source: Path) -> dict[str, Any]:
    """Read the record of a GeoPackage; empty if it has none."""
    with closing(
        sqlite3.connect(f'{source.absolute().as_uri()}?mode=ro', uri=True)
    ) as db:
        tables = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'gpkg_metadata'")
        if tables.fetchone() is None:
            return {}
        row = db.execute(
            'SELECT metadata FROM gpkg_metadata WHERE md_standard_uri = ? ORDER BY id DESC',
            (RECORD_URI,),
        ).fetchone()
    return _json(row and row[0], source)


def _json(text: str | bytes | None, source: Path) -> dict[str, Any]:
    return read_record(text, f'the record in {source}') if text else {}


def _names(text: str, source: Path) -> dict[str, str]:
    """Read the names that columns had; two columns cannot have had the same."""
    words = f'the description of {source}'
    names = decode(text, dict[str, str], words, _CURE, QueryError)
    if len({*names.values()}) < len(names):
        raise QueryError(f'{words} gives two columns the same name; {_CURE}')
    return names


def _results(frame: pd.DataFrame, source: Path) -> gpd.GeoDataFrame:
    """Give rows read from a file the columns and types of a result."""
    given = gpd.GeoDataFrame(_plain_geometry(frame))
    if not len(given) and 'rank' not in given:
        # GeoJSON without rows has no fields.
        given = gpd.GeoDataFrame(
            {name: [] for name in RESULT_COLUMNS}, geometry=[], crs=WGS84
        )
    missing = [
        n for n in (*RESULT_COLUMNS, 'geometry') if n not in (*given, *_OPTIONAL)
    ]
    if missing:
        raise QueryError(
            f'{source} lacks {", ".join(missing)} and is not a saved result; name what an '
            'export of a search wrote'
        )
    typed = _typed(_geographic(given), RESULT_COLUMNS)
    check_result(typed)
    order = np.lexsort((typed['rank'], pd.factorize(typed['query_id'])[0]))
    return typed.iloc[order].reset_index(drop=True)


def _plain_geometry(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the geometry the name that it has in a result."""
    geometry_name = getattr(frame, '_geometry_column_name', None)
    if (
        geometry_name is None
        or geometry_name == 'geometry'
        or geometry_name not in frame
        or 'geometry' in frame
    ):
        return frame
    named = gpd.GeoSeries(frame[geometry_name])
    return gpd.GeoDataFrame(
        frame.drop(columns=geometry_name), geometry=named, crs=named.crs
    )


def _geographic(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Bring a layer to EPSG:4326, cut at the antimeridian."""
    if frame.crs is None:
        raise QueryError('a saved layer has no CRS; save the search again')
    shapes = np.array(frame.geometry.to_numpy(), dtype=object)
    if not is_wgs84(frame.crs):
        present = ~shapely.is_missing(shapes)
        shapes[present] = to_wgs84(shapes[present], frame.crs)
    # A GeoPackage knows multi-part geometries only; a footprint is mostly one part.
    single = np.flatnonzero(shapely.get_num_geometries(shapes) == 1)
    shapes[single] = shapely.get_geometry(shapes[single], 0)
    plain = frame.drop(columns=frame.geometry.name)
    return gpd.GeoDataFrame(
        plain, geometry=gpd.GeoSeries(shapes, index=frame.index, crs=WGS84)
    )


def _cast(values: pd.Series, kind: str) -> pd.Series:
    """Cast numbers and truth values; some programs keep the latter as words."""
    truth = kind in ('bool', 'boolean')
    try:
        if truth and pd.api.types.is_string_dtype(values):
            words = values.astype(object)
            values = words.map(lambda w: _TRUTH[w.strip().lower()], na_action='ignore')
        return values.astype(kind)
    except (KeyError, TypeError, ValueError) as error:
        raise QueryError(
            f'column {values.name} holds what is not a {"truth value" if truth else "number"} '
            f'({error}); correct it or save the search again'
        ) from error


def _times(values: pd.Series) -> pd.Series:
    try:
        return pd.to_datetime(values, utc=True).astype(TIME)
    except (OverflowError, TypeError, ValueError) as error:
        raise QueryError(
            f'column {values.name} holds what is not a time ({error}); correct it or save the '
            'search again'
        ) from error


def _typed(
    frame: gpd.GeoDataFrame, first: Iterable[str] = ('query_id',)
) -> gpd.GeoDataFrame:
    """Cast columns to their types, the ones named first in front."""
    columns: dict[str, pd.Series] = {}
    rest = [c for c in frame.columns if c != frame.geometry.name]
    for name in dict.fromkeys((*first, *rest)):
        values = (
            frame[name]
            if name in frame
            else pd.Series([None] * len(frame), dtype=object)
        )
        kind = _TYPES.get(name)
        if kind is TIME:
            values = _times(values)
        elif kind is not None:
            values = _cast(values, kind)
        elif pd.api.types.infer_dtype(values, skipna=True) == 'boolean':
            values = values.astype('boolean')
        elif pd.api.types.infer_dtype(values, skipna=True) in ('string', 'empty'):
            # Categories keep their kind, and so do lists, dates and decimals of GeoParquet.
            values = values.where(values.notna(), None).astype(TEXT)
        columns[name] = values.reset_index(drop=True)
    shapes = frame.geometry.reset_index(drop=True)
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=frame.crs)
