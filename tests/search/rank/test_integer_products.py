"""Scores of bytes: within their bound, and the same with kernels and without."""

import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from torchgeo_cmr.search.rank import integer_products as module
from torchgeo_cmr.search.rank.int8_codes import encode_int8
from torchgeo_cmr.search.rank.integer_products import Products, round_queries

type Rows = Callable[..., np.ndarray]

KERNELS = pytest.mark.skipif(not module.KERNELS, reason='numkong is not installed')


@pytest.mark.parametrize('kernels', [False, pytest.param(True, marks=KERNELS)])
@pytest.mark.parametrize('num_queries', [1, 5, 40])
@pytest.mark.parametrize('fine', [False, True])
@pytest.mark.parametrize('kind', ['even', 'few', 'equal', 'one', 'tiny'])
def test_scores_are_within_their_bound(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    fine: bool,
    num_queries: int,
    kernels: bool,
    rows_of: Rows,
) -> None:
    monkeypatch.setattr(module, 'KERNELS', kernels)
    rows = rows_of(kind)
    queries = np.vstack([rows[:20], rows_of('even')[:20]])[-num_queries:]
    codes, rounded = encode_int8(rows), round_queries(queries, fine=fine)
    made = np.empty((len(rows), num_queries), np.float32)
    Products(rounded, len(rows)).scores(codes, slice(0, len(rows)), made)
    truth = rows.astype(np.longdouble) @ queries.T.astype(np.longdouble)
    bound = rounded.off + rounded.norm * codes.lost[:, None]
    off = np.abs(truth / rounded.unit - made)
    assert (off <= bound).all()
    # A few queries may keep their remainders, so that only the rows are off.
    if kind == 'even':
        kept = fine and num_queries <= 16
        assert ((rounded.off * rounded.unit < 1e-4) == kept).all()


@KERNELS
@pytest.mark.parametrize('dim', [1, 3, 20, 64, 100, 257, 1100])
@pytest.mark.parametrize('num_queries', [1, 17])
@pytest.mark.parametrize('pairs', [False, True])
def test_kernels_and_numpy_agree_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch,
    dim: int,
    num_queries: int,
    pairs: bool,
    rows_of: Rows,
) -> None:
    monkeypatch.setattr(module, '_pairs_are_quicker', lambda: pairs)
    rows = rows_of('even', 90, dim)
    codes = encode_int8(rows)
    rounded = round_queries(rows[:num_queries], fine=num_queries > 1)
    some = np.array([0, 5, 6, 89])
    made = []
    for kernels in (True, False):
        monkeypatch.setattr(module, 'KERNELS', kernels)
        products = Products(rounded, 90)
        for chosen in (slice(3, 80), some):
            out = np.empty((len(rows[chosen]), num_queries), np.float32)
            products.scores(codes, chosen, out)
            made.append(out)
    assert (made[0] == made[2]).all()
    assert (made[1] == made[3]).all()


@KERNELS
def test_one_query_is_multiplied_by_the_kernel_that_is_quicker(
    monkeypatch: pytest.MonkeyPatch, rows_of: Rows
) -> None:
    rows = rows_of('even', 90, 64)
    codes, rounded = encode_int8(rows), round_queries(rows[:1], fine=False)
    used = []
    multiply = module._multiply_pairs
    monkeypatch.setattr(
        module, '_multiply_pairs', lambda *a: (used.append(len(a[1])), multiply(*a))
    )
    module._pairs_are_quicker.cache_clear()
    quicker = module._pairs_are_quicker()
    assert used == [module._ROWS * module._REPEATED] * module._TIMES  # timed once
    out = np.empty((90, 1), np.float32)
    for _ in range(2):
        Products(rounded, 90).scores(codes, slice(0, 90), out)
    assert used[module._TIMES :] == [90] * (2 * quicker)
    assert out.argmax() == 0


@KERNELS
@pytest.mark.parametrize('fine', [False, True])
def test_codes_that_cannot_be_written_to_are_read_in_place(
    rows_of: Rows, fine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, '_pairs_are_quicker', lambda: True)
    codes = encode_int8(rows_of('even'))
    codes.codes.flags.writeable = False
    out = np.empty((4, 1), np.float32)
    queries = round_queries(rows_of('even')[:1], fine=fine)
    Products(queries, 4).scores(codes, slice(0, 4), out)
    assert out.argmax() == 0


@pytest.mark.parametrize('broken', [None, ModuleType('numkong')])
def test_broken_kernels_are_done_without_and_said_once(
    broken: ModuleType | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes, queries = encode_int8(vectors), round_queries(vectors[:3])
    monkeypatch.setattr(module, 'KERNELS', False)
    expected = np.empty((50, 3), np.float32)
    Products(queries, 50).scores(codes, slice(0, 50), expected)
    monkeypatch.setattr(module, 'KERNELS', True)
    monkeypatch.setitem(sys.modules, 'numkong', broken)  # None: its import fails
    for _ in range(2):
        found = np.empty((50, 3), np.float32)
        Products(queries, 50).scores(codes, slice(0, 50), found)
        assert np.array_equal(found, expected)
    (record,) = caplog.records
    assert 'numkong is installed and broken' in record.message
    assert not module.KERNELS
