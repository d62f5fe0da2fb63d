"""A frame as the stream of Arrow batches that GDAL writes: names, types, times, outlines.

Batch by batch, so that of a million rows only some ten thousand outlines are in memory at
once beside the frame itself.
"""

import datetime
import re
import unicodedata
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.results import RESULT_COLUMNS
from torchgeo_cmr.table.footprints import WGS84

from .footprints import check_layer, footprints

#: Rows a batch.
BATCH = 32_768
#: Name of the geometry in files that name it.
GEOMETRY = 'geom'

_LONGEST_NAME = 30
_TIMES = ('time_start', 'time_end')
_UTC = pa.timestamp('ms', tz='UTC')
#: Columns of a result whose type does not depend on what they hold.
_RESULT_TYPES = {
    'rank': pa.int32(),
    'score': pa.float64(),
    'exact': pa.bool_(),
    'relevant': pa.bool_(),
}
_DAY = re.compile(r'\d{4}-\d{2}-\d{2}')


class Field(NamedTuple):
    """A column of a frame and what it is called and stored as in a file.

    .. versionadded:: 0.1
    """

    column: str
    name: str
    kind: pa.DataType


def is_result(frame: gpd.GeoDataFrame) -> bool:
    """Say whether a frame has the columns of a search's result.

    Args:
        frame: Any frame.

    .. versionadded:: 0.1
    """
    return set(RESULT_COLUMNS) <= set(frame.columns)


def fields(
    frame: gpd.GeoDataFrame, first: Iterable[str] = (), taken: Iterable[str] = ()
) -> list[Field]:
    """Decide which columns are written, under which names and types.

    Names are lower-case ASCII of at most 30 characters, each once. Lists, arrays, bytes,
    complex numbers and further geometries are left out.

    Args:
        frame: The layer.
        first: Columns to put in front, in this order, where they are there.
        taken: Names that the file needs for itself.

    .. versionadded:: 0.1
    """
    used = set(taken)
    found = []
    own = _RESULT_TYPES if is_result(frame) else {}
    for column in dict.fromkeys(
        [*(c for c in first if c in frame), *(c for c in frame.columns)]
    ):
        if column in (frame._geometry_column_name, 'native_corners'):
            continue
        kind = own.get(column) or _kind(frame[column])
        if kind is not None:
            name = _name(str(column), used)
            used.add(name)
            found.append(Field(column, name, kind))
    return found


def stream(
    frame: gpd.GeoDataFrame,
    columns: Sequence[Field],
    *,
    crs: CRS = WGS84,
    text_times: bool = False,
    multi: str | None = None,
) -> pa.RecordBatchReader:
    """Give a layer as Arrow batches with the outlines as WKB in ``geom``.

    Args:
        frame: The layer.
        columns: What to write, as :func:`fields` decided.
        crs: CRS of the outlines.
        text_times: Write times as ISO 8601 text in UTC.
        multi: Kind of geometry to raise to its multi-part form; None leaves them.

    Raises:
        QueryError: When a batch is asked for that cannot be written; see
            :func:`~torchgeo_cmr.export.footprints.footprints`.

    .. versionadded:: 0.1
    """
    check_layer(frame)
    schema = pa.schema(
        [
            pa.field(f.name, pa.string() if text_times and f.kind == _UTC else f.kind)
            for f in columns
        ]
        + [pa.field(GEOMETRY, pa.binary())]
    )

    def batches() -> Generator[pa.RecordBatch]:
        for begin in range(0, len(frame), BATCH):
            part = frame.iloc[begin : begin + BATCH]
            arrays = [
                to_array(part[f.column], f, text_times=text_times) for f in columns
            ]
            shapes = footprints(part, crs)
            if multi is not None:
                shapes = _to_multi(shapes, multi)
            arrays.append(pa.array(shapely.to_wkb(shapes), type=pa.binary()))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def to_array(values: pd.Series, field: Field, *, text_times: bool = False) -> pa.Array:
    """Give a column of a batch as it is stored.

    Args:
        values: Part of a column.
        field: The column, as :func:`fields` decided.
        text_times: Write times as ISO 8601 text in UTC.

    Raises:
        QueryError: If a time is no time.

    .. versionadded:: 0.1
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.dtype.categories.dtype)
    kind = field.kind
    if kind == _UTC:
        times = _utc(values)
        return (
            _iso(times) if text_times else pa.array(times, type=kind, from_pandas=True)
        )
    if kind == pa.float64():
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        # Neither JSON nor a legend knows infinity; NaN becomes null.
        return pa.array(numbers, type=kind, mask=~np.isfinite(numbers))
    if kind == pa.string() and values.dtype == object:
        values = values.map(str, na_action='ignore')
    elif kind == pa.string() and not pd.api.types.is_string_dtype(values):
        values = values.astype(object).map(str, na_action='ignore')
    made = pa.array(values, type=kind, from_pandas=True)
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made


def save(batches: pa.RecordBatchReader, path: Path, **options: Any) -> None:
    """Write batches with GDAL, and raise what went wrong while they were made.

    Args:
        batches: What :func:`stream` gave, or the like.
        path: File to write or, in a format of many layers, to add to.
        **options: As :func:`pyogrio.write_arrow` takes them.

    Raises:
        QueryError: If a batch cannot be written.

    .. versionadded:: 0.1
    """
    broken: list[Exception] = []

    def watched() -> Generator[pa.RecordBatch]:
        try:
            yield from batches
        except Exception as error:
            # GDAL would only say that there was one.
            broken.append(error)
            raise

    reader = pa.RecordBatchReader.from_batches(batches.schema, watched())
    try:
        pyogrio.write_arrow(reader, path, geometry_name=GEOMETRY, **options)
    except RuntimeError as error:
        raise (broken or [error])[0] from None


def _kind(values: pd.Series) -> pa.DataType | None:
    """Give the Arrow type of a column; None if it is to be left out."""
    dtype = values.dtype
    if isinstance(dtype, gpd.array.GeometryDtype):
        return None
    if isinstance(dtype, pd.CategoricalDtype):
        return _kind(pd.Series(dtype.categories))
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return _UTC
    if pd.api.types.is_bool_dtype(dtype):
        return pa.bool_()
    if pd.api.types.is_float_dtype(dtype):
        return pa.float64()
    if pd.api.types.is_integer_dtype(dtype):
        width = getattr(dtype, 'itemsize', 8)
        return pa.int32() if width < 4 or dtype == np.int32 else pa.int64()
    if pd.api.types.is_complex_dtype(dtype):
        return None
    if values.name in _TIMES:
        return _UTC
    if dtype == object:
        there = values.dropna()
        if any(
            isinstance(v, list | tuple | dict | set | bytes | np.ndarray) for v in there
        ):
            return None
        if len(there) and all(type(v) is datetime.date for v in there):
            return pa.date32()
    return pa.string()


def _utc(values: pd.Series) -> pd.Series:
    """Read times as UTC; a date alone begins at 00:00:00 and ends at 23:59:59."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True).dt.floor('ms')
    try:
        times = pd.to_datetime(values, utc=True, format='ISO8601')
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryError(
            f'column {values.name} holds something that is no time ({error}); give '
            'datetimes or ISO 8601 text'
        ) from error
    if values.name == 'time_end':
        days = [
            type(v) is datetime.date
            or (isinstance(v, str) and _DAY.fullmatch(v) is not None)
            for v in values
        ]
        times = times.where(
            ~np.asarray(days, dtype=bool), times + pd.Timedelta('23:59:59')
        )
    return times.dt.floor('ms')


def _iso(times: pd.Series) -> pa.Array:
    """Write times as ISO 8601 in UTC, with fractions of a second only where there are any."""

    def text(moment: Any) -> str:
        style = 'milliseconds' if moment.microsecond else 'seconds'
        return moment.replace(tzinfo=None).isoformat(timespec=style) + 'Z'

    # Many patches share a scene, and a scene has one time.
    codes, distinct = pd.factorize(times)
    words = pa.array([text(moment) for moment in distinct], type=pa.string())
    return words.take(pa.array(codes, mask=codes < 0))


def _to_multi(shapes: NDArray[np.object_], kind: str) -> NDArray[np.object_]:
    """Raise single geometries to their multi-part form."""
    make = {
        'Polygon': shapely.multipolygons,
        'LineString': shapely.multilinestrings,
        'Point': shapely.multipoints,
    }[kind]
    single = np.flatnonzero(shapely.get_num_geometries(shapes) == 1)
    parts = shapely.get_geometry(shapes[single], 0)
    raised = shapes.copy()
    if len(single):
        raised[single] = make(parts, indices=np.arange(len(single)))
    return raised


def _name(name: str, taken: set[str]) -> str:
    """Give a field name in lower-case ASCII that is not taken yet."""
    ascii_only = (
        unicodedata.normalize('NFKD', name).encode('ascii', 'ignore').decode().lower()
    )
    clean = (
        re.sub(r'[^a-z0-9_]+', '_', ascii_only).strip('_')[:_LONGEST_NAME] or 'field'
    )
    number, unique = 2, clean
    while unique in taken:
        unique = f'{clean[: _LONGEST_NAME - 3]}_{number}'
        number += 1
    return unique
