"""Distances between feature vectors that are not the cosine. NumPy only."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ('chi_square', 'euclidean_similarity')


def chi_square(
    queries: ArrayLike, archive: ArrayLike, *, chunk: int = 256
) -> NDArray[np.float64]:
    r"""Chi-square distance between rows of non-negative features.

    .. math::

       \frac{1}{2} \sum_d \frac{(u_d - v_d)^2}{u_d + v_d + 10^{-10}}

    The distance with which the precursor of SS-CM-RSIR (https://arxiv.org/abs/2202.11429)
    ranks the outputs of a ``'linear_relu'`` head, of fused sensors. Smaller is closer, so
    rank by its negative where scores are wanted. It depends on the length of the rows: give
    it raw features, not the unit rows of an archive.

    Args:
        queries: Features, shape (queries, dim), at least 0.
        archive: Features, shape (items, dim), at least 0.
        chunk: Archive rows compared at once (memory only).

    Returns:
        Shape (queries, items), float64, at least 0; half the sum of both rows at most.

    Raises:
        ValueError: If a feature is negative or not finite, or widths differ.

    Example:
        >>> chi_square([[0.2, 0.0, 0.8]], [[0.5, 0.1, 0.4]]).round(6).item()
        0.180952
    """
    u, v = np.asarray(queries, np.float64), np.asarray(archive, np.float64)
    if u.ndim != 2 or v.ndim != 2 or u.shape[1] != v.shape[1]:
        raise ValueError(
            'chi-square compares matrices of one width, found shapes '
            f'{u.shape} and {v.shape}'
        )
    if chunk < 1:
        raise ValueError(f'chunk must be at least 1, found {chunk}')
    for name, x in (('queries', u), ('archive', v)):
        if x.size and not x.min() >= 0:
            raise ValueError(
                f'chi-square needs features of at least 0, found {x.min():.6g} in the {name}: '
                "take the outputs of a 'linear_relu' head, or the cosine"
            )
        if not np.isfinite(x).all():
            raise ValueError(f'chi-square needs finite features in the {name}')
    distances = np.empty((len(u), len(v)))
    for start in range(0, len(v), chunk):
        part = v[start : start + chunk]
        for i, row in enumerate(u):
            share = (row - part) ** 2 / (row + part + 1e-10)
            distances[i, start : start + chunk] = share.sum(axis=1) / 2
    return distances


def euclidean_similarity(queries: ArrayLike, archive: ArrayLike) -> NDArray[np.float32]:
    """Negative squared Euclidean distance: ranks as the distance does, closest first.

    The distance in which CMIR-NET (https://arxiv.org/abs/1904.04794) ranks its embeddings,
    which are not unit rows. Distances are rounded to 2^-40 of the squared lengths of both rows,
    less than float32 features tell apart, so that equal rows score equal.

    Args:
        queries: Features, shape (queries, dim).
        archive: Features, shape (items, dim).

    Returns:
        Shape (queries, items), float32, at most 0 but for rounding.

    Example:
        >>> euclidean_similarity([[0.0, 0.0]], [[3.0, 4.0], [1.0, 0.0]]).tolist()
        [[-25.0, -1.0]]
    """
    u, v = np.asarray(queries, np.float64), np.asarray(archive, np.float64)
    lengths = (u**2).sum(axis=1)[:, None] + (v**2).sum(axis=1)
    unit = np.spacing(lengths) * 2.0**12
    return (np.rint((2 * u @ v.T - lengths) / unit) * unit).astype(np.float32)
