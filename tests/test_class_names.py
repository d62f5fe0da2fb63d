"""Names of classes: what is none, and what is one although it is written in two ways."""

import logging
from typing import Any

import pandas as pd
import pytest

from torchgeo_cmr.class_names import bare_names, class_names


@pytest.mark.parametrize(
    ('values', 'dtype', 'names'),
    [
        (['a', '', ' \t', None, 'b c '], None, ['a', None, None, None, 'b c']),
        ([3, None, 12], 'float64', ['3', None, '12']),
        ([3.5, None, 12], 'float64', ['3.5', None, '12.0']),
        ([2**53 + 1, None], 'Int64', ['9007199254740993', None]),
        ([True, None], 'boolean', ['True', None]),
        ([float('inf'), 1], None, ['inf', '1.0']),
        (['b', 'a', None], 'category', ['b', 'a', None]),
        ([None], None, [None]),
        ([], None, []),
    ],
)
def test_names(values: Any, dtype: Any, names: list[str | None]) -> None:
    column = pd.Series(values, dtype=dtype, index=[7] * len(values))
    assert class_names(column, 'x').tolist() == names


def test_spaces_around_a_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    column = pd.Series(['wood ', 'wood', 'lake\xa0', None, ' ', '\twood', 'a b'])
    found = class_names(column, 'the map').tolist()
    assert found == ['wood', 'wood', 'lake', None, None, 'wood', 'a b']
    (note,) = caplog.messages
    assert note.startswith("the map: '\\twood' and 'wood' are one name, for spaces")
    assert note.endswith('no part of it, and 1 more likewise')


def test_no_note_where_no_names_become_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert bare_names(['wood ', 'lake', '', ' '], 'the map') == {
        'wood ': 'wood',
        'lake': 'lake',
        '': '',
        ' ': '',
    }
    assert not caplog.messages
