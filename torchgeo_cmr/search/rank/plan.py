"""How a search is answered: chosen from what is left after the filters, and reported.

Exact is the rule. An approximate index looks only at a part of all vectors, whatever the
filter: if few rows pass, most of what it looks at is thrown away and near rows are never
seen. It is used if the caller allows it with ``exact=False``, and only where enough rows are
left. Its effort is adjusted, when it is made, to all rows and to a part of :data:`LEAST_SHARE`;
behind a narrower filter its recall is unknown. Measured with a million rows of 256 numbers
and inverted lists: at a quarter of the rows they win for one query and for 64. They are
quicker at a tenth too if few lists must be read (``tests/benchmarks/search.py``), but where
many must be, they lose for 64 queries there, and at 1 % do not reach a recall of 0.95.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .exact import Looks
from .vectors import LEAST_SHARE, Vectors

if TYPE_CHECKING:
    from .approximate import Approximate

#: Least rows left for an approximate index to be used.
LEAST_ROWS = 50_000
#: Rows scored again for each row requested, if codes may decide alone.
_SPARE = {'float16': 2, 'int8': 4, 'binary': 40}


@dataclass(frozen=True)
class Plan:
    """What will be done with the rows of one segment.

    Args:
        name: ``'exact'``, ``'codes'`` or ``'approximate <kind>'``.
        left: How many rows are left, in words.
        planned: What that means for the search, in words.
        exact: Whether nothing closer can be missed.
        recall: Share of the exact answer that is expected, None if it was not measured.
        spare: Rows scored again for each row requested; None: all that may belong.
        approximate: The index to search.
        looks: What was done, once it is done.
    """

    name: str
    left: str
    planned: str
    exact: bool = True
    recall: float | None = 1.0
    spare: int | None = None
    approximate: 'Approximate | None' = None
    looks: Looks = field(default_factory=Looks)

    @property
    def how(self) -> str:
        """What was done in words; what is planned as long as nothing is done."""
        scanned = self.looks.scanned
        if scanned == 'whole vectors':
            return '; bounds rule out too few, each is scored'
        if scanned:
            return f'; {scanned} first, then whole vectors of the rest'
        return self.planned

    @property
    def why(self) -> str:
        """The reason in words."""
        return self.left + self.how

    @property
    def again(self) -> int | None:
        """Pairs of query and row scored with whole vectors after a scan; None of an approximate index."""
        return self.looks.again if self.approximate is None else None


def choose(
    vectors: Vectors, approximate: Sequence['Approximate'], rows: int, *, exact: bool
) -> Plan:
    """Choose how to rank the rows left of a segment.

    Args:
        vectors: The vectors of the segment.
        approximate: Approximate indexes over it, the one to prefer first.
        rows: Rows left by the filters.
        exact: Whether the answer must be exact.
    """
    left = f'{rows} of {len(vectors)} rows are left'
    whole = vectors.kind == 'float32'
    if exact:
        if whole:
            return Plan('exact', left, ', each is scored')
        if vectors.kind == 'binary':
            return Plan('exact', left, '; signs cannot bound a score, so whole vectors')
        return Plan(
            'exact',
            left,
            f'; {vectors.kind} codes first, then whole vectors of all within '
            f'{2 * vectors.error:.2g} of the best',
        )
    if approximate and rows >= max(LEAST_ROWS, LEAST_SHARE * len(vectors)):
        best = approximate[0]
        return Plan(
            f'approximate {best.kind}',
            left,
            ', enough for an approximate index',
            exact=False,
            recall=best.recall,
            approximate=best,
        )
    narrow = f'{left}, too few for an approximate index' if approximate else left
    if whole:
        return Plan('exact', narrow, ', each is scored')
    spare = _SPARE[vectors.kind]
    return Plan(
        'codes',
        narrow,
        f'; {vectors.kind} codes, then whole vectors of the best {spare} k',
        exact=False,
        recall=None,
        spare=spare,
    )
