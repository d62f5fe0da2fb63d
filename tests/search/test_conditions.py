"""Random conditions against an evaluator of three-valued logic, row by row.

Each condition p is written in Python's style, in CQL2 and in a mixture. Over a table and over
indexes, p, not p and (p) is null must part all rows, as the evaluator says. Its rows are
Python objects; it shares no code with the search.
"""

import datetime
import os
import random
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.where.conditions.condition import Expression
from torchgeo_cmr.search.where.conditions.pattern import Pattern
from torchgeo_cmr.search.where.conditions.syntax import read_condition
from torchgeo_cmr.search.where.conditions.tree import (
    Both,
    Column,
    Compare,
    Constant,
    Is,
    Like,
    Node,
    Not,
    Within,
)
from torchgeo_cmr.table import EmbeddingTable

#: Conditions drawn; ``CONDITIONS=2000`` for a run of half a minute.
COUNT = int(os.environ.get('CONDITIONS', '300'))
ROWS = 90

type Row = dict[str, Any]
type Test = Callable[[Row], bool | None]
type Made = tuple[str, Test]

WORDS = ['a', 'A', 'ab%', 'a_b', '', "q'q", 'back\\slash', 'Straße', 'say "x"']
PATTERNS = [
    'a%',
    '_b%',
    '%',
    'a_b',
    "%'%",
    '',
    '%a%b%',
    'a\\_b',
    '%\\%',
    '%"%',
    'A',
    '__',
]
DATES = [
    '2024-06-01',
    '2024-06-02',
    '2024-06',
    '2024',
    '2024-06-02T00:00',
    '2024-06-02T12:30Z',
]
DATES += ['2024-06-03T02:00+02:00', '2024-07', '2023-12-31', '9999']
BIG = 2**53 + 1


def columns(rng: np.random.Generator) -> Row:
    """Columns of every type that a frame can hold, each with nulls where it can."""
    n = ROWS

    def some(values: list[Any], null: Any = None) -> list[Any]:
        drawn = [values[i] for i in rng.integers(0, len(values), n)]
        return [
            null if hide else v
            for v, hide in zip(drawn, rng.random(n) < 0.2, strict=True)
        ]

    day = datetime.date(2024, 6, 1)
    days = [day + datetime.timedelta(i) for i in range(4)]
    moment = pd.Timestamp('2024-06-01')
    moments = [moment + pd.Timedelta(hours=h) for h in (0, 12, 24, 36.5, 48, 720)]
    hours = [pd.Timedelta(hours=h) for h in (0, 1, 5, 24, -2)]
    return {
        'real': np.array(some([0, 5.5, 10, 50, -1], np.nan), dtype='float64'),
        'single': np.array(some([0, 0.1, 2.5, 1e30], np.nan), dtype='float32'),
        'whole': rng.integers(-3, 4, n),
        'big': np.array([BIG, BIG - 1, BIG + 1, -BIG])[rng.integers(0, 4, n)],
        'unsigned': np.array([2**63, 2**63 + 1, 0], 'uint64')[rng.integers(0, 3, n)],
        'small': pd.array(some([-3, 0, 1, 2]), dtype='Int8'),
        'decimal': pd.Series(
            some([Decimal('0.1'), Decimal('2.50'), Decimal(-1)]), dtype=object
        ),
        'flag': rng.random(n) < 0.5,
        'maybe': pd.array(some([True, False]), dtype='boolean'),
        'loose': pd.Series(some([True, False]), dtype=object),
        'word': pd.Series(some(WORDS), dtype=object),
        'class': pd.Categorical(some(WORDS[:4])),
        'level': pd.Categorical(some([1, 2, 3])),
        'day': pd.Series(some(days), dtype=object),
        'naive': pd.Series(some(moments, pd.NaT), dtype='datetime64[ns]'),
        'time_start': pd.Series(
            some(moments, pd.NaT), dtype='datetime64[us]'
        ).dt.tz_localize('UTC'),
        'took': pd.Series(some(hours, pd.NaT), dtype='timedelta64[us]'),
        'nothing': pd.Series([None] * n, dtype=object),
    }


def plain(value: Any) -> Any:
    """Give a value as Python has it; None if it is null."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return (
            value.tz_localize('UTC')
            if value.tzinfo is None
            else value.tz_convert('UTC')
        )
    if isinstance(value, np.float32):
        return value
    return value.item() if isinstance(value, np.generic) else value


@pytest.fixture(scope='module')
def table() -> EmbeddingTable:
    rng = np.random.default_rng(5)
    x, y = np.arange(ROWS) % 10, np.arange(ROWS) // 10
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'p{i:03d}' for i in rng.permutation(ROWS)], **columns(rng)},
        geometry=shapely.box(x, y, x + 1, y + 1),
        crs=4326,
    )
    vectors = rng.normal(size=(ROWS, 4))
    return EmbeddingTable.from_frame(frame, vectors, space='w', modality='s2')


@pytest.fixture(scope='module')
def archives(
    table: EmbeddingTable, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The same rows in memory, saved and loaded, and in indexes of one part and of two."""
    folder = tmp_path_factory.mktemp('archives')
    first, rest = table.select(range(40)), table.select(range(40, ROWS))
    two = RetrievalIndex.build(first, folder / 'two')
    two.append(rest)
    return {
        'table': table,
        'loaded': EmbeddingTable.load(table.save(folder / 'saved')),
        'index': RetrievalIndex.build(table),
        'two parts': RetrievalIndex.open(folder / 'two'),
    }


SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    '<': lambda a, b: a < b,
    '<=': lambda a, b: a <= b,
    '>': lambda a, b: a > b,
    '>=': lambda a, b: a >= b,
    '=': lambda a, b: a == b,
    '<>': lambda a, b: a != b,
}


def both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def deny(one: bool | None) -> bool | None:
    return None if one is None else not one


def span(text: str) -> tuple[Any, Any]:
    """First moment of a date, and the first after it."""
    if 'T' in text:
        moment = pd.Timestamp(text)
        moment = (
            moment.tz_localize('UTC')
            if moment.tzinfo is None
            else moment.tz_convert('UTC')
        )
        return moment, moment + pd.Timedelta(microseconds=1)
    year, month, day = (int(x) for x in (*text.split('-'), '0', '0')[:3])
    first = pd.Timestamp(year, month or 1, day or 1, tz='UTC')
    if year == 9999:
        return first, pd.Timestamp('9999-12-31T23:59:59.999999Z')
    step = pd.DateOffset(days=1) if day else pd.DateOffset(months=1 if month else 12)
    return first, first + step


class Writer:
    """Draws conditions and the evaluator of each."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def sign(self, style: str) -> tuple[str, str]:
        sign = self.draw.choice(list(SIGNS))
        python = {'=': '==', '<>': '!='}
        return sign, python.get(sign, sign) if style == 'python' else sign

    def name(self, name: str, style: str) -> str:
        keyword = self.draw.choice([name, f'"{name}"', f'`{name}`'])
        return name if style == 'python' else keyword

    def text(self, word: str, style: str) -> str:
        quote = '"' if style == 'python' else "'"
        return quote + word.replace(quote, quote + quote) + quote

    def case(self, word: str) -> str:
        return self.draw.choice([word, word.upper(), word.capitalize()])

    def style(self) -> str:
        return self.draw.choice(['python', 'cql2'])

    def number(self) -> Made:
        style = self.style()
        name = self.draw.choice(
            ['real', 'single', 'whole', 'big', 'unsigned', 'small', 'decimal', 'level']
        )
        sign, written = self.sign(style)
        numbers = f'0 5.5 10 -1 -3 0.1 .1 1. 2.5 2.50 1e30 {BIG} {BIG - 1} {BIG}.5'
        value = self.draw.choice(f'{numbers} {2**63 + 1} 99999999999999999999'.split())
        test = SIGNS[sign]

        def judge(row: Row) -> bool | None:
            own = row[name]
            if own is None:
                return None
            if isinstance(own, np.float32):
                return bool(test(own, np.float32(value)))
            if isinstance(own, float):
                return test(own, float(value))
            return test(own, Decimal(value))

        column = self.name(name, style)
        if style == 'cql2' and self.draw.random() < 0.3:
            turned = {'<': '>', '>': '<', '<=': '>=', '>=': '<='}.get(written, written)
            return f'{value} {turned} {column}', judge
        return f'{column} {written} {value}', judge

    def between(self) -> Made:
        style, name = (
            self.style(),
            self.draw.choice(['real', 'whole', 'small', 'decimal']),
        )
        low, high = (
            self.draw.choice(['0', '-1', '2.5']),
            self.draw.choice(['10', '2', '-2']),
        )
        denied = self.draw.random() < 0.5

        def judge(row: Row) -> bool | None:
            own = row[name]
            if own is None:
                return None
            return (float(low) <= float(own) <= float(high)) != (
                denied and style == 'cql2'
            )

        if style == 'python':
            return f'{low} <= {name} <= {high}', judge
        word = f'{self.case("not")} ' if denied else ''
        column = self.name(name, style)
        return (
            f'{column} {word}{self.case("between")} {low} {self.case("and")} {high}',
            judge,
        )

    def word(self) -> Made:
        style, name = self.style(), self.draw.choice(['word', 'class'])
        sign, written = self.sign(style)
        value, test = self.draw.choice(WORDS), SIGNS[sign]
        judge: Test = lambda row: None if row[name] is None else test(row[name], value)
        return f'{self.name(name, style)} {written} {self.text(value, style)}', judge

    def listed(self) -> Made:
        style, name = (
            self.style(),
            self.draw.choice(['word', 'class', 'whole', 'level', 'day']),
        )
        pool: list[Any] = [*WORDS]
        if name in ('whole', 'level'):
            pool = [-3, 0, 1, 2.5, 2]
        elif name == 'day':
            pool = ['2024-06-01', '2024-06-03']
        values = self.draw.sample(pool, 2)
        denied = self.draw.random() < 0.5

        def judge(row: Row) -> bool | None:
            if row[name] is None:
                return None
            own = str(row[name]) if name == 'day' else row[name]
            return (own in values) != denied

        told = [self.text(v, style) if isinstance(v, str) else str(v) for v in values]
        opening, closing = ('[', ']') if style == 'python' else ('(', ')')
        word = f'{self.case("not")} ' if denied else ''
        made = f'{self.name(name, style)} {word}{self.case("in")} {opening}{", ".join(told)}{closing}'
        return made, judge

    def like(self) -> Made:
        style, name = self.style(), self.draw.choice(['word', 'class'])
        pattern, fold = self.draw.choice(PATTERNS), self.draw.random() < 0.3
        denied = self.draw.random() < 0.5
        parts = re.findall(r'\\[%_\\]|.', pattern, re.DOTALL)
        plain = ''.join({'%': '.*', '_': '.'}.get(p, re.escape(p[-1])) for p in parts)
        flags = re.DOTALL | (re.IGNORECASE if fold else 0)

        def judge(row: Row) -> bool | None:
            if row[name] is None:
                return None
            return (re.fullmatch(plain, row[name], flags) is not None) != denied

        word = f'{self.case("not")} ' if denied else ''
        verb = self.case('ilike' if fold else 'like')
        return (
            f'{self.name(name, style)} {word}{verb} {self.text(pattern, style)}',
            judge,
        )

    def dated(self) -> Made:
        style, name = self.style(), self.draw.choice(['time_start', 'naive', 'day'])
        sign, written = self.sign(style)
        text = self.draw.choice(DATES)
        first, after = span(text)

        def judge(row: Row) -> bool | None:
            own = row[name]
            if own is None:
                return None
            if name == 'day':
                own = pd.Timestamp(own, tz='UTC')
            return {
                '<': own < first,
                '<=': own < after,
                '>': own >= after,
                '>=': own >= first,
                '=': first <= own < after,
                '<>': not first <= own < after,
            }[sign]

        told = self.text(text, style)
        if style == 'cql2' and self.draw.random() < 0.4:
            told = f'{self.case("timestamp" if "T" in text else "date")}({told})'
        return f'{self.name(name, style)} {written} {told}', judge

    def duration(self) -> Made:
        sign, written = self.sign('cql2')
        hours, test = self.draw.choice([0, 1, 5, 23]), SIGNS[sign]
        forms = [f'{hours}h', f'PT{hours}H', f'{hours} hours', f'0d{hours}H']
        told = self.draw.choice(forms)

        def judge(row: Row) -> bool | None:
            own = row['took']
            return None if own is None else bool(test(own, pd.Timedelta(hours=hours)))

        return f"took {written} '{told}'", judge

    def pair(self) -> Made:
        style = self.style()
        pairs = 'real whole, small whole, decimal real, word class, naive time_start'
        pairs += ', day time_start, big unsigned, flag maybe, loose flag, nothing word'
        one, other = self.draw.choice(f'{pairs}, level small'.split(', ')).split()
        sign, written = self.sign(style)
        test = SIGNS[sign]

        def judge(row: Row) -> bool | None:
            a, b = row[one], row[other]
            if a is None or b is None:
                return None
            if one == 'day':
                a = pd.Timestamp(a, tz='UTC')
            return bool(test(a, b))

        quote = '`' if style == 'cql2' and self.draw.random() < 0.5 else ''
        return f'{quote}{one}{quote} {written} {quote}{other}{quote}', judge

    def flag(self) -> Made:
        style, name = self.style(), self.draw.choice(['flag', 'maybe', 'loose'])
        column = self.name(name, style)
        kind = self.draw.randrange(4)
        if kind == 0:
            return column, lambda row: row[name]
        truth = self.draw.random() < 0.5
        told = self.case(str(truth).lower())
        if kind == 1:
            equal = '==' if style == 'python' else '='
            return (
                f'{column} {equal} {told}',
                lambda row: None if row[name] is None else row[name] == truth,
            )
        denied = kind == 3
        word = f'{self.case("not")} ' if denied else ''
        return (
            f'{column} {self.case("is")} {word}{told}',
            lambda row: (row[name] is truth) != denied,
        )

    def null(self) -> Made:
        style = self.style()
        name = self.draw.choice(
            ['real', 'small', 'word', 'class', 'day', 'took', 'loose', 'nothing']
        )
        denied = self.draw.random() < 0.5
        word = f'{self.case("not")} ' if denied else ''
        nothing = 'None' if style == 'python' else self.case('null')
        return (
            f'{self.name(name, style)} {self.case("is")} {word}{nothing}',
            lambda row: (row[name] is None) != denied,
        )

    def made(self, depth: int) -> Made:
        if depth == 0 or self.draw.random() < 0.25:
            kinds = (
                self.number,
                self.between,
                self.word,
                self.listed,
                self.like,
                self.dated,
            )
            kinds += (self.duration, self.pair, self.flag, self.null)
            return self.draw.choice(kinds)()
        kind = self.draw.randrange(4)
        text, test = self.made(depth - 1)
        if kind == 0:
            return f'{self.case("not")} ({text})', lambda row: deny(test(row))
        if kind == 1 and self.draw.random() < 0.5:
            unknown = self.case(self.draw.choice(['null', 'unknown']))
            return (
                f'({text}) {self.case("is")} {unknown}',
                lambda row: test(row) is None,
            )
        other, second = self.made(depth - 1)
        if kind == 2:
            return f'({text}) {self.case("or")} ({other})', lambda row: deny(
                both(deny(test(row)), deny(second(row)))
            )
        return f'({text}) {self.case("and")} ({other})', lambda row: both(
            test(row), second(row)
        )


@pytest.mark.slow
def test_three_valued_logic_parts_all_rows(
    table: EmbeddingTable, archives: dict[str, Any]
) -> None:
    plain_rows = [
        {name: plain(value) for name, value in row.items() if name != 'native_corners'}
        for row in table.frame.drop(columns='geometry').to_dict('records')
    ]
    # What to_dict makes of single precision is a Python float.
    for row, value in zip(plain_rows, table.frame['single'].to_numpy(), strict=True):
        row['single'] = None if np.isnan(value) else value
    writer = Writer(0)
    seen = {True: 0, False: 0, None: 0}
    names = list(archives)
    for turn in range(COUNT):
        text, test = writer.made(3)
        truths = [test(row) for row in plain_rows]
        for truth in truths:
            seen[truth] += 1
        # Each condition of one archive, in turns, for the sake of time.
        name = names[turn % len(names)]
        archive = archives[name]
        for asked, answer in (
            (text, True),
            (f'not ({text})', False),
            (f'({text}) is null', None),
        ):
            where = Where(where=asked)
            got = (
                where.rows(archive)
                if isinstance(archive, EmbeddingTable)
                else archive.rows(where)
            )
            expected = [i for i, truth in enumerate(truths) if truth is answer]
            assert got.tolist() == expected, (asked, name)
    assert min(seen.values()) > 0.05 * sum(seen.values())


def test_patterns_never_run_away() -> None:
    # Backtracking takes longer than the world is old: the suite would never end.
    word = 'a' * 300
    assert not Pattern('%a%a%a%a%a%a%a%ab').matches(word)
    assert not Pattern('%_%_%_%_%_%_%b_').matches(word)
    assert Pattern('%a%a%a%a%a%a%a%').matches(word)
    assert not Pattern('%' * 300 + 'b').matches(word)
    assert not Pattern('a_' * 150 + '%b').matches(word * 10)


def test_patterns_against_regular_expressions() -> None:
    draw = random.Random(1)
    for _ in range(3000):
        word = ''.join(draw.choices('abA%_\\\n', k=draw.randrange(7)))
        parts = draw.choices(
            ['a', 'b', '%', '%', '_', '\\%', '\\_', '\\\\', '\n'], k=draw.randrange(6)
        )
        fold = draw.random() < 0.5
        twin = ''.join({'%': '.*', '_': '.'}.get(p, re.escape(p[-1])) for p in parts)
        flags = re.DOTALL | (re.IGNORECASE if fold else 0)
        expected = re.fullmatch(twin, word, flags) is not None
        assert Pattern(''.join(parts), fold=fold).matches(word) is expected, (
            parts,
            word,
        )


def as_json(node: Node) -> Any:
    """Give a tree as CQL2-JSON."""
    match node:
        case Column(name, _, fold):
            return (
                {'op': 'casei', 'args': [{'property': name}]}
                if fold
                else {'property': name}
            )
        case Constant(value, date, _, fold):
            if date:
                return {'timestamp' if 'T' in str(value) else 'date': value}
            made = value if isinstance(value, bool | str) else float(value)
            return {'op': 'casei', 'args': [made]} if fold else made
        case Compare(left, sign, right):
            return {'op': sign, 'args': [as_json(left), as_json(right)]}
        case Within(column, values):
            return {'op': 'in', 'args': [as_json(column), [as_json(v) for v in values]]}
        case Like(column, pattern):
            return {'op': 'like', 'args': [as_json(column), pattern]}
        case Is(part, None):
            return {'op': 'isNull', 'args': [as_json(part)]}
        case Not(part):
            return {'op': 'not', 'args': [as_json(part)]}
        case Both(parts, some):
            return {
                'op': 'or' if some else 'and',
                'args': [as_json(part) for part in parts],
            }
    raise AssertionError(node)


def test_cql2_is_read_as_its_reference_reads_it() -> None:
    cql2 = pytest.importorskip('cql2')
    draw = random.Random(2)

    def atom() -> str:
        name = draw.choice(
            ['a', 'cloud', '"my col"', '"cloud"', 'eo:cloud_cover', 'größe']
        )
        number = draw.choice(['1', '-2', '2.5', '1e3', '10'])
        word = draw.choice(["'x'", "'it''s'", "''", "'a%_\\\\b'"])
        denied = draw.choice(['', 'NOT '])
        return draw.choice(
            [
                f'{name} {draw.choice(list(SIGNS))} {number}',
                f'{number} {draw.choice(list(SIGNS))} {name}',
                f'{name} {draw.choice(["=", "<>", "<"])} {word}',
                f'{name} {denied}IN ({word}, {word})',
                f'{name} {denied}IN ({number})',
                f'{name} {denied}LIKE {word}',
                f'{name} IS {denied}NULL',
                f'{name} = {draw.choice(["TRUE", "false"])}',
                f"{name} >= DATE('2024-06-01')",
                f"{name} < TIMESTAMP('2024-06-01T00:00:00Z')",
                f'CASEI({name}) = CASEI({word})',
                f'CASEI({name}) IN (CASEI({word}))',
                f'{name}',
            ]
        )

    def made(depth: int) -> str:
        if depth == 0 or draw.random() < 0.3:
            return atom()
        parts = [made(depth - 1) for _ in range(draw.randrange(2, 4))]
        kind = draw.randrange(5)
        if kind == 0:
            return f'NOT ({parts[0]})'
        if kind == 1:
            return f'({parts[0]}) IS NULL'
        if kind == 2:
            return ' and '.join(f'({part})' for part in parts)
        # Without brackets: and before or, not before both.
        return draw.choice([' OR ', ' AND ']).join(parts)

    for _ in range(500):
        text = made(3)
        try:
            expected = cql2.parse_text(text).to_json()
        except Exception as error:
            raise AssertionError(text) from error
        assert flat(as_json(read_condition(text))) == flat(expected), text


def flat(tree: Any) -> Any:
    """Put nested ands and ors of one kind side by side, and cancel double denials."""
    if not isinstance(tree, dict) or 'op' not in tree:
        return tree
    args = [
        [flat(one) for one in arg] if isinstance(arg, list) else flat(arg)
        for arg in tree['args']
    ]
    op = tree['op']
    if op in ('and', 'or'):
        args = [
            part
            for arg in args
            for part in (
                arg['args'] if isinstance(arg, dict) and arg.get('op') == op else [arg]
            )
        ]
    if op == 'not' and isinstance(args[0], dict) and args[0].get('op') == 'not':
        return args[0]['args'][0]
    return {'op': op, 'args': args}


def test_equal_however_it_is_written() -> None:
    one = Expression("cloud < 10 and source = 'x'")
    other = Expression('"cloud"<1e1 AND `source`=="x"')
    assert one == other
    assert hash(one) == hash(other)
    assert one != Expression("cloud < 10 and source = 'y'")
    assert one != Expression("cloud < 10 or source = 'x'")
    assert one != "cloud < 10 and source = 'x'"


def test_all_columns_are_listed_whatever_other_clauses_left(
    archives: dict[str, Any],
) -> None:
    for archive in archives.values():
        columns = getattr(archive, 'columns', archive)
        nowhere = Where((-50, -50, -40, -40), where='clouds < 5')
        with pytest.raises(
            QueryError, match=r'the archive has patch_id, .*, word, class, level'
        ):
            nowhere.rows(columns)
        nothing = Where((-50, -50, -40, -40)) & Where(
            where='maybe and loose and day > "2024"'
        )
        assert len(nothing.rows(columns)) == 0
