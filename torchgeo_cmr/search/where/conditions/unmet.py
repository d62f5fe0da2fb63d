"""Why a condition is true of no row: a column without values, or with other ones."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from .condition import Expression
from .operands import Side, side
from .tokens import quoted
from .tree import Both, Column, Compare, Constant, Is, Like, Node, Not, Within

#: Values of a column that are listed, and letters that are shown of each.
_FEW, _LETTERS = 5, 40
#: Columns that nothing fills unless something was measured, and how it is.
_MEASURED = {
    'cloud': 'it is measured from a mask of each scene, such as SCL or QA_PIXEL; embed the '
    'scenes with their masks, or leave the condition out',
    'time_start': 'the scenes are without a date; give their dates, or leave the condition out',
    'time_end': 'the scenes are without a date; give their dates, or leave the condition out',
}
_LEAVE_OUT = 'leave the condition out, or write IS NULL to find these rows'


def columns_without_values(expression: Expression, frame: pd.DataFrame) -> list[str]:
    """Name the columns that a condition compares and no row fills.

    Args:
        expression: The condition.
        frame: Its columns, of all rows.

    Returns:
        A sentence for each column; none for what only ``IS NULL`` reads.
    """
    names = {name for leaf in _comparisons(expression.tree) for name in _names(leaf)}
    return [
        f'no row has a value in {name}: {_MEASURED.get(name, _LEAVE_OUT)}'
        for name in sorted(names - set(_nulls(expression.tree)))
        if len(frame) and frame[name].isna().all()
    ]


def comparisons_without_rows(expression: Expression, frame: pd.DataFrame) -> list[str]:
    """Name the comparisons that are true of no row, with the values that there are.

    Args:
        expression: The condition.
        frame: Its columns, of all rows.

    Returns:
        A sentence for each column with a constant; none below ``NOT``, where that is no fault.
    """
    found: dict[str, None] = {}
    for leaf in _comparisons(expression.tree, below_not=False):
        names = _names(leaf)
        if len(names) != 1 or not len(frame):
            continue
        column = side(Column(names[0]), frame)
        if not column.null.all() and not expression.truth(leaf, frame).yes.any():
            found[f'no row has {_words(leaf)}, for {_values(column)}'] = None
    return list(found)


def _comparisons(
    node: Column | Node, *, below_not: bool = True
) -> Iterator[Compare | Within | Like]:
    """Give what compares a column."""
    match node:
        case Compare() | Within() | Like():
            yield node
        case Both(parts):
            for part in parts:
                yield from _comparisons(part, below_not=below_not)
        case Not(part) if below_not:
            yield from _comparisons(part)
        case Is(part, truth) if below_not and truth is not None:
            yield from _comparisons(part)


def _nulls(node: Node) -> Iterator[str]:
    """Give the columns that a condition compares with null."""
    match node:
        case Both(parts):
            for part in parts:
                yield from _nulls(part)
        case Not(part):
            yield from _nulls(part)
        case Is(Column(name), None):
            yield name


def _names(leaf: Compare | Within | Like) -> list[str]:
    sides = (leaf.left, leaf.right) if isinstance(leaf, Compare) else (leaf.column,)
    return [each.name for each in sides if isinstance(each, Column)]


def _words(leaf: Compare | Within | Like) -> str:
    match leaf:
        case Compare(left, sign, right):
            return f'{_operand(left)} {sign} {_operand(right)}'
        case Within(column, values):
            listed = ', '.join(_operand(value) for value in values[:_FEW])
            rest = ', ...' if len(values) > _FEW else ''
            return f'{column.name} IN ({listed}{rest})'
        case Like(column, pattern, fold):
            return f'{column.name} {"ILIKE" if fold else "LIKE"} {_short(pattern)}'


def _operand(operand: Column | Constant) -> str:
    if isinstance(operand, Column):
        return operand.name
    value = operand.value
    return _short(value) if isinstance(value, str) else str(value)


def _short(word: str) -> str:
    return quoted(word if len(word) <= _LETTERS else f'{word[:_LETTERS]}...')


def _values(column: Side) -> str:
    """Say which values a column has: a few words, or from where to where."""
    known = column.values[~column.null]
    if column.kind in ('number', 'decimal', 'time', 'duration'):
        low, high = (str(value) for value in (known.min(), known.max()))
        if low == high:
            return f'{column.name} is {low} wherever it is known'
        return f'{column.name} goes from {low} to {high}'
    distinct = np.unique(pd.unique(known).astype(str))
    listed = [
        _short(word) if column.kind == 'word' else word.lower()
        for word in distinct[:_FEW].tolist()
    ]
    if len(distinct) > _FEW:
        listed.append(f'one of {len(distinct) - _FEW} others')
    return f'{column.name} is {" or ".join(filter(None, (", ".join(listed[:-1]), listed[-1])))}'
