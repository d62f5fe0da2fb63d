"""Attribute conditions: ``'cloud < 10 and source == "x"'`` -> which rows match.

The text is parsed with :mod:`ast` and walked by hand. Only comparisons, ``and``, ``or``,
``not``, ``in`` a list, ``like`` a pattern, ``is null``, column names, numbers, words,
``True``, ``False`` and ``None`` are known; anything else is refused before a row is looked
at, and nothing is ever evaluated. Keywords may be written as SQL writes them, in capitals.

Nulls behave as in SQL: a comparison with a null is unknown, ``not`` of unknown is unknown,
and a row matches only where the whole condition is true. ``cloud is null`` asks for nulls.
"""

import ast
import io
import operator
import tokenize
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError

from .comparison import Truth, compared, given, like, side

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_KEYWORDS = ('and', 'or', 'not', 'in', 'is')
#: What ``like`` and ``not like`` become for the parser: operators that conditions lack.
_LIKE, _UNLIKE = '@', '%'
_LONGEST = 10_000
_HINT = 'write conditions like \'cloud < 10 and source == "x"\''


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
            self._tree = ast.parse(_python(text.strip()), mode='eval').body
            self._check(self._tree)
        except (
            SyntaxError,
            ValueError,
            RecursionError,
            MemoryError,
            tokenize.TokenError,
        ) as error:
            if isinstance(error, QueryError):
                raise
            raise QueryError(
                f'the condition {text[:80]!r} cannot be read; {_HINT}'
            ) from error
        self.text = text
        #: Names of the columns that are compared.
        self.names = frozenset(
            node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)
        )

    def __eq__(self, other: object) -> bool:
        """Compare what is asked, not how it was spaced."""
        return isinstance(other, Expression) and self._key == other._key

    def __hash__(self) -> int:
        """Hash what is asked."""
        return hash(self._key)

    @property
    def _key(self) -> str:
        return ast.dump(self._tree)

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
            case ast.BinOp(left=left, op=ast.MatMult() | ast.Mod(), right=right):
                self._name(left)
                if not isinstance(_constant(right), str):
                    raise QueryError(
                        f"'like' needs a pattern such as 'S2%', not {_show(right)}"
                    )
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

    def _truth(self, node: ast.expr, frame: pd.DataFrame) -> Truth:
        match node:
            case ast.BoolOp(op=op, values=parts):
                truths = [self._truth(part, frame) for part in parts]
                every, some = np.logical_and.reduce, np.logical_or.reduce
                yes, no = [t.yes for t in truths], [t.no for t in truths]
                return (
                    Truth(every(yes), some(no))
                    if isinstance(op, ast.And)
                    else Truth(some(yes), every(no))
                )
            case ast.UnaryOp(operand=part):
                truth = self._truth(part, frame)
                return Truth(truth.no, truth.yes)
            case ast.Compare(left=left, ops=ops, comparators=others):
                links = [
                    self._link(a, op, b, frame)
                    for a, op, b in zip([left, *others[:-1]], ops, others, strict=True)
                ]
                return Truth(
                    np.logical_and.reduce([t.yes for t in links]),
                    np.logical_or.reduce([t.no for t in links]),
                )
            case ast.BinOp(left=left, op=op, right=right):
                truth = like(side(_id(left), frame), _constant(right))
                return (
                    truth if isinstance(op, ast.MatMult) else Truth(truth.no, truth.yes)
                )
            case _:
                column = side(_id(node), frame)
                if column.kind != 'flag':
                    raise QueryError(
                        f'column {column.name!r} holds {column.kind}s, not true or false; compare it with a value'
                    )
                yes = np.zeros(len(frame), dtype=bool)
                yes[column.known] = column.values[column.known].astype(bool)
                return Truth(yes, ~yes & column.known)

    def _link(
        self, a: ast.expr, op: ast.cmpop, b: ast.expr, frame: pd.DataFrame
    ) -> Truth:
        """Compare two neighbours of a chain."""
        if isinstance(op, ast.In | ast.NotIn):
            column = side(_id(a), frame)
            yes = np.zeros(len(frame), dtype=bool)
            for value in _constants(b):
                yes |= compared(column, operator.eq, given(value, column)).yes
            truth = Truth(yes, ~yes & column.known)
            return truth if isinstance(op, ast.In) else Truth(truth.no, truth.yes)
        if _is_null(a) or _is_null(b):
            column = side(_id(b if _is_null(a) else a), frame)
            if isinstance(op, ast.Eq | ast.Is):
                return Truth(~column.known, column.known)
            if isinstance(op, ast.NotEq | ast.IsNot):
                return Truth(column.known, ~column.known)
            raise QueryError(
                f'None has no order; ask {column.name} == None or {column.name} != None'
            )
        compare = _COMPARE[type(op)]
        if isinstance(a, ast.Name) and isinstance(b, ast.Name):
            return compared(side(_id(a), frame), compare, side(_id(b), frame))
        if isinstance(a, ast.Name):
            left = side(_id(a), frame)
            return compared(left, compare, given(_constant(b), left))
        right = side(_id(b), frame)
        return compared(given(_constant(a), right), compare, right)


def _python(text: str) -> str:
    """Spell a condition so that Python's parser reads it; no meaning is given to it yet.

    Keywords come in small letters, ``is null`` as ``is None``, ``like`` as an operator that
    conditions have no other use for.
    """
    words: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind, word = token.type, token.string
        small = word.lower()
        before = [w for _, w in words[-2:]]
        if kind == tokenize.OP and word in (_LIKE, _UNLIKE):
            raise QueryError(f'{word!r} is not allowed in a condition; {_HINT}')
        if kind == tokenize.NAME and small in _KEYWORDS:
            word = small
        elif small == 'null' and (before[-1:] == ['is'] or before == ['is', 'not']):
            word = 'None'
        elif kind == tokenize.NAME and small == 'like' and words:
            kind, word = tokenize.OP, _LIKE
            if before[-1] == 'not':
                words.pop()
                word = _UNLIKE
        words.append((kind, word))
    return tokenize.untokenize(words).strip()


def _id(node: ast.expr) -> str:
    assert isinstance(node, ast.Name)  # _check saw to it
    return node.id


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
