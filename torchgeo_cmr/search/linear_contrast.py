"""Symmetric InfoNCE over two linear maps, in NumPy: search does not load torch."""

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.progress.bars import steps as each

type _Floats = NDArray[np.float64]

#: Adam.
_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8
_BATCH = 512


def contrast(
    a: _Floats, b: _Floats, temperature: float, steps: int, rng: np.random.Generator
) -> tuple[_Floats, _Floats]:
    """Minimise symmetric InfoNCE over two linear maps with Adam, from orthogonal ones.

    Args:
        a: Centred vectors of one modality, shape (pairs, dim).
        b: Those of the other, shape (pairs, other dim); row i belongs to row i.
        temperature: Divisor of the cosines, above 0.
        steps: Steps on at most 512 pairs each.
        rng: Draws the pairs.

    Returns:
        Maps (dim, common dim) and (other dim, common dim).

    Raises:
        QueryError: If a number is out of its range.
    """
    if not temperature > 0 or steps < 1:
        raise QueryError('temperature must be above 0 and steps at least 1')
    left, _, right = np.linalg.svd(a.T @ b, full_matrices=False)
    maps = [left, right.T]
    moments = [[np.zeros_like(w), np.zeros_like(w)] for w in maps]
    rate = 1e-2 * float(np.abs(left).mean())
    for step in each(range(1, steps + 1), 'step', 'fit'):
        rows = rng.permutation(len(a))[:_BATCH]
        slopes = _slopes(a[rows], b[rows], maps, temperature)
        for weight, slope, (mean, square) in zip(maps, slopes, moments, strict=True):
            mean += (1 - _FIRST) * (slope - mean)
            square += (1 - _SECOND) * (slope**2 - square)
            corrected = mean / (1 - _FIRST**step)
            weight -= rate * corrected / (np.sqrt(square / (1 - _SECOND**step)) + _TINY)
    return maps[0], maps[1]


def _slopes(
    a: _Floats, b: _Floats, maps: list[_Floats], temperature: float
) -> tuple[_Floats, _Floats]:
    """Give the gradient of symmetric InfoNCE by both maps."""
    projected = a @ maps[0], b @ maps[1]
    lengths = [np.linalg.norm(z, axis=1, keepdims=True) + _TINY for z in projected]
    u, v = (z / n for z, n in zip(projected, lengths, strict=True))
    logits = u @ v.T / temperature
    wrong = _softmax(logits) + _softmax(logits.T).T - 2 * np.eye(len(a))
    wrong /= 2 * len(a) * temperature
    made = []
    for unit, length, pull, x in (
        (u, lengths[0], wrong @ v, a),
        (v, lengths[1], wrong.T @ u, b),
    ):
        along = (pull * unit).sum(axis=1, keepdims=True)
        made.append(x.T @ ((pull - along * unit) / length))
    return made[0], made[1]


def _softmax(logits: _Floats) -> _Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
