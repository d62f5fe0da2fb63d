"""The ground of combined filters: their areas together.

Of ``a & b`` it is what both areas cover, of ``a & ~b`` what that of *b* leaves of that of *a*,
of ``a | b`` either. A filter without an area covers the world; so does the opposite of one
that requires more than to touch an area, or to have the centre in it, since rows on that ground
may fail it otherwise: those that cross the edge of an area are not ``'within'`` it.
"""

from typing import NamedTuple

import shapely
from shapely import Geometry


class Region(NamedTuple):
    """Ground: *inside* less *outside*, both in EPSG:4326.

    Args:
        inside: None for the world.
        outside: None for nothing; where there is an *inside*, it has been taken off.
        pure: Whether rows that touch the ground, or have their centre in it, are all in.
    """

    inside: Geometry | None = None
    outside: Geometry | None = None
    pure: bool = False

    def __and__(self, other: 'Region') -> 'Region':
        """Give the ground of both."""
        pure = self.pure and other.pure
        without = _either(self.outside, other.outside)
        if self.inside is None or other.inside is None:
            shape = other.inside if self.inside is None else self.inside
        else:
            shape = _both(self.inside, other.inside)
        if shape is None or without is None:
            return Region(shape, without, pure)
        return Region(_less(shape, without), None, pure)

    def __or__(self, other: 'Region') -> 'Region':
        """Give the ground of either: the world less what neither covers."""
        left, right = (region._replace(pure=True) for region in (self, other))
        return (~(~left & ~right))._replace(pure=self.pure and other.pure)

    def __invert__(self) -> 'Region':
        """Give the ground of the opposite."""
        if not self.pure:
            return Region()
        if self.inside is None:
            nothing = self.outside or shapely.Polygon()
            return Region(nothing, None, True)
        return Region(None, self.inside, True)


def _either(left: Geometry | None, right: Geometry | None) -> Geometry | None:
    shapes = [shape for shape in (left, right) if shape is not None]
    return shapely.union_all(shapes) if shapes else None


def _both(left: Geometry, right: Geometry) -> Geometry:
    """Intersect kind by kind, since GEOS takes no collections of several."""
    return shapely.union_all(
        [shapely.intersection(a, b) for a in _kinds(left) for b in _kinds(right)]
    )


def _less(shape: Geometry, without: Geometry) -> Geometry:
    left = []
    for part in _kinds(shape):
        for other in _kinds(without):
            part = shapely.difference(part, other)
        left.append(part)
    return shapely.union_all(left)


def _kinds(shape: Geometry) -> list[Geometry]:
    """Give the members of a collection; any other geometry is one kind."""
    collection = shape.geom_type == 'GeometryCollection'
    return list(shapely.get_parts(shape)) if collection else [shape]
