"""Exact answers with codes: those of a sort of every score, whatever the rows."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.search.rank import (
    integer_products,
    principal_heads,
    pruning,
    scan,
    vectors,
)
from torchgeo_cmr.search.rank.exact import Looks, above, top_k
from torchgeo_cmr.search.rank.hidden_rows import HiddenRows, Windows
from torchgeo_cmr.search.rank.vectors import Vectors, as_vectors, encode, with_codes

type Rows = Callable[..., np.ndarray]

N = 1_500


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few rows be scanned as many are."""
    monkeypatch.setattr(pruning, 'LEAST_ROWS', 100)
    monkeypatch.setattr(pruning, 'LEAST_NUMBERS', 0)
    for module in (pruning, vectors):
        monkeypatch.setattr(module, 'SHORTEST', 1)
    monkeypatch.setattr(pruning, '_SHARE', 10)
    monkeypatch.setattr(principal_heads, '_LENGTHS', (6,))
    monkeypatch.setattr(scan, '_SUMS', 1_000)
    monkeypatch.setattr(scan, '_ROWS', 60)
    monkeypatch.setattr(scan, '_LONG', 250)
    monkeypatch.setattr(scan, '_ALONE_OF_CODES', 1_000)


def set_of(kind: str, rows_of: Rows) -> np.ndarray:
    """Make rows that bounds prune well, not at all, or that tie."""
    rng = np.random.default_rng(1)
    if kind == 'ties':
        return rows_of('even', 40, 48)[rng.integers(0, 40, N)]
    if kind == 'close':
        near = rows_of('even', 40, 48)[rng.integers(0, 40, N)]
        near = near + rng.normal(0, 0.002, near.shape)
        return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    if kind == 'decaying':
        near = rows_of('even', N, 48) * 0.6 ** np.arange(48)
        near = near @ np.linalg.qr(rows_of('even', 48, 48))[0]
        return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    if kind == 'mixed':
        parts = [rows_of(k, N // 3, 48) for k in ('even', 'few', 'one')]
        return np.concatenate(parts)[rng.permutation(N)]
    return rows_of(kind, N, 48)


@pytest.mark.parametrize('always', [False, True])
@pytest.mark.parametrize('kernels', [False, True])
@pytest.mark.parametrize(
    'kind',
    ['even', 'few', 'equal', 'one', 'tiny', 'ties', 'close', 'mixed', 'decaying'],
)
def test_against_whole_vectors(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    kernels: bool,
    always: bool,
    rows_of: Rows,
) -> None:
    if kernels and not integer_products.KERNELS:
        pytest.skip('numkong is not installed')
    monkeypatch.setattr(integer_products, 'KERNELS', kernels)
    if always:
        monkeypatch.setattr(pruning, '_LEFT', 1)
        monkeypatch.setattr(pruning, '_LEFT_OF_MANY', 1)
    rng = np.random.default_rng(2)
    rows = set_of(kind, rows_of)
    whole, coded = as_vectors(rows), with_codes(as_vectors(rows))
    bytes_alone = Vectors(rows, 'int8', *encode(rows, 'int8'))
    ties = rng.permutation(N)
    queries = np.vstack([rows[:3], rows_of('even', 30, 48), -rows[:3]])
    pairs = np.unique(rng.integers(0, (36, N), (400, 2)), axis=0)
    start = rng.integers(0, 1000, N)
    first = rng.integers(0, 1000, 36)
    windows = Windows(start, start + 5, first, first + 100)
    by_row = pairs[np.argsort(pairs[:, 1], kind='stable')]
    hidden = [
        None,
        HiddenRows(by_row[:, 0], by_row[:, 1]),
        HiddenRows(by_row[:, 0], by_row[:, 1], windows),
    ]
    selections = [
        np.arange(N),
        np.flatnonzero(rng.random(N) < 0.8),
        np.flatnonzero(rng.random(N) < 0.1),
        np.concatenate([np.arange(40, 900), np.arange(1_000, N - 7)]),
    ]
    for chosen in selections:
        for count, k, held in (
            (1, 10, hidden[0]),
            (36, 7, hidden[1]),
            (3, 30, hidden[2]),
        ):
            held = held if held is None else held.of(slice(0, count))
            asked: dict[str, Any] = {'ties': ties, 'withheld': held}
            truth = top_k(whole, chosen, queries[:count], k, **asked)
            for kept in (coded, bytes_alone):
                found = top_k(kept, chosen, queries[:count], k, **asked)
                assert (found[0] == truth[0]).all()
                assert (found[1] == truth[1]).all()


def test_more_rows_than_match(rows_of: Rows) -> None:
    rows = set_of('even', rows_of)
    coded = with_codes(as_vectors(rows))
    every = np.arange(N)
    for k in (N, 2 * N):
        truth = top_k(rows, every, rows[:2], k, ties=every)
        found = top_k(coded, every, rows[:2], k, ties=every)
        assert (found[0] == truth[0]).all()
        assert found[0].shape == (2, N)


@pytest.mark.parametrize('kernels', [False, True])
def test_what_is_scanned(
    monkeypatch: pytest.MonkeyPatch, kernels: bool, rows_of: Rows
) -> None:
    """What is the quickest of what rules out most; NumPy multiplies bytes too slowly."""
    if kernels and not integer_products.KERNELS:
        pytest.skip('numkong is not installed')
    monkeypatch.setattr(integer_products, 'KERNELS', kernels)
    every = np.arange(N)
    for kind, scanned in (
        ('even', 'int8 codes' if kernels else ''),
        ('close', 'whole vectors'),
        ('ties', 'whole vectors'),
        ('decaying', 'the first 6 principal axes'),
    ):
        rows = set_of(kind, rows_of)
        looks = Looks()
        top_k(with_codes(as_vectors(rows)), every, rows[:1], 5, ties=every, looks=looks)
        assert looks.scanned == scanned
        if looks.scanned not in ('', 'whole vectors'):
            assert 5 <= looks.again < N / 20


def test_what_is_damaged_rules_nothing_out(rows_of: Rows) -> None:
    """A bound that is not a number keeps a row, so that whole vectors decide."""
    rows, every = set_of('even', rows_of), np.arange(N)
    coded = with_codes(as_vectors(rows))
    assert coded.quick is not None
    coded.quick.lost[7] = np.nan
    found = top_k(coded, every, rows[7:8], 5, ties=every)
    truth = top_k(rows, every, rows[7:8], 5, ties=every)
    assert (found[0] == truth[0]).all()


def test_above_with_codes(rows_of: Rows) -> None:
    rows = set_of('mixed', rows_of)
    every, queries = np.arange(N), rows[:4]
    for least in (0.3, 0.6, -1.0):
        truth = above(rows, every, queries, least, ties=every)
        found = above(with_codes(as_vectors(rows)), every, queries, least, ties=every)
        for a, b in zip(truth, found, strict=True):
            assert (a == b).all()


@pytest.mark.parametrize(('most', 'width'), [(1.0, 2), (0.0, 4)])
def test_remainders_of_queries_are_multiplied_where_much_is_left_without(
    monkeypatch: pytest.MonkeyPatch, most: float, width: int, rows_of: Rows
) -> None:
    monkeypatch.setattr(integer_products, 'KERNELS', find_spec('numkong') is not None)
    monkeypatch.setattr(pruning, '_LEFT', 1)
    monkeypatch.setattr(pruning, '_LEFT_OF_MANY', most)
    rows, every = rows_of('even', N, 48), np.arange(N)
    coded = Vectors(rows, 'int8', *encode(rows, 'int8'))
    queries = rows_of('even', 2, 48)
    seen = pruning.prospect(coded, every, queries, None, k=5)
    assert seen is not None
    assert isinstance(seen.bounds, pruning.CodeBounds)
    assert len(seen.bounds._queries.codes) == width
    found = top_k(coded, every, queries, 5, ties=every)
    expected = top_k(as_vectors(rows), every, queries, 5, ties=every)
    assert (found[0] == expected[0]).all()
    assert (found[1] == expected[1]).all()


def test_bytes_without_a_bound_are_of_no_use(rows_of: Rows) -> None:
    rows = rows_of('even', N, 48)
    kept = Vectors(rows, 'int8', *encode(rows, 'int8'))
    assert pruning.has_use(kept, N)
    assert not pruning.has_use(replace(kept, error=np.inf), N)
