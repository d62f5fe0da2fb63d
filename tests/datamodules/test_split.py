from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS
from shapely import MultiPolygon, box
from shapely.geometry.base import BaseGeometry

from torchgeo_cmr.datamodules.split import SPLITS
from torchgeo_cmr.datamodules.split import split_ground as tiles_of

UTM32, UTM33 = CRS.from_epsg(32632), CRS.from_epsg(32633)
SHARES = {'train': 0.7, 'val': 0.1, 'test': 0.2}


def split_ground(*args: Any, **options: Any) -> list[dict[str, BaseGeometry]]:
    """Ground of each split as one geometry."""
    zones = tiles_of(*args, **options)
    return [{s: shapely.union_all(tiles) for s, tiles in z.items()} for z in zones]


def test_splits_keep_their_distance_and_shares() -> None:
    ground = box(500_000, 5_000_000, 520_000, 5_020_000)
    (zone,) = split_ground(
        [(UTM32, ground)], [(1000, 1000)], margins=[150], shares=SHARES, seed=3
    )
    for a in SPLITS:
        for b in SPLITS:
            if a != b:
                assert zone[a].distance(zone[b]) == pytest.approx(150)
        assert ground.covers(zone[a])
    # the test cells stay whole: 80 of 400 km2
    assert zone['test'].area == pytest.approx(80e6)
    assert 0 < zone['val'].area < 40e6
    assert 100e6 < zone['train'].area < 280e6


def test_seed_moves_the_places() -> None:
    ground = box(0, 0, 10_000, 10_000)
    options = {'margins': [100], 'shares': SHARES}
    one, again, other = (
        split_ground([(UTM32, ground)], [(1000, 1000)], seed=seed, **options)[0]['test']
        for seed in (0, 0, 1)
    )
    assert one.equals(again)
    assert not one.equals(other)


def test_every_wanted_split_gets_a_cell() -> None:
    ground = box(0, 0, 3000, 1000)
    (zone,) = split_ground(
        [(UTM32, ground)], [(1000, 1000)], margins=[10], shares=SHARES
    )
    assert all(zone[split].area > 0 for split in SPLITS)
    shares = {'train': 0.8, 'val': 0, 'test': 0.2}
    (zone,) = split_ground(
        [(UTM32, ground)], [(1000, 1000)], margins=[10], shares=shares
    )
    assert zone['val'].is_empty


def test_holes_and_islands() -> None:
    ground = MultiPolygon([box(0, 0, 4000, 4000), box(50_000, 0, 54_000, 4000)])
    (zone,) = split_ground([(UTM32, ground)], [(500, 500)], margins=[50], shares=SHARES)
    total = sum(zone[split].area for split in SPLITS)
    assert total < ground.area
    assert all(ground.buffer(1e-6).covers(zone[split]) for split in SPLITS)


def test_overlapping_zones_agree() -> None:
    ground = box(700_000, 5_000_000, 710_000, 5_010_000)
    other = gpd.GeoSeries([ground.segmentize(500)], crs=UTM32).to_crs(UTM33).iloc[0]
    zones = split_ground(
        [(UTM32, ground), (UTM33, other)],
        [(1000, 1000)] * 2,
        margins=[100, 100],
        shares=SHARES,
    )
    moved = {
        s: gpd.GeoSeries([zones[1][s]], crs=UTM33).to_crs(UTM32).iloc[0] for s in SPLITS
    }
    for a in SPLITS:
        for b in SPLITS:
            if a != b:
                assert zones[0][a].distance(moved[b]) > 99
    assert np.all([moved['train'].area > 0, moved['test'].area > 0])


@pytest.mark.parametrize('missing', ['val', 'test'])
def test_zones_without_ground_of_a_split(missing: str) -> None:
    shares = {'train': 0.8, 'val': 0.2, 'test': 0.2} | {missing: 0}
    near = box(700_000, 5_000_000, 710_000, 5_010_000)
    zones = split_ground(
        [(UTM32, near), (UTM33, box(230_000, 5_000_000, 260_000, 5_020_000))],
        [(1000, 1000)] * 2,
        margins=[100, 100],
        shares=shares,
    )
    for zone in zones:
        assert zone[missing].is_empty
        assert all(zone[split].area > 0 for split in SPLITS if split != missing)


def test_zones_in_another_order_are_divided_alike() -> None:
    # Both hold the ground round 12 degrees east, so that the first decides for the other.
    grounds = [
        (UTM33, box(230_000, 5_000_000, 270_000, 5_020_000)),
        (UTM32, box(700_000, 5_000_000, 740_000, 5_020_000)),
        (UTM32, box(400_000, 5_000_000, 420_000, 5_020_000)),
    ]
    made = {}
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        zones = split_ground(
            [grounds[i] for i in order],
            [(2000, 2000)] * 3,
            margins=[100] * 3,
            shares=SHARES,
            seed=1,
        )
        made[tuple(order)] = [zones[order.index(i)] for i in range(3)]
    first, *others = made.values()
    for other in others:
        for one, same in zip(first, other, strict=True):
            assert all(one[split].equals(same[split]) for split in SPLITS)
