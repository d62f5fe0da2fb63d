"""Rank fusion: several results for one query become one.

Ranks can be combined where scores cannot: the cosines of two models have different
spreads, their ranks do not.
"""

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import pandas as pd

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.rank.checks import checked
from torchgeo_cmr.search.results import check_result

_METHODS = ('rrf', 'max')
_MATCHES = ('all', 'any', 'order')
_NAMED = 5


def fuse(
    results: gpd.GeoDataFrame | Sequence[gpd.GeoDataFrame],
    k: int = 10,
    *,
    method: str = 'rrf',
    by: str = 'patch_id',
    constant: float = 60,
    match: str = 'all',
    query_id: str | None = None,
) -> gpd.GeoDataFrame:
    r"""Put several results together.

    ``'rrf'`` scores a hit :math:`\sum 1 / (60 + rank)` over the results that hold it: G. V.
    Cormack, C. L. A. Clarke and S. Buettcher, "Reciprocal rank fusion outperforms Condorcet
    and individual rank learning methods", SIGIR 2009. ``'max'`` gives a hit its best score;
    use it for several examples of one kind, in one space. What is not in a result counts for
    nothing there, so search each for more than ``k`` hits.

    Args:
        results: Results to fuse, query by query. A single result is taken apart:
            all its queries are one question.
        k: Hits per query.
        method: ``'rrf'`` or ``'max'``.
        by: Column by which two hits are the same, such as one that names the place where
            results of two archives are fused.
        constant: What is added to each rank; 60 is the paper's.
        match: Which queries are one question. ``'all'``: those of equal ``query_id``, which
            every result must hold. ``'any'``: the same, but a result may lack some, as after a
            filter that left a query no hit; it counts for nothing there. ``'order'``: the
            first query of each result, then the second, and so on, whatever they are called.
        query_id: Name of the question, if there is one only; else that of the first result.

    Returns:
        A result, its ``score`` the fused one. ``exact`` is True for ``'max'`` where
        every result was exact and at least ``k`` long; ``'rrf'`` depends on how long the
        results are, so it never is.

    Raises:
        QueryError: If there is nothing to fuse, the queries do not fit, the constant is
            negative, or no such method or column is known.

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
        >>> from torchgeo_cmr.search import RetrievalIndex
        >>> index = RetrievalIndex(table)
        >>> answers = [index.search([[1, 0]], 3), index.search([[0.6, 0.8]], 3)]
        >>> fuse(answers, 1)['patch_id'].tolist()
        ['b']
    """
    if method not in _METHODS:
        raise QueryError(f'method {method!r} is not known; use {" or ".join(_METHODS)}')
    if match not in _MATCHES:
        raise QueryError(f'match {match!r} is not known; use {", ".join(_MATCHES)}')
    if not 0 <= constant < float('inf'):
        raise QueryError(f'constant is {constant}: give a number of at least 0')
    if isinstance(k, pd.DataFrame):
        raise QueryError(
            'the second result stands for k; give one list: fuse([one, other])'
        )
    checked(k)
    alone = isinstance(results, gpd.GeoDataFrame)
    given = [results] if alone else list(results)
    for result in given:
        check_result(result)
        if not isinstance(by, str) or by not in result or by == result.geometry.name:
            raise QueryError(f'a result has no column {by!r} to tell hits apart by')
    given = _alike(given)
    answers = [_by_query(result) for result in given]
    if not any(answers):
        raise QueryError('there is no result to fuse; give at least one hit')
    if alone:
        questions = [list(answers[0].values())]
        query_id = query_id or ' + '.join(list(answers[0])[:3])
    elif match == 'order':
        questions = _in_order([answer for answer in answers if answer])
    else:
        questions = _by_name(answers, match)
    if query_id is not None and len(questions) > 1:
        raise QueryError(
            f'query_id={query_id!r} names one question and there are {len(questions)}; '
            'drop it'
        )
    made = [_one(parts, k, method, by, constant, query_id) for parts in questions]
    return gpd.GeoDataFrame(pd.concat(made, ignore_index=True), crs=made[0].crs)


def _alike(results: list[gpd.GeoDataFrame]) -> list[gpd.GeoDataFrame]:
    """Bring results to one CRS, that of the first, and their geometries to one name."""
    made = []
    for result in results:
        if result.crs != results[0].crs:
            result = result.to_crs(results[0].crs)
        if result.geometry.name != 'geometry':
            result = result.drop(columns='geometry', errors='ignore')
            result = result.rename_geometry('geometry')
        made.append(result)
    return made


def _by_query(result: gpd.GeoDataFrame) -> dict[str, gpd.GeoDataFrame]:
    parts = result.groupby('query_id', sort=False)
    return {str(name): gpd.GeoDataFrame(rows) for name, rows in parts}


def _by_name(
    answers: list[dict[str, gpd.GeoDataFrame]], match: str
) -> list[list[gpd.GeoDataFrame]]:
    """Bring answers to equal ``query_id`` together."""
    names = list(dict.fromkeys(name for answer in answers for name in answer))
    for number, answer in enumerate(answers, start=1):
        missing = [name for name in names if name not in answer]
        if missing and match == 'all':
            raise QueryError(
                f'result {number} of {len(answers)} has no hits for {_listed(missing)}, which '
                "others have; fuse answers to the same queries, or give match 'any' to take what "
                "is there, or 'order' if only their names differ"
            )
    return [[answer[name] for answer in answers if name in answer] for name in names]


def _in_order(
    answers: list[dict[str, gpd.GeoDataFrame]],
) -> list[list[gpd.GeoDataFrame]]:
    """Bring the first queries of all together, the second, and so on."""
    if len({len(answer) for answer in answers}) > 1:
        counts = ', '.join(str(len(answer)) for answer in answers)
        raise QueryError(
            f'the results hold {counts} queries, which cannot be matched by their order; give '
            'answers to equally many'
        )
    return [
        list(parts)
        for parts in zip(*(answer.values() for answer in answers), strict=True)
    ]


def _listed(names: list[str]) -> str:
    few = ', '.join(map(repr, names[:_NAMED]))
    unnamed = len(names) - _NAMED
    return f'{few} and {unnamed} more' if unnamed > 0 else few


def _one(
    parts: list[gpd.GeoDataFrame],
    k: int,
    method: str,
    by: str,
    constant: float,
    query_id: str | None,
) -> gpd.GeoDataFrame:
    """Fuse the answers to one question."""
    every = pd.concat(parts, ignore_index=True)
    # What has no value there is the same as nothing else.
    nothing = every[by].isna().to_numpy()
    keys = pd.Series(pd.factorize(every[by])[0])
    keys[nothing] = -1 - np.arange(nothing.sum())
    if method == 'rrf':
        # A hit counts once a result, where it ranks best there.
        source = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        first = ~pd.DataFrame({'by': keys, 'in': source}).duplicated()
        points = np.where(first, 1 / (constant + every['rank'].to_numpy(float)), 0.0)
    else:
        points = every['score'].to_numpy(float)
    total = pd.Series(points).groupby(keys)
    fused = total.sum() if method == 'rrf' else total.max()
    # The best-scoring row represents the hit.
    best = every.assign(_hit=keys, _order=-points)
    best = best.sort_values(['_order', 'rank', 'patch_id'], kind='stable')
    best = best.drop_duplicates('_hit')
    best['score'] = best['_hit'].map(fused).astype(float)
    best = best.sort_values(
        ['score', 'patch_id'], ascending=[False, True], kind='stable'
    ).head(k)
    found = best.drop(columns=['_hit', '_order']).reset_index(drop=True)
    found['query_id'] = query_id or parts[0]['query_id'].iloc[0]
    found['query_id'] = found['query_id'].astype(parts[0]['query_id'].dtype)
    found['rank'] = np.arange(1, len(found) + 1, dtype=np.int32)
    whole = all(bool(part['exact'].all()) and len(part) >= k for part in parts)
    found['exact'] = whole and method == 'max'
    found['relevant'] = pd.array([None] * len(found), dtype='boolean')
    return gpd.GeoDataFrame(found, geometry='geometry', crs=parts[0].crs)
