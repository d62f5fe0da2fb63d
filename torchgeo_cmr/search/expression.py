"""Attribute conditions: ``'cloud < 10 and source == "x"'`` -> which rows match.

The text is parsed with :mod:`ast` and walked by hand. Only comparisons, ``and``, ``or``,
``not``, ``in`` a list, column names, numbers, words, ``True``, ``False`` and ``None`` are
known; anything else is refused before a row is looked at, and nothing is ever evaluated. Parser and
comparisons are kept in one module: what the first allows is what the second must answer.

Nulls behave as in SQL: a comparison with a null is unknown, ``not`` of unknown is unknown,
and a row matches only where the whole condition is true. ``cloud is None`` asks for nulls.
"""

import ast
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_LONGEST = 10_000
_HINT = 'write conditions like \'cloud < 10 and source == "x"\''


@dataclass(frozen=True)
class _Side:
    """A column or a constant (``null`` is None), ready to be compared."""

    name: str
    values: Any
    null: NDArray[np.bool_] | None
    kind: str

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows that have a value; only for columns."""
        assert self.null is not None
        return ~self.null


@dataclass(frozen=True)
class _Truth:
    """Three-valued truth of each row: ``yes`` and ``no``; unknown where neither."""

    yes: NDArray[np.bool_]
    no: NDArray[np.bool_]


class Expression:
    """An attribute condition, parsed once, asked of many tables.

    Args:
        text: The condition.

    Raises:
        QueryError: If the text is no condition; the message shows the part at fault.

    .. versionadded:: 0.1
    """

    def __init__(self, text: str) -> None:
        """Parse and check; columns are looked up later."""
        if not isinstance(text, str) or not text.strip():
            raise QueryError(f'the condition is {text!r}; {_HINT}')
        if len(text) > _LONGEST:
            raise QueryError(
                f'the condition is longer than {_LONGEST} characters; shorten it'
            )
        try:
            self._tree = ast.parse(text.strip(), mode='eval').body
            self._check(self._tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, QueryError):
                raise
            raise QueryError(
                f'the condition {text[:80]!r} cannot be read; {_HINT}'
            ) from error
        self.text = text

    def mask(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Say which rows match.

        Args:
            frame: Any table; a name in the condition is one of its columns.

        Returns:
            Boolean array (n,).

        Raises:
            QueryError: If a column is not there or cannot be compared in this way.
        """
        return self._truth(self._tree, frame).yes

    def _check(self, node: ast.expr) -> None:
        """Refuse every node that is not on the list."""
        match node:
            case ast.BoolOp(values=parts):
                for part in parts:
                    self._check(part)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                self._check(part)
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [left, *others]
                for a, op, b in zip(sides, ops, others, strict=False):
                    if isinstance(op, ast.In | ast.NotIn):
                        self._name(a)
                        _constants(b)
                    elif isinstance(op, ast.Is | ast.IsNot):
                        self._name(a)
                        if not _is_null(b):
                            raise QueryError(
                                f"'is' asks for None only, not {_show(b)}; use == instead"
                            )
                    elif not (isinstance(a, ast.Name) or isinstance(b, ast.Name)):
                        raise QueryError(f'{_show(node)} compares no column; {_HINT}')
                for side in sides:
                    if not isinstance(side, ast.Name | ast.List | ast.Tuple | ast.Set):
                        _constant(side)
            case ast.Name():
                pass
            case _:
                raise QueryError(
                    f'{_show(node)} is not allowed in a condition; {_HINT}'
                )

    @staticmethod
    def _name(node: ast.expr) -> None:
        if not isinstance(node, ast.Name):
            raise QueryError(f'{_show(node)} is not a column name; {_HINT}')

    def _truth(self, node: ast.expr, frame: pd.DataFrame) -> _Truth:
        match node:
            case ast.BoolOp(op=op, values=parts):
                truths = [self._truth(part, frame) for part in parts]
                every, some = np.logical_and.reduce, np.logical_or.reduce
                yes, no = [t.yes for t in truths], [t.no for t in truths]
                return (
                    _Truth(every(yes), some(no))
                    if isinstance(op, ast.And)
                    else _Truth(some(yes), every(no))
                )
            case ast.UnaryOp(operand=part):
                truth = self._truth(part, frame)
                return _Truth(truth.no, truth.yes)
            case ast.Compare(left=left, ops=ops, comparators=others):
                links = [
                    self._link(a, op, b, frame)
                    for a, op, b in zip([left, *others[:-1]], ops, others, strict=True)
                ]
                return _Truth(
                    np.logical_and.reduce([t.yes for t in links]),
                    np.logical_or.reduce([t.no for t in links]),
                )
            case _:
                column = _side(node, frame)
                if column.kind != 'flag':
                    raise QueryError(
                        f'column {column.name!r} holds {column.kind}s, not true or false; compare it with a value'
                    )
                yes = np.zeros(len(frame), dtype=bool)
                yes[column.known] = column.values[column.known].astype(bool)
                return _Truth(yes, ~yes & column.known)

    def _link(
        self, a: ast.expr, op: ast.cmpop, b: ast.expr, frame: pd.DataFrame
    ) -> _Truth:
        """Compare two neighbours of a chain."""
        if isinstance(op, ast.In | ast.NotIn):
            column = _side(a, frame)
            yes = np.zeros(len(frame), dtype=bool)
            for value in _constants(b):
                yes |= _compared(column, operator.eq, _given(value, column)).yes
            truth = _Truth(yes, ~yes & column.known)
            return truth if isinstance(op, ast.In) else _Truth(truth.no, truth.yes)
        if _is_null(a) or _is_null(b):
            column = _side(b if _is_null(a) else a, frame)
            if isinstance(op, ast.Eq | ast.Is):
                return _Truth(~column.known, column.known)
            if isinstance(op, ast.NotEq | ast.IsNot):
                return _Truth(column.known, ~column.known)
            raise QueryError(
                f'None has no order; ask {column.name} == None or {column.name} != None'
            )
        compare = _COMPARE[type(op)]
        if isinstance(a, ast.Name) and isinstance(b, ast.Name):
            return _compared(_side(a, frame), compare, _side(b, frame))
        if isinstance(a, ast.Name):
            left = _side(a, frame)
            return _compared(left, compare, _given(_constant(b), left))
        right = _side(b, frame)
        return _compared(_given(_constant(a), right), compare, right)


def _show(node: ast.AST) -> str:
    return repr(ast.unparse(node)[:80])


def _is_null(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _constant(node: ast.expr) -> Any:
    """Give the value of a number, a word, True, False or None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = node.operand
        if not isinstance(inner, ast.Constant) or type(inner.value) not in (int, float):
            raise QueryError(f'{_show(node)} is not a number; {_HINT}')
        number: Any = inner.value
        return -number if isinstance(node.op, ast.USub) else number
    if not isinstance(node, ast.Constant) or not isinstance(
        node.value, int | float | str | None
    ):
        raise QueryError(f'{_show(node)} is not allowed in a condition; {_HINT}')
    return node.value


def _constants(node: ast.expr) -> Sequence[Any]:
    """Give the values of a list of constants."""
    if not isinstance(node, ast.List | ast.Tuple | ast.Set):
        raise QueryError(f"'in' needs a list such as ['a', 'b'], not {_show(node)}")
    values = [_constant(part) for part in node.elts]
    if None in values:
        raise QueryError(
            "None cannot stand in a list; ask 'column == None or column in [...]'"
        )
    return values


def _side(node: ast.expr, frame: pd.DataFrame) -> _Side:
    """Look a column up."""
    assert isinstance(node, ast.Name)  # _check saw to it
    name = node.id
    kind = _kind(frame[name]) if name in frame else None
    if kind is None:
        known = ', '.join(str(c) for c in frame.columns if _kind(frame[c]) is not None)
        raise QueryError(
            f'there is no column {name!r} to compare; the archive has {known}'
        )
    column = frame[name]
    null = column.isna().to_numpy()
    if kind == 'time':
        zone = getattr(column.dtype, 'tz', None)
        plain = (
            column if zone is None else column.dt.tz_convert('UTC').dt.tz_localize(None)
        )
        return _Side(name, plain.to_numpy(), null, kind)
    native = isinstance(column.dtype, np.dtype)
    return _Side(
        name, column.to_numpy() if native else column.to_numpy(dtype=object), null, kind
    )


def _kind(column: pd.Series) -> str | None:
    """Say what a column holds, None where conditions do not apply."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return 'flag'
    if pd.api.types.is_numeric_dtype(dtype):
        return 'number'
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return 'time'
    if isinstance(dtype, pd.StringDtype):
        return 'word'
    # An object column without any value may be compared with anything: it never matches.
    return 'null' if dtype == object and column.isna().all() else None


def _given(value: Any, column: _Side) -> _Side:
    """Make a constant comparable with a column, or say why it is not."""
    kind = (
        'flag'
        if isinstance(value, bool)
        else 'word'
        if isinstance(value, str)
        else 'number'
    )
    name = repr(value)
    if column.kind == 'time' and kind == 'word':
        try:
            time = pd.Timestamp(value)
        except ValueError as error:
            raise QueryError(
                f'{name} is no time to compare {column.name!r} with; use ISO 8601'
            ) from error
        time = time if time.tzinfo is None else time.tz_convert('UTC').tz_localize(None)
        value, kind = time.to_datetime64(), 'time'
    return _Side(name, value, None, kind)


def _compared(a: _Side, compare: Callable[[Any, Any], Any], b: _Side) -> _Truth:
    if (
        a.kind != b.kind
        and 'null' not in (a.kind, b.kind)
        and {a.kind, b.kind} != {'flag', 'number'}
    ):
        raise QueryError(
            f'{a.name} is a {a.kind} and {b.name} a {b.kind}: they cannot be compared'
        )
    known = ~np.logical_or.reduce(
        [side.null for side in (a, b) if side.null is not None]
    )
    left, right = (s.values if s.null is None else s.values[known] for s in (a, b))
    yes = np.zeros(len(known), dtype=bool)
    yes[known] = np.asarray(compare(left, right)).astype(bool)
    return _Truth(yes, ~yes & known)
