"""Digests of values are equal where values are, however a table stores them."""

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from torchgeo_cmr.table.value_digests import value_digests

MIDNIGHT, NOON = pd.Timestamp('2024-06-01'), pd.Timestamp('2024-06-01T12:00')
DAY = pd.Timedelta(days=1)


@pytest.mark.parametrize(
    'columns',
    [
        [
            pd.Series([7, 8]),
            pd.Series([7.0, None]),
            pd.Series([7, None], dtype='Int64'),
        ],
        [pd.Series([7.0, 0.5]), pd.Series([7, 8]).astype('category')],
        [pd.Series(['a']), pd.Series(['a', 'b']).astype('category')],
        [pd.Series([True]), pd.Series([True, None])],
        # Of a column whose times are all midnight, pandas writes no hours.
        [pd.Series([MIDNIGHT]), pd.Series([MIDNIGHT, NOON])],
        [pd.Series([MIDNIGHT]), pd.Series([MIDNIGHT]).astype('datetime64[ns]')],
        [pd.Series([MIDNIGHT]), pd.Series([MIDNIGHT, NOON]).astype('category')],
        [pd.Series([DAY]), pd.Series([DAY, DAY / 2]), pd.Series([DAY, None])],
        [pd.Series([Decimal('1.5')]), pd.Series([Decimal('1.50')])],
        [pd.Series([[1, 2]]), pd.Series([np.array([1.0, 2.0])])],
    ],
)
def test_one_value_in_several_types(columns: list[pd.Series]) -> None:
    first = {int(value_digests(column)[0]) for column in columns}
    assert len(first) == 1
    assert first != {0}
    for column in columns:
        digests = value_digests(column)
        assert len(set(digests.tolist())) == len(column)
        np.testing.assert_array_equal(digests == 0, column.isna())


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        # What NumPy writes of these is the same.
        ([*range(3000)], [*range(1500), -1, *range(1501, 3000)]),
        ([0.1], [0.1 + 1e-12]),
        (['a, b'], ['a', 'b']),
        ([[1], [2]], [[1, 2]]),
        ({'a': 1}, {'a': 2}),
        (Decimal('1E+30'), Decimal('1E+31')),
        (date(2024, 6, 1), date(2024, 6, 2)),
        (pd.Timestamp('2024-06-01T00:00:00.000001'), MIDNIGHT),
        (pd.Timestamp('1969-12-31T23:59:59.5'), pd.Timestamp('1970-01-01T00:00:00.5')),
    ],
)
def test_values_that_differ(one: Any, other: Any) -> None:
    column = pd.Series([one, other])
    assert len(set(value_digests(column).tolist())) == 2


def test_long_whole_numbers_of_arrow_among_nulls_differ() -> None:
    kind = pd.ArrowDtype(pa.int64())
    made = value_digests(pd.Series([2**53, 2**53 + 1, None], dtype=kind))
    plain = value_digests(pd.Series([2**53, 2**53 + 1, None], dtype='Int64'))
    assert made[0] != made[1]
    assert made.tolist() == plain.tolist()
