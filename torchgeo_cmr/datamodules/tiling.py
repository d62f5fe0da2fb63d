"""Where patches of a split lie: areas to draw from, and a grid to evaluate on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import shapely
from pyproj import CRS
from shapely import STRtree
from shapely.geometry.base import BaseGeometry

from torchgeo_cmr.datamodules.split import Tiles, near_ground
from torchgeo_cmr.datasets.label_map import LabelFromMask
from torchgeo_cmr.datasets.paired import PairedDataset
from torchgeo_cmr.samplers.patch_area import Area, Bounds, PatchKey, polygons


def zone_areas(
    zone: PairedDataset,
    number: int,
    tiles: Tiles | None,
    others: Sequence[BaseGeometry],
    *,
    size: tuple[int, int],
    min_valid: float,
    labels: LabelFromMask | None = None,
) -> list[Area]:
    """Give the ground of one split of a zone, as areas of one pair of scenes each.

    A pre-cut chip is in or out as a whole: in if most of it is ground of the split and it
    touches no other split.

    Args:
        zone: Pairs of scenes.
        number: Number of the zone, for the keys.
        tiles: Ground of the split; None for all of the zone.
        others: Ground of the splits that already have theirs, in the CRS of the zone.
        size: Patch height and width in pixels.
        min_valid: Smallest share of valid pixels of a patch.
        labels: Map from which each patch needs a label.

    Returns:
        The areas, in the order of the pairs.
    """
    outlines = zone.index.geometry.to_numpy()
    if tiles is None:
        pieces = [(row, part) for row, o in enumerate(outlines) for part in polygons(o)]
    else:
        whole = _are_chips(zone, size)
        chosen = _chips(outlines, whole, tiles, others, max(zone.res))
        pieces = [(row, outlines[row]) for row in chosen]
        pieces += _parts(outlines, ~whole, tiles, others, max(zone.res))
        pieces.sort(key=lambda piece: piece[0])
    times = zone.index.index
    return [
        Area(
            zone=number,
            polygon=part,
            crs=zone.crs,
            time=times[row],
            origin=zone.origin(row),
            res=zone.res,
            size=size,
            valid=ValidShare(zone, row, min_valid, labels),
            min_valid=min_valid,
            row=row,
        )
        for row, part in pieces
    ]


def has_chips(zone: PairedDataset, size: tuple[int, int]) -> bool:
    """Say whether a zone has pre-cut chips, which are in a split as a whole.

    Args:
        zone: Pairs of scenes.
        size: Patch height and width in pixels.

    Returns:
        Whether a pair has room for one patch only.
    """
    return bool(_are_chips(zone, size).any())


def _are_chips(zone: PairedDataset, size: tuple[int, int]) -> np.ndarray:
    """Mark pieces of ground that have room for one patch only."""
    xmin, ymin, xmax, ymax = shapely.bounds(zone.index.geometry.to_numpy()).T
    width, height = zone.res[0] * size[1], zone.res[1] * size[0]
    return np.maximum((xmax - xmin) / width, (ymax - ymin) / height) < 1.5


def _chips(
    outlines: Tiles,
    whole: np.ndarray,
    tiles: Tiles,
    others: Sequence[BaseGeometry],
    apart: float,
) -> list[int]:
    """Rows of the chips of a split."""
    rows = np.flatnonzero(whole)
    chip, tile = STRtree(tiles).query(outlines[rows], predicate='intersects')
    shared = shapely.area(shapely.intersection(outlines[rows[chip]], tiles[tile]))
    covered = np.bincount(chip, shared, len(rows))
    rows = rows[covered > 0.5 * shapely.area(outlines[rows])]
    near, _ = STRtree(others).query(outlines[rows], predicate='dwithin', distance=apart)
    return np.delete(rows, near).tolist()


def _parts(
    outlines: Tiles,
    divided: np.ndarray,
    tiles: Tiles,
    others: Sequence[BaseGeometry],
    apart: float,
) -> Iterator[tuple[int, BaseGeometry]]:
    """Rows and polygons of the pieces of ground that are not chips.

    Chips of another split reach beyond its tiles, so their ground is taken away.
    """
    rows = np.flatnonzero(divided)
    piece, tile = STRtree(tiles).query(outlines[rows], predicate='intersects')
    numbers, starts = np.unique(piece, return_index=True)
    # Scenes of one place, which follow each other, lie on the same tiles: the last union is
    # kept for them.
    regions: dict[bytes, BaseGeometry] = {}
    taken, apart = STRtree(others), apart * (1 - 1e-6)
    for i, near in zip(numbers, np.split(tile, starts)[1:], strict=True):
        key = np.sort(near).tobytes()
        if key not in regions:
            region = shapely.union_all(tiles[near])
            close = taken.query(region, predicate='dwithin', distance=apart)
            if len(close):
                chips = taken.geometries[close]
                grown = shapely.buffer(chips, apart, join_style='mitre')
                region = region - shapely.union_all(grown)
            regions = {key: region}
        row = int(rows[i])
        yield from ((row, part) for part in polygons(outlines[row] & regions[key]))


def grid(areas: Sequence[Area]) -> Iterator[PatchKey]:
    """Lay patches side by side over areas, each place once.

    Where an area has too few valid pixels, a later one that covers the place is used. Zones
    that overlap show their common ground once, too.

    Args:
        areas: Areas of any zones, zone by zone.

    Yields:
        Keys of patches that do not overlap.
    """
    outlines = np.array([area.polygon for area in areas], object)
    zones = np.array([area.zone for area in areas])
    later, earlier = STRtree(outlines).query(outlines, predicate='intersects')
    before = (earlier < later) & (zones[earlier] == zones[later])
    later, earlier = later[before], earlier[before]
    ends = np.searchsorted(later, np.arange(len(areas) + 1))
    kept: list[list[Bounds]] = []
    elsewhere = STRtree([])
    for i, area in enumerate(areas):
        if i and area.zone != areas[i - 1].zone:
            reach = shapely.box(*shapely.total_bounds(outlines[zones == area.zone]))
            elsewhere = _elsewhere(areas[:i], kept, area.crs, reach)
        used = [b for j in earlier[ends[i] : ends[i + 1]] for b in kept[j]]
        kept.append(_free(area, used, elsewhere))
        yield from map(area.key, kept[-1])


def _elsewhere(
    areas: Sequence[Area], kept: Sequence[list[Bounds]], crs: CRS, reach: BaseGeometry
) -> STRtree:
    """Patches of other zones that lie on the ground of a zone, in its CRS."""
    found = []
    for number in {area.zone for area in areas}:
        mine = [i for i, area in enumerate(areas) if area.zone == number]
        bounds = [b for i in mine for b in kept[i]]
        if bounds:
            boxes = shapely.box(*np.array(bounds).T)
            found += near_ground(boxes, areas[mine[0]].crs, crs, reach).tolist()
    return STRtree(found)


def _free(area: Area, used: Sequence[Bounds], elsewhere: STRtree) -> list[Bounds]:
    """Patches of an area that do not overlap those in use."""
    foreign = elsewhere.query(area.polygon, predicate='intersects')
    taken = [*elsewhere.geometries[foreign]]
    if used:
        xmin, ymin, xmax, ymax = np.array(used).T
        west, south, east, north = area.polygon.bounds
        # Neighbours that only touch do not reduce the area.
        dx, dy = 0.01 * area.res[0], 0.01 * area.res[1]
        near = (xmin < east - dx) & (xmax > west + dx) & (ymin < north - dy)
        near &= ymax > south + dy
        taken += shapely.box(xmin[near], ymin[near], xmax[near], ymax[near]).tolist()
    if not taken:
        return area.grid()
    free = polygons(area.polygon - shapely.union_all(taken))
    # What is left of a chip may lack a sliver; what is left of a scene is no chip.
    parts = [replace(area, polygon=part, rest=not area.is_chip) for part in free]
    return [b for part in parts for b in part.grid()]


class ValidShare:
    """Share of valid pixels of a pair, for an area; below 0 where a label is missing.

    A class, because worker processes cannot receive a nested function.
    """

    def __init__(
        self,
        zone: PairedDataset,
        row: int,
        min_valid: float,
        labels: LabelFromMask | None = None,
    ) -> None:
        """Initialize a new ValidShare instance."""
        self.zone, self.row, self.labels = zone, row, labels
        # Without a smallest share only patches without a valid pixel fail: that does not
        # justify decoding every file.
        self.nan = min_valid > 0

    def __call__(self, bounds: Bounds) -> float:
        """Return the share of valid pixels inside bounds."""
        share = self.zone.valid_share(self.row, bounds, nan=self.nan)
        if share > 0 and self.labels is not None:
            return share if self.labels(bounds, self.zone.crs) is not None else -1.0
        return share
