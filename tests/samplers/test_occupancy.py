"""Ground is used once, however many patches a batch has and wherever it lies."""

import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import CRS, Transformer

from torchgeo_cmr.samplers.occupancy import Occupancy
from torchgeo_cmr.samplers.patch_area import Area, Bounds

TIME = pd.IntervalIndex.from_breaks(
    pd.to_datetime(['2024-01-01', '2024-01-02']), closed='both'
)[0]


def area(crs: str, *bounds: float) -> Area:
    return Area(0, shapely.box(*bounds), CRS(crs), TIME, (0.0, 0.0), (10.0, 10.0), 32)


def random_boxes(count: int, side: int) -> list[Bounds]:
    corners = 10.0 * np.random.default_rng(0).integers(0, side, (count, 2))
    return [(x, y, x + 320, y + 320) for x, y in corners.tolist()]


@pytest.mark.slow
def test_as_compared_one_with_another() -> None:
    ground = area('EPSG:32632', 0, 0, 20_000, 20_000)
    occupancy, taken = Occupancy(lonlat=False), shapely.Polygon()
    used = 0
    for bounds in random_boxes(2000, 1000):
        box = shapely.box(*bounds)
        free = shapely.intersection(taken, box).area == 0
        assert occupancy.place([bounds], [ground]) == [0] * free
        if free:
            taken = taken | box
            used += 1
    assert used > 256  # more than there is room for at first


@pytest.mark.parametrize('zone', ['EPSG:32632', 'EPSG:32601'])
def test_in_degrees_as_boxes_of_corners(zone: str) -> None:
    # Zone 1 begins at the antimeridian, which some of these boxes cross.
    west, south = (166_000, 4_000_000) if zone.endswith('01') else (500_000, 5_000_000)
    ground = area(zone, west, south, west + 10_000, south + 10_000)
    project = Transformer.from_crs(zone, 'EPSG:4326', always_xy=True)
    occupancy = Occupancy(lonlat=True)
    taken: list[shapely.Polygon] = []
    for x, y, *_ in random_boxes(200, 600):
        bounds = (west + x, south + y, west + x + 320, south + y + 320)
        corners = shapely.get_coordinates(shapely.box(*bounds))
        lon, lat = project.transform(corners[:, 0], corners[:, 1])
        lon = lon % 360
        box = shapely.box(lon.min(), lat.min(), lon.max(), lat.max())
        free = not any(shapely.intersection(box, other).area > 1e-15 for other in taken)
        assert occupancy.place([bounds], [ground]) == [0] * free
        if free:
            taken.append(box)
    assert 20 < len(taken) < 200


@pytest.mark.parametrize('zones', [['EPSG:32632'], ['EPSG:32632', 'EPSG:32633']])
def test_many_at_once_as_one_by_one(zones: list[str]) -> None:
    # Both lie around 12 degrees east, where zones 32 and 33 meet.
    west = {'EPSG:32632': 700_000, 'EPSG:32633': 230_000}
    fields = [area(z, west[z], 5_000_000, west[z] + 9_000, 5_009_000) for z in zones]
    grounds = [fields[i % len(fields)] for i in range(400)]
    boxes = [
        (west + x, south + y, west + x + 320, south + y + 320)
        for (x, y, *_), ground in zip(random_boxes(400, 600), grounds, strict=True)
        for west, south, *_ in [ground.polygon.bounds]
    ]
    refused = set(range(0, 400, 7))
    alone, together = (Occupancy(lonlat=len(zones) > 1) for _ in range(2))
    expected = [
        i
        for i in range(400)
        if i not in refused and alone.place([boxes[i]], [grounds[i]])
    ]
    found = [
        first + i
        for first in range(0, 400, 160)
        for i in together.place(
            boxes[first : first + 160],
            grounds[first : first + 160],
            lambda i, first=first: first + i not in refused,
        )
    ]
    assert found == expected
    assert 40 < len(found) < 300


def test_a_cleared_one_is_empty() -> None:
    ground, bounds = area('EPSG:32632', 0, 0, 640, 640), (0.0, 0.0, 320.0, 320.0)
    occupancy = Occupancy(lonlat=False)
    assert occupancy.place([bounds, bounds], [ground] * 2) == [0]
    assert occupancy.place([bounds], [ground]) == []
    occupancy.clear()
    assert occupancy.place([bounds], [ground]) == [0]
