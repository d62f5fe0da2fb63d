"""Codes: what they keep, and the bound on what they lose."""

import numpy as np
import pytest

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.rank import vectors as module
from torchgeo_cmr.search.rank.vectors import (
    KINDS,
    Vectors,
    agreement,
    as_vectors,
    encode,
    signs,
)


def unit(n: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('kind', ['float32', 'float16', 'int8'])
def test_error_is_the_largest_distance(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, '_ROWS', 30)
    rows = unit(100, 20)
    codes, scale, error, each = encode(rows, kind)
    kept = Vectors(rows, kind, codes, scale, error, each)
    lost = np.linalg.norm(kept.decode(slice(0, 100)).astype(float) - rows, axis=1)
    assert lost.max() == pytest.approx(error, rel=1e-3, abs=1e-9)
    some = np.array([3, 50, 99])
    assert (kept.decode(some) == kept.decode(slice(0, 100))[some]).all()
    assert codes.dtype == kind
    assert codes.nbytes == rows.size * np.dtype(kind).itemsize


def test_int8_uses_all_its_steps() -> None:
    rows = unit(50, 30) * np.float32(1)
    codes, scale, _, _ = encode(rows, 'int8')
    assert (np.abs(codes).max(axis=1) == 127).all()
    assert scale is not None
    assert scale.shape == (50,)


def test_half_precision_is_widened_bit_for_bit() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(1, -1)
    assert (module._widened(finite) == finite.astype(np.float32)).all()
    assert (np.signbit(module._widened(finite)) == np.signbit(finite)).all()


@pytest.mark.parametrize('dim', [8, 16, 20, 64, 100])
def test_agreement_counts_signs(dim: int) -> None:
    rows = unit(30, dim)
    codes, _, error, _ = encode(rows, 'binary')
    assert error == np.inf
    assert codes.shape == (30, -(-dim // 8))
    told = [((rows > 0) == (one > 0)).mean(axis=1) * 2 - 1 for one in rows]
    for one, truth in zip(codes, told, strict=True):
        assert agreement(codes, one, dim) == pytest.approx(truth, abs=1e-6)
    pairs = agreement(codes, np.roll(codes, 1, axis=0), dim)
    assert pairs[5] == pytest.approx(told[4][5], abs=1e-6)


def test_packed_codes_stay_as_they_are() -> None:
    codes = signs(unit(9, 24))
    kept = as_vectors(codes)
    assert (kept.kind, kept.dim, len(kept), kept.packed) == ('hamming', 24, 9, True)
    assert encode(codes, 'float32')[0] is codes


@pytest.mark.parametrize(
    ('rows', 'kind'), [(unit(3, 8), 'int4'), (signs(unit(3, 8)), 'int8')]
)
def test_refuses_unknown_kinds(rows: np.ndarray, kind: str) -> None:
    with pytest.raises(QueryError, match=f"vectors='{kind}' does not fit {rows.dtype}"):
        encode(rows, kind)
    assert len(KINDS) == 4
