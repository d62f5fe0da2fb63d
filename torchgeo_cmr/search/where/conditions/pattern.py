"""Patterns of SQL: ``%`` stands for any letters, ``_`` for one, a backslash for neither.

Matched piece by piece, from left to right, so that no pattern and no word takes longer than
the product of their lengths.
"""

import re

import numpy as np
import pandas as pd

from torchgeo_cmr.errors import QueryError

from .comparison import Truth
from .operands import Side


class Pattern:
    """A pattern, ready to be matched.

    Args:
        text: The pattern; a backslash in front of ``%``, ``_`` or itself stands for these.
        fold: Whether upper and lower case are the same.
    """

    def __init__(self, text: str, *, fold: bool = False) -> None:
        """Divide the pattern at each ``%``."""
        pieces, lengths = [''], [0]
        for part in re.findall(r'\\[%_\\]|.', text, re.DOTALL):
            if part == '%':
                pieces.append('')
                lengths.append(0)
                continue
            pieces[-1] += '.' if part == '_' else re.escape(part[-1])
            lengths[-1] += 1
        flags = re.DOTALL | (re.IGNORECASE if fold else 0)
        self._pieces = [re.compile(piece, flags) for piece in pieces]
        self._lengths = lengths

    def matches(self, word: str) -> bool:
        """Say whether the whole of a word matches."""
        first, *rest = self._pieces
        if not rest:
            return first.fullmatch(word) is not None
        if first.match(word) is None:
            return False
        at = self._lengths[0]
        for piece in rest[:-1]:
            found = piece.search(word, at)
            if found is None:
                return False
            at = found.end()
        tail = len(word) - self._lengths[-1]
        return tail >= at and rest[-1].match(word, tail) is not None


def like(column: Side, pattern: str, *, fold: bool = False) -> Truth:
    """Compare words with a pattern.

    Args:
        column: A column of words.
        pattern: The pattern.
        fold: Whether upper and lower case are the same.

    Raises:
        QueryError: If the column holds no words.
    """
    if column.kind not in ('word', 'null'):
        raise QueryError(
            f"column {column.name!r} holds {column.kind}s, and 'like' compares words; use '='"
        )
    known = ~column.null
    yes = np.zeros(len(known), dtype=bool)
    # Each word is tested once, however often it occurs in the column.
    place, words = pd.factorize(column.values[known].astype(object, copy=False))
    wanted = Pattern(pattern, fold=fold)
    hit = np.fromiter((wanted.matches(word) for word in words), bool, len(words))
    yes[known] = hit[place]
    return Truth(yes, ~yes & known)
