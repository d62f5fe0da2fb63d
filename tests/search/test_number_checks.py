"""A number is one of Python or NumPy that other numbers can be compared with."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import Where
from torchgeo_cmr.search.number_checks import is_real, is_whole


@pytest.mark.parametrize('value', [0, -1.5, np.int8(3), np.float16(2), float('nan')])
def test_numbers_are(value: Any) -> None:
    assert is_real(value)


@pytest.mark.parametrize(
    'value', [True, np.True_, '1', None, 1j, np.complex64(1), Decimal(1), np.array([1])]
)
def test_other_things_are_not(value: Any) -> None:
    assert not is_real(value)
    assert not is_whole(value)


def test_spans_and_moments_are_not() -> None:
    for value in (np.timedelta64(2, 'D'), np.datetime64('2024-01-01')):
        assert not is_real(value)
        assert not is_whole(value)


def test_whole_numbers_are_so_by_their_type() -> None:
    assert is_whole(3)
    assert is_whole(np.uint8(3))
    assert not is_whole(3.0)


@pytest.mark.parametrize('name', ['days', 'beyond', 'min_overlap', 'near'])
@pytest.mark.parametrize('value', [np.timedelta64(2, 'h'), np.complex64(1), True])
def test_filters_refuse_them(name: str, value: Any) -> None:
    given: dict[str, Any] = {name: ((0, 0), value) if name == 'near' else value}
    if name == 'min_overlap':
        given['geometry'] = (0, 0, 1, 1)
    with pytest.raises(QueryError, match=f'{name} is '):
        Where(**given)
