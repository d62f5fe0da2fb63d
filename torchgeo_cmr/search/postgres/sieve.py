"""The part of a filter that the database applies before any row leaves it.

What PostgreSQL decides by the same rules as a search in memory (areas by intersection, time
windows) is complete; of anything else it leaves out only rows that cannot match, and the filter
itself judges the rest. Values are parameters, never text of a statement.
"""

from typing import Any, NamedTuple

import shapely
from shapely import Geometry

from torchgeo_cmr.search.where.clauses import Clause, InArea, Near, Window
from torchgeo_cmr.search.where.near import TOUCHING, around
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.vectors.singles import singles

#: Parts of an area that boxes are compared with one by one.
_FEW = 16
_BOX = 'geometry && ST_MakeEnvelope(%s, %s, %s, %s, 4326)'
_START, _END = 'coalesce(time_start, time_end)', 'coalesce(time_end, time_start)'


class Sieve(NamedTuple):
    """A condition in SQL.

    Args:
        condition: Text with placeholders.
        values: What takes their places.
        complete: Whether the rows that pass are those that match.
        undated: Whether rows without time match; None if no time is compared.
    """

    condition: str
    values: list[Any]
    complete: bool
    undated: bool | None = None


def sieve_of(where: Where) -> Sieve | None:
    """Say in SQL what a filter leaves in; None if nothing can be ruled out.

    Args:
        where: The filter.
    """
    join, parts = where.joined
    if join == 'not':
        return None
    found = [sieve_of(part) for part in parts]
    if join == 'or':
        known = [sieve for sieve in found if sieve is not None]
        return _joined(known, ' OR ', False) if len(known) == len(found) else None
    found += [_of_clause(clause) for clause in where._clauses]
    known = [sieve for sieve in found if sieve is not None]
    if not known:
        return None
    late = {sieve.undated for sieve in known} - {None}
    complete = len(known) == len(found) and all(s.complete for s in known)
    return _joined(known, ' AND ', complete and len(late) < 2, *late)


def _joined(
    sieves: list[Sieve], sign: str, complete: bool, *undated: bool | None
) -> Sieve:
    condition = sign.join(f'({sieve.condition})' for sieve in sieves)
    values = [value for sieve in sieves for value in sieve.values]
    return Sieve(condition, values, complete, undated[0] if undated else None)


def _of_clause(clause: Clause) -> Sieve | None:
    if isinstance(clause, Window):
        tests, values = [], []
        for test, moment in (
            (f'{_START} < ', clause.end),
            (f'{_END} >= ', clause.start),
        ):
            if moment is not None:
                tests.append(f'{test}%s::timestamptz')
                values.append(f'{moment}+00')
        # Rows without time are counted, so they are let through here.
        dated = ' AND '.join(tests)
        return Sieve(f'({dated}) OR {_START} IS NULL', values, True, clause.undated)
    if isinstance(clause, Near):
        boxes = [
            box
            for part in _pieces(clause.place)
            for box in around(part, clause.metres + TOUCHING).tolist()
        ]
        return _in_boxes(boxes)
    if isinstance(clause, InArea):
        sieve = _in_boxes([box.tolist() for box in _pieces(clause.area)])
        if clause.predicate == 'centroid':
            return sieve  # the centre of a footprint need not lie in it
        plain = clause.predicate == 'intersects' and clause.min_overlap is None
        return Sieve(
            f'({sieve.condition}) AND ST_Intersects(geometry, ST_GeomFromWKB(%s, 4326))',
            [*sieve.values, shapely.to_wkb(clause.area)],
            plain,
        )
    return None


def _in_boxes(boxes: list[list[float]]) -> Sieve:
    values = [number for box in boxes for number in box]
    return Sieve(' OR '.join([_BOX] * len(boxes)), values, False)


def _pieces(area: Geometry) -> Any:
    """Give the boxes of the parts of an area, or of all of it if they are many."""
    parts = singles(area)
    return shapely.bounds(parts if len(parts) <= _FEW else [area]).reshape(-1, 4)
