"""Geometry rules: densified, cut at 180, valid, poles kept whole, no band round the world."""

from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS, Transformer

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.layer_outlines import (
    footprints,
    in_crs,
    kind_of,
    layer_crs,
    widths,
)
from torchgeo_cmr.table import densify, to_wgs84

BIG = (300_000, 4_900_000, 500_000, 5_100_000)


def ground(shape: shapely.Geometry, crs: int) -> float:
    """Area in a CRS of metres, part by part."""
    parts = gpd.GeoSeries(list(shapely.get_parts(shape)), crs=4326).to_crs(crs)
    return float(parts.area.sum())


def test_edges_follow_the_source(result: Any) -> None:
    """Each edge has eight pieces, and their ends lie on the patch's own edge."""
    frame = result([BIG])
    (shape,) = footprints(frame)
    points = shapely.get_coordinates(shape)
    assert len(points) == 4 * 8 + 1
    change = Transformer.from_crs(4326, 32632, always_xy=True)
    w, s, e, n = BIG
    corners = [(w, n), (e, n), (e, s), (w, s)]
    k = 0
    for i in range(4):
        (ax, ay), (bx, by) = corners[i], corners[(i + 1) % 4]
        for j in range(8):
            x, y = change.transform(*points[k])
            assert x == pytest.approx(ax + (bx - ax) * j / 8, abs=1e-3)
            assert y == pytest.approx(ay + (by - ay) * j / 8, abs=1e-3)
            k += 1
    # Straight lines between the corners would be some kilometres off.
    straight = shapely.Polygon(points[::8])
    off = shapely.hausdorff_distance(shape, straight, densify=0.1)
    assert off > 0.005


def test_a_footprint_that_was_changed_counts(result: Any) -> None:
    frame = result([BIG, (600_000, 5e6, 600_320, 5_000_320)])
    frame.loc[0, 'geometry'] = frame.geometry.iloc[0].buffer(0.1)
    changed, kept = footprints(frame)
    assert changed.equals(frame.geometry.iloc[0])
    assert shapely.get_num_coordinates(kept) == 33


def test_without_corners(result: Any) -> None:
    boxes = [BIG]
    frame = result(boxes)
    plain = gpd.GeoDataFrame(geometry=[shapely.box(*b) for b in boxes], crs=32632)
    assert footprints(plain)[0].equals_exact(footprints(frame)[0].reverse(), 1e-9) or (
        footprints(plain)[0].symmetric_difference(footprints(frame)[0]).area < 1e-12
    )
    frame['native_corners'] = None
    assert footprints(frame)[0].equals(frame.geometry.iloc[0])


def test_two_zones(result: Any) -> None:
    frame = result([BIG], 32632)
    other = result([BIG], 32633)
    both = gpd.GeoDataFrame(gpd.pd.concat([frame, other], ignore_index=True), crs=4326)
    one, two = footprints(both)
    assert one.centroid.x == pytest.approx(two.centroid.x - 6, abs=1e-6)
    assert ground(one, 32632) == pytest.approx(4e10, rel=1e-6)
    assert ground(two, 32633) == pytest.approx(4e10, rel=1e-6)


@pytest.mark.parametrize('corners', [True, False])
@pytest.mark.parametrize('y', [9_900_000, 8_000_000])
def test_date_line(result: Any, corners: bool, y: float) -> None:
    frame = result([(790_000, y, 880_000, y + 70_000)], 32760)
    if not corners:
        frame['native_corners'] = None
    (shape,) = footprints(frame)
    west, east = sorted(shapely.get_parts(shape), key=lambda p: p.bounds[0])
    assert west.bounds[0] == -180
    assert east.bounds[2] == 180
    assert widths(shape).max() < 10
    assert shape.is_valid
    assert ground(shape, 32760) == pytest.approx(9e4 * 7e4, rel=1e-4)


@pytest.mark.parametrize(('crs', 'pole'), [(3413, 90.0), (3031, -90.0)])
def test_pole(result: Any, crs: int, pole: float) -> None:
    box = (-200_000, -100_000, 300_000, 400_000)
    frame = result([box], crs)
    (shape,) = footprints(frame)
    west, south, east, north = shape.bounds
    assert (west, east) == (-180, 180)
    assert pole in (south, north)
    assert shape.is_valid
    assert widths(shape).max() == 0
    assert layer_crs(frame).to_epsg() == crs
    (flat,) = footprints(frame, CRS.from_epsg(crs))
    assert shapely.symmetric_difference(flat, shapely.box(*box)).area < 1
    # A saved search has lost the corners: the cap is unrolled again.
    frame['native_corners'] = None
    frame.geometry = [shape]
    (again,) = footprints(frame, CRS.from_epsg(crs))
    assert again.geom_type == 'Polygon'
    assert not again.interiors
    # Edges near the pole are straight in degrees between the eighths.
    off = shapely.symmetric_difference(again, shapely.box(*box)).area
    assert off / shapely.box(*box).area < 0.02


def test_polar_set(result: Any) -> None:
    """A set beyond 80 degrees stays in its polar CRS, one that reaches further does not."""
    near, far = (500_000, 0, 510_000, 10_000), (1_500_000, 0, 1_510_000, 10_000)
    assert layer_crs(result([near], 3413)).to_epsg() == 3413
    assert layer_crs(result([near, far], 3413)).to_epsg() == 4326
    assert layer_crs(result([near], 3031)).to_epsg() == 3031
    assert layer_crs(result([near], 3995)).to_epsg() == 4326
    assert layer_crs(result([(500_000, 9_200_000, 510_000, 9_210_000)])) == 4326
    assert layer_crs(result([near], 3413).iloc[:0]) == 4326
    mixed = gpd.pd.concat([result([near], 3413), result([near], 3995)])
    assert layer_crs(gpd.GeoDataFrame(mixed, crs=4326)) == 4326
    own = gpd.GeoDataFrame(geometry=[shapely.box(*near)], crs=3413)
    assert layer_crs(own).to_epsg() == 3413
    assert footprints(own, layer_crs(own))[0].equals(own.geometry.iloc[0])
    assert layer_crs(gpd.GeoDataFrame(geometry=[shapely.box(*far)], crs=3413)) == 4326


def test_from_degrees_to_polar() -> None:
    circle = in_crs(shapely.box(-180, 85, 180, 90), CRS.from_epsg(3413))
    assert circle.is_valid
    assert circle.geom_type == 'Polygon'
    assert circle.contains(shapely.Point(0, 0))
    assert circle.area == pytest.approx(np.pi * 5.4e5**2, rel=0.03)
    box = shapely.box(0, 1, 2, 3)
    assert in_crs(box, CRS.from_epsg(4326)) is box


def test_band_round_the_world_is_refused() -> None:
    band = shapely.segmentize(shapely.box(-100, 10, 110, 20), 20)
    with pytest.raises(QueryError, match='is 210 degrees wide and holds no pole'):
        footprints(gpd.GeoDataFrame(geometry=[band], crs=4326))
    half = shapely.segmentize(shapely.box(-90, 10, 90, 20), 20)
    assert footprints(gpd.GeoDataFrame(geometry=[half], crs=4326))[0].equals(half)


def test_refused() -> None:
    empty = gpd.GeoDataFrame(geometry=[shapely.Polygon()], crs=4326)
    with pytest.raises(QueryError, match='geometry of the layer is empty'):
        footprints(empty)
    beyond = gpd.GeoDataFrame(geometry=[shapely.box(0, 89, 1, 91)], crs=4326)
    with pytest.raises(QueryError, match='cannot be expressed in EPSG:4326'):
        footprints(beyond)


def test_mended_and_missing() -> None:
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    frame = gpd.GeoDataFrame(geometry=[bow, None, shapely.Point(1, 2, 3)], crs=4326)
    mended, missing, point = footprints(frame)
    assert mended.is_valid
    assert mended.area == pytest.approx(0.5)
    assert missing is None
    assert not point.has_z


def test_nothing_given_is_changed(result: Any) -> None:
    frame = result([(790_000, 8e6, 880_000, 8.07e6)], 32760)
    before = frame.copy(deep=True)
    corners = frame['native_corners'].iloc[0].copy()
    footprints(frame)
    assert (frame['native_corners'].iloc[0] == corners).all()
    assert frame.geometry.geom_equals_exact(before.geometry, 0).all()


def test_kinds() -> None:
    def kind(*shapes: shapely.Geometry | None) -> str:
        return kind_of(np.array(shapes, dtype=object), 'query')

    box = shapely.box(0, 0, 1, 1)
    assert kind(box, shapely.MultiPolygon([box]), None) == 'Polygon'
    assert kind() == kind(None) == 'Polygon'
    assert kind(shapely.Point(0, 0)) == 'Point'
    assert kind(shapely.LineString([(0, 0), (1, 1)])) == 'LineString'
    with pytest.raises(QueryError, match='layer query mixes Point, Polygon'):
        kind(box, shapely.Point(0, 0))
    with pytest.raises(QueryError, match='mixes GeometryCollection'):
        kind(shapely.GeometryCollection([box]))


def test_twin_in_many_places(result: Any) -> None:
    """The vectorised outline is that of densifying and moving one footprint at a time."""
    rng = np.random.default_rng(0)
    for crs in (32601, 32660, 32733, 3413, 3031, 3857):
        x, y = rng.uniform(2e5, 8e5, 2)
        boxes = [(x + 9e3 * i, y, x + 9e3 * i + 8e3, y + 8e3) for i in range(3)]
        frame = result(boxes, crs)
        own = CRS.from_epsg(crs)
        for box, shape in zip(boxes, footprints(frame), strict=True):
            (twin,) = to_wgs84(densify([shapely.box(*box)]), own)
            assert shapely.symmetric_difference(shape, twin).area < 1e-9


@pytest.mark.parametrize(
    'shape',
    [
        shapely.Point(0, np.nan),
        shapely.Point(np.inf, 0),
        shapely.LineString([(0, 0), (1, np.inf)]),
        shapely.Polygon([(0, 0), (1, np.inf), (1, 1)]),
    ],
)
def test_coordinates_that_are_no_numbers(shape: shapely.Geometry) -> None:
    with pytest.raises(QueryError, match='cannot be expressed in EPSG:4326'):
        footprints(gpd.GeoDataFrame(geometry=[shape], crs=4326))
