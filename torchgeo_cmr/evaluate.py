"""How well one table answers the queries of another, under a stated rule of relevance.

There is no default rule: the same ranking scores very differently when "relevant" means the
same place and when it means the same land cover. Every score comes with the level a random
ranking would reach.
"""

from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.metrics.functional import (
    average_precision,
    expected_average_precision,
    expected_recall,
    mean_over_queries,
    rank_relevance,
    recall,
)
from torchgeo_cmr.table import EmbeddingTable

#: What a rule says: True where an item is relevant to a query, shape (queries, items).
type Relevance = NDArray[np.bool_]


def same_place(
    queries: EmbeddingTable, archive: EmbeddingTable, *, iou: float = 0.5
) -> Relevance:
    """Count an item as relevant if it shows the ground of the query.

    Overlap is measured in the CRS of the query's scene, planar.

    Args:
        queries: Patches that ask.
        archive: Patches that may answer.
        iou: Smallest intersection over union of the footprints, above 0, up to 1.

    Returns:
        bool array of shape ``(queries, items)``.

    .. versionadded:: 0.1
    """
    relevant = np.zeros((len(queries), len(archive)), bool)
    for rows, here, there in _by_crs(queries, archive):
        q, a = shapely.STRtree(there).query(here, predicate='intersects')
        both = shapely.area(shapely.intersection(here[q], there[a]))
        either = shapely.area(here[q]) + shapely.area(there[a]) - both
        close = both >= iou * either
        relevant[rows[q[close]], a[close]] = True
    return relevant


def near_place(
    queries: EmbeddingTable, archive: EmbeddingTable, *, widths: float = 1.0
) -> Relevance:
    """Count an item as relevant if it lies beside the query or shows its ground.

    Args:
        queries: Patches that ask.
        archive: Patches that may answer.
        widths: Largest distance between the footprints, in widths of the query.

    Returns:
        bool array of shape ``(queries, items)``.

    .. versionadded:: 0.1
    """
    relevant = np.zeros((len(queries), len(archive)), bool)
    for rows, here, there in _by_crs(queries, archive):
        bounds = shapely.bounds(here)
        # A thousandth more, since coordinates that went through degrees lose their last bits.
        reach = widths * (bounds[:, 2] - bounds[:, 0]) * 1.001
        q, a = shapely.STRtree(there).query(here, predicate='dwithin', distance=reach)
        relevant[rows[q], a] = True
    return relevant


def same_label(
    queries: EmbeddingTable, archive: EmbeddingTable, column: str
) -> Relevance:
    """Count an item as relevant if it carries the query's label.

    Args:
        queries: Patches that ask.
        archive: Patches that may answer.
        column: Column that holds the label; a missing label matches nothing.

    Returns:
        bool array of shape ``(queries, items)``.

    Raises:
        ArchiveError: If a table has no such column.

    .. versionadded:: 0.1
    """
    for name, table in (('queries', queries), ('archive', archive)):
        if column not in table.frame:
            raise ArchiveError(
                f'the {name} have no column {column!r}: found '
                f'{", ".join(map(str, table.frame.columns))}'
            )
    asked, found = queries.frame[column], archive.frame[column]
    known = asked.notna().to_numpy()[:, None] & found.notna().to_numpy()
    return known & (asked.to_numpy()[:, None] == found.to_numpy())


def same_patch(queries: EmbeddingTable, archive: EmbeddingTable) -> Relevance:
    """Mark the items that are the query itself, to be left out of its ranking.

    Args:
        queries: Patches that ask.
        archive: Patches that may answer.

    Returns:
        bool array of shape ``(queries, items)``.

    .. versionadded:: 0.1
    """
    asked = queries.frame['patch_id'].to_numpy()
    return asked[:, None] == archive.frame['patch_id'].to_numpy()


def evaluate(
    queries: EmbeddingTable,
    archive: EmbeddingTable,
    *,
    relevance: Relevance | Callable[[EmbeddingTable, EmbeddingTable], Relevance],
    k: int = 10,
) -> dict[str, Any]:
    """Rank the whole archive for every query and score the rankings.

    The query's own patch is never an answer. Ties are broken by archive row. Queries
    without a relevant item are left out and counted.

    Args:
        queries: Patches that ask.
        archive: Patches that may answer, in the same space.
        relevance: A rule of this module, or its result.
        k: Cut-off of the recall.

    Returns:
        ``recall@k`` and ``map`` (average precision over the full ranking, divided by the
        number of relevant items), each with the level of a random ranking under
        ``chance``; ``queries`` that were counted, ``empty`` ones, and ``gallery``, the
        number of items. Scores are None where no query has a relevant item.

    Raises:
        ArchiveError: If the tables are of different spaces.

    .. versionadded:: 0.1
    """
    if {*queries.frame['space'].dropna()} != {*archive.frame['space'].dropna()}:
        raise ArchiveError(
            'queries and archive were embedded with different weights: embed both with one '
            'checkpoint'
        )
    rule = relevance(queries, archive) if callable(relevance) else relevance
    own = same_patch(queries, archive)
    relevant = np.asarray(rule, bool) & ~own
    ranked = rank_relevance(queries.vectors @ archive.vectors.T, relevant, exclude=own)
    found, items = relevant.sum(1), len(archive) - own.sum(1)
    values = {f'recall@{k}': recall(ranked, k), 'map': average_precision(ranked)}
    chance = {
        f'recall@{k}': expected_recall(found, items, k),
        'map': expected_average_precision(found, items),
    }
    counted = int((found > 0).sum())
    return {
        **{name: _mean(value) for name, value in values.items()},
        'chance': {name: _mean(value) for name, value in chance.items()},
        'queries': counted,
        'empty': len(queries) - counted,
        'gallery': len(archive),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    mean = mean_over_queries(values)
    return None if mean.num_queries == 0 else float(mean.mean)


def _by_crs(
    queries: EmbeddingTable, archive: EmbeddingTable
) -> list[tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]]:
    """For each CRS of the queries: their row numbers, their and the archive's outlines."""
    codes = queries.frame['src_crs'].to_numpy()
    groups = []
    for code in dict.fromkeys(codes):
        rows = np.flatnonzero(codes == code)
        outlines: list[gpd.GeoSeries] = [
            queries.frame.geometry.iloc[rows],
            archive.frame.geometry,
        ]
        here, there = (s.to_crs(code).to_numpy() for s in outlines)
        groups.append((rows, here, there))
    return groups


__all__ = ('evaluate', 'near_place', 'same_label', 'same_patch', 'same_place')
