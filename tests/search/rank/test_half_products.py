"""Products of float16: as good as those of float32 of the same rows, and used for few queries."""

from collections.abc import Callable

import numpy as np
import pytest

from torchgeo_cmr.search.rank import half_products, integer_products
from torchgeo_cmr.search.rank import scan as scanning
from torchgeo_cmr.search.rank.exact import top_k
from torchgeo_cmr.search.rank.vectors import Vectors, encode

type Rows = Callable[..., np.ndarray]

pytestmark = pytest.mark.skipif(
    not integer_products.KERNELS, reason='numkong is not installed'
)


@pytest.mark.parametrize('dim', [1, 3, 20, 64, 257, 1100])
@pytest.mark.parametrize('kind', ['even', 'few', 'equal', 'one', 'tiny'])
def test_scores_are_as_good_as_those_of_float32(
    kind: str, dim: int, rows_of: Rows
) -> None:
    rows = rows_of(kind, 90, dim)
    half, queries = rows.astype(np.float16), rows[:5]
    products = half_products.HalfProducts(queries, 90)
    for chosen in (slice(3, 80), np.array([0, 5, 6, 89])):
        made = np.empty((len(rows[chosen]), 5), np.float32)
        products.scores(half, chosen, made)
        truth = half[chosen].astype(np.float64) @ queries.T.astype(np.float64)
        assert np.abs(made - truth).max() <= (dim + 6) * 2.0**-24


def test_this_processor_is_precise() -> None:
    half_products.is_precise.cache_clear()
    assert half_products.is_precise()


def test_kernels_that_add_in_float16_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def coarse(
        products: object, codes: np.ndarray, rows: slice, out: np.ndarray
    ) -> None:
        out[:] = 1e-3

    monkeypatch.setattr(half_products.HalfProducts, 'scores', coarse)
    half_products.is_precise.cache_clear()
    assert not half_products.is_precise()
    half_products.is_precise.cache_clear()


@pytest.mark.parametrize('num_queries', [1, 8, 9])
@pytest.mark.parametrize('gaps', [False, True])
def test_answers_are_those_of_float32(
    monkeypatch: pytest.MonkeyPatch, num_queries: int, gaps: bool, rows_of: Rows
) -> None:
    rows = rows_of('even', 40_000, 24)
    codes, scale, error, lost = encode(rows, 'float16')
    kept = Vectors(rows, 'float16', codes, scale, error, lost)
    some = np.arange(len(rows))[:: 3 if gaps else 1]
    made = []
    multiplied = scanning._multiplied

    def counted(*words: object) -> object:
        made.append(words)
        return multiplied(*words)  # ty: ignore[invalid-argument-type]

    monkeypatch.setattr(scanning, '_multiplied', counted)
    ties = np.arange(len(rows))
    found = top_k(kept, some, rows[:num_queries], 7, ties=ties)
    assert bool(made) == (num_queries <= half_products.FEW)
    truth = top_k(rows, some, rows[:num_queries], 7, ties=ties)
    assert (found[0] == truth[0]).all()
    assert (found[1] == truth[1]).all()
