"""A query made from examples, positive and perhaps negative.

All of these end in one vector, so that the whole archive is ranked by it, exactly and
behind any filter; nothing is only re-ordered among the first hits. ``'max'``, where a hit
need look like one example and not like their mean, is not a single vector: search with all examples
and :func:`~torchgeo_cmr.search.fuse` the answers.
"""

from dataclasses import replace
from itertools import chain
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.store.self_match import EXAMPLES
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import WGS84

_METHODS = ('mean', 'rocchio', 'logistic')
#: Weights of the query, of right and of wrong examples: what textbooks advise.
_ALPHA, _BETA, _GAMMA = 1.0, 0.75, 0.15
_STEPS = 50


def from_examples(
    positives: EmbeddingTable,
    negatives: EmbeddingTable | None = None,
    *,
    query: EmbeddingTable | None = None,
    method: str = 'rocchio',
    penalty: float = 0.01,
    name: str = 'examples',
) -> EmbeddingTable:
    r"""Make one query of several examples.

    ``'mean'`` is the mean of the positives, and of the query if there is one. ``'rocchio'``
    is :math:`q + 0.75\,\overline{pos} - 0.15\,\overline{neg}`: J. J. Rocchio, "Relevance
    feedback in information retrieval", in Salton (ed.), The SMART Retrieval System, 1971.
    ``'logistic'`` is the normal of the plane by which a ridge-penalised logistic regression
    parts positives from negatives, both sides weighing the same; best with several of each.

    Args:
        positives: Patches that are what is looked for.
        negatives: Patches that are not.
        query: The first question, one row; it weighs in with ``'mean'`` and ``'rocchio'``.
        method: ``'mean'``, ``'rocchio'`` or ``'logistic'``.
        penalty: Ridge penalty of ``'logistic'``.
        name: ``patch_id`` of the query that is made.

    Returns:
        One row of the same space: its footprint is the ground of the positives, its time
        their span, and its column ``examples`` names the positives and the query, which a
        search with it excludes.

    Raises:
        QueryError: If the method does not fit the examples, their spaces differ, or they
            cancel each other out.

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
        >>> query = from_examples(table.select([0, 1]), table.select([2]))
        >>> len(query)
        1
    """
    if method not in _METHODS:
        raise QueryError(f'method {method!r} is not known; use {", ".join(_METHODS)}')
    given = [t for t in (positives, negatives, query) if t is not None and len(t)]
    if not len(positives):
        raise QueryError('there is no positive example; mark at least one hit as right')
    if query is not None and len(query) != 1:
        raise QueryError(f'the query has {len(query)} rows; give the one to refine')
    _same_space(given)
    wrong = negatives if negatives is not None and len(negatives) else None
    if method == 'mean' and wrong is not None:
        raise QueryError("'mean' takes no negatives; use 'rocchio' or 'logistic'")
    if method == 'logistic' and wrong is None:
        raise QueryError(
            "'logistic' needs negatives too; mark a hit as wrong or use 'rocchio'"
        )
    right = positives.vectors.astype(np.float64)
    if method == 'logistic':
        assert wrong is not None  # seen to above
        vector = _logistic(right, wrong.vectors.astype(np.float64), penalty)
    elif method == 'mean':
        all_ = right if query is None else np.vstack([right, query.vectors])
        vector = all_.mean(axis=0)
    else:
        vector = _BETA * right.mean(axis=0)
        if query is not None:
            vector = vector + _ALPHA * query.vectors[0]
        if wrong is not None:
            vector = vector - _GAMMA * wrong.vectors.astype(np.float64).mean(axis=0)
    shape = shapely.union_all(positives.frame.geometry.to_numpy())
    made = [*made_of(positives), *([] if query is None else made_of(query))]
    return of_examples(
        mean_row(name, positives, vector, shape), [list(chain.from_iterable(made))]
    )


def made_of(table: EmbeddingTable) -> list[list[str]]:
    """Name the patches that each row of a table was made of, or the row itself."""
    frame = table.frame
    made = frame[EXAMPLES] if EXAMPLES in frame else [None] * len(frame)
    return [
        [str(part) for part in parts]
        if isinstance(parts, list | tuple | np.ndarray)
        else [str(name)]
        for name, parts in zip(frame['patch_id'], made, strict=True)
    ]


def of_examples(table: EmbeddingTable, names: list[list[str]]) -> EmbeddingTable:
    """Note which patches each row of a table was made of, so that it does not find them."""
    frame = table.frame.drop(columns=EXAMPLES, errors='ignore')
    once = [list(dict.fromkeys(parts)) for parts in names]
    made = pd.Series(once, index=frame.index, dtype=object)
    frame.insert(len(frame.columns) - 1, EXAMPLES, made)
    return replace(table, frame=frame)


def unit_mean(table: EmbeddingTable) -> NDArray[np.float64]:
    """Give the mean of the vectors of a table (dim,)."""
    _same_space([table])
    return table.vectors.astype(np.float64).mean(axis=0)


def check_length(name: str, vector: NDArray[np.float64]) -> None:
    """Refuse a vector (dim,) that is zero, which has no direction.

    Raises:
        QueryError: With the name of the query that it was to be.
    """
    if not np.linalg.norm(vector) > 1e-9:
        raise QueryError(f'the vectors of {name} cancel each other out; choose others')


def mean_row(
    name: str, table: EmbeddingTable, vector: NDArray[np.float64], shape: Geometry
) -> EmbeddingTable:
    """Make a query of one row that represents several.

    Args:
        name: Its ``patch_id``.
        table: The rows it represents: their space, their modality if they share one, the
            span of their times.
        vector: Its vector (dim,), brought to unit norm.
        shape: Its footprint in EPSG:4326; empty if they have no place.

    Raises:
        QueryError: If the vector is zero: the examples cancel each other out.
    """
    check_length(name, vector)
    facts = shared_facts(table.frame, np.zeros(len(table), dtype=np.int64))
    row = gpd.GeoDataFrame(
        {'patch_id': [name], **facts},
        geometry=[None if shape.is_empty else shape],
        crs=WGS84,
    )
    return EmbeddingTable.from_frame(row, vector[None], placeless=True)


def shared_facts(frame: pd.DataFrame, group: NDArray[np.int64]) -> dict[str, Any]:
    """Give what rows that one vector represents have in common.

    Args:
        frame: ``modality``, ``space``, ``time_start`` and ``time_end`` of the rows (m,).
        group: Number of the vector that represents each row (m,).

    Returns:
        Column -> value of each vector: the modality if its rows share one, their space, and the
        span of their times.
    """
    start, end = frame['time_start'], frame['time_end']
    filled = {'time_start': start.fillna(end), 'time_end': end.fillna(start)}
    groups = frame.assign(**filled).groupby(group)
    alike = groups['modality'].nunique() == 1
    return {
        'modality': groups['modality'].first().where(alike, None),
        'space': groups['space'].first(),
        'time_start': groups['time_start'].min(),
        'time_end': groups['time_end'].max(),
    }


def _same_space(tables: list[EmbeddingTable]) -> None:
    """Refuse vectors that cannot be added."""
    spaces = sorted({space for table in tables for space in table.spaces})
    dims = {table.vectors.shape[1] for table in tables}
    if len(spaces) > 1 or len(dims) > 1:
        raise QueryError(
            f'the examples were embedded in space {" and ".join(spaces)}; take them from one'
        )
    if any(table.metric != 'cosine' for table in tables):
        raise QueryError(
            'binary codes cannot be averaged; take the examples from the archive of vectors'
        )


def _logistic(
    right: NDArray[np.float64], wrong: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """Fit a logistic regression with Newton's method; give the normal of its plane."""
    if not 0 < penalty < np.inf:
        raise QueryError(f'penalty is {penalty!r}; give a number above 0')
    x = np.vstack([right, wrong])
    x = np.column_stack([x, np.ones(len(x))])
    y = np.repeat([1.0, 0.0], [len(right), len(wrong)])
    weight = np.repeat([0.5 / len(right), 0.5 / len(wrong)], [len(right), len(wrong)])
    # The step from the middle of the plane is free.
    ridge = np.full(x.shape[1], penalty)
    ridge[-1] = 1e-6
    plane = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-(x @ plane)))
        slope = x.T @ (weight * (p - y)) + ridge * plane
        curve = (x.T * (weight * p * (1 - p))) @ x + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        plane = plane - step
        if np.abs(step).max() < 1e-8:
            break
    return plane[:-1]
