"""Checks of bare query vectors and of k."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.number_checks import is_real, is_whole


def bare(queries: ArrayLike, *, packed: bool = False) -> NDArray[Any]:
    """Check bare vectors and bring them to unit norm.

    Args:
        queries: Vectors (num_queries, dim) or (dim,).
        packed: They are packed codes of uint8, which are taken as they are.

    Returns:
        float32 (num_queries, dim), or uint8 (num_queries, bytes).

    Raises:
        QueryError: If they have no such shape, or hold NaN or only zeros.
    """
    tensor: Any = queries
    if hasattr(tensor, 'detach'):
        # PyTorch keeps some from NumPy: on a device, with gradients, of types of its own.
        tensor = tensor.detach().cpu()
        tensor = tensor.double() if tensor.is_floating_point() else tensor
    try:
        given = np.asarray(tensor)
    except ValueError as error:
        raise QueryError(
            'the queries have different lengths; give (num_queries, dim)'
        ) from error
    if given.ndim == 1:
        given = given[None]
    if packed:
        if given.ndim != 2 or given.dtype != np.uint8:
            raise QueryError(
                f'queries have shape {given.shape} and type {given.dtype}; this archive holds '
                'packed codes, so give uint8 (num_queries, bytes)'
            )
        return given
    if given.ndim != 2 or given.shape[1] == 0 or given.dtype.kind not in 'fiu':
        raise QueryError(
            f'queries have shape {given.shape} and type {given.dtype}; give real numbers (num_queries, dim)'
        )
    given = given.astype(np.float64)
    largest = np.abs(given).max(axis=1, keepdims=True)
    if not ((largest > 0) & (largest < np.inf)).all():
        finite = np.isfinite(largest)
        if finite.all():
            raise QueryError(
                f'query {int(np.argmin(largest))} holds only zeros, which point nowhere'
            )
        raise QueryError(
            f'query {int(np.argmin(finite))} holds NaN or infinite numbers'
        )
    given /= largest
    length = np.sqrt((given * given).sum(axis=1, keepdims=True))
    return (given / length).astype(np.float32)


def checked(k: int) -> int:
    """Check how many rows are requested.

    Raises:
        QueryError: If k is not a whole number of at least 1.
    """
    if not is_whole(k):
        raise QueryError(f'k is {k!r}; give a whole number of at least 1')
    if k < 1:
        raise QueryError(f'k is {k}; give at least 1 row per query')
    return int(k)


def check_least(score: float | None, *, calibrated: bool = False) -> None:
    """Check the least score that is requested.

    Args:
        score: The score.
        calibrated: Whether scores are standard deviations and not cosines.

    Raises:
        QueryError: If it is neither a number nor None, or one that no cosine reaches.
    """
    if score is None:
        return
    if not is_real(score) or np.isnan(score):
        raise QueryError(f'min_score is {score!r}; give a number, such as 0.8, or None')
    if score > 1 and not calibrated:
        raise QueryError(
            f'min_score is {score:g}, which no cosine reaches; give at most 1, such as 0.8'
        )
