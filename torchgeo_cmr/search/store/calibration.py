"""Scores of several modalities made comparable.

A query of one sensor lies closer to all vectors of one modality than to those of another (the
gap between modalities), so a list ranked by bare scores is filled by the closer one, near or
not. A calibrated score is how far a score lies above what the same query gets from the same
modality in general: minus the mean, over the standard deviation, of its scores with a seeded
sample of up to a thousand rows of that modality. Within a modality the order stays as it was.
Score normalisation of this kind is known from speaker verification (z-norm and t-norm,
https://doi.org/10.1006/dspr.1999.0360).
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.search.rank.vectors import agreement

from .segment import Segment

_SAMPLE = 1_000
_SEED = 0
_LEAST = 1e-6


class Calibration:
    """Means and deviations of scores, by modality.

    Args:
        parts: The segments of an index.
    """

    def __init__(self, parts: Sequence[Segment]) -> None:
        """Remember the parts; nothing is read yet."""
        self._parts = parts

    @cached_property
    def _of(self) -> list[NDArray[np.object_]]:
        """Modality of each position of each part."""
        return [part.modalities() for part in self._parts]

    @cached_property
    def _samples(self) -> dict[str | None, NDArray[Any]]:
        """Vectors of some rows of each modality, the same whatever the archive's order."""
        vectors: dict[str | None, list[NDArray[Any]]] = {}
        ids: dict[str | None, list[NDArray[np.object_]]] = {}
        for part, of in zip(self._parts, self._of, strict=True):
            living = part.living()
            for name in set(of[living].tolist()):
                members = living[of[living] == name]
                ids.setdefault(name, []).append(part.ids(members))
                vectors.setdefault(name, []).append(members)
        samples = {}
        for name, names in ids.items():
            order = np.argsort(np.concatenate(names), kind='stable')
            rng = np.random.default_rng(_SEED)
            size = min(_SAMPLE, len(order))
            chosen = order[np.sort(rng.choice(len(order), size, replace=False))]
            samples[name] = self._rows(name, vectors[name], chosen)
        return samples

    def _rows(
        self, name: str | None, positions: list[NDArray[np.int64]], chosen: NDArray[Any]
    ) -> NDArray[Any]:
        """Give the vectors of chosen rows of a modality, numbered through its parts."""
        having = [
            part
            for part, of in zip(self._parts, self._of, strict=True)
            if name in set(of[part.living()].tolist())
        ]
        taken, start = [], 0
        for part, rows in zip(having, positions, strict=True):
            within = chosen[(chosen >= start) & (chosen < start + len(rows))] - start
            taken.append(part.vectors.whole[rows[within]])
            start += len(rows)
        return np.concatenate(taken)

    def split(
        self, selection: Sequence[NDArray[np.int64]]
    ) -> list[tuple[str | None, list[NDArray[np.int64]]]]:
        """Divide selected positions of each part by modality."""
        names = {
            n
            for of, chosen in zip(self._of, selection, strict=True)
            for n in set(of[chosen].tolist())
        }
        return [
            (
                name,
                [
                    chosen[of[chosen] == name]
                    for of, chosen in zip(self._of, selection, strict=True)
                ],
            )
            for name in sorted(names, key=str)
        ] or [(None, list(selection))]

    def standardise(
        self, queries: NDArray[Any], scores: NDArray[np.float32], modality: str | None
    ) -> NDArray[np.float32]:
        """Give scores with rows of a modality in standard deviations above the mean.

        Args:
            queries: Queries (num_queries, dim).
            scores: Their scores (num_queries, k).
            modality: Modality of the rows.
        """
        if not scores.size:
            return scores
        sample = self._samples[modality]
        if sample.dtype == np.uint8:
            dim = 8 * sample.shape[1]
            cross = np.stack([agreement(sample, q, dim) for q in queries]).astype(float)
        else:
            # Row by row in float64: the same for a query alone and in a batch.
            cross = np.stack(
                [(sample * q.astype(np.float64)).sum(axis=1) for q in queries]
            )
        mean = cross.mean(axis=1, keepdims=True)
        deviation = np.maximum(cross.std(axis=1, keepdims=True), _LEAST)
        return ((scores - mean) / deviation).astype(np.float32)
