"""Ranking: how the hits of a search are chosen, with the rules of what goes with what."""

from dataclasses import dataclass
from os import PathLike
from typing import Any

import geopandas as gpd

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.index import RetrievalIndex
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable

from .hubs import HubFree
from .rerank import rerank


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How hits are ranked and chosen: one object for a plain and for a re-ranked search.

    Relations: :meth:`find` calls :meth:`RetrievalIndex.search`, or :func:`rerank` and
    :class:`HubFree` where an argument needs them, and refuses combinations that none of them has.

    Args:
        k: Hits per query; 0 for all that reach ``min_score``.
        min_score: Least score of a hit.
        spacing: As for :func:`rerank`, metres.
        max_overlap: As for :func:`rerank`, 0 to 1.
        distinct: As for :func:`rerank`, a cosine.
        one_per: As for :func:`rerank`, a column.
        diversity: As for :func:`rerank`, 0 to 1.
        hubs: Queries that say what a hub is, for :class:`HubFree`: a table, an index or the
            folder of an archive.
        hubs_method: ``'csls'`` or ``'softmax'``.
        calibrated: As for :meth:`RetrievalIndex.search`.
        approximate: Allow an approximate answer where the index has one.
        exclude: As for :meth:`RetrievalIndex.search`.
        exclude_days: As for :meth:`RetrievalIndex.search`.

    Raises:
        QueryError: If an argument needs another that is missing, or two exclude each other.

    Examples:
        >>> Ranking(k=5, spacing=500).spread
        {'spacing': 500}
        >>> Ranking(calibrated=True, spacing=500)
        Traceback (most recent call last):
        torchgeo_cmr.errors.QueryError: calibrated does not go with spacing: leave one out
    """

    k: int = 10
    min_score: float | None = None
    spacing: float | None = None
    max_overlap: float | None = None
    distinct: float | None = None
    one_per: str | None = None
    diversity: float | None = None
    hubs: EmbeddingTable | RetrievalIndex | str | PathLike[str] | None = None
    hubs_method: str = 'csls'
    calibrated: bool = False
    approximate: bool = False
    exclude: str | float | None = 'self'
    exclude_days: float | None = None

    def __post_init__(self) -> None:
        """Check what goes with what, before anything is opened."""
        if self.k < 0 or (self.k == 0 and self.min_score is None):
            raise QueryError(
                f'k is {self.k}: give at least 1 hit per query, or k 0 with min_score for all'
            )
        if self.hubs is None and self.hubs_method != 'csls':
            raise QueryError(f'hubs_method {self.hubs_method} needs hubs')
        others = list(self.spread)
        if self.hubs is not None:
            others.insert(0, 'hubs')
        for name in ('approximate', 'calibrated'):
            if getattr(self, name) and others:
                raise QueryError(f'{name} does not go with {others[0]}: leave one out')
        if self.k == 0 and (others or self.calibrated or self.approximate):
            raise QueryError(
                'k 0 finds all by their bare scores: give k, or leave the rest out'
            )

    @property
    def spread(self) -> dict[str, Any]:
        """Arguments of :func:`rerank` that keep hits apart, those that were given."""
        names = ('spacing', 'max_overlap', 'distinct', 'one_per', 'diversity')
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def excluded(self) -> dict[str, Any]:
        """What a query does not find: arguments of :meth:`RetrievalIndex.search`."""
        return {'exclude': self.exclude, 'exclude_days': self.exclude_days}

    def find(
        self, index: RetrievalIndex, queries: EmbeddingTable, where: Where | None = None
    ) -> gpd.GeoDataFrame:
        """Search an archive.

        Args:
            index: The archive.
            queries: As for :meth:`RetrievalIndex.search`.
            where: Which rows may be found.

        Returns:
            A result, see :meth:`RetrievalIndex.search`.

        Raises:
            QueryError: As :meth:`RetrievalIndex.search` and :func:`rerank`.
        """
        if self.hubs is None and not self.spread:
            return index.search(
                queries,
                self.k or None,
                where=where,
                exact=not self.approximate,
                min_score=self.min_score,
                calibrated=self.calibrated,
                **self.excluded,
            )
        source: Any = index
        if self.hubs is not None:
            reference = self.hubs
            if not isinstance(reference, RetrievalIndex):
                reference = RetrievalIndex(reference)
            source = HubFree(index, reference.table, method=self.hubs_method)
        return rerank(
            source,
            queries,
            self.k,
            where=where,
            min_score=self.min_score,
            **self.spread,
            **self.excluded,
        )
