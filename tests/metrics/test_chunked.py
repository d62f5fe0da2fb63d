import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from torchgeo_cmr.metrics import functional as F


def rows(num: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(num, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def order(queries: np.ndarray, archive: np.ndarray, **options: object) -> np.ndarray:
    """Rows of all blocks together."""
    parts = list(F.rank_blocks(queries, archive, **options))  # ty: ignore
    return np.concatenate([part.rows for part in parts])


@pytest.mark.parametrize('k', [None, 1, 7, 30, 100])
@pytest.mark.parametrize('memory', [1, 40_000, 2**30])
def test_equals_a_sorted_table(k: int | None, memory: int) -> None:
    q, a = rows(23), rows(60, seed=1)
    scores = F.dot_product(q, a)
    expected = [
        sorted(range(60), key=lambda i, row=row: (-row[i], i))[:k] for row in scores
    ]
    found = list(F.rank_blocks(q, a, k=k, memory=memory))
    assert len(found) > 1 or memory > 40_000
    assert np.concatenate([b.rows for b in found]).tolist() == expected
    start = 0
    for block in found:
        assert block.queries.start == start
        start = block.queries.stop
        picked = np.take_along_axis(scores[block.queries], block.rows, axis=1)
        np.testing.assert_array_equal(block.scores, picked)
    assert start == 23


@pytest.mark.parametrize('k', [None, 5])
def test_equal_vectors_keep_their_order(k: int | None) -> None:
    # more items than are multiplied at once, and more than a kernel takes
    q, one = rows(3, 37), rows(1, 37, 1)
    found = order(q, np.repeat(one, 5000, axis=0), k=k)
    np.testing.assert_array_equal(found, np.tile(np.arange(5000)[:k], (3, 1)))


@pytest.mark.parametrize('k', [None, 2, 4])
def test_nan_and_excluded_items_go_last(k: int | None) -> None:
    def similarity(q: np.ndarray, a: np.ndarray) -> np.ndarray:
        scores = np.tile(-np.arange(len(a), dtype=np.float32), (len(q), 1))
        scores[:, 3] = np.nan
        scores[:, 5] = -np.inf
        return scores

    leave = np.zeros((2, 20), bool)
    leave[0, 0] = True
    leave[1] = True
    for exclude in (leave, lambda part: leave[part]):
        found = order(
            np.ones((2, 1)),
            np.ones((20, 1)),
            k=k,
            exclude=exclude,
            similarity=similarity,
            memory=1,
        )
        others = [1, 2, 4, *range(6, 20)]
        assert found[0].tolist() == [*others, 5, 0, 3][:k]
        assert found[1].tolist() == [*range(20)][:k]
    assert order(np.ones((1, 1)), np.ones((2, 1)), exclude=lambda part: None).size == 2


def test_order_of_the_archive_does_not_matter_without_ties() -> None:
    q, a = rows(10), rows(80, seed=1)
    mixed = np.random.default_rng(0).permutation(80)
    np.testing.assert_array_equal(mixed[order(q, a[mixed], k=9)], order(q, a, k=9))


def test_random_order_depends_on_the_seed_alone() -> None:
    q, a = rows(30), rows(50)
    first, again, other = (
        order(q, a, similarity=F.RandomOrder(seed), memory=memory)
        for seed, memory in ((0, 1), (0, 2**30), (1, 2**30))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert abs(np.mean(first[:, 0]) - 24.5) < 4 * 14.4 / np.sqrt(30)


@pytest.mark.slow
@pytest.mark.parametrize('k', [None, 10])
def test_stays_within_memory(k: int | None) -> None:
    # scaled down: the table of scores alone would take 96 MB
    q, a = rows(2000), rows(12_000, seed=1)
    memory = 8 * 2**20
    tracemalloc.start()
    try:
        ranks = sum(b.rows.size for b in F.rank_blocks(q, a, k=k, memory=memory))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ranks == 2000 * (k or 12_000)
    assert peak < memory


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: order(rows(1, 2), rows(1, 3)), r'found shapes \(1, 2\) and \(1, 3\)'),
        (lambda: order(rows(1), rows(1), k=0), 'at least 1, found 0'),
        (
            lambda: order(rows(2), rows(3), exclude=np.ones((2, 2))),
            r'exclude must give \(queries, items\), \(2, 3\), found \(2, 2\)',
        ),
        (
            lambda: order(rows(2), rows(3), similarity=lambda q, a: q),
            r'similarity must give .* found \(2, 8\)',
        ),
    ],
)
def test_refuses_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
