"""Recall and mean average precision of two tables under a rule of relevance."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.table import EmbeddingTable

from .judge import Judge, Setting, judge
from .measure import Column
from .settings import check_cuts


def evaluate(
    queries: EmbeddingTable, archive: EmbeddingTable, *, relevance: Judge, k: int = 10
) -> dict[str, Any]:
    """Rank the whole archive for every query and score the rankings.

    The query's own patch is never an answer. Ties count as the mean over all their orders.
    Queries without a relevant item are skipped and counted. Queries are ranked some at a time, so
    that large tables fit. For all directions, more measures and intervals, see
    :func:`make_report`.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved, in the same space.
        relevance: A rule of this module, or its result.
        k: Cut-off of the recall.

    Returns:
        ``recall@k`` and ``map`` (average precision over the full ranking, divided by the
        number of relevant items), each with the level of a random ranking under
        ``chance``; ``queries`` that were counted, ``empty`` ones, and ``gallery``, the
        number of items. Scores are None where no query has a relevant item.

    Raises:
        ArchiveError: If the tables are of different spaces.
        QueryError: If the rule is a word, or the cut-off is no rank.

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
        >>> from torchgeo_cmr.evaluate import Rule
        >>> rule = Rule.parse('distance:100000')
        >>> scores = evaluate(table, table, relevance=rule, k=1)
        >>> round(scores['recall@1'], 3), scores['gallery']
        (0.833, 3)
    """
    check_spaces(queries, archive)
    if isinstance(relevance, str):
        raise QueryError(
            f'relevance is {relevance!r}; give a rule, such as same_place, or use make_report, '
            'which reads words'
        )
    check_cuts((k,))
    judged = judge(queries, archive, relevance, Setting(('recall@k', 'map'), (k,)))
    counted = judged.counted
    return {
        **{name: _mean(value, counted) for name, (value, _) in judged.scores.items()},
        'chance': {
            name: _mean(chance, counted) for name, (_, chance) in judged.scores.items()
        },
        'queries': int(counted.sum()),
        'empty': int((~counted).sum()),
        'gallery': len(archive),
    }


def check_spaces(queries: EmbeddingTable, archive: EmbeddingTable) -> None:
    """Refuse tables whose vectors cannot be compared.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.

    Raises:
        ArchiveError: If there are two spaces, in one table or in both, or the dimensions or
            metrics differ. A null space fits any, as in a search.
    """
    for table in (queries, archive):
        if not isinstance(table, EmbeddingTable):
            raise ArchiveError(
                f'a {type(table).__name__} cannot be evaluated; give two tables, such as '
                'EmbeddingTable.load(FOLDER)'
            )
    spaces = sorted({*queries.spaces, *archive.spaces})
    if len(spaces) > 1:
        raise ArchiveError(
            'queries and archive were embedded with different weights: embed both with one '
            f'checkpoint; found space {" and ".join(spaces)}'
        )
    if queries.metric != archive.metric:
        raise ArchiveError(
            f'queries are compared by {queries.metric} and the archive by {archive.metric}: hash '
            'both alike'
        )
    if queries.dim != archive.dim:
        raise ArchiveError(
            f'queries have {queries.dim} numbers a vector and the archive {archive.dim}: '
            'embed both with one checkpoint'
        )


def _mean(column: Column, counted: NDArray[np.bool_]) -> float | None:
    return column[counted].mean() if counted.any() else None
