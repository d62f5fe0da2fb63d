"""Retrieval by labels, over a whole loader, as a torchmetrics Metric."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import permutations, product
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from .chunked import MEMORY, RandomOrder, Similarity, dot_product
from .distances import euclidean_similarity
from .registry import METRICS
from .scoring import score_ranking
from .thinning import thin, unrepeated
from .truth import LabelTruth

__all__ = ('LabelRetrieval',)

Exclude = Literal['same_modality', 'all', 'none']

SIMILARITIES: dict[str, Similarity] = {
    'dot': dot_product,
    'euclidean': euclidean_similarity,
}


class LabelRetrieval(Metric):
    """Any metric of :data:`~torchgeo_cmr.metrics.functional.METRICS`, relevance by labels.

    Each embedding of one modality ranks all embeddings of another (or its own) that were seen
    since the last reset, over all ranks. What is relevant is a matter of the labels, which all
    modalities of a patch share; or each modality has its own, where rows are not pairs, such as
    those of images and spoken words. Rankings are computed on the CPU in
    NumPy, block by block; higher scores come first, and those that are equal in float32 count as
    the mean over all their orders.

    Relations: :class:`~torchgeo_cmr.metrics.CrossModalRetrieval` needs no labels and looks for
    the own pair only. Query and archive are the same loader here; for protocols that take
    them from two splits use :func:`~torchgeo_cmr.metrics.functional.score_ranking`.

    Examples:
        >>> import torch
        >>> metric = LabelRetrieval(('s1', 's2'), names=['map'])
        >>> rows, labels = torch.eye(3), torch.arange(3)
        >>> metric.update({'s1': rows, 's2': rows}, labels)
        >>> sorted(metric.compute())
        ['map', 'map_s1_to_s2', 'map_s2_to_s1']
    """

    is_differentiable = False
    full_state_update = False

    def __init__(
        self,
        modalities: Sequence[str],
        names: Sequence[str] = ('map', 'map@k', 'f1@k'),
        ks: Sequence[int] = (5, 10),
        *,
        rule: str = 'any',
        directions: Literal['cross', 'all'] = 'cross',
        exclude_self: Exclude = 'same_modality',
        chance: bool = False,
        similarity: Literal['dot', 'euclidean'] = 'dot',
        max_rows: int | None = None,
        memory: int = MEMORY,
        **kwargs: Any,
    ) -> None:
        """Initialize a new LabelRetrieval instance.

        Args:
            modalities: Names of the modalities.
            names: Names of metrics.
            ks: Cut-offs for the names that have one.
            rule: Rule of :class:`~torchgeo_cmr.metrics.functional.LabelTruth`.
            directions: Between different modalities only (``'cross'``), or within each as well
                (``'all'``).
            exclude_self: Where a query may not retrieve its own patch: within its modality,
                everywhere (``'all'``), or nowhere (``'none'``).
            chance: Whether to rank at random (seed 0) as well.
            similarity: ``'dot'``, the cosine of unit rows, or ``'euclidean'`` distance, for
                features as they are.
            max_rows: Rows of each modality that are scored at most, evenly spaced over those
                seen, for what is scored grows with their square; all by default.
            memory: Bytes that a block of queries may take, about.
            **kwargs: Forwarded to :class:`torchmetrics.Metric`.

        Raises:
            ValueError: If a name or an option is unknown, a cut-off is below 1, or there are
                too few modalities.
        """
        super().__init__(**kwargs)
        self.modalities, self.names, self.ks = (
            tuple(modalities),
            tuple(names),
            tuple(ks),
        )
        unknown = [name for name in self.names if name not in METRICS]
        if unknown or not self.names:
            raise ValueError(
                f'no metric {", ".join(map(repr, unknown)) or "given"}: choose from '
                f'{", ".join(METRICS)}'
            )
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f'ks are cut-offs of at least 1, found {self.ks}')
        for option, value, known in (
            ('directions', directions, ('cross', 'all')),
            ('exclude_self', exclude_self, get_args(Exclude)),
            ('similarity', similarity, tuple(SIMILARITIES)),
        ):
            if value not in known:
                raise ValueError(
                    f'{option} must be one of {", ".join(known)}, found {value!r}'
                )
        least = 2 if directions == 'cross' else 1
        if len(set(self.modalities)) < least:
            raise ValueError(
                f'directions={directions!r} needs {least} or more modalities, found '
                f'{self.modalities}'
            )
        LabelTruth([0], [0], rule)
        self.rule, self.exclude_self = rule, exclude_self
        self.chance, self.memory, self.max_rows = chance, memory, max_rows
        self.similarity = SIMILARITIES[similarity]
        self.directions = tuple(
            permutations(self.modalities, 2)
            if directions == 'cross'
            else product(self.modalities, repeat=2)
        )
        for modality in self.modalities:
            self.add_state(f'rows_{modality}', default=[], dist_reduce_fx='cat')
            self.add_state(f'labels_{modality}', default=[], dist_reduce_fx='cat')
            self.add_state(f'numbers_{modality}', default=[], dist_reduce_fx='cat')

    def update(
        self,
        embeddings: Mapping[str, Tensor],
        labels: Tensor | Mapping[str, Tensor],
        numbers: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Take a batch of labelled patches.

        Args:
            embeddings: Unit rows per modality, each of shape (batch, dim).
            labels: Class ids, shape (batch,), negative if unknown; or multi-hot labels, shape
                (batch, classes); for all modalities, or for each its own in one form.
            numbers: Which item each row is of, int64 of shape (batch,) per modality, the same
                number for the same item on whatever rank; each is scored once. Without, all rows
                are.

        Raises:
            ValueError: If a modality is missing or the numbers of rows differ.
        """
        missing = [m for m in self.modalities if m not in embeddings]
        if missing:
            raise ValueError(
                f'embeddings of {", ".join(missing)} are missing, found '
                f'{", ".join(embeddings) or "none"}'
            )
        labels_of = (
            dict.fromkeys(self.modalities, labels)
            if isinstance(labels, Tensor)
            else labels
        )
        for modality in self.modalities:
            num, known = len(embeddings[modality]), labels_of.get(modality)
            if known is None or len(known) != num:
                raise ValueError(
                    'each patch needs one row of labels, found '
                    f'{0 if known is None else len(known)} for {num} of {modality}'
                )
        for modality in self.modalities:
            rows = embeddings[modality].detach().float()
            getattr(self, f'rows_{modality}').append(rows)
            getattr(self, f'labels_{modality}').append(
                labels_of[modality].detach().long()
            )
            known = torch.full((len(rows),), -1, device=rows.device)
            if numbers is not None:
                known = numbers[modality]
            getattr(self, f'numbers_{modality}').append(known)

    def embeddings(self) -> dict[str, Tensor]:
        """Give back the rows that are scored of those seen on this rank since the last reset.

        Returns:
            Rows per modality, each of shape (rows, dim), float32.
        """
        return {m: self._scored('rows', m) for m in self.modalities}

    def _scored(self, name: str, modality: str) -> Tensor:
        """Rows of a state that are scored."""
        numbers = dim_zero_cat(getattr(self, f'numbers_{modality}'))
        kept = thin(unrepeated(numbers), self.max_rows)
        return dim_zero_cat(getattr(self, f'{name}_{modality}'))[kept]

    def compute(self) -> dict[str, Tensor]:
        """Score every direction.

        Returns:
            Scalars ``<metric>_<query>_to_<gallery>`` per direction, such as
            ``f1@10_s1_to_s2``, and their mean over directions ``<metric>``. With *chance*, the
            level of a random ranking under the same names with ``chance_`` in front. NaN where
            no query has a relevant item.
        """
        labels = {m: self._scored('labels', m).cpu().numpy() for m in self.modalities}
        each = {
            f'{query}_to_{gallery}': self._score(
                query, gallery, LabelTruth(labels[query], labels[gallery], self.rule)
            )
            for query, gallery in self.directions
        }
        figures: dict[str, float] = {}
        for name in next(iter(each.values())):
            values = {f'{name}_{d}': scores[name] for d, scores in each.items()}
            figures.update(values)
            figures[name] = sum(values.values()) / len(values)
        return {
            name: torch.tensor(value, dtype=torch.float32, device=self.device)
            for name, value in figures.items()
        }

    def _score(self, query: str, gallery: str, truth: LabelTruth) -> dict[str, float]:
        """Score one direction, and chance if requested."""
        query_vectors, found = (
            self._scored('rows', m).cpu().numpy() for m in (query, gallery)
        )
        excluded = self.exclude_self == 'all' or (
            self.exclude_self == 'same_modality' and query == gallery
        )
        similarities: dict[str, Similarity] = {'': self.similarity}
        if self.chance:
            similarities['chance_'] = RandomOrder(0)
        scores = {}
        for prefix, similarity in similarities.items():
            scored = score_ranking(
                query_vectors,
                found,
                truth,
                names=self.names,
                ks=self.ks,
                exclude=partial(_same_row, len(found)) if excluded else None,
                similarity=similarity,
                memory=self.memory,
            )
            means = scored.means()
            scores.update(
                {f'{prefix}{name}': mean.mean for name, mean in means.items()}
            )
        return scores


def _same_row(num_items: int, queries: slice) -> NDArray[np.bool_]:
    """Mark the own patch of each query of a block."""
    rows = np.arange(queries.start, queries.stop)
    return rows[:, None] == np.arange(num_items)
