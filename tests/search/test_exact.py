"""top_k against a sort of every score."""

import numpy as np
import pytest

from torchgeo_cmr.search import exact
from torchgeo_cmr.search.exact import top_k


def unit(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = rng.normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def slow(
    vectors: np.ndarray, rows: np.ndarray, query: np.ndarray, k: int, ties: np.ndarray
) -> list[int]:
    score = {
        int(r): np.float32(
            sum(float(a) * float(b) for a, b in zip(vectors[r], query, strict=True))
        )
        for r in rows
    }
    return sorted(score, key=lambda r: (-score[r], ties[r]))[:k]


@pytest.mark.parametrize('k', [1, 7, 100])
@pytest.mark.parametrize('block', [4, 33, 8192])
def test_against_a_sort(monkeypatch: pytest.MonkeyPatch, k: int, block: int) -> None:
    monkeypatch.setattr(exact, '_ROWS', block)
    monkeypatch.setattr(exact, '_QUERIES', 3)
    monkeypatch.setattr(exact, '_PAIRS', 50)
    rng = np.random.default_rng(k)
    vectors, queries = unit(rng, 100, 8), unit(rng, 7, 8)
    ties = rng.permutation(100)
    for rows in (np.arange(100), np.sort(rng.choice(100, 40, replace=False))):
        found, scores = top_k(vectors, rows, queries, k, ties=ties)
        assert found.shape == scores.shape == (7, min(k, len(rows)))
        assert scores.dtype == np.float32
        for i, query in enumerate(queries):
            assert found[i].tolist() == slow(vectors, rows, query, k, ties)
        assert (np.diff(scores, axis=1) <= 0).all()


def test_ties_across_position_k_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, '_ROWS', 16)
    rng = np.random.default_rng(1)
    base = unit(rng, 5, 64)
    vectors = base[rng.integers(0, 5, 200)]
    ties = rng.permutation(200)
    queries = np.vstack([base, unit(rng, 4, 64)])
    found, _ = top_k(vectors, np.arange(200), queries, 25, ties=ties)
    for i, query in enumerate(queries):
        assert found[i].tolist() == slow(vectors, np.arange(200), query, 25, ties)


def test_scores_stay_within_one() -> None:
    vectors = unit(np.random.default_rng(0), 50, 300)
    _, scores = top_k(vectors, np.arange(50), vectors, 1, ties=np.arange(50))
    assert (scores <= 1).all()
    assert scores.min() == pytest.approx(1, abs=1e-6)


def test_no_rows_and_no_queries() -> None:
    vectors = unit(np.random.default_rng(0), 5, 3)
    assert top_k(vectors, np.array([], dtype=np.int64), vectors, 3, ties=np.arange(5))[
        0
    ].shape == (5, 0)
    assert top_k(vectors, np.arange(5), vectors[:0], 3, ties=np.arange(5))[0].shape == (
        0,
        3,
    )
