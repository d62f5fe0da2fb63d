"""Heads: a bound on every score, and made only where they rule something out."""

from collections.abc import Callable

import numpy as np
import pytest

from torchgeo_cmr.search.rank.principal_heads import Heads, heads_of
from torchgeo_cmr.search.rank.pruning import HeadBounds

type Rows = Callable[..., np.ndarray]


def decaying(n: int, dim: int, seed: int = 0) -> np.ndarray:
    """Make unit rows of which few axes tell most, turned, off the origin."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    rows = rng.normal(size=(n, dim)) * 0.5 ** np.arange(dim) + 0.3 * np.eye(dim)[0]
    rows = rows @ turn
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('dim', [64, 128])
def test_scores_are_within_their_margin(dim: int, rows_of: Rows) -> None:
    rows = decaying(3_000, dim)
    heads = heads_of(rows)
    assert heads is not None
    assert heads.coordinates.shape == (3_000, heads.axes.shape[1])
    # Queries of another kind, too.
    queries = np.vstack([rows[:20], rows_of('even', 20, dim), rows_of('one', 5, dim)])
    bounds = HeadBounds(heads, queries)
    every = np.arange(len(rows))
    truth = queries.astype(np.longdouble) @ rows.T.astype(np.longdouble)
    off = np.abs(truth - bounds.sample(every))
    margin = bounds.margin.of(np.arange(len(queries))[:, None], every)
    assert (off <= margin).all()
    assert np.median(off / margin) > 0.001


@pytest.mark.parametrize('kind', ['even', 'few', 'equal', 'one'])
def test_not_made_of_flat_spectra(kind: str, rows_of: Rows) -> None:
    assert heads_of(rows_of(kind, 2_000, 128)) is None


def test_not_made_of_few_or_short_rows() -> None:
    assert heads_of(decaying(20, 64)) is None
    assert heads_of(decaying(500, 24)) is None
    made = heads_of(decaying(500, 64))
    assert isinstance(made, Heads)
