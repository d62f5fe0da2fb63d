"""What is relevant to what, given for a block of queries at a time.

A truth is anything that, called with a slice of the queries, gives a :class:`Judgement` of
the whole archive for them; so it need not hold a table of all queries and all items.
"""

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ('Judgement', 'LabelTruth', 'MatrixTruth', 'Truth')


class Judgement(NamedTuple):
    """How every item of the archive is judged for some queries."""

    #: Whether an item is relevant, shape (queries, items), bool.
    relevant: NDArray[np.bool_]
    #: How relevant it is, at least 0, same shape; the number of shared labels of label sets.
    gains: NDArray[np.float32]
    #: Number of labels of each query, shape (queries,); None without labels.
    query_sizes: NDArray[np.float32] | None = None
    #: Number of labels of each item, shape (items,); None without labels.
    item_sizes: NDArray[np.float32] | None = None


class Truth(Protocol):
    """What :func:`~torchgeo_cmr.metrics.functional.score_ranking` gets relevance from."""

    def __call__(self, queries: slice, /) -> Judgement:
        """Judge the whole archive for the queries of a slice."""
        ...


class MatrixTruth:
    """Relevance that fits into memory: a table of queries and items."""

    def __init__(self, relevance: ArrayLike) -> None:
        """Initialize a new MatrixTruth instance.

        Args:
            relevance: Shape (queries, items), bool or gain; relevant if above 0.

        Raises:
            ValueError: If it has another shape, or a value is negative or not finite.
        """
        self.relevance = np.asarray(relevance)
        if self.relevance.ndim != 2:
            raise ValueError(
                f'relevance is (queries, items), found shape {self.relevance.shape}'
            )
        if not (np.isfinite(self.relevance) & (self.relevance >= 0)).all():
            raise ValueError('relevance is finite and at least 0, found other values')

    def __call__(self, queries: slice, /) -> Judgement:
        """Judge the whole archive for the queries of a slice."""
        part = self.relevance[queries]
        return Judgement(part > 0, part.astype(np.float32))


class LabelTruth:
    """Relevance by labels: class ids, or sets of labels.

    An item is relevant if it shares any label with the query (``'any'``), has exactly the
    same labels (``'exact'``), or shares at least a part *t* of the labels of both
    (``'jaccard>=t'``). Among patches with several labels ``'any'`` is easy to satisfy; never
    report it alone. A row without labels matches nothing. The gain is the number of shared
    labels, whatever the rule.
    """

    def __init__(
        self, query_labels: ArrayLike, item_labels: ArrayLike, rule: str = 'any'
    ) -> None:
        """Initialize a new LabelTruth instance.

        Args:
            query_labels: Class ids, shape (queries,), negative if unknown; or multi-hot
                labels, shape (queries, classes).
            item_labels: Labels of the archive in the same form and order of classes.
            rule: ``'any'``, ``'exact'``, or ``'jaccard>=t'`` with *t* above 0, up to 1.

        Raises:
            ValueError: If the labels do not fit each other, or the rule is unknown.
        """
        self.rule, self._threshold = rule, _threshold(rule)
        queries, items = np.asarray(query_labels), np.asarray(item_labels)
        if queries.ndim == items.ndim == 1:
            queries, items = _one_hot(queries, items)
        if queries.ndim != 2 or items.ndim != 2 or queries.shape[1] != items.shape[1]:
            raise ValueError(
                'labels are class ids (rows,) or multi-hot (rows, classes) with the same '
                f'classes, found shapes {queries.shape} and {items.shape}'
            )
        for labels in (queries, items):
            if not ((labels == 0) | (labels == 1)).all():
                raise ValueError('multi-hot labels are 0 or 1, found other values')
        self._queries = queries.astype(np.float32)
        self._items = np.ascontiguousarray(items.T, dtype=np.float32)
        self._sizes = self._items.sum(axis=0)

    def __call__(self, queries: slice, /) -> Judgement:
        """Judge the whole archive for the queries of a slice."""
        labels = self._queries[queries]
        sizes = labels.sum(axis=1)
        shared = labels @ self._items
        if self._threshold == 0:
            relevant = shared > 0
        else:
            # n / |q or r| >= t, without a division
            either = sizes[:, None] + self._sizes
            either -= shared
            either *= np.float32(self._threshold * (1 - 1e-6))
            relevant = (shared > 0) & (shared >= either)
        return Judgement(relevant, shared, sizes, self._sizes)


def _threshold(rule: str) -> float:
    """Read the smallest Jaccard index out of a rule; 0 for anything in common."""
    if rule in ('any', 'exact'):
        return float(rule == 'exact')
    name, _, number = rule.partition('>=')
    try:
        value = float(number) if name.strip() == 'jaccard' else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise ValueError(
            "rule must be 'any', 'exact' or 'jaccard>=t' with t above 0, up to 1, found "
            f'{rule!r}'
        )
    return value


def _one_hot(
    queries: NDArray[np.generic], items: NDArray[np.generic]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Turn class ids into columns, one for each class of the queries."""
    for ids in (queries, items):
        if ids.dtype.kind not in 'iu':
            raise ValueError(
                f'class ids are whole numbers, found {ids.dtype}: number the classes'
            )
    classes = np.union1d(queries, items)
    classes = classes[classes >= 0]
    return queries[:, None] == classes, items[:, None] == classes
