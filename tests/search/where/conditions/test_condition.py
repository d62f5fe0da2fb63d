"""Attribute conditions against a plain Python twin, and what they refuse."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.where.conditions.condition import Expression

FRAME = pd.DataFrame(
    {
        'cloud': [5.0, 50.0, np.nan, 0.0, 99.0],
        'source': pd.array(['x', 'y', 'x', None, 'z'], dtype='str'),
        'count': pd.array([1, None, 3, 4, 5], dtype='Int64'),
        'whole': [1, 2, 3, 4, 5],
        'flag': [True, False, True, False, True],
        'maybe': pd.array([True, None, False, None, True], dtype='boolean'),
        'kind': pd.Categorical(['a', 'b', None, 'a', 'b']),
        'time': pd.to_datetime(
            ['2024-01-01', '2024-02-01', None, '2024-03-01', '2024-04-01'], utc=True
        ),
        'naive': pd.to_datetime(
            ['2024-01-01', '2024-02-01', None, '2024-03-01', '2024-04-01']
        ),
        'nothing': pd.Series([None] * 5, dtype=object),
        'lists': [[1]] * 5,
    }
)


@pytest.mark.parametrize(
    ('text', 'rows'),
    [
        ('cloud < 10', [0, 3]),
        ('cloud <= 0', [3]),
        ('10 > cloud', [0, 3]),
        ('cloud < 10 and source == "x"', [0]),
        ("cloud < 10 or source == 'x'", [0, 2, 3]),
        ('0 < cloud <= 50', [0, 1]),
        ('0 < cloud <= 50 < whole', []),
        ('not cloud < 10', [1, 4]),
        ('not (cloud < 10 or source == "y")', [4]),
        ('not (source == "x" and cloud < 10)', [1, 4]),
        ('source != "x"', [1, 4]),
        ('source in ["x", "z"]', [0, 2, 4]),
        ('source not in ("x", "z")', [1]),
        ('source in []', []),
        ('whole in {1, 5}', [0, 4]),
        ('cloud is None', [2]),
        ('cloud is null', [2]),
        ('cloud IS NOT NULL AND source = "x"', [0]),
        ('cloud IS NOT NULL AND source == "x"', [0]),
        ('source IN ("x", "z") Or NOT flag', [0, 1, 2, 3, 4]),
        ('source like "x"', [0, 2]),
        ('source LIKE "_"', [0, 1, 2, 4]),
        ('source not like "x%"', [1, 4]),
        ('not source like "%"', []),
        ('kind like "a%" and cloud < 3', [3]),
        ('nothing like "%"', []),
        ('cloud == None', [2]),
        ('None != cloud', [0, 1, 3, 4]),
        ('source is not None', [0, 1, 2, 4]),
        ('count >= 3', [2, 3, 4]),
        ('count == whole', [0, 2, 3, 4]),
        ('cloud > -1.5', [0, 1, 3, 4]),
        ('flag', [0, 2, 4]),
        ('not flag', [1, 3]),
        ('flag == False', [1, 3]),
        ('flag == 1', [0, 2, 4]),
        ('maybe', [0, 4]),
        ('not maybe', [2]),
        ('kind == "a"', [0, 3]),
        ('kind != "a"', [1, 4]),
        ('time >= "2024-02-01"', [1, 3, 4]),
        ('time > "2024-02-01T00:30+01:00"', [1, 3, 4]),
        ('naive < "2024-02-01T01:00+01:00"', [0]),
        ('time == naive', [0, 1, 3, 4]),
        ('"2024-01-15" < time < "2024-03-15"', [1, 3]),
        ('nothing == 5', []),
        ('nothing == None', [0, 1, 2, 3, 4]),
        ('  cloud\n< 10 ', [0, 3]),
        # SQL and CQL2.
        ('cloud = 5', [0]),
        ('cloud <> 5', [1, 3, 4]),
        ('cloud BETWEEN 0 AND 50', [0, 1, 3]),
        ('cloud NOT BETWEEN 1 AND 50', [3, 4]),
        ('not cloud between 1 and 50', [3, 4]),
        ('whole between cloud and 4', [3]),
        ("source IN ('x', 'z')", [0, 2, 4]),
        ("source NOT IN ('x')", [1, 4]),
        ("source IN ('x',)", [0, 2]),
        ('whole IN (1, -5, 5.0)', [0, 4]),
        ("source ILIKE 'X%'", [0, 2]),
        ("source NOT ILIKE 'X'", [1, 4]),
        ('"cloud" < 10', [0, 3]),
        ('10 > "cloud"', [0, 3]),
        ('0 < "cloud" <= 50', [0, 1]),
        ('"cloud" < "whole"', [3]),
        ('"source" = \'x\'', [0, 2]),
        ('"source" IN ("x", "z")', [0, 2, 4]),
        ('"source" like "x"', [0, 2]),
        ('"flag" and not "maybe"', [2]),
        ('"cloud" is null', [2]),
        ('`cloud` < `whole`', [3]),
        ("CASEI(source) = CASEI('X')", [0, 2]),
        ("CASEI(source) IN (CASEI('X'), CASEI('Z'))", [0, 2, 4]),
        ("casei(source) LIKE 'X'", [0, 2]),
        ("time >= DATE('2024-02-01')", [1, 3, 4]),
        ("time = TIMESTAMP('2024-02-01T00:00:00Z')", [1]),
        ('flag = TRUE', [0, 2, 4]),
        ('flag IS TRUE', [0, 2, 4]),
        ('maybe IS NOT TRUE', [1, 2, 3]),
        ('maybe is False', [2]),
        ('maybe IS NOT FALSE AND flag', [0, 4]),
        ('maybe IS UNKNOWN', [1, 3]),
        ('(cloud < 10) IS NULL', [2]),
        ('(cloud < 10) IS NOT UNKNOWN', [0, 1, 3, 4]),
        ('(cloud < 10 or flag) is true', [0, 2, 3, 4]),
        ('TRUE', [0, 1, 2, 3, 4]),
        ('false or cloud < 1', [3]),
        ('not not cloud < 10', [0, 3]),
        ('(cloud) < 10', [0, 3]),
        ('((cloud < 10))', [0, 3]),
        ('cloud < 10 and cloud < 1 or flag', [0, 2, 3, 4]),
        # Whole dates.
        ('time = "2024-02"', [1]),
        ('time <= "2024-02"', [0, 1]),
        ('time > "2024-02"', [3, 4]),
        ('time != "2024"', []),
        ('time between "2024-02" and "2024-03"', [1, 3]),
        ('time in ("2024-01", "2024-04-01")', [0, 4]),
        ('naive > "2024-02"', [3, 4]),
        # Numbers to the last digit, whatever their sizes.
        ('whole < 2.5', [0, 1]),
        ('whole = 2.5', []),
        ('whole <> 2.5', [0, 1, 2, 3, 4]),
        ('whole < 1e400', [0, 1, 2, 3, 4]),
        ('whole > -1e999999999', [0, 1, 2, 3, 4]),
        ('whole > 1e-999999999', [0, 1, 2, 3, 4]),
        ('cloud < 1e400', [0, 1, 3, 4]),
        ('count < 99999999999999999999', [0, 2, 3, 4]),
        ('nothing', []),
        ('not nothing', []),
        ('nothing is null', [0, 1, 2, 3, 4]),
        ('lists is null', []),
    ],
)
def test_conditions(text: str, rows: list[int]) -> None:
    mask = Expression(text).mask(FRAME)
    assert mask.dtype == bool
    assert np.flatnonzero(mask).tolist() == rows


def test_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            'a': rng.integers(0, 5, 200),
            'b': rng.integers(0, 5, 200),
            'c': rng.choice(list('xyz'), 200),
        }
    )
    cases: list[tuple[str, Callable[[pd.Series], bool]]] = [
        ('a < b and not c == "x"', lambda r: r.a < r.b and r.c != 'x'),
        (
            'a in [1, 2] or 1 <= b < 4 and c > "x"',
            lambda r: r.a in (1, 2) or (1 <= r.b < 4 and r.c > 'x'),
        ),
        ('not (a == b or c not in ["x"])', lambda r: not (r.a == r.b or r.c != 'x')),
    ]
    for text, twin in cases:
        assert Expression(text).mask(frame).tolist() == [
            bool(twin(r)) for _, r in frame.iterrows()
        ]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('__import__("os").system("true")', 'is not allowed in a condition'),
        ('cloud < __import__("os")', 'is not allowed in a condition'),
        ('cloud.notna()', r'cloud.notna\(...\) is not allowed'),
        ('(lambda: 1)() < cloud', "':' is not allowed"),
        ('[x for x in cloud]', 'a column or a value was expected'),
        ('cloud < 10 if flag else flag', 'and, or, or the end was expected'),
        ('cloud ** 9 < 3', 'conditions do not calculate'),
        ('cloud + 1 < whole', 'cannot be read'),
        ('f"{cloud}" == source', 'is not allowed'),
        ('(cloud := 3) < whole', "':' is not allowed"),
        ('source[0] == "x"', 'cannot be read'),
        ('source == b"x"', 'is not allowed'),
        ('cloud < 1j', "'1j' is not allowed"),
        ('cloud < 10abc', "'10abc' is not allowed"),
        ('cloud < -"a"', 'a number was expected after the sign'),
        ('cloud < --5', 'a number was expected after the sign'),
        ('1 < 2', 'compares no column'),
        ('5', 'is not allowed'),
        ("'x'", 'is not allowed in a condition on its own'),
        ('null', 'is not allowed in a condition on its own'),
        ('cloud < ', 'cannot be read at its end: a column or a value was expected'),
        ('cloud < 10; source', "';' is not allowed"),
        ('cloud < 10 -- no', 'cannot be read'),
        ('cloud < 10 # no', "'#' is not allowed"),
        ('cloud < 10 && flag', "'&' is not allowed in a condition; write 'and'"),
        ('cloud < 10 | flag', "write 'or'"),
        ('a b', 'cannot be read'),
        ('', "the condition is ''"),
        (5, 'the condition is 5'),
        ('cloud < ' + '9' * 20_000, 'longer than 10000'),
        ('(' * 5000 + 'flag' + ')' * 4000, 'nested more than 60 times'),
        ('(' * 59 + 'flag' + ')' * 58, r"'\)' was expected"),
        ('not ' * 2400 + 'not', 'cannot be read'),
        ('source in "xyz"', "'in' needs a list such as"),
        ("source in ('a' 'b')", 'was expected'),
        ("source in ('a'", 'was expected'),
        ('source in [None]', 'null cannot stand in a list'),
        ('source in (1, NULL)', 'null cannot stand in a list'),
        ('source in [cloud]', "'cloud' cannot stand in a list; words need quotes"),
        ('"x" in source', "'in' needs a list"),
        ("'x' in ('a')", 'has no column in front'),
        ('source is "x"', "'is' compares with null, true or false only"),
        ('cloud = NULL', "never true, because nothing equals null; write 'is null'"),
        ('cloud <> NULL', "write 'is null' or 'is not null'"),
        ('cloud < None', 'is never true'),
        ('cloud between 1 or 3', "'and' was expected"),
        ('cloud not < 5', "'in', 'like' or 'between' was expected after 'not'"),
        ('flag and', 'cannot be read'),
        ('source like', 'cannot be read'),
        ('source like 5', "'like' needs a pattern such as 'S2%'"),
        ("'x' like source", 'has no column in front'),
        ('source @ "x"', "'@' is not allowed"),
        ('cloud % 3 < 1', "'%' is not allowed"),
        ('source == "unclosed', 'is not closed'),
        ("source == 'it's'", 'is not closed'),
        ('S_INTERSECTS(geometry, POINT(1 2))', 'whose only functions are CASEI'),
        ("T_DURING(time, INTERVAL('2024', '2025'))", 'are arguments of their own'),
        ('CASEI(5) = 5', 'needs text in single quotes'),
        ("time > DATE('01.06.2024')", "write '2024-06-01' or '2024-01-06'"),
    ],
)
def test_refuses_text(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Expression(text)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'clouds < 10',
            "no column 'clouds' to compare; the archive has cloud, source, count",
        ),
        ('Cloud < 10', r"no column 'Cloud' .* \(perhaps cloud\)"),
        ('source = dog', r"no column 'dog' .* \(a word is written 'dog'\)"),
        ('lists == 1', "column 'lists' holds mixed values, which conditions cannot"),
        ('lists', "column 'lists' holds mixed values"),
        ('cloud < "ten"', "cloud is a number and 'ten' a word"),
        ('source = "flag"', '"flag" may be the column or the word; write flag'),
        ("time = 'x' and cloud < 5", "'x' is not a date in ISO 8601"),
        ("time >= '01.06.2024'", "write '2024-06-01' or '2024-01-06'"),
        ("time > 'now'", r"'now' is not a date in ISO 8601; write '\d{4}-\d\d-\d\d'"),
        ("source > DATE('2024')", "source is a word and '2024' a time"),
        ('source == 5', 'source is a word and 5 a number'),
        ('time > 5', 'time is a time and 5 a number'),
        ('time > "soon"', "'soon' is not a date"),
        ('source', "column 'source' holds words"),
        ('source == cloud', 'they cannot be compared'),
        ('cloud like "5%"', "column 'cloud' holds numbers, and 'like' compares words"),
    ],
)
def test_refuses_columns(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Expression(text).mask(FRAME)


def test_nothing_is_executed(tmp_path) -> None:  # noqa: ANN001
    target = tmp_path / 'made'
    with pytest.raises(QueryError):
        Expression(f'__import__("pathlib").Path({str(target)!r}).touch() or flag')
    assert not target.exists()
