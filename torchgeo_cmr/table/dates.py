"""Several dates of one place as one row: a stack over time of existing vectors."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError

from .schema import STANDARD
from .table import EmbeddingTable

#: How vectors of several dates become one.
How = Literal['mean', 'attention']

#: Cosine that makes a weight e times as large.
_TEMPERATURE = 0.1


def over_dates(
    table: EmbeddingTable, how: How = 'mean', *, min_dates: int = 1
) -> EmbeddingTable:
    """Join the vectors of one place over its dates, one row per place and modality.

    A place is a footprint (bounding boxes equal to 1e-7 degrees, about a centimetre), as
    scenes of one grid have it. ``'mean'`` adds the unit vectors of all dates and scales the
    sum to length 1. ``'attention'`` weights each by the softmax of its cosine with that mean,
    divided by 0.1, before adding: a date that looks like no other, under cloud for instance,
    counts less. Nothing of it is learned.

    Args:
        table: Rows of any modalities and spaces, which are never mixed.
        how: ``'mean'`` or ``'attention'``.
        min_dates: Skip places with fewer rows.

    Returns:
        A table with the column ``dates``, the number of rows joined. Places stand in the order
        of their first rows. A place with one row keeps its ``patch_id`` and vector; of several,
        the id is that of the earliest row and ``+<others>``, the time spans all of them (null
        if one is unknown), ``source`` joins theirs with ``+`` and ``valid_fraction`` is the
        smallest. Other columns are kept if their values agree at every place. A row without a
        place is joined with none.

    Raises:
        ArchiveError: If *how* is unknown, *min_dates* is below 1, no place has as many dates,
            or the vectors of a place cancel out.

    Examples:
        >>> from shapely import box
        >>> frame = gpd.GeoDataFrame(
        ...     {
        ...         'patch_id': ['may', 'june'],
        ...         'time_start': ['2024-05-01', '2024-06-01'],
        ...     },
        ...     geometry=[box(10, 46, 11, 47)] * 2,
        ...     crs='EPSG:4326',
        ... )
        >>> table = EmbeddingTable.from_frame(frame, [[1, 0], [0, 1]])
        >>> place = over_dates(table)
        >>> place.frame['patch_id'].tolist(), place.vectors.round(2)
        (['may+1'], array([[0.71, 0.71]], dtype=float32))
    """
    if how not in get_args(How):
        raise ArchiveError(f'how is {how!r}: choose one of {", ".join(get_args(How))}')
    if min_dates < 1:
        raise ArchiveError(f'min_dates is {min_dates}: give 1 or more')
    groups = [rows for rows in _places(table) if len(rows) >= min_dates]
    if not groups:
        raise ArchiveError(
            f'no place of the table has {min_dates} dates: give fewer, or check that its '
            'scenes share a grid'
        )
    vectors = np.stack([_join(table.vectors[rows], how) for rows in groups])
    frame = _rows(table.frame, groups)
    record = {**table.record, 'over_dates': how}
    return EmbeddingTable.from_frame(
        frame,
        vectors,
        metric=table.metric,
        record=record,
        placeless=not table.placed.all(),
    )


def _places(table: EmbeddingTable) -> Iterable[NDArray[np.int64]]:
    """Give the rows of each place, earliest first."""
    keys = pd.DataFrame(np.round(table.boxes, 7))
    keys['modality'] = table.frame['modality'].to_numpy()
    keys['space'] = table.frame['space'].to_numpy()
    # Rows without a place do not share one: each stays on its own.
    keys['own'] = np.where(table.placed, -1, np.arange(len(table)))
    numbers = keys.groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy()
    times = table.frame['time_start'].reset_index(drop=True)
    order = times.sort_values(kind='stable', na_position='last').index.to_numpy()
    order = order[np.argsort(numbers[order], kind='stable')]
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


def _join(rows: NDArray[np.float32], how: How) -> NDArray[np.float64]:
    vectors = rows.astype(np.float64)
    mean = vectors.sum(axis=0)
    if how == 'mean' or len(rows) == 1:
        return mean
    length = np.linalg.norm(mean)
    cosine = vectors @ (mean / length) if length > 0 else np.zeros(len(rows))
    weights = np.exp((cosine - cosine.max()) / _TEMPERATURE)
    return (weights / weights.sum()) @ vectors


def _rows(frame: gpd.GeoDataFrame, groups: list[NDArray[np.int64]]) -> gpd.GeoDataFrame:
    """Say of each place what its rows have in common."""
    first = np.array([rows[0] for rows in groups])
    made = frame.iloc[first].reset_index(drop=True)
    place = np.full(len(frame), -1)
    for number, rows in enumerate(groups):
        place[rows] = number
    kept: Any = frame[place >= 0].groupby(place[place >= 0])
    counts = np.array([len(rows) for rows in groups])
    made['patch_id'] = [
        name if count == 1 else f'{name}+{count - 1}'
        for name, count in zip(made['patch_id'], counts, strict=True)
    ]
    sources = [frame['source'].iloc[rows] for rows in groups]
    made['source'] = [
        None if s.isna().any() else '+'.join(dict.fromkeys(s)) for s in sources
    ]
    for column, reduce in (('time_start', 'min'), ('time_end', 'max')):
        unknown = kept[column].count().to_numpy() < counts
        made[column] = kept[column].agg(reduce).to_numpy()
        made[column] = pd.to_datetime(made[column], utc=True)
        made.loc[unknown, column] = pd.NaT
    made['valid_fraction'] = kept['valid_fraction'].min().to_numpy()
    for name in frame.columns.difference([*STANDARD, 'geometry'], sort=False):
        # Lists cannot be compared directly; their text can.
        words = frame[name][place >= 0].astype(str)
        if (words.groupby(place[place >= 0]).nunique() > 1).any():
            made = made.drop(columns=name)
    made['dates'] = counts
    return made
