"""How a search is answered: chosen from what is left after the filters, and said aloud.

Exact is the rule. An approximate index looks only at a part of all vectors, whatever the
filter: if few rows pass, most of what it looks at is thrown away and near rows are never
seen. It is used if the caller allows it with ``exact=False``, and only where enough rows are
left. Its effort is adjusted, when it is made, to all rows and to a part of :data:`LEAST_SHARE`;
behind a narrower filter nobody knows its recall. Measured with a million rows of 256 numbers
and inverted lists: at a quarter of the rows they win for one query and for 64. They are
quicker at a tenth too if few lists must be read (``tests/benchmarks/search.py``), but where
many must be, they lose for 64 queries there, and at 1 % do not reach a recall of 0.95.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .filters import Step
from .vectors import Vectors

if TYPE_CHECKING:
    from .approximate import Approximate

#: Least rows left, and least share of all, for an approximate index to be asked.
LEAST_ROWS = 50_000
LEAST_SHARE = 0.25
#: Rows looked at again for each row asked, if codes may decide alone.
_SPARE = {'float16': 2, 'int8': 4, 'binary': 40}


@dataclass(frozen=True)
class Plan:
    """What will be done with the rows of one segment.

    Args:
        name: ``'exact'``, ``'codes'`` or ``'approximate <kind>'``.
        why: The reason in words.
        exact: Whether nothing closer can be missed.
        recall: Share of the exact answer that is expected, None if it was not measured.
        spare: Rows looked at again for each row asked; None: all that may belong.
        approximate: The index to ask.

    .. versionadded:: 0.1
    """

    name: str
    why: str
    exact: bool = True
    recall: float | None = 1.0
    spare: int | None = None
    approximate: 'Approximate | None' = None


def choose(
    vectors: Vectors, approximate: Sequence['Approximate'], rows: int, *, exact: bool
) -> Plan:
    """Choose how to rank the rows left of a segment.

    Args:
        vectors: The vectors of the segment.
        approximate: Approximate indexes over it, the one to prefer first.
        rows: Rows left by the filters.
        exact: Whether the answer must be exact.

    .. versionadded:: 0.1
    """
    left = f'{rows} of {len(vectors)} rows are left'
    whole = vectors.kind == 'float32'
    if exact:
        if whole:
            return Plan('exact', f'{left}, each is scored')
        if vectors.kind == 'binary':
            return Plan(
                'exact', f'{left}; signs cannot bound a score, so whole vectors'
            )
        return Plan(
            'exact',
            f'{left}; {vectors.kind} codes first, then whole vectors of all within '
            f'{2 * vectors.error:.2g} of the best',
        )
    if approximate and rows >= max(LEAST_ROWS, LEAST_SHARE * len(vectors)):
        best = approximate[0]
        return Plan(
            f'approximate {best.kind}',
            f'{left}, enough for an approximate index',
            exact=False,
            recall=best.recall,
            approximate=best,
        )
    narrow = f'{left}, too few for an approximate index' if approximate else left
    if whole:
        return Plan('exact', f'{narrow}, each is scored')
    spare = _SPARE[vectors.kind]
    return Plan(
        'codes',
        f'{narrow}; {vectors.kind} codes, then whole vectors of the best {spare} k',
        exact=False,
        recall=None,
        spare=spare,
    )


@dataclass(frozen=True)
class Explanation:
    """How a search was answered; ``str()`` gives a few readable lines.

    Args:
        plan: ``'exact'``: every row left by the filters was scored, or ruled out by a bound;
            ``'codes'`` or ``'approximate <kind>'`` otherwise; several if segments differ.
        queries: Number of queries.
        k: Rows asked for a query.
        archive: Rows in the archive.
        rows: Rows left by the filters; of clauses that refer to the query, the mean.
        found: Rows given for each query, ``min(k, rows)``.
        undated: Rows without time that a time window met.
        steps: What each filter did, then the ranking, with seconds.
        why: Why this plan.
        exact: Whether nothing closer can have been missed.
        recall: Share of the exact answer that is expected: 1 if exact, else as measured
            when the approximate index was made; None if nobody measured.

    .. versionadded:: 0.1
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

    @property
    def filters(self) -> tuple[Step, ...]:
        """What each filter did, without the ranking."""
        return self.steps[:-1]

    def __str__(self) -> str:
        """Lay the steps out below one another."""
        lines = [
            f'plan: {self.plan}; {self.queries} queries, k={self.k}, {self.archive} rows'
        ]
        if self.why:
            lines.append(f'  because {self.why}')
        lines += [
            f'  {s.clause}: {s.before} -> {s.after} rows, {s.seconds * 1000:.1f} ms'
            for s in self.steps
        ]
        if self.undated:
            lines.append(f'  rows without time met by the window: {self.undated}')
        if not self.exact:
            known = 'not measured' if self.recall is None else f'{self.recall:.3f}'
            lines.append(f'  not exact; expected recall: {known}')
        return '\n'.join(lines)
