"""A scan gives every row's score once, and never wakes the threads of the BLAS."""

import threading
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.search.rank import scan
from torchgeo_cmr.search.rank.vectors import Vectors, as_vectors, encode


def unit(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = rng.normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Everything:
    def __init__(self) -> None:
        self.rows, self.scores = [], []
        self.threads: set[int] = set()

    def add(self, rows: np.ndarray, scores: np.ndarray) -> None:
        self.rows.append(rows)
        self.scores.append(scores.copy())
        self.threads.add(threading.get_ident())


def scores_of(
    vectors: Vectors, rows: np.ndarray, queries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    sinks = scan.scan(vectors, rows, queries, Everything)
    told = np.concatenate([some for sink in sinks for some in sink.rows])
    scores = np.concatenate([some for sink in sinks for some in sink.scores], axis=1)
    order = np.argsort(told)
    return told[order], scores[:, order]


@pytest.mark.parametrize('num_queries', [1, 3, 5, 70])
@pytest.mark.parametrize('kind', ['float32', 'float16', 'int8'])
def test_every_row_is_scored_once(
    monkeypatch: pytest.MonkeyPatch, num_queries: int, kind: str
) -> None:
    monkeypatch.setattr(scan, '_ROWS', 37)
    monkeypatch.setattr(scan, '_LONG', 37)
    monkeypatch.setattr(scan, '_SMALL', 1_000)
    monkeypatch.setattr(scan, '_ALONE', 10)
    monkeypatch.setattr(scan, '_ALONE_OF_MANY', 10)
    monkeypatch.setattr(scan, 'cores', lambda: 3)
    rng = np.random.default_rng(num_queries)
    vectors, queries = unit(rng, 900, 24), unit(rng, num_queries, 24)
    kept = Vectors(vectors, kind, *encode(vectors, kind))
    tolerance = kept.error + 1e-6
    for rows in (np.arange(900), np.sort(rng.choice(900, 301, replace=False))):
        told, scores = scores_of(kept, rows, queries)
        assert (told == rows).all()
        truth = queries.astype(float) @ vectors[rows].T
        assert np.abs(scores - truth).max() <= tolerance


@pytest.mark.parametrize('num_queries', [5, 64, 300])
@pytest.mark.parametrize('dim', [16, 256, 300_000])
def test_no_product_is_large_enough_for_threads_of_the_blas(
    monkeypatch: pytest.MonkeyPatch, num_queries: int, dim: int
) -> None:
    largest = []
    matmul = np.matmul

    def watched(a: Any, b: Any, **words: Any) -> Any:
        largest.append(a.shape[-2] * a.shape[-1] * b.shape[-1])
        return matmul(a, b, **words)

    monkeypatch.setattr(np, 'matmul', watched)
    n = 6 if dim > 1_000 else 2_000
    vectors = np.full((n, dim), dim**-0.5, np.float32)
    _, scores = scores_of(as_vectors(vectors), np.arange(n), vectors[:num_queries])
    assert np.abs(scores - 1).max() < 1e-3
    assert 0 < max(largest) <= max(scan._SMALL, dim) < 2**19


def test_a_thread_that_is_held_up_leaves_the_rest_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan, '_ROWS', 10)
    monkeypatch.setattr(scan, '_ALONE', 10)
    monkeypatch.setattr(scan, '_ALONE_OF_MANY', 10)
    monkeypatch.setattr(scan, 'cores', lambda: 2)
    rest = threading.Event()
    taken: list[int] = []

    class Slow(Everything):
        def add(self, rows: np.ndarray, scores: np.ndarray) -> None:
            super().add(rows, scores)
            taken.extend(rows.tolist())
            if 0 in rows:
                assert rest.wait(10)  # until all others are done
            elif len(taken) >= 1_000 - 10:
                rest.set()

    rng = np.random.default_rng(0)
    vectors = unit(rng, 1_000, 8)
    sinks = scan.scan(as_vectors(vectors), np.arange(1_000), vectors[:5], Slow)
    assert sorted(taken) == list(range(1_000))
    assert [len(sink.rows) for sink in sinks] in ([1, 99], [99, 1])


def test_dense_rows_are_sliced_and_scattered_ones_gathered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    vectors, query = unit(rng, 5000, 8), unit(rng, 1, 8)
    rows = np.unique(
        np.concatenate(
            [
                np.arange(100, 900),
                np.flatnonzero(rng.random(3000) < 0.6),
                rng.integers(0, 5000, 90),
            ]
        )
    )
    read: list[object] = []
    decode = Vectors.decode

    def watched(self: Vectors, some: slice | np.ndarray) -> np.ndarray:
        read.append(some)
        return decode(self, some)

    monkeypatch.setattr(Vectors, 'decode', watched)
    numbers, scores = scores_of(as_vectors(vectors), rows, query)
    assert (numbers == rows).all()
    assert scores[0] == pytest.approx(vectors[rows] @ query[0], abs=1e-6)
    assert {type(some) for some in read} == {slice, np.ndarray}
