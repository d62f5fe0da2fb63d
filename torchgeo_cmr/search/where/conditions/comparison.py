"""Comparing columns with constants and with each other, as SQL does.

Each comparison has three answers: yes, no, and unknown where a value is null. Whole numbers,
dates and durations are compared as whole numbers, without rounding: a constant becomes the
stretch ``[low, high)`` of values that equal it, which is empty for 2.5 and a month long for
``'2024-06'``.
"""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.iso8601 import usual_units
from torchgeo_cmr.search.where.times import read_time

from .operands import Side, side
from .tree import Column, Constant

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    '<': operator.lt,
    '<=': operator.le,
    '>': operator.gt,
    '>=': operator.ge,
    '=': operator.eq,
    '<>': operator.ne,
}
_TURNED = {'<': '>', '<=': '>=', '>': '<', '>=': '<=', '=': '=', '<>': '<>'}
#: Kinds that are all numbers to a comparison.
_NUMBERS = frozenset(('flag', 'number', 'decimal'))
#: Beyond this no column holds a number, and its digits need not be written out.
_HUGE = 400
_UNITS = {'D': 86_400 * 10**9, 's': 10**9, 'ms': 10**6, 'us': 1000, 'ns': 1}


@dataclass(frozen=True)
class Truth:
    """Three-valued truth of each row: ``yes`` and ``no``; unknown where neither."""

    yes: NDArray[np.bool_]
    no: NDArray[np.bool_]


def flags(column: Side) -> Truth:
    """Read a column of true and false as a condition.

    Raises:
        QueryError: If it holds something else.
    """
    if column.kind not in ('flag', 'null'):
        raise QueryError(
            f'column {column.name!r} holds {column.kind}s, not true or false; compare it with '
            'a value'
        )
    yes = np.zeros(len(column.null), dtype=bool)
    if column.kind == 'flag':
        yes = column.values.astype(bool) & ~column.null
    return Truth(yes, ~yes & ~column.null)


def compared(
    left: Column | Constant, sign: str, right: Column | Constant, frame: pd.DataFrame
) -> Truth:
    """Compare two operands row by row.

    Args:
        left: Left side; at least one of the two is a column.
        sign: One of ``= <> < <= > >=``.
        right: Right side.
        frame: A table that has the columns.

    Raises:
        QueryError: If the two are of kinds that have nothing in common.
    """
    if isinstance(left, Constant):
        left, sign, right = right, _TURNED[sign], left
    assert isinstance(left, Column)  # the parser saw to it
    left_side = side(left, frame)
    if isinstance(right, Constant):
        return _with_constant(left_side, sign, right)
    return _with_column(left_side, sign, side(right, frame))


def one_of(column: Column, values: Sequence[Constant], frame: pd.DataFrame) -> Truth:
    """Say which rows have one of some values.

    Raises:
        QueryError: If one of them has nothing in common with the column.
    """
    column_side = side(column, frame)
    yes = np.zeros(len(column_side.null), dtype=bool)
    plain = [v.value for v in values if isinstance(v.value, str) and not v.fold]
    if column_side.kind == 'word' and len(plain) == len(values):
        yes = (
            pd.Series(column_side.values, dtype=object).isin(plain).to_numpy()
            & ~column_side.null
        )
        return Truth(yes, ~yes & ~column_side.null)
    for value in values:
        yes |= _with_constant(column_side, '=', value).yes
    return Truth(yes, ~yes & ~column_side.null)


def _with_constant(column: Side, sign: str, constant: Constant) -> Truth:
    value = constant.value
    kind = 'number'
    if isinstance(value, str):
        kind = 'time' if constant.date else 'word'
    elif isinstance(value, bool):
        kind = 'flag'
    if column.kind == 'null':
        return _answered(column, np.zeros(len(column.null), dtype=bool))
    if column.kind in _NUMBERS and kind in _NUMBERS:
        return _answered(column, _numbers(column, sign, Decimal(value)))
    if column.kind == 'time' and kind in ('word', 'time'):
        period = read_time(value)
        low, high = (
            _in_units(bound, column.values) for bound in (period.start, period.end)
        )
        return _answered(column, _in_stretch(column.values, sign, low, high))
    if column.kind == 'duration' and kind == 'word':
        length = _duration(column.name, str(value))
        low, high = (_in_units(bound, column.values) for bound in (length, length + 1))
        return _answered(column, _in_stretch(column.values, sign, low, high))
    if column.kind == kind == 'word':
        word = str(value).casefold() if constant.fold else value
        return _answered(column, _objects(column.null, sign, column.values, word))
    raise _strangers(column.name, column.kind, repr(value), kind)


def _with_column(this: Side, sign: str, that: Side) -> Truth:
    null = this.null | that.null
    both = Side('', this.values, null, this.kind)
    kinds = {this.kind, that.kind}
    if 'null' in kinds:
        return _answered(both, np.zeros(len(null), dtype=bool))
    if len(kinds) > 1 and not kinds <= _NUMBERS:
        raise _strangers(this.name, this.kind, that.name, that.kind)
    if kinds & {'word', 'decimal'}:
        return _answered(both, _objects(null, sign, this.values, that.values))
    if kinds & {'time', 'duration'}:
        return _answered(both, _SIGNS[sign](*_ordered(this.values, that.values)))
    left, right = (
        side.values.astype(np.int8) if side.kind == 'flag' else side.values
        for side in (this, that)
    )
    return _answered(both, _SIGNS[sign](left, right))


def _answered(column: Side, hit: NDArray[np.bool_]) -> Truth:
    """Give the answers of the rows that have values; nulls are unknown."""
    hit = np.asarray(hit, dtype=bool)
    return Truth(hit & ~column.null, ~hit & ~column.null)


def _strangers(name: str, kind: str, other: str, kind_of_other: str) -> QueryError:
    kinds = ['number' if k == 'decimal' else k for k in (kind, kind_of_other)]
    advice = ''
    if kinds == ['duration', 'number']:
        advice = "; write a duration like '5h' or '1 day'"
    elif kinds[1] == 'word' and kind != 'word':
        advice = '; columns and numbers stand without quotes'
    return QueryError(
        f'{name} is a {kinds[0]} and {other} a {kinds[1]}: they cannot be compared{advice}'
    )


def _numbers(column: Side, sign: str, number: Decimal) -> NDArray[np.bool_]:
    """Compare numbers or truth values with a number."""
    values = column.values
    if column.kind == 'decimal':
        return _objects(column.null, sign, values, number)
    if values.dtype.kind == 'f':
        with np.errstate(over='ignore', invalid='ignore'):
            return _SIGNS[sign](values, values.dtype.type(float(number)))
    if column.kind == 'flag':
        values = values.astype(np.int8)
    if number.adjusted() > _HUGE:
        number = Decimal(10**_HUGE).copy_sign(number)
    elif number.adjusted() < -_HUGE:
        # What matters of it is that it is not zero.
        number = number and Decimal('0.5').copy_sign(number)
    low = math.ceil(number)
    return _in_stretch(values, sign, low, math.floor(number) + 1)


def _in_stretch(
    values: NDArray[Any], sign: str, low: int, high: int
) -> NDArray[np.bool_]:
    """Compare whole numbers with the stretch from low to before high."""
    if values.dtype.kind in 'mM':
        values = values.view(np.int64)
    if sign in ('<', '>='):
        return _SIGNS[sign](values, low)
    if sign in ('<=', '>'):
        return values < high if sign == '<=' else values >= high
    equal = values == low if high == low + 1 else (values >= low) & (values < high)
    return equal if sign == '=' else ~equal


def _objects(
    null: NDArray[np.bool_], sign: str, left: NDArray[Any], right: Any
) -> NDArray[np.bool_]:
    """Compare Python objects, of the rows that have them."""
    if not null.any():
        return _SIGNS[sign](left.astype(object, copy=False), right)
    known = np.flatnonzero(~null)
    hit = np.zeros(len(null), dtype=bool)
    if isinstance(right, np.ndarray):
        right = right[known]
    hit[known] = _SIGNS[sign](left[known].astype(object, copy=False), right)
    return hit


def _in_units(nanoseconds: int, values: NDArray[Any]) -> int:
    """Give the first moment in the units of some times that is not earlier."""
    unit, count = np.datetime_data(values.dtype)
    return -(-nanoseconds // (_UNITS[unit] * count))


def _ordered(left: NDArray[Any], right: NDArray[Any]) -> tuple[Any, Any]:
    """Give whole numbers that compare as two columns of times do, whatever their units."""
    a, b = (values.view(np.int64) for values in (left, right))
    of_a, of_b = (_UNITS[np.datetime_data(v.dtype)[0]] for v in (left, right))
    if of_a == of_b:
        return a, b
    if of_a > of_b:
        order, zero = _ordered(right, left)
        return zero, order
    # The finer one in coarse units, and what is left of it.
    whole, rest = np.divmod(a, of_b // of_a)
    return np.sign(2 * np.sign(whole - b) + np.sign(rest)), np.zeros_like(b)


def _duration(name: str, text: str) -> int:
    """Read nanoseconds: ISO 8601 (``PT5H``) or as pandas does (``5h``, ``1 day``)."""
    try:
        if text.strip().lstrip('+-').isdecimal():
            raise ValueError('a number without a unit')
        return int(pd.Timedelta(usual_units(text)).as_unit('ns').value)
    except (ValueError, OverflowError) as error:
        raise QueryError(
            f"{text!r} is not a duration to compare {name!r} with; write it like '5h' or '1 day'"
        ) from error
