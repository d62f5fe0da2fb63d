"""Days between acquisitions, for rules of relevance and breakdowns of a report."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

from .place_rule import Relevance

_DAY = 86_400e6


def days_between(
    queries: EmbeddingTable, archive: EmbeddingTable
) -> NDArray[np.float64]:
    """Give the days between the acquisitions of queries and items.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.

    Returns:
        float64 array of shape ``(queries, items)``: from the end of the earlier to the start
        of the later, 0 where they overlap, NaN where one has no date.
    """
    start, end = moments(queries)
    return gaps(start, end, *moments(archive))


def within_days(
    queries: EmbeddingTable, archive: EmbeddingTable, days: float
) -> Relevance:
    """Mark the items that were taken within some days of the query.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        days: Largest time between the acquisitions.

    Returns:
        bool array of shape ``(queries, items)``; false where one has no date.

    Raises:
        QueryError: If *days* is negative or no number.
    """
    if not days >= 0:
        raise QueryError(f'the number of days must be 0 or more (found {days})')
    return days_between(queries, archive) <= days


def gaps(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    other_start: NDArray[np.float64],
    other_end: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the time between intervals, (rows, others), NaN where a bound is."""
    after = other_start - end[:, None]
    before = start[:, None] - other_end
    return np.maximum(np.maximum(after, before), 0)


def moments(table: EmbeddingTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give first and last moment of each row in days since 1970, NaN where unknown."""
    start, end = table.frame['time_start'], table.frame['time_end']
    return _number(start.fillna(end)), _number(end.fillna(start))


def _number(times: pd.Series) -> NDArray[np.float64]:
    known: Any = times.dt.tz_convert(None).to_numpy('datetime64[us]')
    return np.where(np.isnat(known), np.nan, known.astype(np.int64) / _DAY)
