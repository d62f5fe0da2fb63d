"""The nearest points of geometries on the ellipsoid, found by skipping what cannot be nearer.

Edges are straight in longitude and latitude, as everywhere in an archive. Each lies in a ball
in space, runs of eight balls in a larger one, and so on: a tree for each geometry. Pairs of
balls are opened from the top while their distance, less their radii, is below what another
pair is sure to reach. Of the few pairs of edges that are left, pieces are halved until their
chords are as good as the edges, and only then is a geodesic measured, between points of both.
No map is involved, so poles, the antimeridian and long edges are like anything else.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

GEOD = Geod(ellps='WGS84')
_FAN = 8
_ROUNDS = 60
#: Share of a distance, and metres, by which chords may leave edges.
_SHARE, _METRES = 2e-4, 1e-3
#: Radius of the tightest curve that a geodesic of the ellipsoid follows.
_TIGHTEST = 6_335_439.0
#: Radius in metres of a circle that bends less than the ellipsoid anywhere (6,399,594 at the poles).
_WIDEST = 6.41e6
#: Metres of a degree of latitude and of longitude on the equator, from above.
_NORTH, _EAST = 111_695.0, 111_320.0


def in_space(lonlat: Floats) -> Floats:
    """Give points on the ellipsoid, degrees (n, 2), as metres from its centre (n, 3)."""
    lon, lat = np.radians(lonlat).T
    normal = GEOD.a / np.sqrt(1 - GEOD.es * np.sin(lat) ** 2)
    out = normal * np.cos(lat)
    return np.column_stack(
        [out * np.cos(lon), out * np.sin(lon), normal * (1 - GEOD.es) * np.sin(lat)]
    )


def arc(chord: Floats) -> Floats:
    """Give metres along the ellipsoid that two points in space are at most apart.

    A curve that bends less than a circle is not longer than its arc over the same chord.
    """
    return 2 * _TIGHTEST * np.arcsin(np.minimum(chord / (2 * _TIGHTEST), 1))


def arc_at_least(chord: Floats) -> Floats:
    """Give metres along the ellipsoid that two points in space are at least apart.

    The arc over the same chord of a circle that bends less than any way on the ground.
    """
    return 2 * _WIDEST * np.arcsin(np.minimum(chord / (2 * _WIDEST), 1))


def chord_at_most(metres: float) -> float:
    """Give the longest chord between two points at a distance on the ground."""
    return 2 * _WIDEST * float(np.sin(min(metres / (2 * _WIDEST), np.pi / 2)))


def half_length(start: Floats, end: Floats) -> Floats:
    """Give metres that no point of an edge in degrees is farther from its middle."""
    east, north = np.abs(end - start).T / 2
    low = np.where(
        start[:, 1] * end[:, 1] <= 0,
        0,
        np.minimum(np.abs(start[:, 1]), np.abs(end[:, 1])),
    )
    # A degree of longitude is longer on the ellipsoid than on a sphere, by a third of a percent.
    wide = east * np.cos(np.radians(low)) * _EAST * 1.0034
    return np.hypot(wide, north * _NORTH)


@dataclass(frozen=True, eq=False)
class _Level:
    """Balls, and which balls of the level below each holds."""

    centre: Floats
    radius: Floats
    first: Ints
    count: Ints


class Edges:
    """The edges of geometries, and a tree of balls above those of each.

    Args:
        shapes: Geometries (n,) in EPSG:4326, none empty.
        piece: Metres that an edge is divided down to; as they are without.
        most: Pieces in all, about, however small that would make them.
    """

    def __init__(
        self, shapes: NDArray[np.object_], piece: float | None = None, most: int = 4_096
    ) -> None:
        """Cut outlines into edges, and put balls round them."""
        self.start, self.end, owner = _edges(shapes)
        if piece is not None:
            owner = self._divide(owner, piece, most)
        centre = in_space((self.start + self.end) / 2)
        radius = half_length(self.start, self.end)
        none = np.empty(0, dtype=np.int64)
        #: Balls round edges first, one ball for each geometry last.
        self.levels = [_Level(centre, radius, none, none)]
        while len(self.levels) == 1 or len(owner) > len(shapes):
            owner = self._above(owner)

    def _divide(self, owner: Ints, piece: float, most: int) -> Ints:
        length = 2 * half_length(self.start, self.end)
        piece = max(piece, float(length.sum()) / most)
        if length.max(initial=0) <= piece:
            return owner
        many = np.maximum(np.ceil(length / piece), 1).astype(np.int64)
        number = np.repeat(np.arange(len(many)), many)
        step = np.arange(len(number)) - np.repeat(np.cumsum(many) - many, many)
        way = (self.end - self.start)[number] / many[number, None]
        start = self.start[number] + step[:, None] * way
        self.start, self.end = start, start + way
        return owner[number]

    def _above(self, owner: Ints) -> Ints:
        """Put larger balls round runs of the topmost ones."""
        below = self.levels[-1]
        new = np.flatnonzero(np.diff(owner, prepend=-1))
        place = np.arange(len(owner)) - np.repeat(
            new, np.diff(np.append(new, len(owner)))
        )
        first = np.flatnonzero(place % _FAN == 0)
        count = np.diff(np.append(first, len(owner)))
        centre = np.add.reduceat(below.centre, first) / count[:, None]
        away = np.linalg.norm(below.centre - np.repeat(centre, count, axis=0), axis=1)
        radius = np.maximum.reduceat(away + below.radius, first)
        self.levels.append(_Level(centre, radius, first, count))
        return owner[first]


def _edges(shapes: NDArray[np.object_]) -> tuple[Floats, Floats, Ints]:
    """Give the ends of all edges, and to which geometry each belongs; a point is one."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    while (shapely.get_type_id(parts) > 3).any():
        parts, inner = shapely.get_parts(parts, return_index=True)
        owner = owner[inner]
    area = shapely.get_type_id(parts) == 3
    rings, inner = shapely.get_rings(parts[area], return_index=True)
    lines = np.concatenate([rings, parts[~area]])
    owner = np.concatenate([owner[area][inner], owner[~area]])
    order = np.argsort(owner, kind='stable')
    points, line = shapely.get_coordinates(lines[order], return_index=True)
    owner = owner[order][line]
    same = line[1:] == line[:-1]
    alone = np.bincount(line)[line] == 1
    start = np.flatnonzero(np.append(same, False) | alone)
    end = np.where(alone[start], start, start + 1)
    return points[start], points[end], owner[start]


def nearest(
    left: Edges, right: Edges, i: Ints, j: Ints, limit: float = np.inf
) -> Floats:
    """Measure the distances of pairs of geometries that do not touch.

    Args:
        left: Geometries.
        right: Geometries.
        i: Which of *one* (m,).
        j: Which of *other* (m,).
        limit: Metres from which it does not matter how far a pair is apart.

    Returns:
        Metres (m,) along the ellipsoid; infinite beyond the limit.
    """
    best = np.full(len(i), float(limit))
    pair, a, b = np.arange(len(i)), np.asarray(i), np.asarray(j)
    up, down = len(left.levels) - 1, len(right.levels) - 1
    while up or down:
        if up >= down:
            pair, b, a = _opened(left.levels[up], a, pair, b)
            up -= 1
        else:
            pair, a, b = _opened(right.levels[down], b, pair, a)
            down -= 1
        first, second = left.levels[up], right.levels[down]
        apart = np.linalg.norm(first.centre[a] - second.centre[b], axis=1)
        reach = first.radius[a] + second.radius[b]
        keep = _kept(best, pair, apart - reach, apart + reach)
        pair, a, b = pair[keep], a[keep], b[keep]
    ends = np.stack([left.start[a], left.end[a], right.start[b], right.end[b]])
    return _measured(best, pair, ends)


def _opened(
    level: _Level, nodes: Ints, pair: Ints, others: Ints
) -> tuple[Ints, Ints, Ints]:
    """Give the balls that some balls hold, with the pair and the partner of each."""
    count = level.count[nodes]
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    inside = np.repeat(level.first[nodes], count) + step
    return np.repeat(pair, count), np.repeat(others, count), inside


def _kept(best: Floats, pair: Ints, least: Floats, most: Floats) -> NDArray[np.bool_]:
    """Note what each pair is sure to reach, and say which candidates may be as near."""
    if not len(pair):
        return np.zeros(0, dtype=bool)
    new = np.flatnonzero(np.diff(pair, prepend=-1))
    best[pair[new]] = np.minimum(best[pair[new]], np.minimum.reduceat(most, new))
    reached = best[pair]
    # Chords of equal length belong to arcs that differ a little, as the ellipsoid is not round.
    slack = np.minimum(3e-5 * (np.minimum(reached, 1e8) / 1e6) ** 2, 0.02)
    return least <= reached * (1 + slack)


def _measured(best: Floats, pair: Ints, ends: Floats) -> Floats:
    """Halve pieces of edges until chords will do; measure what is left."""
    fine: list[tuple[Ints, Floats, Floats]] = []
    for _ in range(_ROUNDS):
        apart, s, t = _segments(*(in_space(points) for points in ends))
        bend = np.stack([_bend(*ends[:2]), _bend(*ends[2:])])
        off = bend.sum(axis=0)
        keep = _kept(best, pair, apart - off, apart + off)
        coarse = keep & (
            off > np.maximum(_METRES, _SHARE * np.minimum(best[pair], 1e9))
        )
        done = keep & ~coarse
        p = ends[0, done] + s[done, None] * (ends[1, done] - ends[0, done])
        q = ends[2, done] + t[done, None] * (ends[3, done] - ends[2, done])
        fine.append((pair[done], np.hstack([p, q]), (apart - off)[done]))
        if not coarse.any():
            break
        pair, ends = _halved(pair[coarse], ends[:, coarse], bend[:, coarse])
    pair, points, least = (np.concatenate(column) for column in zip(*fine, strict=True))
    order = np.argsort(pair, kind='stable')
    pair, points, least = pair[order], points[order], least[order]
    keep = _kept(best, pair, least, np.full(len(pair), np.inf))
    pair, points = pair[keep], points[keep]
    out = np.full(len(best), np.inf)
    if len(pair):
        metres = GEOD.inv(*points.T)[2]
        new = np.flatnonzero(np.diff(pair, prepend=-1))
        out[pair[new]] = np.minimum.reduceat(metres, new)
    return out


def _halved(pair: Ints, ends: Floats, bend: Floats) -> tuple[Ints, Floats]:
    """Halve the more curved edge of each candidate."""
    first = bend[0] >= bend[1]
    side = np.where(first, 0, 2)
    row = np.arange(len(pair))
    middle = (ends[side, row] + ends[side + 1, row]) / 2
    both = np.repeat(ends, 2, axis=1)
    both[side + 1, 2 * row] = middle
    both[side, 2 * row + 1] = middle
    return np.repeat(pair, 2), both


def _bend(start: Floats, end: Floats) -> Floats:
    """Give metres that an edge in degrees leaves its chord by at most.

    It turns no more than twice as fast as a parallel does, besides what the globe bends.
    """
    half = half_length(start, end)
    lat = np.maximum(np.abs(start[:, 1]), np.abs(end[:, 1]))
    slope = np.tan(np.radians(np.minimum(lat, 89.9999999)))
    bend = half**2 * np.sqrt(1 + 4 * slope**2) / (2 * _TIGHTEST)
    return np.minimum(bend, half)


def _segments(
    p: Floats, p2: Floats, q: Floats, q2: Floats
) -> tuple[Floats, Floats, Floats]:
    """Give distances of straight segments in space, and where along each they are reached.

    Ericson, *Real-Time Collision Detection* (2005), section 5.1.9.
    """
    first, second, gap = p2 - p, q2 - q, p - q

    def dot(x: Floats, y: Floats) -> Floats:
        return np.einsum('ij,ij->i', x, y)

    def share(up: Floats, down: Floats) -> Floats:
        return np.clip(up / np.where(down > 0, down, 1), 0, 1) * (down > 0)

    a, e, b, c, f = (
        dot(*pair)
        for pair in (
            (first, first),
            (second, second),
            (first, second),
            (first, gap),
            (second, gap),
        )
    )
    square = a * e - b * b
    s = np.where(square > 1e-12 * a * e, share(b * f - c * e, square), 0)
    t = (b * s + f) / np.where(e > 0, e, 1) * (e > 0)
    s = np.where(t < 0, share(-c, a), np.where(t > 1, share(b - c, a), s))
    t = np.clip(t, 0, 1)
    s = np.where(e > 0, s, share(-c, a))
    away = gap + s[:, None] * first - t[:, None] * second
    return np.linalg.norm(away, axis=1), s, t
