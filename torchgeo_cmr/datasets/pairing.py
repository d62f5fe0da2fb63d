"""Partners: which scenes of the other modalities lie over each scene of the first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import STRtree
from shapely.geometry.base import BaseGeometry

from torchgeo_cmr.datasets.member import Member

#: Outlines that are looked up at once, so that memory does not grow with dates squared.
_CHUNK = 512


@dataclass
class Pairing:
    """Pairs of scenes, one for each piece of ground."""

    #: Entry of each modality, int64 of shape ``(n, modalities)``.
    entries: NDArray[np.int64]
    #: Ground of each pair in the CRS of the pairs.
    pieces: NDArray[np.object_]
    #: Days between the first modality and the farthest other; NaN if one is undated.
    days: NDArray[np.float64]


def pair_scenes(
    first: Member, others: Sequence[Member], tolerance: timedelta | None
) -> Pairing:
    """Lay the nearest-in-time scenes of every other modality over the first's.

    Undated scenes come after dated ones, and fail every tolerance.

    Args:
        first: The modality that gives the ground.
        others: The others.
        tolerance: Largest time between two scenes; None for any.

    Returns:
        The pairs, in the order of the first's scenes.
    """
    entries = np.arange(len(first.listing))[:, None]
    pieces = first.outlines
    days = np.zeros(len(entries))
    least = 0.5 * min(first.res)
    for other in others:
        found: list[tuple[int, int, BaseGeometry]] = []
        for number, candidates, whole in _candidates(
            pieces, entries[:, 0], first, other, tolerance
        ):
            piece = pieces[number]
            if whole:
                found.append((number, candidates[0], piece))
                continue
            for candidate in candidates:
                ground = other.outlines[candidate]
                part = solid(shapely.intersection(piece, ground), least)
                if part.is_empty:
                    continue
                found.append((number, candidate, part))
                piece = solid(shapely.difference(piece, ground), least)
                if piece.is_empty:
                    break
        numbers = np.array([number for number, *_ in found], np.int64)
        chosen = np.array([candidate for _, candidate, _ in found], np.int64)
        pieces = np.empty(len(found), object)
        pieces[:] = [part for *_, part in found]
        entries = np.c_[entries[numbers], chosen]
        days = np.maximum(days[numbers], _days(first, entries[:, 0], other, chosen))
    return Pairing(entries, pieces, days)


def _candidates(
    pieces: NDArray[np.object_],
    entries: NDArray[np.int64],
    first: Member,
    other: Member,
    tolerance: timedelta | None,
) -> Iterator[tuple[int, list[int], bool]]:
    """Give the scenes that may lie over each piece, in the order of preference.

    And whether the first of them covers all of it, which is most often so.
    """
    tree = STRtree(other.outlines)
    boxes = shapely.bounds(other.outlines)
    foreign = other.listing.foreign
    limit = np.inf if tolerance is None else tolerance / timedelta(days=1)
    for start in range(0, len(pieces), _CHUNK):
        numbers, hits = tree.query(
            pieces[start : start + _CHUNK], predicate='intersects'
        )
        numbers = numbers + start
        # Neighbours that touch share no ground.
        mine, theirs = shapely.bounds(pieces[numbers]), boxes[hits]
        overlap = np.minimum(mine[:, 2:], theirs[:, 2:]) > np.maximum(
            mine[:, :2], theirs[:, :2]
        )
        days = _days(first, entries[numbers], other, hits)
        kept = overlap.all(axis=1)
        if tolerance is not None:
            kept &= days <= limit
        numbers, hits, days = numbers[kept], hits[kept], days[kept]
        if not len(hits):
            continue
        later = np.zeros(len(hits), bool) if foreign is None else foreign[hits]
        # NaN, which undated scenes have, sorts last.
        order = np.lexsort((hits, days, later, numbers))
        numbers, hits = numbers[order], hits[order]
        each, firsts = np.unique(numbers, return_index=True)
        whole = shapely.covers(other.outlines[hits[firsts]], pieces[each])
        yield from zip(
            each.tolist(),
            (candidates.tolist() for candidates in np.split(hits, firsts[1:])),
            whole.tolist(),
            strict=True,
        )


def _days(
    first: Member, entries: NDArray[np.int64], other: Member, hits: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Days between scenes, 0 if they overlap, NaN if one has no date."""
    a, b = first.listing, other.listing
    unknown = a.undated[entries] | b.undated[hits]
    after = (b.starts[hits] - a.ends[entries]) / np.timedelta64(1, 'D')
    before = (a.starts[entries] - b.ends[hits]) / np.timedelta64(1, 'D')
    return np.where(unknown, np.nan, np.maximum(0, np.maximum(after, before)))


def solid(geometry: BaseGeometry, least: float) -> BaseGeometry:
    """Drop lines, points and slivers, which hold no pixel.

    Args:
        geometry: What an intersection or a difference left.
        least: Half the width below which a polygon is a sliver.

    Returns:
        The polygons that remain.
    """
    parts = shapely.get_parts(shapely.get_parts(geometry))
    left, bottom, right, top = shapely.bounds(parts).T
    area, sides = shapely.area(parts), np.minimum(right - left, top - bottom)
    # What fills its box is as wide as that; only odd shapes must be looked at.
    full = (area > 0.9 * (right - left) * (top - bottom)) & (sides > 2 * least)
    odd = ~full & (area > 4 * least**2)
    odd[odd] = ~shapely.is_empty(shapely.buffer(parts[odd], -least, quad_segs=1))
    parts = parts[full | odd]
    if len(parts) == 1:
        return parts[0]
    return shapely.multipolygons(parts) if len(parts) else shapely.Polygon()
