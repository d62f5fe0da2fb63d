from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pyproj import CRS
from shapely import Polygon, box

from torchgeo_cmr.datasets.paired import PairSlice
from torchgeo_cmr.samplers import Area
from torchgeo_cmr.samplers.patch_area import sides

TIME = pd.IntervalIndex.from_breaks(
    pd.to_datetime(['2024-01-01', '2024-01-02']), closed='both'
)[0]


def area(polygon: Polygon, size: int | tuple[int, int] = 4, **options: object) -> Area:
    settings = {
        'zone': 0,
        'crs': CRS.from_epsg(32632),
        'time': TIME,
        'origin': (3.0, 7.0),
    }
    return Area(polygon=polygon, res=(10.0, 10.0), size=size, **{**settings, **options})  # ty: ignore[invalid-argument-type]


class TestGrid:
    def test_covers_a_box_exactly(self) -> None:
        grid = area(box(3, 7, 3 + 120, 7 + 80)).grid()
        assert len(grid) == 6
        assert grid[0] == (3, 7, 43, 47)
        assert grid[-1] == (83, 47, 123, 87)

    def test_starts_on_the_lattice(self) -> None:
        grid = area(box(4, 8, 130, 90)).grid()
        assert grid[0] == (13, 17, 53, 57)
        assert all((x - 3) % 10 == 0 and (y - 7) % 10 == 0 for x, y, *_ in grid)

    def test_stays_inside_an_l_shape(self) -> None:
        shape = box(3, 7, 123, 127) - box(43, 47, 123, 127)
        grid = area(shape).grid()
        assert len(grid) == 5
        assert all(shape.buffer(1e-6).covers(box(*bounds)) for bounds in grid)

    def test_too_small_has_none(self) -> None:
        assert area(box(3, 7, 40, 40)).grid() == []

    def test_invalid_patches_are_left_out(self) -> None:
        half = area(box(3, 7, 123, 87), valid=lambda b: float(b[0] < 43), min_valid=0.5)
        assert len(half.grid()) == 2


class TestDraw:
    def test_is_inside_on_the_lattice_and_reaches_every_place(self) -> None:
        shape = box(3, 7, 73, 77) - box(43, 47, 73, 77)
        field = area(shape)
        generator = np.random.default_rng(0)
        drawn = {bounds for _ in range(400) if (bounds := field.draw(generator))}
        expected = {
            (3 + 10 * i, 7 + 10 * j)
            for i in range(4)
            for j in range(4)
            if shape.buffer(1e-6).covers(
                box(3 + 10 * i, 7 + 10 * j, 43 + 10 * i, 47 + 10 * j)
            )
        }
        assert {(x, y) for x, y, *_ in drawn} == expected
        assert len(expected) == 7

    def test_no_room(self) -> None:
        assert area(box(3, 7, 33, 33)).draw(np.random.default_rng(0)) is None


class TestChip:
    @pytest.mark.parametrize('off', [0, 0.4, -0.4])
    def test_exactly_one_patch(self, off: float) -> None:
        chip = area(box(0, 0, 40 + off, 40))
        assert chip.is_chip
        assert len(chip.grid()) == 1
        bounds = chip.chip()
        assert bounds is not None
        assert bounds[2] - bounds[0] == 40

    @pytest.mark.parametrize('cut', [(4, 0, 0, 0), (0, 4, 0, 0), (0, 0, 4, 4)])
    def test_is_whole_pixels_whatever_another_sensor_cuts_off(
        self, cut: tuple[int, ...]
    ) -> None:
        left, low, right, top = cut
        seen = box(3 + left, 7 + low, 43 - right, 47 - top)
        assert area(seen).chip() == pytest.approx((3, 7, 43, 47))

    def test_what_others_left_is_none(self) -> None:
        left = area(box(3, 9, 43, 47), rest=True)
        assert not left.is_chip
        assert left.grid() == []
        assert area(box(3, 7, 43, 47), rest=True).grid() == [(3, 7, 43, 47)]

    @pytest.mark.parametrize(
        'other', [box(0, 0, 60, 40), Polygon([(0, 0), (40, 0), (0, 40)])]
    )
    def test_anything_else_is_not(self, other: Polygon) -> None:
        assert not area(other).is_chip


def test_key_names_zone_and_date() -> None:
    zone, (x, y, t) = area(box(0, 0, 40, 40), zone=3).key((0, 0, 40, 40))
    assert zone == 3
    assert (x, y) == (slice(0, 40, 10), slice(0, 40, 10))
    assert (t.start, t.stop) == (TIME.left, TIME.right)


def test_key_names_the_pair() -> None:
    _, place = area(box(0, 0, 40, 40), row=5).key((0, 0, 40, 40))
    assert isinstance(place, PairSlice)
    assert place.row == 5


def test_height_and_width() -> None:
    field = area(box(3, 7, 123, 87), size=(2, 6))
    grid = field.grid()
    assert len(grid) == 8
    assert grid[0] == (3, 7, 63, 27)
    assert area(box(0, 0, 60, 20), size=(2, 6)).is_chip
    assert not area(box(0, 0, 20, 60), size=(2, 6)).is_chip


@pytest.mark.parametrize('as_type', [tuple, list, np.array, torch.tensor])
def test_sides(as_type: Any) -> None:
    assert sides(as_type([2, 6])) == (2, 6)
    assert sides(np.int64(3)) == sides(as_type([3])) == sides(3) == (3, 3)


@pytest.mark.parametrize('size', ['32', [1, 2, 3], [[1, 2]], np.nan, None, []])
def test_sides_are_numbers(size: Any) -> None:
    with pytest.raises(
        ValueError, match=r'patch_size is .*: give one number, or height'
    ):
        sides(size, 'patch_size')
