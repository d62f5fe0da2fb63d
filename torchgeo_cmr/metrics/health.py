"""Health of an embedding space: gap, alignment, uniformity, spread and rank of unit rows."""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from .gallery_hubs import hub_figures, hub_remark

__all__ = (
    'CollapseWarning',
    'Verdict',
    'alignment',
    'effective_rank',
    'embedding_health',
    'embedding_std',
    'modality_gap',
    'uniformity',
    'verdict',
)

#: Spread (root of the summed variances of unit rows) under which rows count as one point:
#: 0.05 is a mean cosine of 0.9975 between rows.
MIN_SPREAD = 0.05

#: Effective rank under which rows count as lying on one line.
MIN_RANK = 1.5


class CollapseWarning(UserWarning):
    """An encoder gives (nearly) the same embedding for everything."""


class Verdict(NamedTuple):
    """What the numbers say, for a person."""

    #: Whether retrieval with these embeddings is pointless.
    collapsed: bool
    #: One sentence with the reason.
    sentence: str


def modality_gap(a: Tensor, b: Tensor) -> Tensor:
    """Distance between the mean embeddings of two modalities.

    From https://arxiv.org/abs/2203.02053.

    Args:
        a: Unit rows of one modality, shape (rows, dim).
        b: Unit rows of the other, same dim.

    Returns:
        Scalar in [0, 2]; 0 if both have the same centre.
    """
    return torch.linalg.vector_norm(a.mean(dim=0) - b.mean(dim=0))


def alignment(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance between the two embeddings of a pair.

    From https://arxiv.org/abs/2005.10242.

    Args:
        a: Unit rows of one modality, shape (rows, dim).
        b: Unit rows of the other, same shape; row i belongs to row i.

    Returns:
        Scalar in [0, 4]; lower is closer.
    """
    return (a - b).square().sum(dim=1).mean()


def uniformity(z: Tensor, *, chunk: int = 1024) -> Tensor:
    """How evenly rows cover the sphere: log of the mean Gaussian potential of two rows.

    From https://arxiv.org/abs/2005.10242, with their t = 2, over all pairs of distinct rows.

    Args:
        z: Unit rows, shape (rows, dim).
        chunk: Rows compared with all others at once (memory only).

    Returns:
        Scalar in [-8, 0]; 0 if all rows are one point, lower is more even; NaN for one row.
    """
    num = len(z)
    if num < 2:
        return z.new_tensor(torch.nan)
    total, start = z.new_zeros(()), 0
    for part in z.split(chunk):
        potential = torch.exp(4 * (part @ z.T).clamp(-1, 1) - 4)
        # the potential of a row with itself, as rounded
        total = total + potential.sum() - potential.diagonal(start).sum()
        start += len(part)
    return torch.log((total / (num * (num - 1))).clamp_min(math.exp(-8)))


def embedding_std(z: Tensor) -> Tensor:
    """Standard deviation over rows, averaged over dimensions.

    Args:
        z: Unit rows, shape (rows, dim).

    Returns:
        Scalar in [0, 1 / sqrt(dim)]; the upper end is a centred, evenly spread cloud.
    """
    return z.std(dim=0, correction=0).mean()


def effective_rank(z: Tensor) -> Tensor:
    """Number of dimensions in use: exponential of the entropy of the singular values.

    From Roy and Vetterli, "The effective rank", EUSIPCO 2007. The rows are not centred: a
    constant embedding has rank 1, whatever noise lies on it.

    Args:
        z: Unit rows, shape (rows, dim).

    Returns:
        Scalar in [1, min(rows, dim)]; NaN if a value is not finite.
    """
    if not torch.isfinite(z).all():
        return z.new_tensor(torch.nan)
    values = torch.linalg.svdvals(z)
    share = values / values.sum().clamp_min(torch.finfo(z.dtype).tiny)
    return torch.exp(-torch.special.xlogy(share, share).sum())


def embedding_health(embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All health figures of paired embeddings.

    Args:
        embeddings: Unit rows per modality, each of shape (rows, dim); rows are paired.

    Returns:
        Scalars: ``modality_gap`` and ``alignment`` (mean over pairs of modalities, absent for
        a single one); ``uniformity``, ``embedding_std``, ``effective_rank`` and ``spread``
        (root of the summed variances) as the mean over modalities, and each of them per
        modality as ``<name>_<modality>``; ``hubness`` (skewness of the 10-occurrences) and
        ``anti_hubs`` as the mean over directions and per direction as
        ``<name>_<query>_to_<gallery>``, absent for a single modality, on at most 4096 rows.
    """
    figures: dict[str, Tensor] = {}
    pairs = list(combinations(embeddings.values(), 2))
    if pairs:
        figures['modality_gap'] = torch.stack(
            [modality_gap(a, b) for a, b in pairs]
        ).mean()
        figures['alignment'] = torch.stack([alignment(a, b) for a, b in pairs]).mean()
        figures.update(hub_figures(embeddings))
    for name, function in (
        ('uniformity', uniformity),
        ('embedding_std', embedding_std),
        ('effective_rank', effective_rank),
        ('spread', _spread),
    ):
        each = {m: function(z) for m, z in embeddings.items()}
        figures[name] = torch.stack(list(each.values())).mean()
        figures.update({f'{name}_{m}': value for m, value in each.items()})
    return figures


def verdict(embeddings: Mapping[str, Tensor]) -> Verdict:
    """Say in one sentence whether the encoders are alive.

    Collapsed means: an embedding is not finite; or the rows of a modality are (nearly) one
    point, with a spread below 0.05, that is a mean cosine above 0.9975; or they lie on one
    line, with an effective rank below 1.5. Fewer than two rows cannot be judged and count as
    healthy. The verdict does not tell whether the embeddings are *useful*: random
    directions are healthy. Hubs are not a collapse; they are mentioned if more than half of 100 or
    more rows of a gallery are among the first 10 of no query.

    Args:
        embeddings: Unit rows per modality, each of shape (rows, dim).

    Returns:
        Whether any modality has collapsed, and one sentence with the figures.

    Examples:
        >>> import torch
        >>> point = torch.nn.functional.normalize(torch.ones(8, 4))
        >>> verdict({'s1': point, 's2': point}).collapsed
        True
    """
    spreads = []
    for modality, z in embeddings.items():
        if not torch.isfinite(z).all():
            sentence = (
                f'the {modality} embeddings are not finite: training has diverged; lower '
                "the learning rate, or train with precision='32-true'"
            )
            return Verdict(True, sentence)
        if len(z) < 2:
            continue
        spread, rank = float(_spread(z)), float(effective_rank(z))
        if spread < MIN_SPREAD:
            sentence = (
                f'the {modality} encoder has collapsed: it gives nearly one embedding for '
                f'everything (spread {spread:.3g} of 1); check its input and statistics, or '
                'give the contrastive term more weight'
            )
            return Verdict(True, sentence)
        if z.shape[1] > 1 and rank < MIN_RANK:
            sentence = (
                f'the {modality} encoder has collapsed: its embeddings lie on one line '
                f'(effective rank {rank:.3g} of {z.shape[1]}); check its input and '
                'statistics, or give the contrastive term more weight'
            )
            return Verdict(True, sentence)
        spreads.append(f'{modality} uses {rank:.1f} of {z.shape[1]} dimensions')
    if not spreads:
        return Verdict(False, 'too few embeddings to judge')
    sentence = 'the embeddings are spread out: ' + ', '.join(spreads)
    return Verdict(False, sentence + hub_remark(embeddings))


def _spread(z: Tensor) -> Tensor:
    """Root of the variances summed over dimensions; sqrt(1 - |mean|^2) for unit rows."""
    return z.var(dim=0, correction=0).sum().sqrt()
