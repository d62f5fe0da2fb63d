"""The explanation of a search: what its filters did, and how it was ranked."""

from dataclasses import dataclass
from html import escape
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.search.where.conditions.unmet import (
    columns_without_values,
    comparisons_without_rows,
)
from torchgeo_cmr.search.where.near import out_of_reach
from torchgeo_cmr.search.where.where import Step, Where

from .row_numbers import Numbered

__all__ = ('Explanation', 'unmet')

#: Rows whose columns are read first: one value is enough to say that there are values.
_FIRST = 1_000


class Searched(Protocol):
    """An archive by row number."""

    @property
    def columns(self) -> Numbered:
        """What a filter reads."""
        ...

    def rows(self) -> NDArray[np.int64]:
        """Give the numbers of the rows that can be found."""
        ...


@dataclass(frozen=True)
class Explanation:
    """How a search was answered; ``str()`` gives a few readable lines.

    Args:
        plan: ``'exact'``: every row left by the filters was scored, or ruled out by a bound;
            ``'codes'`` or ``'approximate <kind>'`` otherwise; several if segments differ.
        queries: Number of queries.
        k: Rows requested per query.
        archive: Rows in the archive.
        rows: Rows left by the filters; of clauses that refer to the query, the mean.
        found: Rows given for each query, ``min(k, rows)``.
        undated: Rows without time that a time window met.
        steps: What each filter did, then the ranking, with seconds.
        why: Why this plan.
        exact: Whether nothing closer can have been missed.
        recall: Share of the exact answer that is expected: 1 if exact, else as measured
            when the approximate index was made; None if not measured.
        again: Rows per query, the mean, that were scored again with whole vectors: those that
            the scan could not rule out. None if an approximate index was read.
        unmet: What conditions compare in vain: columns without any value and, where nothing was
            left, comparisons that are true of no row, a sentence each.
    """

    plan: str
    queries: int
    k: int
    archive: int
    rows: int
    found: int
    undated: int
    steps: tuple[Step, ...]
    why: str = ''
    exact: bool = True
    recall: float | None = 1.0
    again: float | None = None
    unmet: tuple[str, ...] = ()

    @property
    def filters(self) -> tuple[Step, ...]:
        """What each filter did, without the ranking."""
        return self.steps[:-1]

    def __str__(self) -> str:
        """Lay the steps out below one another."""
        lines = [self._title]
        if self.why:
            lines.append(f'  because {self.why}')
        lines += [
            f'  {s.clause}: {s.before} -> {s.after} rows, {s.seconds * 1000:.1f} ms'
            for s in self.steps
        ]
        return '\n'.join([*lines, *(f'  {note}' for note in self._notes())])

    def _repr_html_(self) -> str:
        """Lay the steps out as a table, for a notebook."""
        lines = ''.join(
            f'<tr><td>{escape(s.clause)}</td><td>{s.before:,}</td><td>{s.after:,}</td>'
            f'<td>{s.seconds * 1000:.1f}</td></tr>'
            for s in self.steps
        )
        head = '<tr><th>step</th><th>rows before</th><th>after</th><th>ms</th></tr>'
        words = [f'because {self.why}'] * bool(self.why) + self._notes()
        notes = ''.join(f'<p>{escape(note)}</p>' for note in words)
        title = escape(self._title)
        return f'<div><b>{title}</b><table>{head}{lines}</table>{notes}</div>'

    @property
    def _title(self) -> str:
        return f'plan: {self.plan}; {self.queries} queries, k={self.k}, {self.archive} rows'

    def _notes(self) -> list[str]:
        """Say what else was noticed."""
        notes = list(self.unmet)
        if self.again is not None:
            notes.append(f'rows scored again per query: {self.again:.0f}')
        if self.undated:
            notes.append(f'rows without time met by the window: {self.undated}')
        if not self.exact:
            known = 'not measured' if self.recall is None else f'{self.recall:.3f}'
            notes.append(f'not exact; expected recall: {known}')
        return notes


def unmet(index: Searched, where: Where, *, left: int) -> tuple[str, ...]:
    """Say what the conditions of a filter compare in vain, and how far away a place is.

    Args:
        index: The archive.
        where: The filter.
        left: Rows that the filter left; other values are looked for only if there are no such rows.

    Returns:
        A sentence for each column or comparison.
    """
    found: dict[str, None] = {}
    if not left:
        rows = index.rows()
        for place, metres in where.places:
            if far := out_of_reach(index.columns, rows, place, metres):
                found[far] = None
    if not where.conditions:
        return tuple(found)
    columns, first = index.columns, index.columns.leading(_FIRST)
    for expression in where.conditions:
        names = sorted(expression.names)
        empty = columns.attributes(first, names).isna().all().any()
        if not names or not (empty or not left):
            continue
        frame = columns.attributes(index.rows(), names)
        sentences = columns_without_values(expression, frame)
        if not left:
            sentences += comparisons_without_rows(expression, frame)
        found |= dict.fromkeys(sentences)
    return tuple(found)
