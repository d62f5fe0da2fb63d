"""The curve against a test of every box."""

import numpy as np
import pytest
import shapely

from torchgeo_cmr.search.where import curve
from torchgeo_cmr.search.where.curve import Cover, Curve, hilbert_order
from torchgeo_cmr.table.footprints import cut


def boxes_of(n: int, seed: int = 0, wide: float = 0.2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.uniform((0, 40), (10, 50), (n, 2))
    return np.hstack([low, low + rng.uniform(0, wide, (n, 2))])


def ring(radius: float, wobble: float = 0.3) -> shapely.Polygon:
    angle = np.linspace(0, 2 * np.pi, 40)
    r = radius * (1 + wobble * np.sin(3 * angle))
    return shapely.Polygon(
        np.column_stack([5 + r * np.cos(angle), 45 + r * np.sin(angle)])
    )


AREAS = {
    'blob': ring(3),
    'small': ring(0.05),
    'hole': ring(4, 0).difference(ring(2, 0)),
    'two': shapely.union_all([shapely.box(1, 41, 3, 43), shapely.box(7, 47, 8, 48)]),
    'many': shapely.MultiPoint(
        np.random.default_rng(0).uniform(40, 50, (30, 2))
    ).buffer(0.3),
    'line': shapely.LineString([(0, 40), (10, 50)]),
    'point': shapely.Point(5, 45),
    'all': shapely.box(-10, 30, 20, 60),
    'none': shapely.box(50, 0, 51, 1),
}


@pytest.mark.parametrize('name', AREAS)
@pytest.mark.parametrize('n', [0, 1, 15, 16, 17, 300, 5000])
@pytest.mark.parametrize('stored', [True, False])
def test_every_row_is_inside_or_on_the_border_or_away(
    name: str, n: int, stored: bool
) -> None:
    area, boxes = AREAS[name], boxes_of(n)
    order = hilbert_order(boxes)
    if stored:
        boxes = boxes[order]
    shapes = shapely.box(*boxes.T)
    touching = np.flatnonzero(shapely.intersects(area, shapes))
    for few in (0, 4_096):
        cover = Curve(boxes, None if stored else order).cover(area, few)
        assert (np.diff(cover.inside) > 0).all()
        assert (np.diff(cover.border) > 0).all()
        assert len(np.intersect1d(cover.inside, cover.border)) == 0
        assert shapely.contains_properly(area, shapes[cover.inside]).all()
        assert np.isin(touching, np.union1d(cover.inside, cover.border)).all()


@pytest.mark.parametrize('stored', [True, False])
def test_few_rows_are_those_whose_boxes_meet_that_of_the_area(stored: bool) -> None:
    boxes = boxes_of(30_000, wide=0.02)
    order = hilbert_order(boxes)
    boxes = boxes[order] if stored else boxes
    made = Curve(boxes, None if stored else order)
    for area in (ring(0.8), shapely.box(2, 42, 3.5, 43.5), shapely.Point(5, 45)):
        cover = made.cover(area, 4_096)
        near = shapely.intersects(shapely.box(*area.bounds), shapely.box(*boxes.T))
        assert cover.inside.tolist() == []
        assert cover.border.tolist() == np.flatnonzero(near).tolist()
    assert len(made.cover(ring(3), 4_096).inside) > 0


@pytest.mark.parametrize('name', AREAS)
@pytest.mark.parametrize('handful', [0, 10**9])
def test_ways_to_the_same_cover(
    name: str, handful: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes judged or opened unseen."""
    boxes = boxes_of(20_000, wide=0.02)
    boxes = boxes[hilbert_order(boxes)]
    usual = Curve(boxes).cover(AREAS[name], 0)
    monkeypatch.setattr(curve, '_HANDFUL', handful)
    other = Curve(boxes).cover(AREAS[name], 0)
    assert (usual.inside == other.inside).all()
    assert (usual.border == other.border).all()


def test_rows_of_the_border_are_put_between_the_runs() -> None:
    runs = np.array([3, 16, 32]), np.array([2, 16, 5])
    inside = [3, 4, *range(16, 37)]
    cover = Cover(runs, np.array([0, 5, 7, 40]))
    assert cover.inside.tolist() == inside
    for passed in ([], [0], [5, 7], [40], [0, 5, 7, 40]):
        found = cover.with_border(np.array(passed, dtype=np.int64))
        assert found.tolist() == sorted([*inside, *passed])
        assert found.dtype == np.int64
    nothing = Cover.of(np.empty(0, np.int64), cover.border)
    assert nothing.inside.tolist() == []
    assert nothing.with_border(cover.border).tolist() == cover.border.tolist()
    single = Cover.of(np.array([4, 9]), cover.border)
    assert single.with_border(np.array([5])).tolist() == [4, 5, 9]


def test_runs_spare_most_tests() -> None:
    boxes = boxes_of(50_000, wide=0.02)
    boxes = boxes[hilbert_order(boxes)]
    cover = Curve(boxes).cover(ring(3), 0)
    assert len(cover.inside) > 3 * len(cover.border) > 0
    # Neighbours on the curve are neighbours on the ground: long runs.
    assert (np.diff(cover.inside) > 1).sum() < len(cover.inside) / 20


@pytest.mark.slow
def test_many_small_parts_do_not_leave_everything_to_be_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A town: its rows lie closer together than the cells of an area as wide as a country.
    boxes = (boxes_of(40_000) - [5, 45, 5, 45]) / 50 + [5, 45, 5, 45]
    boxes = boxes[hilbert_order(boxes)]
    x, y = np.meshgrid(np.linspace(0, 10, 120), np.linspace(40, 50, 120))
    area = shapely.MultiPolygon(
        shapely.buffer(shapely.points(x.ravel(), y.ravel()), 0.002).tolist()
    )
    monkeypatch.setattr(curve, '_MANY', 10)
    closely = Curve(boxes).cover(area, 0)
    monkeypatch.setattr(curve, '_MANY', 1_000_000)
    coarsely = Curve(boxes).cover(area, 0)
    touching = shapely.intersects(area, shapely.box(*boxes.T))
    for cover in (closely, coarsely):
        told = np.union1d(cover.inside, cover.border)
        assert np.isin(np.flatnonzero(touching), told).all()
    assert 0 < len(closely.border) < len(coarsely.border) / 3


def test_order_is_a_hilbert_curve() -> None:
    """Through a full square of cells the curve goes from neighbour to neighbour."""
    side = 16
    x, y = (a.ravel() for a in np.meshgrid(np.arange(side), np.arange(side)))
    boxes = np.column_stack([x, y, x, y]).astype(float)
    order = hilbert_order(boxes)
    assert sorted(order.tolist()) == list(range(side * side))
    steps = np.abs(np.diff(boxes[order, :2], axis=0)).sum(axis=1)
    assert (steps == 1).all()


def test_order_is_stable_and_knows_degenerate_worlds() -> None:
    same = np.tile([9.0, 45.0, 9.1, 45.1], (7, 1))
    assert hilbert_order(same).tolist() == list(range(7))
    assert hilbert_order(np.empty((0, 4))).shape == (0,)


def test_footprints_over_180_lie_at_the_edge() -> None:
    boxes = boxes_of(400)
    crossing = np.array([[-180.0, 44.0, 180.0, 44.1]] * 20)
    both = np.vstack([boxes[:200], crossing, boxes[200:]])
    order = hilbert_order(both)
    where = np.flatnonzero((order >= 200) & (order < 220))
    assert (np.diff(where) == 1).all()  # by themselves, not among those at longitude 0
    cover = Curve(both, order).cover(cut(shapely.box(179, 43, 181, 45)), 0)
    assert cover.border.tolist() == list(range(200, 220))
    assert not len(cover.inside)
