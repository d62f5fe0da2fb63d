"""The columns of a table: their names, their types, and what holds for all vectors."""

from typing import Any, Literal, get_args

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError

from .footprints import WGS84

#: How vectors may be compared. Of ``'cosine'`` a part holds lists of float32, of
#: ``'hamming'`` packed bits of fixed length.
type Metric = Literal['cosine', 'hamming']
METRICS = get_args(Metric.__value__)

#: Text without a value is null (NaN inside pandas), never the word 'None'.
TEXT = pd.StringDtype(na_value=np.nan)
#: Times are UTC with microseconds.
TIME = pd.DatetimeTZDtype('us', 'UTC')

#: Standard columns of a frame in their order, with the Arrow type they are stored as.
#: ``geometry`` follows them and the user's own columns.
STANDARD: dict[str, pa.DataType] = {
    'patch_id': pa.string(),
    'modality': pa.string(),
    'space': pa.string(),
    'source': pa.string(),
    'time_start': pa.timestamp('us', tz='UTC'),
    'time_end': pa.timestamp('us', tz='UTC'),
    'src_crs': pa.string(),
    'native_corners': pa.list_(pa.float64()),
    'valid_fraction': pa.float64(),
}
#: Names that a part file needs for itself; no column of a frame may have them.
RESERVED = ('vector', 'part_row', 'bbox')

#: How far the length of a vector may be from 1: what float32 can be blamed for, and more.
_TOLERANCE = 1e-3
#: Rows of vectors that are looked at together.
_BLOCK = 65_536
#: What Arrow and pandas raise of values that are not of one kind.
_NO_TYPE = (pa.ArrowException, OverflowError, TypeError, ValueError)


def in_arrow(frame: pd.DataFrame, text: pa.DataType | None = None) -> pa.Table:
    """Give all columns of a frame but the geometry, the standard ones with their types.

    Args:
        frame: Frame of an embedding table.
        text: Type of standard columns of text (default: that of :data:`STANDARD`).

    Raises:
        ArchiveError: If a column has no Arrow type.
    """
    columns = pd.DataFrame(frame.drop(columns='geometry'))
    try:
        table = pa.Table.from_pandas(columns, preserve_index=False)
        for name, kind in STANDARD.items():
            kept = text if text is not None and pa.types.is_string(kind) else kind
            i = table.schema.get_field_index(name)
            table = table.set_column(
                i, pa.field(name, kept), table.column(i).cast(kept)
            )
    except _NO_TYPE as error:
        raise _unstorable(columns, error) from error
    return table


def types_in_arrow(frame: pd.DataFrame) -> pa.Schema:
    """Give the types of all columns of a frame but the geometry.

    Raises:
        ArchiveError: If a column has no Arrow type.
    """
    columns = pd.DataFrame(frame.drop(columns='geometry'))
    try:
        return pa.Schema.from_pandas(columns, preserve_index=False)
    except _NO_TYPE as error:
        raise _unstorable(columns, error) from error


def _unstorable(columns: pd.DataFrame, error: Exception) -> ArchiveError:
    """Say which column holds values of several kinds."""
    for name in columns:
        try:
            pa.array(columns[name], from_pandas=True)
        except _NO_TYPE as fault:
            return ArchiveError(
                f'column {name!r} cannot be stored ({fault}); give it values of one kind or drop it'
            )
    return ArchiveError(
        f'a column cannot be stored ({error}); give each column values of one kind'
    )


def empty_frame() -> gpd.GeoDataFrame:
    """Give a frame of zero rows with every standard column, its dtype and the CRS."""
    columns: dict[str, Any] = {}
    for name, kind in STANDARD.items():
        if pa.types.is_string(kind):
            columns[name] = pd.Series([], dtype=TEXT)
        elif pa.types.is_timestamp(kind):
            columns[name] = pd.Series([], dtype=TIME)
        else:
            columns[name] = pd.Series(
                [], dtype=object if pa.types.is_list(kind) else 'float64'
            )
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries([], crs=WGS84))


def set_types(plain: pd.DataFrame) -> None:
    """Give standard columns that came from Arrow the types of a table, in place."""
    # Most have them, and looking at a column takes longer than at its type.
    types = dict(zip(plain.columns, plain.dtypes, strict=True))
    for name, kind in STANDARD.items():
        if name == 'native_corners':
            if types[name] != object:
                values = plain[name]
                plain[name] = values.astype(object).where(values.notna(), None)
        elif pa.types.is_string(kind) and types[name] != TEXT:
            plain[name] = plain[name].astype(TEXT)


def check_vectors(ids: pd.Series, vectors: NDArray[Any]) -> None:
    """Refuse vectors that are not of length 1, which no score of a search would show.

    Args:
        ids: Their ``patch_id``.
        vectors: Array (n, dim) of float32; packed codes are taken as they are.

    Raises:
        ArchiveError: If one holds NaN or is longer or shorter; the message names the row.
    """
    if vectors.dtype == np.uint8:
        return
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        with np.errstate(over='ignore', invalid='ignore'):
            squares = np.einsum('ij,ij->i', block, block)
        wrong = np.flatnonzero(~(np.abs(squares - 1) <= 2 * _TOLERANCE))
        if len(wrong):
            row = start + int(wrong[0])
            length = np.linalg.norm(vectors[row].astype(np.float64))
            raise ArchiveError(
                f'the vector of patch_id {ids.iloc[row]!r:.80} (row {row}) is {length:.4g} long, not 1'
            )
