"""Metrics of label sets: what two patches share, and three numbers that are all called F1.

A pair of a query with labels *q* and an item with labels *r* that share *n* of them has
precision n/|r|, recall n/|q|, F1 2n/(|q| + |r|) and Jaccard index n/|q or r|, all 0 if *n* is.
The functions take *shared*, the *n* of each query and rank, and the sizes of the sets.

For one label per patch (class ids), precision, recall and F1 of a pair are all 1 or 0, so that
``f1@k`` is the precision P@k.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .ranking import check_k
from .ties import Ties, count

__all__ = (
    'ItemScores',
    'f1_at_k',
    'f1_at_rank',
    'f1_of_means',
    'item_scores',
    'mean_at_k',
    'shared_labels',
)


class ItemScores(NamedTuple):
    """How well the labels of each retrieved item match those of its query.

    All have shape (queries, ranks), are in [0, 1], and are 0 where nothing is shared.
    """

    #: Share of the item's labels that the query has.
    precision: NDArray[np.float64]
    #: Share of the query's labels that the item has.
    recall: NDArray[np.float64]
    #: Harmonic mean of the two.
    f1: NDArray[np.float64]
    #: Shared labels among all labels of both.
    jaccard: NDArray[np.float64]


def shared_labels(
    query_labels: ArrayLike, item_labels: ArrayLike
) -> NDArray[np.float32]:
    """Count the labels that each query shares with each item.

    Args:
        query_labels: Multi-hot labels, shape (queries, classes), bool or 0 and 1.
        item_labels: Multi-hot labels, shape (items, classes), same order of classes.

    Returns:
        Whole numbers, shape (queries, items).

    Raises:
        ValueError: If the labels are not multi-hot tables of the same classes.

    Example:
        >>> shared_labels(
        ...     [[1, 1, 0, 0, 1]], [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]]
        ... ).tolist()
        [[2.0, 0.0]]
    """
    q, r = np.asarray(query_labels), np.asarray(item_labels)
    if q.ndim != 2 or r.ndim != 2 or q.shape[1] != r.shape[1]:
        raise ValueError(
            'labels are (rows, classes) with the same classes, found shapes '
            f'{q.shape} and {r.shape}'
        )
    for labels in (q, r):
        if not ((labels == 0) | (labels == 1)).all():
            raise ValueError(
                'labels are multi-hot, 0 or 1, found other values: turn class ids into '
                'columns first'
            )
    return q.astype(np.float32) @ r.astype(np.float32).T


def item_scores(
    shared: ArrayLike, query_sizes: ArrayLike, item_sizes: ArrayLike
) -> ItemScores:
    """Judge each retrieved item by the labels it shares with its query.

    Args:
        shared: Number of shared labels of each query and rank, shape (queries, ranks).
        query_sizes: Number of labels of each query, shape (queries,).
        item_sizes: Number of labels of each retrieved item, shape (queries, ranks).

    Returns:
        Precision, recall, F1 and Jaccard index of each pair.

    Raises:
        ValueError: If the shapes do not fit, or more is shared than a set holds.

    Example:
        >>> item_scores([[2, 0]], [3], [[2, 2]]).f1.tolist()
        [[0.8, 0.0]]
    """
    n = np.asarray(shared, dtype=np.float64)
    q = np.asarray(query_sizes, dtype=np.float64)
    r = np.asarray(item_sizes, dtype=np.float64)
    if n.ndim != 2 or r.shape != n.shape or q.shape != n.shape[:1]:
        raise ValueError(
            'shared and item_sizes are (queries, ranks) and query_sizes is (queries,), '
            f'found shapes {n.shape}, {r.shape} and {q.shape}'
        )
    q = np.broadcast_to(q[:, None], n.shape)
    if (n > q).any() or (n > r).any():
        raise ValueError('a pair cannot share more labels than its sets hold')
    # where nothing is shared the score is 0, whatever the divisor
    empty = n == 0
    return ItemScores(
        n / np.where(empty, 1, r),
        n / np.where(empty, 1, q),
        2 * n / np.where(empty, 1, q + r),
        n / np.where(empty, 1, q + r - n),
    )


def mean_at_k(
    values: ArrayLike, k: int | None = None, *, ties: Ties | None = None
) -> NDArray[np.float64]:
    """Average a score of pairs over the first *k* ranks.

    Args:
        values: Score of each query and rank, shape (queries, ranks).
        k: Cut-off; all ranks by default. Ranks that do not exist count as 0.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,).
    """
    values = np.asarray(values, dtype=np.float64)
    k = values.shape[1] if k is None else check_k(k)
    return count(values, k, ties) / max(k, 1)


def f1_at_k(
    shared: ArrayLike,
    query_sizes: ArrayLike,
    item_sizes: ArrayLike,
    k: int | None = None,
) -> NDArray[np.float64]:
    """Mean F1 of the first *k* items: ``f1@k``, our default among the three.

    Args:
        shared: Number of shared labels of each query and rank, shape (queries, ranks).
        query_sizes: Number of labels of each query, shape (queries,).
        item_sizes: Number of labels of each retrieved item, shape (queries, ranks).
        k: Cut-off; all ranks by default.

    Returns:
        Shape (queries,), in [0, 1]; 0 for a query without labels.
    """
    return mean_at_k(item_scores(shared, query_sizes, item_sizes).f1, k)


def f1_of_means(
    shared: ArrayLike,
    query_sizes: ArrayLike,
    item_sizes: ArrayLike,
    k: int | None = None,
) -> float:
    """Harmonic mean of mean precision and mean recall of all queries: ``f1@k_of_means``.

    One number for the whole data set. It differs from the mean of :func:`f1_at_k`, and as a
    rule is larger.

    Args:
        shared: Number of shared labels of each query and rank, shape (queries, ranks).
        query_sizes: Number of labels of each query, shape (queries,).
        item_sizes: Number of labels of each retrieved item, shape (queries, ranks).
        k: Cut-off; all ranks by default.

    Returns:
        In [0, 1]; NaN without queries.
    """
    scores = item_scores(shared, query_sizes, item_sizes)
    if not len(scores.precision):
        return float('nan')
    p = float(mean_at_k(scores.precision, k).mean())
    r = float(mean_at_k(scores.recall, k).mean())
    return 2 * p * r / (p + r) if p + r else 0.0


def f1_at_rank(
    shared: ArrayLike, query_sizes: ArrayLike, item_sizes: ArrayLike, k: int
) -> NDArray[np.float64]:
    """F1 of the *k*-th item alone: ``f1_at_rank``.

    A curve of it over *k* is not cumulative, unlike that of :func:`f1_at_k`.

    Args:
        shared: Number of shared labels of each query and rank, shape (queries, ranks).
        query_sizes: Number of labels of each query, shape (queries,).
        item_sizes: Number of labels of each retrieved item, shape (queries, ranks).
        k: Which rank, from 1.

    Returns:
        Shape (queries,), in [0, 1]; 0 if there is no such rank.
    """
    f1 = item_scores(shared, query_sizes, item_sizes).f1
    return f1[:, k - 1] if check_k(k) <= f1.shape[1] else np.zeros(len(f1))
