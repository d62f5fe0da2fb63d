"""The frame of a table, made of one that a user gives, or refused by the name of a patch."""

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from torchgeo_cmr.errors import ArchiveError

from .footprints import WGS84, is_wgs84, to_wgs84
from .schema import RESERVED, STANDARD, TEXT, TIME, empty_frame
from .whole_numbers import in_pandas


def read_ids(frame: gpd.GeoDataFrame) -> Sequence[str]:
    """Give the ids of patches: text, none null, each once.

    Args:
        frame: Footprints with a CRS, in a column patch_id their ids.

    Raises:
        ArchiveError: If it is another object, one of these is missing, or two columns have one name.
    """
    if (
        not isinstance(frame, gpd.GeoDataFrame)
        or frame._geometry_column_name not in frame
    ):
        raise ArchiveError(
            f'footprints come as a GeoDataFrame with a geometry column, not as '
            f'{type(frame).__name__}; build geopandas.GeoDataFrame(..., geometry=..., crs=...)'
        )
    # A name that two columns have gives a frame in place of a column, here and below.
    if (twice := frame.columns.duplicated()).any():
        raise ArchiveError(
            f'column {frame.columns[twice][0]!r} is there twice; drop or rename one'
        )
    if frame.crs is None:
        raise ArchiveError(
            'the footprints have no CRS; declare it with frame.set_crs(...)'
        )
    if 'patch_id' not in frame:
        raise ArchiveError(
            'the frame has no column patch_id; give every row a unique text'
        )
    ids = frame['patch_id'].tolist()
    for row, value in enumerate(ids):
        if not isinstance(value, str) or not value:
            raise ArchiveError(
                f'patch_id of row {row} is {value!r}; give text in every row, '
                "for example with frame['patch_id'].astype(str)"
            )
    if (twice := frame['patch_id'].duplicated().to_numpy()).any():
        first = ids[int(np.argmax(twice))]
        raise ArchiveError(f'patch_id {first!r} occurs more than once; make it unique')
    return ids


def read_frame(
    frame: gpd.GeoDataFrame,
    ids: Sequence[str],
    *,
    space: str | None,
    modality: str | None,
    placeless: bool,
) -> gpd.GeoDataFrame:
    """Give the frame of a table: standard columns, the user's own, footprints in EPSG:4326.

    Args:
        frame: As :meth:`~torchgeo_cmr.table.EmbeddingTable.from_frame` takes it; it is not changed.
        ids: Its ids, as :func:`read_ids` gives them.
        space: Fills rows whose ``space`` is null; must agree with the others.
        modality: Fills rows whose ``modality`` is null; must agree with the others.
        placeless: Whether a row may have no geometry.

    Raises:
        ArchiveError: If a column or a footprint cannot be kept; the message names it or its patch.
    """
    columns = _columns(frame, ids, space=space, modality=modality)
    shapes = _footprints(frame.geometry, frame.crs, ids, placeless)
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(shapes, crs=WGS84))


def _columns(
    frame: gpd.GeoDataFrame,
    ids: Sequence[str],
    *,
    space: str | None,
    modality: str | None,
) -> pd.DataFrame:
    """Give standard and own columns with the types of the archive, without geometry."""
    given = pd.DataFrame(frame.drop(columns=frame._geometry_column_name)).reset_index(
        drop=True
    )
    _check_names(given)
    blank = empty_frame()
    columns: dict[str, pd.Series] = {}
    nulls = pd.Series([None] * len(given), dtype=object)
    words = {'space': space, 'modality': modality}
    for name in STANDARD:
        values = _standard(given.get(name, nulls), name, ids)
        if (word := words.get(name)) is not None:
            values = _agreed(values, name, word)
        columns[name] = values.astype(blank[name].dtype)
    late = columns['time_start'] > columns['time_end']
    if late.any():
        raise ArchiveError(
            f'patch_id {ids[int(np.argmax(late))]!r} ends before it starts; swap its times'
        )
    for name in given.columns.difference(list(STANDARD), sort=False):
        columns[name] = _own(given[name])
    return pd.DataFrame(columns)


def _check_names(frame: pd.DataFrame) -> None:
    """Refuse columns whose names an archive cannot keep."""
    if any(not isinstance(name, str) for name in frame.columns):
        raise ArchiveError('a column name is not text; rename the columns')
    for name, dtype in frame.dtypes.items():
        if name in RESERVED or name == 'geometry':
            raise ArchiveError(
                f'the archive needs the column name {name!r} itself; rename yours'
            )
        if isinstance(dtype, gpd.array.GeometryDtype):
            raise ArchiveError(
                f'{name!r} is a second geometry column; drop or convert it'
            )


def _standard(values: pd.Series, name: str, ids: Sequence[str]) -> pd.Series:
    """Check the values of a standard column and bring them to its kind."""
    if name == 'patch_id':
        return pd.Series(list(ids), dtype=TEXT)
    if name == 'native_corners':
        return _corners(values, ids)
    if pa.types.is_string(STANDARD[name]):
        return _text(values, name, ids)
    if pa.types.is_timestamp(STANDARD[name]):
        return _times(values, name)
    try:
        shares = values.astype('float64')
    except (TypeError, ValueError) as error:
        raise ArchiveError(f'column {name} holds other things than numbers') from error
    wrong = shares[shares.notna() & ~shares.between(0, 1 + 1e-9)]
    if len(wrong):
        raise ArchiveError(
            f'{name} of patch_id {ids[int(wrong.index[0])]!r} is {wrong.iloc[0]:g}; give a share from 0 '
            'to 1, so divide percentages by 100, or rename the column'
        )
    return shares


def _agreed(values: pd.Series, name: str, word: str) -> pd.Series:
    """Put a word where a column has none, unless another stands elsewhere."""
    other = values[values.notna() & (values != word)]
    if len(other):
        raise ArchiveError(
            f'{name}={word!r} was given but row {other.index[0]} has {other.iloc[0]!r}; '
            'drop the argument or correct the column'
        )
    return values.fillna(word)


def _text(values: pd.Series, name: str, ids: Sequence[str]) -> pd.Series:
    """Give a column of text, nulls where there is none."""
    words = [
        v if t else None for v, t in zip(values.tolist(), values.notna(), strict=True)
    ]
    for row, word in enumerate(words):
        if not isinstance(word, str | None):
            raise ArchiveError(
                f'{name} of patch_id {ids[row]!r} is {word!r}; give text or null'
            )
    return pd.Series(words, dtype=TEXT)


def _times(values: pd.Series, name: str) -> pd.Series:
    try:
        if values.dtype.kind in 'iufb':
            if values.notna().any():
                raise ValueError(
                    'these are plain numbers; of seconds since 1970 pandas.to_datetime(numbers, '
                    "unit='s', utc=True) makes times"
                )
            values = values.astype(object)
        kind = 'ISO8601' if values.dtype.kind in 'OTUS' else None
        return pd.to_datetime(values, utc=True, format=kind).astype(TIME)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArchiveError(
            f'column {name} holds something that is not a time ({str(error).partition(". ")[0]}); '
            'give datetimes or ISO 8601 text'
        ) from error


def _corners(values: pd.Series, ids: Sequence[str]) -> pd.Series:
    corners: list[NDArray[np.float64] | None] = []
    for row, value in enumerate(values):
        if value is None or (np.isscalar(value) and pd.isna(value)):
            corners.append(None)
            continue
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.shape != (8,) or not np.isfinite(array).all():
            raise ArchiveError(
                f'native_corners of patch_id {ids[row]!r} are not eight finite numbers; give '
                'ulx, uly, urx, ury, lrx, lry, llx, lly or null'
            )
        corners.append(array)
    column = np.empty(len(corners), dtype=object)
    column[:] = corners
    return pd.Series(column)


def _own(values: pd.Series) -> pd.Series:
    """Give a column of the user's own the type it has after a visit to Arrow."""
    try:
        column = pa.Table.from_pandas(values.to_frame(), preserve_index=False)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise ArchiveError(
            f'column {values.name!r} cannot be stored ({error}); give it values of one kind or drop it'
        ) from error
    if isinstance(values.dtype, pd.ArrowDtype):
        # Most lists, categories and decimals of pandas' Arrow types are not read back by their names.
        column = column.replace_schema_metadata()
        return in_pandas(column)[values.name]
    return in_pandas(column)[values.name] if values.dtype == object else values.copy()


def _footprints(
    geometry: gpd.GeoSeries, crs: CRS, ids: Sequence[str], placeless: bool
) -> NDArray[np.object_]:
    """Bring footprints to EPSG:4326; refuse null, empty, invalid and unreachable ones."""
    shapes = geometry.to_numpy()
    if placeless and (nowhere := shapely.is_missing(shapes)).any():
        out = np.full(len(shapes), None, dtype=object)
        placed = np.flatnonzero(~nowhere)
        out[placed] = _footprints(
            geometry.iloc[placed], crs, [ids[i] for i in placed.tolist()], False
        )
        return out

    def refuse(bad: NDArray[np.bool_], fault: str) -> None:
        if bad.any():
            raise ArchiveError(
                f'the footprint of patch_id {ids[int(np.argmax(bad))]!r} {fault}'
            )

    refuse(
        shapely.is_missing(shapes) | shapely.is_empty(shapes),
        'is null or empty; drop the row, or give placeless=True for rows without a place',
    )
    refuse(
        ~shapely.is_valid(shapes),
        'is not a valid geometry; repair it with shapely.make_valid',
    )
    moved = to_wgs84(shapes, crs)
    bounds = shapely.bounds(moved).reshape(-1, 4)
    lost = ~np.isfinite(bounds).all(axis=1) | (
        np.abs(bounds[:, [1, 3]]) > 90 + 1e-9
    ).any(axis=1)
    if is_wgs84(crs):
        high = np.abs(shapely.bounds(shapes).reshape(-1, 4)[:, [1, 3]]).max(axis=1)
        refuse(
            lost & np.isfinite(high) & (high > 90),
            'has a latitude beyond 90 degrees: longitude comes first, then latitude; swap them, or '
            'check its CRS',
        )
    refuse(
        lost,
        f'cannot be expressed in EPSG:4326 from {crs.to_string()[:80]}; check its CRS',
    )
    return moved
