"""The nodes of a parsed condition: plain values, compared and hashed by content."""

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True)
class Column:
    """A column, by name; ``fold`` if upper and lower case are the same."""

    name: str
    quoted: bool = field(default=False, compare=False)
    fold: bool = False


@dataclass(frozen=True)
class Constant:
    """A number, word, date or truth value.

    ``date`` marks ``DATE('...')``. ``doubtful`` is a word in double quotes that would be a
    column in SQL.
    """

    value: int | Decimal | str | bool
    date: bool = False
    doubtful: bool = False
    fold: bool = False


@dataclass(frozen=True)
class Compare:
    """Two operands and one of ``= <> < <= > >=``; at least one is a column."""

    left: Column | Constant
    sign: str
    right: Column | Constant


@dataclass(frozen=True)
class Within:
    """A column and the values of which it must be one."""

    column: Column
    values: tuple[Constant, ...]


@dataclass(frozen=True)
class Like:
    """A column and a pattern; ``fold`` for ``ILIKE``."""

    column: Column
    pattern: str
    fold: bool = False


@dataclass(frozen=True)
class Is:
    """A column or a condition, and whether it is true, false or (None) unknown."""

    part: 'Column | Node'
    truth: bool | None


@dataclass(frozen=True)
class Not:
    """The opposite; unknown stays unknown."""

    part: 'Node'


@dataclass(frozen=True)
class Both:
    """All parts hold, or with ``either`` at least one."""

    parts: tuple['Node', ...]
    either: bool = False


type Node = Column | Constant | Compare | Within | Like | Is | Not | Both
