"""Embedding believes the index of a dataset: patches lie on the ground that it lists."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import CRS
from torchgeo.datasets import (
    RasterDataset,
    random_bbox_splitting,
    random_grid_cell_assignment,
    roi_split,
)

from torchgeo_cmr.embed.scenes.archive_plan import Plan, plan_scenes
from torchgeo_cmr.embed.scenes.inputs import list_scenes
from torchgeo_cmr.embed.scenes.window_footprints import native_corners
from torchgeo_cmr.embed.scenes.work_item import facts_of

Writer = Callable[..., Path]

X, Y = 500_000, 5_000_000


def boxes(plan: Plan) -> list[shapely.Polygon]:
    return [
        shapely.Polygon(corners.reshape(4, 2))
        for item in plan.items
        for corners in native_corners(item.scene.transform, item.windows)
    ]


@pytest.mark.parametrize('edges', ['drop', 'pad'])
@pytest.mark.parametrize(
    'split',
    [
        lambda d: roi_split(d, [shapely.box(X, Y - 640, X + 320, Y)]),
        lambda d: random_bbox_splitting(d, [0.5, 0.5]),
        lambda d: random_grid_cell_assignment(d, [0.5, 0.5], grid_size=4),
    ],
)
def test_patches_lie_on_the_ground_that_is_listed(
    write_raster: Writer, split: Callable[..., list[Any]], edges: Any
) -> None:
    dataset = RasterDataset(write_raster('a.tif', shape=(70, 70)))
    seen: list[shapely.Polygon] = []
    for part in split(dataset):
        found = boxes(plan_scenes(list_scenes(part), 'a', 8, edges=edges))
        listed = part.index.geometry.union_all()
        inside = shapely.intersection(found, shapely.box(X, Y - 700, X + 700, Y))
        assert shapely.covers(listed.buffer(0.1), inside).all()
        # And none that lies there is lost.
        every = boxes(plan_scenes(list_scenes(dataset), 'a', 8, edges=edges))
        ours = shapely.intersection(every, shapely.box(X, Y - 700, X + 700, Y))
        assert len(found) == shapely.covers(listed.buffer(0.1), ours).sum() > 0
        assert not shapely.relate_pattern(
            np.repeat(seen, len(found)), np.tile(found, len(seen)), 'T********'
        ).any()
        seen += found


def test_of_a_dataset_in_another_crs(write_raster: Writer) -> None:
    dataset = RasterDataset(write_raster('a.tif'), crs=CRS.from_epsg(4326))
    assert len(boxes(plan_scenes(list_scenes(dataset), 'a', 8))) == 64
    x, y, _ = dataset.bounds
    half = shapely.box(x.start, y.start, (x.start + x.stop) / 2, y.stop)
    west: Any = roi_split(dataset, [half])[0]
    found = boxes(plan_scenes(list_scenes(west), 'a', 8))
    assert 24 <= len(found) <= 32
    assert max(shapely.bounds(found)[:, 2]) <= X + 330


def test_what_is_listed_is_part_of_the_plan(write_raster: Writer) -> None:
    dataset = RasterDataset(write_raster('a.tif'))
    west: Any = roi_split(dataset, [shapely.box(X, Y - 640, X + 320, Y)])[0]
    whole, part = (plan_scenes(list_scenes(d), 'a', 8) for d in (dataset, west))
    assert len(facts_of(part.items[0])) == len(facts_of(whole.items[0])) + 1
    assert whole.scenes != part.scenes
