"""Patches are judged, drawn and read from one pair of scenes."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from pyproj import CRS
from shapely import box
from torchgeo.datasets import GeoDataset, RasterDataset

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datamodules.split import split_ground
from torchgeo_cmr.datamodules.tiling import grid, zone_areas
from torchgeo_cmr.datasets.paired import PairSlice
from torchgeo_cmr.samplers.patch_area import Area, PatchKey
from torchgeo_cmr.scenes import header

type Writer = Callable[..., Path]


class Dated(RasterDataset):
    filename_glob = '*.tif'
    filename_regex = r'.*_(?P<date>\d{8}T\d{6})'
    date_format = '%Y%m%dT%H%M%S'


def outline(key: PatchKey) -> shapely.Polygon:
    x, y, _ = key[1]
    return box(x.start, y.start, x.stop, y.stop)


def shares(loader: Any, name: str) -> list[float]:
    """Share of valid pixels of each patch of an epoch."""
    return [
        float(patch.isfinite().all(dim=0).float().mean())
        for batch in loader
        for patch in batch[f'image_{name}']
    ]


@pytest.fixture
def full() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 1000, (1, 256, 256))


def test_headers_are_kept_for_the_next_process(
    write_raster: Writer,
    full: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ('a', 'b'):
        write_raster(f'{name}/{name}.tif', data=full)
    file = str(tmp_path / 'headers.parquet')

    def pairs() -> list[Any]:
        header._remembered.cache_clear()
        members: dict[str, GeoDataset] = {
            n: RasterDataset(tmp_path / n) for n in ('a', 'b')
        }
        with monkeypatch.context() as patch:
            if Path(file).exists():
                patch.setattr(header, 'open_raster', None)
            data = PairedDataModule(members, patch_size=16, catalogue=file)
            data.setup('fit')
        return data.places('train')

    assert pairs() == pairs()


class TestOnePairPerPatch:
    """Where scenes of one moment or of several dates cover a place."""

    def test_two_products_of_one_moment(
        self, write_raster: Writer, full: np.ndarray
    ) -> None:
        left, right = full.copy(), full.copy()
        left[:, :, 128:] = right[:, :, :128] = 0
        name = 't_20240614T101559.tif'
        for path, data in (('a/1', left), ('a/2', right), ('b', full)):
            file = write_raster(f'{path}/{name}', data=data, dtype='uint16', nodata=0)
        folder = file.parents[1]
        data = PairedDataModule(
            {n: Dated(folder / n) for n in 'ab'},
            patch_size=16,
            batch_size=8,
            length=160,
            test_split=0.3,
            block=2,
            augment=False,
        )
        data.setup()
        assert min(shares(data.train_dataloader(), 'a')) >= 0.5
        places = data.places('test')
        rows = {key[1].row for key in places if isinstance(key[1], PairSlice)}
        assert rows == {0, 1}
        assert min(shares(data.test_dataloader(), 'a')) >= 0.5
        # Both halves of the ground are used, as if one scene were whole.
        ground = data.ground('test').to_crs('EPSG:32632').union_all()
        assert len(places) * 160**2 == pytest.approx(ground.area, rel=1e-6)

    @pytest.mark.parametrize(
        'order', [('20240604', '20240614'), ('20240614', '20240604')]
    )
    def test_a_later_date_serves_where_the_first_is_empty(
        self, write_raster: Writer, full: np.ndarray, order: tuple[str, str]
    ) -> None:
        part, whole = order
        half = full.copy()
        half[:, :, 120:] = 0
        for date, data in ((part, half), (whole, full)):
            write_raster(f'a/t_{date}T101559.tif', data=data, dtype='uint16', nodata=0)
            file = write_raster(f'b/t_{date}T101600.tif', data=full)
        folder = file.parents[1]
        data = PairedDataModule(
            {n: Dated(folder / n) for n in 'ab'}, patch_size=16, test_split=0.3, block=2
        )
        keys = data.places('test')
        ground = data.ground('test').to_crs('EPSG:32632').union_all()
        assert len(keys) * 160**2 == pytest.approx(ground.area, rel=1e-6)
        patches = [outline(key) for key in keys]
        for one, other in itertools.combinations(patches, 2):
            assert one.intersection(other).area < 1
        dates = {f'{key[1][2].start:%Y%m%d}' for key in keys}
        assert dates == ({part, whole} if part < whole else {whole})
        assert min(shares(data.test_dataloader(), 'a')) >= 0.5


def test_scenes_on_two_lattices_show_a_place_once() -> None:
    # What the first leaves of the second is a fifth of a pixel lower than a patch.
    days = pd.to_datetime(['2024-01-01', '2024-01-02'])
    day = pd.IntervalIndex.from_breaks(days, closed='both')[0]
    below, above = (
        Area(0, polygon, CRS.from_epsg(32632), day, origin, (10.0, 10.0), 8)
        for polygon, origin in (
            (box(0, 0, 80, 80), (0.0, 0.0)),
            (box(0, 2, 80, 158), (0.0, 2.0)),
        )
    )
    assert [outline(key) for key in grid([below, above])] == [below.polygon]


class TestChips:
    def chips(self, write_raster: Writer, side: int, step: int) -> PairedDataModule:
        for name, (i, j) in itertools.product('ab', np.ndindex(side, side)):
            path = write_raster(
                f'{name}/{i}_{j}.tif',
                data=np.full((1, 8, 8), side * i + j),
                dtype='uint16',
                origin=(5e5 + step * i, 5e6 - step * j),
            )
        return PairedDataModule(
            {n: RasterDataset(path.parents[1] / n) for n in 'ab'},
            patch_size=8,
            batch_size=4,
            test_split=0.3,
        )

    @pytest.mark.slow
    @pytest.mark.parametrize('step', [80, 100, 4800])
    def test_each_in_one_split(self, write_raster: Writer, step: int) -> None:
        data = self.chips(write_raster, 8, step)
        grids = {s: data.places(s) for s in ('train', 'val', 'test')}
        grounds = {
            s: shapely.union_all([outline(key) for key in keys])
            for s, keys in grids.items()
        }
        assert all(len(keys) > 0 for keys in grids.values())
        for one, other in itertools.combinations(grounds.values(), 2):
            assert one.distance(other) > 10
        if step == 4800:
            # Nothing lies within any margin: no chip is lost.
            assert sum(map(len, grids.values())) == 64

    def test_no_work_grows_faster_than_the_chips(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Corners of polygons that are combined with one another, per chip."""
        corners = 0

        def count(name: str) -> None:
            real = getattr(shapely, name)

            def counted(*shapes: Any, **options: Any) -> Any:
                nonlocal corners
                corners += sum(shapely.get_num_coordinates(s).sum() for s in shapes)
                return real(*shapes, **options)

            monkeypatch.setattr(shapely, name, counted)

        for name in ('intersection', 'difference', 'union_all'):
            count(name)
        per_chip = []
        for side in (16, 32):
            corners = 0
            y, x = np.mgrid[:side, :side].reshape(2, -1) * 1000.0
            day = [pd.Timestamp(2024, 6, 1)] * len(x)
            times = pd.IntervalIndex.from_arrays(day, day)
            chips = gpd.GeoDataFrame(
                geometry=shapely.box(x, y, x + 800, y + 800), index=times, crs=32632
            )
            zone: Any = SimpleNamespace(
                index=chips, crs=chips.crs, res=(10, 10), origin=lambda _: (0, 0)
            )
            (tiles,) = split_ground(
                [(chips.crs, shapely.multipolygons(chips.geometry.to_numpy()))],
                [(3200, 3200)],
                margins=[800],
                shares={'train': 0.7, 'val': 0.1, 'test': 0.2},
            )
            keys = []
            for mine in tiles.values():
                areas = zone_areas(zone, 0, mine, [], size=(80, 80), min_valid=0)
                keys += grid([replace(area, valid=None) for area in areas])
            assert len(keys) > 0.5 * side**2
            per_chip.append(corners / side**2)
        assert 0 < per_chip[1] < 1.3 * per_chip[0]


def on_one_plane(parts: list[tuple[shapely.Polygon, CRS]]) -> np.ndarray:
    """Polygons of several CRSs in EPSG:3035, their edges followed."""
    moved = [
        gpd.GeoSeries([part], crs=crs).segmentize(50).to_crs('EPSG:3035').iloc[0]
        for part, crs in parts
    ]
    return np.array(moved, object)


class TestCommonGround:
    """Chips are whole, and zones overlap: still no two splits share ground."""

    def module(
        self,
        write_raster: Writer,
        *scenes: tuple[str, int, float, float],
        **options: Any,
    ) -> PairedDataModule:
        """Pairs of squares: CRS, pixels across, west and north."""
        root = write_raster('unused.tif').parent
        for number, (crs, side, x, y) in enumerate(scenes):
            data = np.ones((1, side, side), np.uint16)
            for name in 'ab':
                write_raster(
                    f'{name}/{number}.tif',
                    data=data,
                    dtype='uint16',
                    crs=crs,
                    origin=(x, y),
                )
        return PairedDataModule(
            {n: RasterDataset(root / n) for n in 'ab'},
            patch_size=16,
            batch_size=2,
            val_split=0.2,
            test_split=0.3,
            **options,
        )

    def outlines(self, data: PairedDataModule, split: str) -> np.ndarray:
        """Patches of the grid of a split on one plane."""
        keys = data.places(split)
        return on_one_plane([(outline(key), data.zones[key[0]].crs) for key in keys])

    def ground(self, data: PairedDataModule, split: str) -> np.ndarray:
        """Areas of a split on one plane."""
        return on_one_plane([(area.polygon, area.crs) for area in data.areas[split]])

    def chips(
        self, crs: str, x: float, y: float
    ) -> list[tuple[str, int, float, float]]:
        return [(crs, 20, x + 200 * i, y - 200 * j) for i, j in np.ndindex(6, 6)]

    @pytest.mark.slow
    @pytest.mark.parametrize('seed', range(2))
    @pytest.mark.parametrize('margin', [0, 1])
    @pytest.mark.parametrize('kind', ['chips of two zones', 'chips and a scene'])
    def test_is_in_one_split(
        self, write_raster: Writer, kind: str, margin: float, seed: int
    ) -> None:
        # 12 E, between the zones 32 and 33.
        first = self.chips('EPSG:32632', 727_013, 5_300_007)
        second = (
            self.chips('EPSG:32633', 273_033, 5_300_100)
            if kind == 'chips of two zones'
            else [('EPSG:32632', 120, 727_393, 5_299_807)]
        )
        data = self.module(
            write_raster, *first, *second, margin=margin, seed=seed, block=2
        )
        data.setup('fit')
        grounds = {s: self.ground(data, s) for s in ('train', 'val', 'test')}
        assert min(map(len, grounds.values())) > 0
        for a, b in itertools.combinations(grounds, 2):
            mine, theirs = shapely.STRtree(grounds[b]).query(grounds[a], 'intersects')
            assert not len(mine), (a, b, len(theirs))
        for split, parts in grounds.items():
            shown = data.ground(split).to_crs('EPSG:3035').union_all().buffer(1)
            assert shapely.covers(shown, parts).all()
        regions = [data.ground(s).to_crs('EPSG:3035').union_all() for s in grounds]
        for a, b in itertools.combinations(regions, 2):
            assert a.intersection(b).area < 100

    def test_is_shown_once_to_evaluate_on(self, write_raster: Writer) -> None:
        data = self.module(
            write_raster,
            ('EPSG:32632', 150, 727_013, 5_300_007),
            ('EPSG:32633', 150, 278_051, 5_299_821),
        )
        data.setup('fit')
        for split in ('val', 'test'):
            parts = self.outlines(data, split)
            assert len(parts) > 3
            i, j = shapely.STRtree(parts).query(parts, 'intersects')
            shared = shapely.area(shapely.intersection(parts[i], parts[j]))[i < j]
            assert (shared < 100).all()


class TestConventions:
    """Those of TorchGeo's data modules."""

    @pytest.fixture
    def members(self, write_raster: Writer) -> dict[str, Any]:
        a = write_raster('a.tif', shape=(256, 256))
        b = write_raster('b.tif', shape=(128, 128), res=20)
        return {'a': RasterDataset(a), 'b': RasterDataset(b)}

    def test_height_and_width(self, members: dict[str, Any]) -> None:
        data = PairedDataModule(members, patch_size=(8, 16), batch_size=4, block=4)
        data.setup('fit')
        for loader in (data.train_dataloader(), data.test_dataloader()):
            batch = next(iter(loader))
            assert batch['image_a'].shape[1:] == (1, 8, 16)
            assert batch['image_b'].shape[1:] == (1, 4, 8)
        assert data.describe()['a']['patch_size'] == 8

    def test_batch_sizes(self, members: dict[str, Any]) -> None:
        data = PairedDataModule(members, patch_size=8, batch_size=4, block=4)
        data.train_batch_size, data.val_batch_size = 6, 3
        data.test_batch_size, data.predict_batch_size = 2, 5
        data.setup('fit')
        for split, size in (('train', 6), ('val', 3), ('test', 2), ('predict', 5)):
            batch = next(iter(getattr(data, f'{split}_dataloader')()))
            assert len(batch['bounds']) == size

    def test_augmentations(self, members: dict[str, Any]) -> None:
        data = PairedDataModule(members, patch_size=8, augment=False)
        assert data.train_aug is None
        data.train_aug = torch.nn.Identity()
        assert data._valid_attribute('train_aug', 'aug') is data.train_aug

    def test_a_setup_that_was_interrupted_begins_anew(
        self, members: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = PairedDataModule(members, patch_size=8)
        with monkeypatch.context() as patched:
            patched.setattr(data, '_use', Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                data.setup()
        data.setup()
        assert len(data.places('test')) > 0
