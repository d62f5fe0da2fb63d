"""The grammar of a condition: OGC CQL2-Text, SQL's habits and our Python-like form -> a tree.

The three are one grammar here, so that ``cloud < 10 and source == "x" and n BETWEEN 1 AND 3``
is read whoever wrote which part. Two parsers of CQL2 were tried for the text. cql2 0.6 reads
every number as a double (9007199254740993 becomes ...992), ends the process on 2,000
brackets, and knows neither ``ILIKE`` nor anything of the Python-like form. pygeofilter 0.4
gives ``and`` and ``or`` one precedence (``a or b and c`` is ``(a or b) and c``), refuses
``'it''s'`` and columns of one letter, and takes 0.4 s to import. Each would have needed a
parser of our own as well, and a condition in two styles would be read by neither. A test
reads the same text with cql2 and compares the trees.

Text in double quotes is a column in SQL and a word in the Python-like form. It is a word
where it is compared with a column that stands without quotes (``source == "x"``), or follows
``in``, ``like`` or ``between``; elsewhere it is a column (``"cloud" < 10``).
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.iso8601 import read_period

from .tokens import HINT, Token, tokens
from .tree import Both, Column, Compare, Constant, Is, Like, Node, Not, Within

_LONGEST = 10_000
_DEEPEST = 60
_SHOWN = 80
#: Names that cannot be columns unless they are quoted.
_KEYWORDS = frozenset(('and', 'or', 'not', 'in', 'is', 'null', 'none', 'true', 'false'))
_COMPARE = {'<': '<', '<=': '<=', '>': '>', '>=': '>=', '=': '=', '==': '='}
_COMPARE |= {'<>': '<>', '!=': '<>'}
_TRUTHS: dict[str, bool | None] = {'true': True, 'false': False}
_TRUTHS |= {'null': None, 'none': None, 'unknown': None}
_CLOSE = {'(': ')', '[': ']', '{': '}'}


def read_condition(text: str) -> Node:
    """Read a condition.

    Args:
        text: The condition.

    Returns:
        Its tree, whose leaves that stand alone are columns of true and false.

    Raises:
        QueryError: If it cannot be read; the message shows the part at fault.
    """
    if not isinstance(text, str) or not text.strip():
        raise QueryError(f'the condition is {" ".join(repr(text).split()):.80}; {HINT}')
    if len(text) > _LONGEST:
        raise QueryError(
            f'the condition is longer than {_LONGEST} characters; shorten it'
        )
    return _Reader(text).read()


class _Reader:
    """Reads one condition from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._next = 0
        self._depth = 0

    def read(self) -> Node:
        made = self._either()
        if self._here.kind != 'end':
            raise self._fault('and, or, or the end was expected')
        return made

    @property
    def _here(self) -> Token:
        return self._tokens[self._next]

    def _take(self, *words: str) -> str:
        """Go on if a keyword or sign comes next, and give it; else empty."""
        token = self._here
        word = token.small or (token.text if token.kind == 'sign' else '')
        if word not in words:
            return ''
        self._next += 1
        return word

    def _fault(self, missing: str) -> QueryError:
        token = self._here
        where = 'its end' if token.kind == 'end' else repr(self._text[token.at :][:20])
        return QueryError(
            f'the condition {self._text[:_SHOWN]!r} cannot be read at {where}: {missing}; {HINT}'
        )

    def _since(self, begin: int) -> str:
        """Show what was read since a token."""
        first = self._tokens[begin].at
        return repr(self._text[first : self._here.at].strip()[:_SHOWN])

    def _either(self) -> Node:
        return self._several('or', self._every, either=True)

    def _every(self) -> Node:
        return self._several('and', self._denied, either=False)

    def _several(self, word: str, part: Callable[[], Node], *, either: bool) -> Node:
        parts = [part()]
        while self._take(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Both(tuple(parts), either)

    def _denied(self) -> Node:
        denials = 0
        while self._take('not'):
            denials += 1
        made = self._judged()
        # Two denials cancel each other out, of what is unknown too.
        return Not(made) if denials % 2 else made

    def _judged(self) -> Node:
        """Read a comparison or a bracket, and ``is`` behind it."""
        begin = self._next
        if self._take('('):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._fault(f'brackets are nested more than {_DEEPEST} times')
            made = self._either()
            self._depth -= 1
            if not self._take(')'):
                raise self._fault("')' was expected")
            if isinstance(made, Column):
                made = self._compared(made, begin)
        else:
            made = self._compared(self._operand(), begin)
        while self._take('is'):
            denied = self._take('not')
            truth = self._take(*_TRUTHS)
            if not truth:
                raise QueryError(
                    f"'is' compares with null, true or false only ({self._since(begin)}); "
                    "use '=' for other values"
                )
            made = Is(made, _TRUTHS[truth])
            made = Not(made) if denied else made
        return made

    def _compared(self, first: Column | Constant | None, begin: int) -> Node:
        denied = bool(self._take('not'))
        if self._take('in'):
            made: Node = Within(self._column(first, begin), self._list())
        elif word := self._take('like', 'ilike'):
            made = self._like(first, begin, fold=word == 'ilike')
        elif self._take('between'):
            low = _as_word(self._operand())
            if not self._take('and'):
                raise self._fault("'and' was expected, as in 'cloud between 1 and 10'")
            high = _as_word(self._operand())
            above = self._comparison(first, '>=', low, begin)
            below = self._comparison(first, '<=', high, begin)
            made = Both((above, below))
        elif denied:
            raise self._fault("'in', 'like' or 'between' was expected after 'not'")
        else:
            return self._chain(first, begin)
        return Not(made) if denied else made

    def _chain(self, first: Column | Constant | None, begin: int) -> Node:
        """Read ``0 < cloud <= 10``: each neighbour is compared with the next."""
        operands, signs = [first], []
        while sign := self._take(*_COMPARE):
            signs.append(sign)
            operands.append(self._operand())
        if not signs:
            return self._alone(first, begin)
        settled = _settled(operands, signs)
        made = [
            self._comparison(a, sign, b, begin)
            for a, sign, b in zip(settled, signs, settled[1:], strict=False)
        ]
        return made[0] if len(made) == 1 else Both(tuple(made))

    def _alone(self, operand: Column | Constant | None, begin: int) -> Node:
        """Read what is not compared: a column of true and false, or true or false itself."""
        known = isinstance(operand, Constant) and isinstance(operand.value, bool)
        if isinstance(operand, Column) or known:
            return operand
        raise QueryError(
            f'{self._since(begin)} is not allowed in a condition on its own; {HINT}'
        )

    def _comparison(
        self,
        left: Column | Constant | None,
        sign: str,
        right: Column | Constant | None,
        begin: int,
    ) -> Node:
        if left is None or right is None:
            other = right if left is None else left
            if not isinstance(other, Column) or sign not in ('==', '!='):
                raise QueryError(
                    f'{self._since(begin)} is never true, because nothing equals null; write '
                    f"'is null' or 'is not null'"
                )
            made = Is(other, None)
            return made if sign == '==' else Not(made)
        if isinstance(left, Constant) and isinstance(right, Constant):
            raise QueryError(f'{self._since(begin)} compares no column; {HINT}')
        return Compare(left, _COMPARE[sign], right)

    def _column(self, operand: Column | Constant | None, begin: int) -> Column:
        if not isinstance(operand, Column):
            raise QueryError(f'{self._since(begin)} has no column in front; {HINT}')
        return operand

    def _like(self, first: Column | Constant | None, begin: int, *, fold: bool) -> Node:
        column = self._column(first, begin)
        pattern = _as_word(self._operand())
        if not isinstance(pattern, Constant) or not isinstance(pattern.value, str):
            raise QueryError(
                f"'like' needs a pattern such as 'S2%' ({self._since(begin)})"
            )
        return Like(column, pattern.value, fold=fold or column.fold or pattern.fold)

    def _list(self) -> tuple[Constant, ...]:
        opening = self._take('(', '[', '{')
        if not opening:
            raise QueryError(
                f"'in' needs a list such as ('a', 'b'), not {self._here.text!r}"
            )
        values: list[Constant] = []
        while not self._take(_CLOSE[opening]):
            value = _as_word(self._operand())
            if value is None:
                raise QueryError(
                    'null cannot stand in a list, because nothing equals it; write '
                    "'column is null or column in (...)'"
                )
            if not isinstance(value, Constant):
                raise QueryError(
                    f'the column {value.name!r} cannot stand in a list; words need quotes: '
                    f'{value.name!r}'
                )
            values.append(value)
            if not self._take(',') and self._here.text != _CLOSE[opening]:
                raise self._fault(f"',' or '{_CLOSE[opening]}' was expected")
        return tuple(values)

    def _operand(self) -> Column | Constant | None:
        """Read a column or a value; None for null."""
        sign = self._take('-', '+')
        token = self._here
        if token.kind == 'number':
            self._next += 1
            return Constant(_number(sign + token.text))
        if sign:
            raise self._fault('a number was expected after the sign')
        if token.kind in ('word', 'quoted', 'column'):
            self._next += 1
            if token.kind == 'word':
                return Constant(token.text)
            return Column(token.text, quoted=token.kind == 'quoted')
        if token.small in ('null', 'none', 'true', 'false'):
            self._next += 1
            truth = _TRUTHS[token.small]
            return None if truth is None else Constant(truth)
        if token.kind != 'name' or token.small in _KEYWORDS:
            raise self._fault('a column or a value was expected')
        self._next += 1
        after = self._here
        if after.kind in ('word', 'quoted') and after.at == token.at + len(token.text):
            raise QueryError(
                f'{self._text[token.at :][:20]!r} is not allowed in a condition; {HINT}'
            )
        return self._function(token) if after.text == '(' else Column(token.text)

    def _function(self, name: Token) -> Column | Constant:
        """Read the functions of CQL2 that conditions know."""
        word = name.small
        self._next += 1
        if word not in ('casei', 'date', 'timestamp'):
            raise QueryError(
                f'{name.text}(...) is not allowed in a condition, whose only functions are '
                f'CASEI, DATE and TIMESTAMP; areas and time windows are arguments of their own'
            )
        inside = self._operand()
        if not self._take(')'):
            raise self._fault("')' was expected")
        if word == 'casei' and isinstance(inside, Column):
            return Column(inside.name, fold=True)
        if not isinstance(inside, Constant) or not isinstance(inside.value, str):
            raise QueryError(f'{name.text}(...) needs text in single quotes')
        if word == 'casei':
            return Constant(inside.value, fold=True)
        try:
            read_period(inside.value)
        except ValueError as error:
            raise QueryError(str(error)) from error
        return Constant(inside.value, date=True)


def _number(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:
        return Decimal(text)


def _as_word(operand: Column | Constant | None) -> Column | Constant | None:
    """Read text in double quotes as a word."""
    if isinstance(operand, Column) and operand.quoted:
        return Constant(operand.name)
    return operand


def _settled(
    operands: Sequence[Column | Constant | None], signs: Sequence[str]
) -> list[Column | Constant | None]:
    """Say which operands in double quotes are words: those next to a bare column."""
    made = []
    for i, operand in enumerate(operands):
        if isinstance(operand, Column) and operand.quoted:
            near = [operands[j] for j in (i - 1, i + 1) if 0 <= j < len(operands)]
            if all(isinstance(node, Column) and not node.quoted for node in near):
                # '==' is Python's own, so a column cannot be meant.
                sure = all(sign == '==' for sign in signs[max(i - 1, 0) : i + 1])
                operand = Constant(operand.name, doubtful=not sure)
        made.append(operand)
    return made
