"""Several dates of one place as one row: a stack over time of existing vectors."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, Self, get_args

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError

from .kinds import kinds_of, united
from .schema import STANDARD
from .table import EmbeddingTable
from .value_digests import value_digests

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
            the vectors of a place cancel out, or they are packed codes.

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
    check_stack(how, min_dates)
    return join_dates(table, Places.of([table], min_dates), how)


def check_stack(how: str, min_dates: int) -> None:
    """Refuse what :func:`over_dates` does not know, before anything is read."""
    if how not in get_args(How):
        raise ArchiveError(f'how is {how!r}: choose one of {", ".join(get_args(How))}')
    if min_dates < 1:
        raise ArchiveError(f'min_dates is {min_dates}: give 1 or more')


@dataclass(frozen=True, eq=False)
class Places:
    """The rows of each place, earliest first, and what they have in common.

    Args:
        rows: Numbers of the rows, place by place, in the order of the first row of each.
        starts: Where each place begins among them (places,), and their number.
        varying: Columns whose values differ between the rows of a place.
        dtypes: Types of the columns of all tables below one another.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    varying: frozenset[str]
    dtypes: Mapping[str, Any]

    @classmethod
    def of(cls, tables: Iterable[EmbeddingTable], min_dates: int) -> Self:
        """Find the places of tables, whose rows are numbered one table after the other.

        Args:
            tables: The tables, of which no vector is kept.
            min_dates: Skip places with fewer rows.

        Raises:
            ArchiveError: If no place has as many, a ``patch_id`` is in two tables, or they hold
                packed codes.
        """
        found: list[tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]] = []
        kinds, start = [], 0
        for table in tables:
            if table.metric == 'hamming':
                raise ArchiveError(
                    'packed codes have no mean: join the dates of the vectors that they were made '
                    'of, then make codes of these'
                )
            if not len(table):
                continue
            # Copied, so that nothing else of the table is kept.
            facts = table.frame[['patch_id', 'time_start']].copy()
            found.append((_keys(table, start), facts, _digests(table.frame)))
            kinds.append(kinds_of(table.frame))
            start += len(table)
        if not start:
            raise ArchiveError('there is no row, so there are no dates to join')
        keys = pd.concat([each for each, *_ in found], ignore_index=True)
        facts = pd.concat([each for _, each, _ in found], ignore_index=True)
        times, ids = facts['time_start'], facts['patch_id']
        if (twice := ids.duplicated()).any():
            raise ArchiveError(
                f'patch_id {ids[twice].iloc[0]!r} is in two parts; remove one of them'
            )
        every = keys.groupby(list(keys), sort=False, dropna=False)
        numbers = every.ngroup().to_numpy()
        order = times.sort_values(kind='stable', na_position='last').index.to_numpy()
        order = order[np.argsort(numbers[order], kind='stable')]
        counts = np.bincount(numbers)
        kept = counts >= min_dates
        if not kept.any():
            raise ArchiveError(
                f'no place of the table has {min_dates} dates: give fewer, or check that its '
                'scenes share a grid'
            )
        rows = order[np.repeat(kept, counts)]
        starts = np.append(0, np.cumsum(counts[kept]))
        first = rows[np.repeat(starts[:-1], np.diff(starts))]
        varying = set()
        for name in {name for *_, digests in found for name in digests}:
            # A column that a table lacks is one of missing values.
            values = np.concatenate(
                [
                    digests.get(name, np.zeros(len(keys), np.uint64))
                    for keys, _, digests in found
                ]
            )
            if (values[rows] != values[first]).any():
                varying.add(name)
        return cls(rows, starts, frozenset(varying), united(kinds))

    def __len__(self) -> int:
        """Give the number of places."""
        return len(self.starts) - 1

    def batches(self, most: int) -> Iterator[Self]:
        """Divide the places: at most so many rows a batch, but for a place that has more alone."""
        begin = 0
        while begin < len(self):
            room = self.starts[begin] + most
            end = int(np.searchsorted(self.starts, room, side='right')) - 1
            end = min(max(end, begin + 1), len(self))
            first, last = self.starts[begin], self.starts[end]
            starts = self.starts[begin : end + 1] - first
            yield replace(self, rows=self.rows[first:last], starts=starts)
            begin = end


def join_dates(table: EmbeddingTable, places: Places, how: How) -> EmbeddingTable:
    """Join the rows of each place of a table, as :func:`over_dates` says.

    Args:
        table: The rows.
        places: Which of them are of one place.
        how: ``'mean'`` or ``'attention'``.
    """
    vectors = np.empty((len(places), table.vectors.shape[1]), np.float32)
    for place, (begin, end) in enumerate(pairwise(places.starts.tolist())):
        vectors[place] = _join(table.vectors[places.rows[begin:end]], how)
    return EmbeddingTable.from_frame(
        _rows(table.frame, places),
        vectors,
        metric=table.metric,
        record={**table.record, 'over_dates': how},
        placeless=not table.placed.all(),
    )


def _keys(table: EmbeddingTable, start: int) -> pd.DataFrame:
    """Give what the rows of one place and modality share."""
    keys = pd.DataFrame(np.round(table.boxes, 7))
    for name in ('modality', 'space'):
        keys[name] = table.frame[name].to_numpy()
    # Rows without a place do not share one: each stays on its own.
    keys['row'] = np.where(table.placed, -1, start + np.arange(len(table)))
    return keys


def _digests(frame: gpd.GeoDataFrame) -> dict[str, NDArray[np.uint64]]:
    """Give a number for each value of the columns that are not standard; 0 where it is missing."""
    names = frame.columns.difference([*STANDARD, 'geometry'], sort=False)
    return {name: value_digests(frame[name]) for name in names}


def _join(rows: NDArray[np.float32], how: How) -> NDArray[np.float64]:
    vectors = rows.astype(np.float64)
    mean = vectors.sum(axis=0)
    if how == 'mean' or len(rows) == 1:
        return mean
    length = np.linalg.norm(mean)
    cosine = vectors @ (mean / length) if length > 0 else np.zeros(len(rows))
    weights = np.exp((cosine - cosine.max()) / _TEMPERATURE)
    return (weights / weights.sum()) @ vectors


def _rows(frame: gpd.GeoDataFrame, places: Places) -> gpd.GeoDataFrame:
    """Say of each place what its rows have in common."""
    starts, counts = places.starts[:-1], np.diff(places.starts)
    made = frame.iloc[places.rows[starts]].reset_index(drop=True)
    made['patch_id'] = [
        name if count == 1 else f'{name}+{count - 1}'
        for name, count in zip(made['patch_id'], counts.tolist(), strict=True)
    ]
    sources = frame['source'].to_numpy(object)[places.rows]
    unknown = np.logical_or.reduceat(pd.isna(sources), starts)
    made['source'] = [
        None if missing else '+'.join(dict.fromkeys(sources[begin:end]))
        for missing, (begin, end) in zip(
            unknown, pairwise(places.starts.tolist()), strict=True
        )
    ]
    columns = frame[['time_start', 'time_end', 'valid_fraction']].iloc[places.rows]
    kept: Any = columns.groupby(np.repeat(np.arange(len(places)), counts))
    for column, reduce in (('time_start', 'min'), ('time_end', 'max')):
        undated = kept[column].count().to_numpy() < counts
        made[column] = kept[column].agg(reduce).to_numpy()
        made[column] = pd.to_datetime(made[column], utc=True)
        made.loc[undated, column] = pd.NaT
    made['valid_fraction'] = kept['valid_fraction'].min().to_numpy()
    made = made.drop(columns=[*places.varying.intersection(made.columns)])
    made['dates'] = counts
    return made
