"""Comparing columns with constants and with each other, nulls as in SQL.

Each comparison has three answers: yes, no, and unknown where a value is null.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError


@dataclass(frozen=True)
class Side:
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
class Truth:
    """Three-valued truth of each row: ``yes`` and ``no``; unknown where neither."""

    yes: NDArray[np.bool_]
    no: NDArray[np.bool_]


def side(name: str, frame: pd.DataFrame) -> Side:
    """Look a column up.

    Args:
        name: Name of the column.
        frame: Any table.

    Raises:
        QueryError: If it is not there or cannot be compared; the message names those that can.
    """
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
        return Side(name, plain.to_numpy(), null, kind)
    native = isinstance(column.dtype, np.dtype)
    return Side(
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


def given(value: Any, column: Side) -> Side:
    """Make a constant comparable with a column, or say why it is not.

    Args:
        value: Number, word, True or False.
        column: What it will be compared with.

    Raises:
        QueryError: If the column holds times and the word is none.
    """
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
    return Side(name, value, None, kind)


def compared(a: Side, compare: Callable[[Any, Any], Any], b: Side) -> Truth:
    """Compare two sides row by row.

    Args:
        a: Left side.
        compare: One of the functions of :mod:`operator`.
        b: Right side; at least one of the two is a column.

    Raises:
        QueryError: If the two are of kinds that have nothing in common.
    """
    if (
        a.kind != b.kind
        and 'null' not in (a.kind, b.kind)
        and {a.kind, b.kind} != {'flag', 'number'}
    ):
        raise QueryError(
            f'{a.name} is a {a.kind} and {b.name} a {b.kind}: they cannot be compared'
        )
    known = ~np.logical_or.reduce([s.null for s in (a, b) if s.null is not None])
    left, right = (s.values if s.null is None else s.values[known] for s in (a, b))
    yes = np.zeros(len(known), dtype=bool)
    yes[known] = np.asarray(compare(left, right)).astype(bool)
    return Truth(yes, ~yes & known)


def like(column: Side, pattern: str) -> Truth:
    """Compare words with a pattern of SQL: ``%`` any letters, ``_`` one letter.

    Args:
        column: A column of words.
        pattern: The pattern; upper and lower case differ.

    Raises:
        QueryError: If the column holds no words.
    """
    if column.kind not in ('word', 'null'):
        raise QueryError(
            f"column {column.name!r} holds {column.kind}s, and 'like' compares words; use =="
        )
    parts = {'%': '.*', '_': '.'}
    expression = ''.join(parts.get(letter, re.escape(letter)) for letter in pattern)
    matches = re.compile(expression, re.DOTALL).fullmatch
    # Each word is looked at once, however often it stands in the column.
    words, place = np.unique(
        column.values[column.known].astype(object), return_inverse=True
    )
    hit = np.fromiter((matches(word) is not None for word in words), dtype=bool)
    yes = np.zeros(len(column.known), dtype=bool)
    yes[column.known] = hit[place]
    return Truth(yes, ~yes & column.known)
