"""Unit rows of many kinds."""

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope='session')
def rows_of() -> Callable[..., np.ndarray]:
    """Give a function that makes rows of a kind."""

    def made(kind: str, n: int = 400, dim: int = 37) -> np.ndarray:
        """Make unit rows: even, of a few large numbers, equal, of one number, or tiny beside one."""
        rng = np.random.default_rng(3)
        rows = rng.normal(size=(n, dim))
        if kind == 'few':
            rows = rows**9
        elif kind == 'equal':
            rows = np.sign(rows)
        elif kind == 'one':
            rows = np.eye(dim)[np.arange(n) % dim] * np.sign(rows)
        elif kind == 'tiny':
            rows[:, 1:] *= 1e-30
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return made
