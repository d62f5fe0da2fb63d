"""Attribute conditions: ``"cloud < 10 and source = 'x'"`` -> which rows match.

:mod:`~torchgeo_cmr.search.where.conditions.syntax` reads the text; here the tree is
evaluated on many tables. Nothing is ever executed.

Nulls behave as in SQL: a comparison with a null is unknown, ``not`` of unknown is unknown,
and a row matches only where the whole condition is true. ``cloud is null`` finds nulls.
"""

from collections.abc import Collection, Iterator
from difflib import get_close_matches

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError

from .comparison import Truth, compared, flags, one_of
from .operands import side
from .pattern import like
from .syntax import read_condition
from .tree import Both, Column, Compare, Constant, Is, Like, Node, Not, Within

#: Columns that conditions cannot compare: areas are for them.
_APART = ('geometry', 'native_corners')


class Expression:
    """An attribute condition, parsed once, evaluated on many tables.

    Args:
        text: The condition.

    Raises:
        QueryError: If the text is not a condition; the message shows the part at fault.
    """

    def __init__(self, text: str) -> None:
        """Parse; columns are looked up later."""
        self.tree = read_condition(text)
        self.text = text
        #: Names of the columns that are compared.
        self.names = frozenset(
            leaf.name for leaf in _leaves(self.tree) if isinstance(leaf, Column)
        )
        #: Whether all names of a table are needed to say that it is clear.
        self.doubtful = not self.names.isdisjoint(_APART) or any(
            isinstance(leaf, Constant) and leaf.doubtful for leaf in _leaves(self.tree)
        )

    def __eq__(self, other: object) -> bool:
        """Compare the meaning, not how it was written."""
        return isinstance(other, Expression) and self.tree == other.tree

    def __hash__(self) -> int:
        """Hash the meaning."""
        return hash(self.tree)

    def check(self, columns: Collection[str]) -> None:
        """Refuse a condition on columns that are not there.

        Args:
            columns: Names of all columns of a table.

        Raises:
            QueryError: If one is missing, which lists those that are there; or if text in
                double quotes may be a column and a word.
        """
        known = [str(name) for name in columns if name not in _APART]
        listing = f'the archive has {", ".join(known)}'
        for name in sorted(self.names - set(known)):
            if name in _APART and name in columns:
                raise QueryError(
                    f'column {name!r} is for areas and not for conditions; {listing}'
                )
            near = [column for column in known if column.lower() == name.lower()]
            near = near or get_close_matches(name, known, n=1)
            advice = f'perhaps {near[0]}' if near else f"a word is written '{name}'"
            raise QueryError(
                f'there is no column {name!r} to compare; {listing} ({advice})'
            )
        for leaf in _leaves(self.tree):
            if isinstance(leaf, Constant) and leaf.doubtful and leaf.value in known:
                raise QueryError(
                    f'"{leaf.value}" may be the column or the word; write {leaf.value} for '
                    f"the column or '{leaf.value}' for the word"
                )

    def mask(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Say which rows match.

        Args:
            frame: Any table; a name in the condition is one of its columns.

        Returns:
            Boolean array (n,).

        Raises:
            QueryError: If a column is not there or cannot be compared in this way.
        """
        self.check(frame.columns)
        return self.truth(self.tree, frame).yes

    def truth(self, node: Node, frame: pd.DataFrame) -> Truth:
        """Say of which rows a part of the condition is true, and of which false."""
        match node:
            case Both(parts, either):
                truths = [self.truth(part, frame) for part in parts]
                every, any_ = np.logical_and.reduce, np.logical_or.reduce
                yes, no = [t.yes for t in truths], [t.no for t in truths]
                return (
                    Truth(any_(yes), every(no))
                    if either
                    else Truth(every(yes), any_(no))
                )
            case Not(part):
                truth = self.truth(part, frame)
                return Truth(truth.no, truth.yes)
            case Is(part, truth):
                return self._is(part, truth, frame)
            case Compare(left, sign, right):
                return compared(left, sign, right, frame)
            case Within(column, values):
                return one_of(column, values, frame)
            case Like(column, pattern, fold):
                return like(side(column, frame), pattern, fold=fold)
            case Column():
                return flags(side(node, frame))
            case Constant(value):
                every_row = np.ones(len(frame), dtype=bool)
                return (
                    Truth(every_row, ~every_row)
                    if value
                    else Truth(~every_row, every_row)
                )

    def _is(self, part: Node, wanted: bool | None, frame: pd.DataFrame) -> Truth:
        """Say whether a part is true, false or unknown, which is known of every row."""
        if isinstance(part, Column) and wanted is None:
            # Also of lists and other columns that cannot be compared.
            null = frame[part.name].isna().to_numpy(dtype=bool)
            return Truth(null, ~null)
        truth = self.truth(part, frame)
        found = {True: truth.yes, False: truth.no, None: ~(truth.yes | truth.no)}[
            wanted
        ]
        return Truth(found, ~found)


def _leaves(node: Node) -> Iterator[Column | Constant]:
    """Give the columns and constants of a tree."""
    match node:
        case Column() | Constant():
            yield node
        case Both(parts):
            for part in parts:
                yield from _leaves(part)
        case Not(part) | Is(part):
            yield from _leaves(part)
        case Compare(left, _, right):
            yield from (left, right)
        case Within(column, values):
            yield from (column, *values)
        case Like(column):
            yield column
