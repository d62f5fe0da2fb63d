"""Bytes: what rounding took away is never more than is kept of it."""

from collections.abc import Callable

import numpy as np
import pytest

from torchgeo_cmr.search.rank import int8_codes as module
from torchgeo_cmr.search.rank.int8_codes import encode_int8

type Rows = Callable[..., np.ndarray]


@pytest.mark.parametrize('kind', ['even', 'few', 'equal', 'one', 'tiny'])
def test_lost_is_a_bound_and_a_tight_one(kind: str, rows_of: Rows) -> None:
    rows = rows_of(kind)
    made = encode_int8(rows)
    stand_for = made.codes.astype(np.longdouble) * made.scale[:, None]
    lost = np.linalg.norm((rows - stand_for).astype(np.longdouble), axis=1)
    assert (made.lost >= lost).all()
    assert (made.lost <= lost * 1.001 + 1e-6).all()
    assert (np.abs(made.codes.astype(int)).max(axis=1) == 127).all()


def test_threads_round_what_one_does(
    monkeypatch: pytest.MonkeyPatch, rows_of: Rows
) -> None:
    rows = rows_of('even')
    alone = encode_int8(rows)
    monkeypatch.setattr(module, '_ROWS', 7)
    monkeypatch.setattr(module, '_ROWS_OF_THREAD', 60)
    monkeypatch.setattr(module, 'cores', lambda: 3)
    several = encode_int8(rows)
    for name in ('codes', 'scale', 'lost'):
        assert (getattr(alone, name) == getattr(several, name)).all()
    assert len(encode_int8(rows[:0])) == 0


def test_a_row_of_zeros_has_a_scale() -> None:
    made = encode_int8(np.zeros((1, 8), np.float32))
    assert (made.codes == 0).all()
    assert (made.scale[0], made.lost[0]) == (1, 0)
