"""One query from two modalities of one place: fusion before the search."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.where.columns import as_columns
from torchgeo_cmr.search.where.times import spans
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import whole

from .examples import made_of, of_examples


def blend(
    tables: Sequence[EmbeddingTable],
    *,
    weights: Sequence[float] | None = None,
    min_overlap: float = 0.5,
) -> EmbeddingTable:
    """Make one query per place from several tables, such as those of two sensors.

    Each patch of the first table is joined by the patch of every other table that shares
    most ground with it, among equals the one nearest in time; their unit vectors are added
    by weight.

    Args:
        tables: At least two tables of one space.
        weights: One a table, all 1 without it.
        min_overlap: Least share of the ground of both (intersection over union), above 0 and
            at most 1; a patch that lacks a partner is skipped.

    Returns:
        One row for each patch of the first table that has all partners, under its own
        ``patch_id`` and footprint.

    Raises:
        QueryError: If tables or weights do not fit, or no place is in all tables.

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
        >>> blend([table, table.select([0, 1])]).frame['patch_id'].tolist()
        ['a', 'b']
    """
    tables = list(tables)
    share = [1.0] * len(tables) if weights is None else [float(w) for w in weights]
    spaces = _check(tables, share, min_overlap)
    first, *others = tables
    partners = [partner_rows(first, other, min_overlap) for other in others]
    rows = np.flatnonzero(np.all([p >= 0 for p in partners], axis=0))
    if not len(rows):
        raise QueryError(
            f'no place is in all tables with an overlap of {min_overlap:g}; give modalities of '
            'the same ground'
        )
    parts = [
        first.select(rows),
        *(_taken(t, p[rows]) for t, p in zip(others, partners, strict=True)),
    ]
    vectors = np.average([p.vectors for p in parts], axis=0, weights=share)
    times = [p.frame[['time_start', 'time_end']] for p in parts]
    start, end = (
        pd.concat([t[side].fillna(t[other]) for t in times], axis=1)
        for side, other in (('time_start', 'time_end'), ('time_end', 'time_start'))
    )
    kinds = {kind for p in parts for kind in p.frame['modality'].dropna()}
    columns = ['patch_id', 'source', 'src_crs', 'native_corners', 'geometry']
    frame = parts[0].frame[columns]
    made = EmbeddingTable.from_frame(
        frame.assign(time_start=start.min(axis=1), time_end=end.max(axis=1)),
        vectors,
        space=spaces[0] if spaces else None,
        modality=kinds.pop() if len(kinds) == 1 else None,
    )
    sides = [made_of(part) for part in parts]
    both = [list(chain.from_iterable(names)) for names in zip(*sides, strict=True)]
    return of_examples(made, both)


def _taken(table: EmbeddingTable, rows: NDArray[np.int64]) -> EmbeddingTable:
    """Give rows of a table, some of them more than once: several patches share a partner."""
    frame = table.frame.iloc[rows].reset_index(drop=True)
    return replace(table, frame=frame, vectors=table.vectors[rows])


def _check(
    tables: Sequence[EmbeddingTable], weights: Sequence[float], min_overlap: float
) -> list[str]:
    """Refuse tables that cannot be blended; give the space of their rows, if one is known."""
    if len(tables) < 2:
        raise QueryError(
            f'{len(tables)} tables cannot be blended; give two or more modalities'
        )
    if len(weights) != len(tables) or not np.isfinite(weights).all():
        raise QueryError(
            f'{len(weights)} weights do not fit {len(tables)} tables; give a number for each'
        )
    if not 0 < min_overlap <= 1:
        raise QueryError(
            f'min_overlap is {min_overlap!r}; give a share above 0, at most 1'
        )
    spaces = sorted({space for table in tables for space in table.spaces})
    if len(spaces) > 1 or any(table.metric != 'cosine' for table in tables):
        raise QueryError(
            f'the tables hold {tables[0].metric} vectors in space {" and ".join(spaces)}; blend '
            'vectors of one checkpoint'
        )
    return spaces


def partner_rows(
    left: EmbeddingTable, right: EmbeddingTable, min_overlap: float
) -> NDArray[np.int64]:
    """Find for each row the row of another table on the same ground.

    Args:
        left: Table of n rows.
        right: Where partners are looked for.
        min_overlap: Least intersection over union.

    Returns:
        Row numbers (n,), -1 where there is none: most shared ground first, then least gap in
        time, then ``patch_id``.
    """
    mine, theirs, shared = same_ground(left, right, min_overlap)
    gap = _gaps(left, right, mine, theirs)
    names = right.frame['patch_id'].to_numpy(dtype=object)[theirs]
    order = np.lexsort(
        (np.argsort(np.argsort(names, kind='stable')), gap, -shared.round(6), mine)
    )
    found = np.full(len(left), -1, dtype=np.int64)
    rows, first = np.unique(mine[order], return_index=True)
    found[rows] = theirs[order][first]
    return found


def same_ground(
    left: EmbeddingTable, right: EmbeddingTable, min_overlap: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Give all pairs of rows of two tables that lie on the same ground.

    Limitation: shares are planar in longitude and latitude, which for two
    footprints at one place comes to the same.

    Args:
        left: Table.
        right: Table.
        min_overlap: Least intersection over union.

    Returns:
        Rows of the one, rows of the other, intersection over union; each (pairs,).
    """
    shapes, partners = (
        np.asarray(table.frame.geometry.to_numpy(), dtype=object)
        for table in (left, right)
    )
    mine, theirs = shapely.STRtree(partners).query(shapes, predicate='intersects')
    a, b = whole(shapes[mine]), whole(partners[theirs])
    both = shapely.area(shapely.intersection(a, b))
    union = shapely.area(a) + shapely.area(b) - both
    # Two equal points share all their ground, though it has no extent.
    shared = np.where(union > 0, both / np.where(union > 0, union, 1), 1.0)
    keep = shared >= min_overlap - 1e-9
    return mine[keep], theirs[keep], shared[keep]


def _gaps(
    left: EmbeddingTable,
    right: EmbeddingTable,
    mine: NDArray[np.int64],
    theirs: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Seconds between the starts of pairs, infinite where one is undated."""
    starts = []
    for table, rows in ((left, mine), (right, theirs)):
        starts.append(spans(*as_columns(table).times).start[rows])
    gap = np.abs((starts[0] - starts[1]).astype('timedelta64[us]').astype(float))
    return np.where(np.isnat(starts[0]) | np.isnat(starts[1]), np.inf, gap)
