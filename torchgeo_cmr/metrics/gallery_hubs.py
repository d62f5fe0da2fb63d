"""Hubs: do a few rows of a gallery answer most queries, and others none?"""

import math
from collections.abc import Mapping
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ('Hubness', 'hub_figures', 'hub_remark', 'hubness')

#: Neighbours that count as an occurrence.
HUB_K = 10

#: Rows that hubness is measured on at most: it compares all with all.
HUB_ROWS = 4096

#: Fewest rows for a statement about hubs.
MIN_HUB_ROWS = 100

#: Share of rows that no query finds above which hubs are mentioned.
MANY_ANTI_HUBS = 0.5


class Hubness(NamedTuple):
    """How unevenly queries are answered."""

    #: Skewness of the k-occurrences: 0 if every row is found about as often as any other.
    skewness: Tensor
    #: Share of rows that are among the first k of no query, in [0, 1].
    anti_hubs: Tensor


def hubness(
    queries: Tensor, gallery: Tensor, *, k: int = HUB_K, chunk: int = 1024
) -> Hubness:
    r"""Whether a few rows answer most queries, and others none.

    The k-occurrence :math:`N_k(x)` of a row of the gallery is the number of queries that have
    it among their *k* nearest. In many dimensions, or across a modality gap, it is skewed: hubs
    crowd out all others. From Radovanovic et al., "Hubs in space", JMLR 11, 2010, whose
    measure is the skewness :math:`E[(N_k - \mu)^3] / \sigma^3`.

    Args:
        queries: Unit rows, shape (queries, dim).
        gallery: Unit rows that are searched, shape (rows, dim); those of another modality, or
            a row would find itself.
        k: Neighbours that count as an occurrence; at most as many as rows.
        chunk: Queries compared with all rows at once (memory only).

    Returns:
        Skewness and share of anti-hubs; NaN if a value is not finite or there is no row.
        Equal scores have no stated order.

    Examples:
        >>> import torch
        >>> vectors = torch.eye(4)
        >>> hubness(vectors, vectors, k=1)
        Hubness(skewness=tensor(0.), anti_hubs=tensor(0.))
    """
    finite = torch.isfinite(queries).all() and torch.isfinite(gallery).all()
    if not finite or not len(queries) or not len(gallery):
        nan = gallery.new_tensor(torch.nan)
        return Hubness(nan, nan)
    counts = gallery.new_zeros(len(gallery), dtype=torch.int64)
    for part in queries.split(chunk):
        nearest = (part @ gallery.T).topk(min(k, len(gallery)), dim=1).indices
        counts += torch.bincount(nearest.flatten(), minlength=len(gallery))
    off = counts.float() - counts.float().mean()
    std = off.square().mean().sqrt()
    skewness = off.pow(3).mean() / std.pow(3) if std > 0 else torch.zeros_like(std)
    return Hubness(skewness.to(gallery.dtype), (counts == 0).to(gallery.dtype).mean())


def _hubs(embeddings: Mapping[str, Tensor]) -> dict[str, Hubness]:
    """Measure each direction of one width, on evenly spaced rows if there are many."""
    few = {m: z[:: max(1, math.ceil(len(z) / HUB_ROWS))] for m, z in embeddings.items()}
    return {
        f'{query}_to_{gallery}': hubness(few[query], few[gallery])
        for query, gallery in permutations(few, 2)
        if few[query].shape[1] == few[gallery].shape[1]
    }


def hub_figures(embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the hubness of each direction and its mean."""
    hubs = _hubs(embeddings)
    if not hubs:
        return {}
    figures: dict[str, Tensor] = {}
    for name, position in (('hubness', 0), ('anti_hubs', 1)):
        each = {direction: found[position] for direction, found in hubs.items()}
        figures[name] = torch.stack(list(each.values())).mean()
        figures.update({f'{name}_{d}': value for d, value in each.items()})
    return figures


def hub_remark(embeddings: Mapping[str, Tensor]) -> str:
    """Say which direction has the most unreachable rows, if they are very many."""
    if min(map(len, embeddings.values())) < MIN_HUB_ROWS:
        return ''
    shares = {d: float(found.anti_hubs) for d, found in _hubs(embeddings).items()}
    worst = max(shares, key=lambda direction: shares[direction], default=None)
    if worst is None or not shares[worst] > MANY_ANTI_HUBS:
        return ''
    return (
        f'; but a few hubs answer most queries: from {worst.replace("_to_", " to ")}, '
        f'{shares[worst]:.0%} of the rows are among the first {HUB_K} of no query'
    )
