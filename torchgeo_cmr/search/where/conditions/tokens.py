"""The words of a condition: names, quoted text, numbers, operators."""

import re
from typing import NamedTuple

from torchgeo_cmr.errors import QueryError

#: What a complaint about a condition ends with.
HINT = 'write conditions like "cloud < 10 and source = \'x\'"'

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?!\w))
    # Names of STAC hold colons and dots.
  | (?P<name>[^\W\d]\w*(?:[:.]\w+)*)
    # The quote itself is written twice, or behind a backslash as in Python.
  | (?P<word>'(?:[^'\\]|''|\\'|\\(?!'))*')
  | (?P<quoted>"(?:[^"\\]|""|\\"|\\(?!"))*")
  | (?P<column>`[^`]+`)
  | (?P<sign><=|>=|<>|!=|==|[=<>()\[\]{},+-])
  )""",
    re.VERBOSE,
)
_ELSEWHERE = {
    '&': "write 'and'",
    '|': "write 'or'",
    '!': "write 'not'",
    '*': 'conditions do not calculate',
    '/': 'conditions do not calculate',
    '%': 'conditions do not calculate',
}
_SHOWN = 80


class Token(NamedTuple):
    """One word of a condition.

    Args:
        kind: ``'number'``, ``'name'``, ``'word'`` (single quotes), ``'quoted'`` (double
            quotes), ``'column'`` (backticks), ``'sign'`` or ``'end'``.
        text: The word as it stands; quoted text without its quotes.
        at: Where it begins in the condition.
    """

    kind: str
    text: str
    at: int

    @property
    def small(self) -> str:
        """A name in small letters, so that keywords are read in any case; else empty."""
        return self.text.lower() if self.kind == 'name' else ''


def quoted(word: str) -> str:
    """Write a text as a condition has it, in single quotes.

    Examples:
        >>> quoted("l'eau")
        "'l''eau'"
    """
    return "'" + word.replace("'", "''") + "'"


def tokens(text: str) -> list[Token]:
    """Divide a condition into words; the last one is of kind ``'end'``.

    Raises:
        QueryError: If something in it is not a token.
    """
    found: list[Token] = []
    end = len(text.rstrip())
    at = 0
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise _strange(text, at)
        kind = match.lastgroup
        assert kind is not None  # each branch has a name
        found.append(Token(kind, _unquoted(kind, match[kind]), match.start(kind)))
        at = match.end()
    return [*found, Token('end', '', end)]


def _unquoted(kind: str, text: str) -> str:
    if kind == 'column':
        return text[1:-1]
    if kind not in ('word', 'quoted'):
        return text
    quote = text[0]
    return re.sub(rf'{quote}{quote}|\\{quote}', quote, text[1:-1])


def _strange(text: str, at: int) -> QueryError:
    """Say what cannot be read."""
    rest = text[at:].lstrip()
    if rest[0] in '\'"`':
        return QueryError(
            f'the condition {text[:_SHOWN]!r} cannot be read: the quote at {rest[:20]!r} is '
            f'not closed; {HINT}'
        )
    advice = _ELSEWHERE.get(rest[0], HINT)
    shown = re.match(r'[0-9]\w*|.', rest, re.DOTALL)
    assert shown is not None  # there is a rest
    return QueryError(f'{shown[0]!r} is not allowed in a condition; {advice}')
