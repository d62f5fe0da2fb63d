"""What a condition compares in vain is named: columns without values, values that are not there."""

import numpy as np
import pandas as pd
import pytest

from torchgeo_cmr.search.where.conditions.condition import Expression
from torchgeo_cmr.search.where.conditions.unmet import (
    columns_without_values,
    comparisons_without_rows,
)

FRAME = pd.DataFrame(
    {
        'cloud': [np.nan] * 3,
        'share': [0.5, 0.75, np.nan],
        'label': ['port', None, 'Field'],
        'day': pd.to_datetime(['2024-06-01', '2024-06-03', None], utc=True),
        'kept': [True, True, True],
        'kind': pd.Categorical(['a', 'a', 'a']),
        'nothing': pd.Categorical([None] * 3),
    }
)


@pytest.mark.parametrize(
    ('text', 'columns'),
    [
        ('cloud < 4', ['cloud']),
        ('not cloud < 4', ['cloud']),
        ('(cloud < 4) is true', ['cloud']),
        ("share > 0 and (cloud < 4 or nothing = 'x')", ['cloud', 'nothing']),
        ('share < cloud', ['cloud']),
        ('cloud in (1, 2)', ['cloud']),
        ("nothing like 'x%'", ['nothing']),
        ('share < 4', []),
        # What asks for nulls knows of them.
        ('cloud is null', []),
        ('cloud < 4 or cloud is null', []),
        ('(cloud < 4) is null', []),
        ('cloud is not null', []),
    ],
)
def test_columns_without_values(text: str, columns: list[str]) -> None:
    found = columns_without_values(Expression(text), FRAME)
    assert [sentence.split(':')[0].split()[-1] for sentence in found] == columns


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('share > 0.9', 'no row has share > 0.9, for share goes from 0.5 to 0.75'),
        ("label = 'x'", "no row has label = 'x', for label is 'Field' or 'port'"),
        ("label in ('x', 'y')", "no row has label IN ('x', 'y'), for label is"),
        ("label ilike 'x%'", "no row has label ILIKE 'x%', for label is"),
        ("day > '2025'", "no row has day > '2025', for day goes from 2024-06-01"),
        ('kept = false', 'no row has kept = False, for kept is true'),
        ("kind = 'b'", "no row has kind = 'b', for kind is 'a'"),
    ],
)
def test_comparisons_without_rows(text: str, sentence: str) -> None:
    (found,) = comparisons_without_rows(Expression(text), FRAME)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    'text',
    [
        # Rows may lack both together only; what must not hold need not be there; nulls alone.
        "share > 0.6 and label = 'port'",
        "not label = 'x'",
        'cloud < 4',
        'share < cloud',
    ],
)
def test_no_comparison_is_blamed_without_reason(text: str) -> None:
    assert comparisons_without_rows(Expression(text), FRAME) == []


def test_a_table_without_rows_blames_nothing() -> None:
    empty = FRAME.iloc[:0]
    for text in ('cloud < 4', 'share > 2'):
        assert columns_without_values(Expression(text), empty) == []
        assert comparisons_without_rows(Expression(text), empty) == []


def test_long_lists_are_shortened() -> None:
    frame = pd.DataFrame({'label': [f'{i}' * 60 for i in range(9)]})
    words = ', '.join(f"'{i}'" for i in range(10, 20))
    (found,) = comparisons_without_rows(Expression(f'label in ({words})'), frame)
    assert found.endswith(' or one of 4 others')
    assert ", '14', ...), for label is '000" in found
    assert len(found) < 350
