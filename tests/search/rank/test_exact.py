"""top_k against a sort of every score."""

import numpy as np
import pytest

from torchgeo_cmr.search.rank import candidates as pool
from torchgeo_cmr.search.rank import exact, scan
from torchgeo_cmr.search.rank.exact import above, top_k
from torchgeo_cmr.search.rank.hidden_rows import HiddenRows
from torchgeo_cmr.search.rank.vectors import Vectors, encode


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
@pytest.mark.parametrize('block', [4, 33, 8192, None])
def test_against_a_sort(
    monkeypatch: pytest.MonkeyPatch, k: int, block: int | None
) -> None:
    """In blocks, and all at once."""
    monkeypatch.setattr(exact, '_AT_ONCE', 10_000 if block is None else 0)
    block = block or 1
    monkeypatch.setattr(scan, '_ROWS', block)
    monkeypatch.setattr(scan, '_LONG', 2 * block)
    monkeypatch.setattr(scan, '_SMALL', 160)
    monkeypatch.setattr(scan, '_FEW', 2)
    monkeypatch.setattr(scan, '_ALONE', 30)
    monkeypatch.setattr(scan, '_ALONE_OF_MANY', 30)
    monkeypatch.setattr(exact, '_QUERIES', 3)
    monkeypatch.setattr(exact, '_PAIRS', 50)
    monkeypatch.setattr(pool, '_SPARE', 1)
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


@pytest.mark.parametrize('at_once', [0, 1 << 20])
def test_ties_across_position_k_and_blocks(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(exact, '_AT_ONCE', at_once)
    monkeypatch.setattr(scan, '_ROWS', 16)
    monkeypatch.setattr(scan, '_ALONE', 30)
    monkeypatch.setattr(scan, '_ALONE_OF_MANY', 30)
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


@pytest.mark.parametrize('kind', ['float16', 'int8', 'binary'])
@pytest.mark.parametrize('num_queries', [1, 9])
def test_codes_change_no_answer(kind: str, num_queries: int) -> None:
    """What the codes cannot rule out is looked at again."""
    rng = np.random.default_rng(5)
    base = unit(rng, 40, 24)
    # Neighbours so close that rounding to int8 puts them in another order.
    near = base[rng.integers(0, 40, 3000)] + rng.normal(0, 0.002, (3000, 24))
    vectors = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    kept = Vectors(vectors, kind, *encode(vectors, kind))
    ties = rng.permutation(3000)
    queries = base[:num_queries]
    for rows in (np.arange(3000), np.sort(rng.choice(3000, 700, replace=False))):
        told = top_k(vectors, rows, queries, 20, ties=ties)
        found = top_k(kept, rows, queries, 20, ties=ties)
        assert (found[0] == told[0]).all()
        assert (found[1] == told[1]).all()
    few = top_k(kept, np.arange(3000), queries, 20, ties=ties, spare=1)[0]
    told = top_k(vectors, np.arange(3000), queries, 20, ties=ties)[0]
    if kind == 'int8':
        assert (few != told).any()  # the second look was needed


@pytest.mark.parametrize('hidden', [0, 40, 2_000])
def test_signs_propose_what_agrees_best(hidden: int) -> None:
    """As a sort of all Hamming distances does, hidden rows left out."""
    rng = np.random.default_rng(4)
    vectors, queries = unit(rng, 3_000, 40), unit(rng, 5, 40)
    kept = Vectors(vectors, 'binary', *encode(vectors, 'binary'))
    pairs = np.unique(rng.integers(0, (5, 3_000), (hidden, 2)), axis=0)
    pairs = pairs[np.argsort(pairs[:, 1], kind='stable')]
    held = HiddenRows(pairs[:, 0], pairs[:, 1]) if hidden else None
    ties = np.arange(3_000)
    for rows in (ties, ties[100:900], np.flatnonzero(rng.random(3_000) < 0.3)):
        found, scores = top_k(
            kept, rows, queries, 5, ties=ties, spare=30, withheld=held
        )
        for i, query in enumerate(queries):
            free = rows[~np.isin(rows, pairs[pairs[:, 0] == i, 1])]
            differ = ((vectors[free] > 0) != (query > 0)).sum(axis=1)
            last = np.sort(differ)[149]
            truth = np.sort(vectors[free[differ < last]] @ query)[::-1][:5]
            assert np.isin(found[i], free).all()
            assert (differ[np.searchsorted(free, found[i])] <= last).all()
            # Of equal distances any may be looked at.
            assert (scores[i] >= truth - 1e-6).all()


def test_above_is_a_cut_through_all_scores() -> None:
    rng = np.random.default_rng(2)
    vectors = unit(rng, 5, 12)[rng.integers(0, 5, 300)]
    queries, ties = unit(rng, 6, 12), rng.permutation(300)
    rows = np.sort(rng.choice(300, 200, replace=False))
    all_rows, all_scores = top_k(vectors, rows, queries, 200, ties=ties)
    for kind in ('float32', 'int8', 'binary'):
        kept = Vectors(vectors, kind, *encode(vectors, kind))
        least = float(all_scores[3, 60])
        owner, row, score = above(kept, rows, queries, least, ties=ties)
        for i in range(6):
            good = all_scores[i] >= np.float32(least)
            assert row[owner == i].tolist() == all_rows[i][good].tolist()
            assert score[owner == i].tolist() == all_scores[i][good].tolist()
    assert len(above(vectors, rows[:0], queries, -1, ties=ties)[0]) == 0
    assert len(above(vectors, rows, queries, 1.1, ties=ties)[0]) == 0


def test_packed_codes_are_compared_by_their_bits() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 256, (200, 5), dtype=np.uint8)
    ties = rng.permutation(200)
    rows = np.sort(rng.choice(200, 150, replace=False))
    found, scores = top_k(codes, rows, codes[:7], 30, ties=ties)
    for i in range(7):
        bits = np.unpackbits(codes[rows] ^ codes[i], axis=1).sum(axis=1)
        order = np.lexsort((ties[rows], bits))[:30]
        assert found[i].tolist() == rows[order].tolist()
        assert scores[i] == pytest.approx(1 - 2 * bits[order] / 40)
