"""Labels from a map of classes: known shares, other CRS, polygons, and what is unknown."""

import multiprocessing as mp
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from pyproj import CRS, Transformer

from torchgeo_cmr.datasets import LabelFromMask
from torchgeo_cmr.errors import RasterError

UTM = CRS.from_epsg(32632)
#: Upper left corner of the fixtures' rasters.
X, Y = 500_000.0, 5_000_000.0
NAMES = {1: 'water', 2: 'wood', 5: 'town'}

type Writer = Callable[..., Path]


@pytest.fixture
def codes() -> np.ndarray:
    """20 x 20 cells of 10 m: left half water, right half wood, a town, a hole."""
    data = np.ones((1, 20, 20), np.uint8)
    data[:, :, 10:] = 2
    data[:, 12:16, 0:4] = 5
    data[:, :, 18:] = 0
    return data


@pytest.fixture
def path(write_raster: Writer, codes: np.ndarray) -> Path:
    return write_raster('map.tif', data=codes, dtype='uint8', nodata=0)


def patch(row: int, column: int, size: int) -> tuple[float, float, float, float]:
    """Bounds of so many cells."""
    west, north = X + 10 * column, Y - 10 * row
    return west, north - 10 * size, west + 10 * size, north


def _label_and_opens() -> tuple[Any, int]:
    """Label a patch in a worker process, and count the files that it opens."""
    opened, real = [], rasterio.open
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rasterio, 'open', lambda p: opened.append(p) or real(p))
        label = _label_and_opens.labels(patch(0, 12, 4), UTM)  # ty: ignore[missing-attribute]
    return label.item(), len(opened)


class TestRaster:
    @pytest.mark.parametrize(
        ('where', 'label'),
        [((0, 0, 4), 0), ((0, 12, 4), 1), ((12, 0, 4), 2), ((0, 7, 4), 0)],
    )
    def test_majority(
        self, path: Path, where: tuple[int, int, int], label: int
    ) -> None:
        labels = LabelFromMask(path, NAMES)
        found = labels(patch(*where), UTM)
        assert found is not None
        assert (int(found), found.dtype, found.shape) == (label, torch.int64, ())
        assert labels.classes == ('water', 'wood', 'town')

    def test_codes_of_one_name_are_one_class(self, path: Path) -> None:
        names = {2: 'green', 1: 'green ', 5: 'town'}
        with rasterio.open(path, 'r+') as file:
            file.update_tags(CLASS_1='green', CLASS_2=' green', CLASS_5='town')
        for labels in (LabelFromMask(path, names), LabelFromMask(path)):
            assert labels.classes == ('green', 'town')
            shares, known = labels.shares(patch(0, 0, 20), UTM)
            assert shares.tolist() == pytest.approx([344 / 360, 16 / 360])
            assert known == 0.9
            assert labels(patch(12, 0, 4), UTM) == 1

    def test_equal_to_a_loop(self, path: Path, codes: np.ndarray) -> None:
        labels = LabelFromMask(path, NAMES)
        for row in range(0, 16, 3):
            for column in range(0, 16, 3):
                cells = codes[0, row : row + 5, column : column + 5].ravel().tolist()
                known = [c for c in cells if c in NAMES]
                wanted = [known.count(c) / len(known) for c in NAMES]
                shares, share = labels.shares(patch(row, column, 5), UTM)
                assert shares.tolist() == pytest.approx(wanted)
                assert share == pytest.approx(len(known) / len(cells))

    def test_every_class_with_its_share(self, path: Path) -> None:
        labels = LabelFromMask(path, NAMES, rule='share', share=0.25)
        # 40 of 64 cells water, 16 town, 8 wood; and half and half
        found = labels(patch(10, 3, 8), UTM)
        assert found is not None
        assert found.dtype == torch.float32
        corner = labels(patch(12, 0, 8), UTM)
        assert corner is not None
        assert corner.tolist() == [1, 0, 1]
        half = labels(patch(0, 8, 4), UTM)
        assert half is not None
        assert half.tolist() == [1, 1, 0]

    def test_a_share_met_exactly_counts(self, path: Path) -> None:
        labels = LabelFromMask(path, NAMES, rule='share', share=0.25)
        found = labels(patch(0, 7, 4), UTM)
        assert found is not None
        assert found.tolist() == [1, 1, 0]

    def test_unknown_ground_has_no_label(self, path: Path) -> None:
        labels = LabelFromMask(path, NAMES, min_known=0.6)
        assert labels(patch(0, 16, 4), UTM) is None
        assert labels((0, 0, 40, 40), UTM) is None
        half = LabelFromMask(path, NAMES, min_known=0.5)(patch(0, 16, 4), UTM)
        assert half is not None
        assert int(half) == 1
        # a patch that hangs over the edge knows what lies inside
        shares, known = labels.shares(patch(-2, 0, 4), UTM)
        assert (shares.tolist(), known) == ([1, 0, 0], 0.5)

    def test_no_class_with_its_share(self, path: Path) -> None:
        labels = LabelFromMask(path, NAMES, rule='share', share=0.9)
        assert labels(patch(0, 8, 4), UTM) is None

    def test_another_crs(self, path: Path) -> None:
        labels = LabelFromMask(path, NAMES)
        to = Transformer.from_crs(UTM, 'EPSG:4326', always_xy=True)
        bounds = to.transform_bounds(*patch(0, 12, 4))
        found = labels(bounds, CRS.from_epsg(4326))
        assert found is not None
        assert int(found) == 1

    def test_names_from_tags_or_codes(self, path: Path, write_raster: Writer) -> None:
        assert LabelFromMask(path).classes == ('1', '2', '5')
        with rasterio.open(path, 'r+') as file:
            file.update_tags(CLASS_2='wood', CLASS_1='water', OTHER='x')
        assert LabelFromMask(path).codes == {1: 'water', 2: 'wood'}

    def test_maps_name_a_code_alike_or_are_refused(
        self, path: Path, write_raster: Writer
    ) -> None:
        east = write_raster(
            'east.tif',
            data=np.full((1, 20, 20), 1),
            dtype='uint8',
            nodata=0,
            origin=(X + 200, Y),
        )
        with rasterio.open(path, 'r+') as file:
            file.update_tags(CLASS_1='water', CLASS_2='wood')
        # A map without tags has the names of the others, whatever their order.
        for maps in ([path, east], [east, path]):
            labels = LabelFromMask(maps)
            assert labels.classes == ('water', 'wood')
            assert labels(patch(0, 22, 4), UTM) == 0
        with rasterio.open(east, 'r+') as file:
            file.update_tags(CLASS_1='wood', CLASS_2='water')
        with pytest.raises(
            RasterError,
            match=r"code 1 is 'water' by the tags of .*map.tif and 'wood' by",
        ):
            LabelFromMask([path, east])
        assert LabelFromMask([path, east], {1: 'a', 2: 'b'}).classes == ('a', 'b')
        with rasterio.open(east, 'r+') as file:
            file.update_tags(CLASS_1=' water', CLASS_2='wood', CLASS_5='town')
        assert LabelFromMask([path, east]).classes == ('water', 'wood', 'town')

    def test_a_code_that_a_mask_hides_is_no_class(self, path: Path) -> None:
        with rasterio.open(path, 'r+') as file:
            hidden = file.read(1) == 2
            file.write_mask(np.where(hidden, 0, 255).astype(np.uint8))
        assert hidden.any()
        assert '2' not in LabelFromMask(path).classes

    def test_several_rasters(self, path: Path, write_raster: Writer) -> None:
        east = write_raster(
            'east.tif',
            data=np.full((1, 20, 20), 5),
            dtype='uint8',
            nodata=0,
            origin=(X + 200, Y),
        )
        labels = LabelFromMask([path, east], NAMES)
        assert int(labels(patch(0, 22, 4), UTM)) == 2  # ty: ignore[invalid-argument-type]
        assert labels.shares(patch(0, 14, 10), UTM)[1] == pytest.approx(0.8)

    def test_workers(self, path: Path) -> None:
        labels = LabelFromMask(path, NAMES)
        before = labels(patch(0, 12, 4), UTM)
        copy = pickle.loads(pickle.dumps(labels))
        assert copy(patch(0, 12, 4), UTM) == before

    def test_a_forked_worker_opens_its_own_file(self, path: Path) -> None:
        labels = LabelFromMask(path, NAMES)
        before = labels(patch(0, 12, 4), UTM)
        # As an attribute of a function it is forked, where an argument would be pickled.
        _label_and_opens.labels = labels  # ty: ignore[missing-attribute]
        with mp.get_context('fork').Pool(1) as pool:
            assert pool.apply(_label_and_opens) == (before, 1)
            # A pool that is left ends its processes by SIGTERM, which does nothing where some
            # test has left a handler of it.
            pool.close()
            pool.join()

    @pytest.mark.parametrize('north', [4e6, 5.5e6, 6.66e6, 7.8e6])
    def test_maps_of_two_zones(self, write_raster: Writer, north: float) -> None:
        maps = [
            write_raster(
                f'{epsg}.tif',
                data=np.full((1, 600, 600), code),
                dtype='uint8',
                origin=(300_000, north),
                crs=f'EPSG:{epsg}',
            )
            for epsg, code in ((32632, 1), (32633, 2))
        ]
        crs = CRS.from_epsg(32633)
        for width in (640, 1200, 2560):
            ground = (302_000, north - 4000, 302_000 + width, north - 4000 + width)
            for order in (maps, maps[::-1]):
                assert LabelFromMask(order, NAMES)(ground, crs) == 1

    def test_the_first_of_two_resolutions_decides(self, write_raster: Writer) -> None:
        coarse = write_raster(
            'coarse.tif', data=np.array([[[1, 0]]]), dtype='uint8', nodata=0, res=100
        )
        fine = write_raster('fine.tif', data=np.full((1, 10, 20), 2), dtype='uint8')
        labels = LabelFromMask([coarse, fine], NAMES)
        shares, known = labels.shares((X, Y - 100, X + 200, Y), UTM)
        assert known == 1
        np.testing.assert_allclose(shares, [0.5, 0.5, 0])
        shares, _ = LabelFromMask([fine, coarse], NAMES).shares(
            (X, Y - 100, X + 200, Y), UTM
        )
        np.testing.assert_allclose(shares, [0, 1, 0])

    def test_only_maps_of_the_ground_are_opened(
        self, write_raster: Writer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        maps = [
            write_raster(
                f'{i}.tif',
                data=np.full((1, 10, 10), 1 + i % 2),
                dtype='uint8',
                origin=(X + 100 * i, Y),
            )
            for i in range(30)
        ]
        labels = LabelFromMask(maps, NAMES)
        opened = []
        real = rasterio.open
        monkeypatch.setattr(rasterio, 'open', lambda p: opened.append(p) or real(p))
        assert labels((X + 1220, Y - 80, X + 1280, Y - 20), UTM) == 0
        assert opened == [str(maps[12])]

    def test_a_map_of_the_world(self, write_raster: Writer) -> None:
        world = write_raster(
            'world.tif',
            data=np.full((1, 180, 360), 2),
            dtype='uint8',
            crs='EPSG:4326',
            origin=(-180, 90),
            res=1,
        )
        label = LabelFromMask(world, NAMES)((X, Y, X + 5e4, Y + 5e4), UTM)
        assert label is not None


#: Transform of a map of 60 x 60 cells over the corner, in whatever orientation.
ORIENTATIONS = {
    'north-up': Affine(10, 0, X - 200, 0, -10, Y + 200),
    'south-up': Affine(10, 0, X - 200, 0, 10, Y - 400),
    'east-left': Affine(-10, 0, X + 400, 0, -10, Y + 200),
    'transposed': Affine(0, 10, X - 200, -10, 0, Y + 200),
    'not square': Affine(10, 0, X - 200, 0, -8, Y + 200),
    'rotated': Affine.translation(X - 100, Y + 250)
    @ Affine.rotation(-30)
    @ Affine.scale(10, -10),
    'sheared': Affine(10, 3, X - 300, 0, -10, Y + 200),
}


@pytest.mark.parametrize('name', ORIENTATIONS)
@pytest.mark.parametrize('epsg', [32632, 32633, 4326])
def test_a_map_of_any_orientation(write_raster: Writer, name: str, epsg: int) -> None:
    """The shares are those of the pixels under the centres of the cells."""
    codes = np.random.default_rng(1).integers(1, 4, (1, 60, 60))
    transform = ORIENTATIONS[name]
    if epsg != 32632:
        # The same map around the same place, in units of the other CRS.
        move = Transformer.from_crs(UTM, epsg, always_xy=True)
        x, y = move.transform(X + 100, Y - 100)
        unit = 1.0 if epsg == 32633 else 1e-5
        transform = (
            Affine.translation(x, y)
            @ Affine.scale(unit)
            @ Affine.translation(-X - 100, -Y + 100)
            @ transform
        )
    path = write_raster(
        'any.tif', data=codes, dtype='uint8', crs=f'EPSG:{epsg}', transform=transform
    )
    labels = LabelFromMask(path, {1: 'a', 2: 'b', 3: 'c'})
    bounds = patch(3, 4, 16)
    shares, known = labels.shares(bounds, UTM)
    assert known == 1
    # Sampled ten times as densely, by hand.
    x, y = np.meshgrid(
        np.linspace(bounds[0], bounds[2], 321)[:-1] + 0.25,
        np.linspace(bounds[3], bounds[1], 321)[:-1] - 0.25,
    )
    x, y = Transformer.from_crs(UTM, epsg, always_xy=True).transform(x, y)
    back = ~transform
    column = np.floor(back.a * x + back.b * y + back.c).astype(int)
    row = np.floor(back.d * x + back.e * y + back.f).astype(int)
    expected = np.bincount(codes[0, row, column].ravel(), minlength=4)[1:] / x.size
    straight = epsg == 32632 and name not in ('rotated', 'sheared', 'not square')
    np.testing.assert_allclose(shares, expected, atol=1e-9 if straight else 0.05)


class TestPolygons:
    @pytest.fixture
    def layer(self, tmp_path: Path) -> Path:
        frame = gpd.GeoDataFrame(
            {'kind': ['wood', 'lake', 'lake', None]},
            geometry=[
                shapely.box(X, Y - 200, X + 100, Y),
                shapely.box(X + 100, Y - 200, X + 180, Y),
                # on top of the wood
                shapely.box(X, Y - 50, X + 50, Y),
                shapely.box(X, Y - 200, X + 200, Y),
            ],
            crs=UTM,
        )
        frame.to_crs(4326).to_file(tmp_path / 'layer.gpkg')
        return tmp_path / 'layer.gpkg'

    def test_burned_in(self, layer: Path) -> None:
        labels = LabelFromMask(layer, column='kind')
        assert labels.classes == ('lake', 'wood')
        shares, known = labels.shares(patch(0, 0, 10), UTM)
        assert shares.tolist() == pytest.approx([0.25, 0.75], abs=0.03)
        assert known == 1
        found = labels(patch(0, 0, 4), UTM)
        assert found is not None
        assert int(found) == 0
        assert labels.shares(patch(0, 16, 4), UTM)[1] == pytest.approx(0.5, abs=0.05)
        assert labels((0, 0, 40, 40), UTM) is None

    def test_a_choice_in_an_order(self, layer: Path) -> None:
        labels = LabelFromMask(layer, ['wood', 'lake'], column='kind', rule='share')
        found = labels(patch(0, 8, 4), UTM)
        assert found is not None
        assert found.tolist() == [1, 1]
        assert LabelFromMask(layer, ['wood'], column='kind').classes == ('wood',)

    @pytest.fixture
    def write(self, tmp_path: Path) -> Callable[..., Path]:
        """Write a layer with a column of classes, in UTM unless another CRS is given."""

        def written(
            kinds: Any, shapes: Sequence[Any], crs: Any = UTM, layer: str = 'land'
        ) -> Path:
            path = tmp_path / 'made.gpkg'
            frame = gpd.GeoDataFrame({'kind': kinds}, geometry=[*shapes], crs=crs)
            frame.to_file(path, layer=layer)
            return path

        return written

    def test_a_layer_of_several_is_named(self, write: Callable[..., Path]) -> None:
        ground = [shapely.box(X, Y - 200, X + 200, Y)]
        write(['road'], ground, layer='a_roads')
        path = write(['wood'], ground)
        refusal = rf'has 2 layers, a_roads, land; name one: {path}\|layername=land'
        with pytest.raises(RasterError, match=refusal):
            LabelFromMask(path, column='kind')
        assert LabelFromMask(path, column='kind', layer='land').classes == ('wood',)
        named = LabelFromMask(f'{path}|layername=a_roads', column='kind')
        assert named.classes == ('road',)
        with pytest.raises(RasterError, match="has no layer 'sea' but a_roads, land"):
            LabelFromMask(path, column='kind', layer='sea')
        with pytest.raises(RasterError, match="layer='land' is of a vector file"):
            LabelFromMask(path, layer='land')

    def test_only_polygons_are_ground(self, write: Callable[..., Path]) -> None:
        half = shapely.box(X, Y - 200, X + 100, Y)
        line = shapely.LineString([(X, Y - 100), (X + 200, Y - 100)])
        east = shapely.box(X + 100, Y - 200, X + 150, Y)
        mixed = shapely.GeometryCollection([line, east])
        path = write(
            ['wood', 'road', 'tree', 'lake'],
            [half, line, shapely.Point(X + 50, Y - 50), mixed],
        )
        labels = LabelFromMask(path, column='kind')
        assert labels.classes == ('lake', 'wood')
        shares, known = labels.shares(patch(0, 0, 20), UTM)
        assert known == 0.75
        assert shares.tolist() == pytest.approx([1 / 3, 2 / 3])

    def test_nothing_that_covers_ground(self, write: Callable[..., Path]) -> None:
        line = shapely.LineString([(X, Y), (X + 200, Y)])
        lines = write(['road', 'tree'], [line, shapely.Point(X, Y)])
        with pytest.raises(RasterError, match='it holds LineString and Point, which'):
            LabelFromMask(lines, column='kind')
        empty = write(['wood', None], [shapely.Polygon(), None])
        with pytest.raises(RasterError, match='no polygon: all its geometries are em'):
            LabelFromMask(empty, column='kind')
        bare = write(['wood'], [None])
        with pytest.raises(RasterError, match='its features have no geometry; give'):
            LabelFromMask(bare, column='kind')

    def test_a_class_without_ground_is_not_listed(
        self, write: Callable[..., Path]
    ) -> None:
        ground = shapely.box(X, Y - 200, X + 200, Y)
        path = write(['wood', 'sea', 'sand'], [ground, shapely.Polygon(), None])
        assert LabelFromMask(path, column='kind').classes == ('wood',)

    def test_a_blank_is_no_class(self, write: Callable[..., Path]) -> None:
        halves = [shapely.box(X + i, Y - 200, X + i + 50, Y) for i in (0, 50, 100, 150)]
        labels = LabelFromMask(write(['', ' \t', None, 'wood'], halves), column='kind')
        assert labels.classes == ('wood',)
        assert labels.shares(patch(0, 0, 20), UTM) == ([1], 0.25)
        with pytest.raises(RasterError, match="no polygon of any class in 'kind'"):
            LabelFromMask(write(['', None], halves[:2]), column='kind')

    def test_spaces_around_a_name_make_no_class(
        self, write: Callable[..., Path]
    ) -> None:
        halves = [shapely.box(X + i, Y - 200, X + i + 50, Y) for i in (0, 50, 100, 150)]
        path = write(['wood ', ' wood', 'lake', 'sand'], halves)
        labels = LabelFromMask(path, column='kind')
        assert labels.classes == ('lake', 'sand', 'wood')
        shares, known = labels.shares(patch(0, 0, 20), UTM)
        assert (shares.tolist(), known) == ([0.25, 0.25, 0.5], 1)
        chosen = LabelFromMask(path, ['wood ', 'lake', 'wood'], column='kind')
        assert chosen.classes == ('wood', 'lake')

    @pytest.mark.parametrize('kind', ['Int64', 'float64'])
    def test_whole_numbers_among_nulls(
        self, write: Callable[..., Path], kind: Any
    ) -> None:
        ground = [shapely.box(X, Y - 200, X + 200, Y)] * 3
        path = write(pd.array([1, 12, None], dtype=kind), ground)
        assert LabelFromMask(path, column='kind').classes == ('1', '12')
        assert LabelFromMask(path, ['12'], column='kind').classes == ('12',)

    def test_a_crs_without_places(self, write: Callable[..., Path]) -> None:
        ground = [shapely.box(X, Y - 200, X + 200, Y)]
        for crs, name in ((5703, 'NAVD88 height'), (4978, 'WGS 84')):
            path = write(['wood'], ground, crs)
            with pytest.raises(RasterError, match=f'is in {name}, which has no place'):
                LabelFromMask(path, column='kind')
        with pytest.warns(UserWarning, match="'crs' was not provided"):
            bare = write(['wood'], ground, None)
        with pytest.raises(RasterError, match='has no CRS; declare the one it is in'):
            LabelFromMask(bare, column='kind')
        moon = CRS.from_user_input('+proj=eqc +R=1737400 +no_defs')
        labels = LabelFromMask(write(['wood'], ground, moon), column='kind')
        with pytest.raises(RasterError, match='nothing leads from'):
            labels(patch(0, 0, 4), UTM)

    def test_heights_are_left_out(self, write: Callable[..., Path]) -> None:
        ground = shapely.force_3d(shapely.box(X, Y - 200, X + 200, Y), 3.0)
        path = write(['wood'], [ground], 'EPSG:32632+5703')
        labels = LabelFromMask(path, column='kind')
        assert labels.shares(patch(0, 0, 10), UTM) == ([1], 1)

    def test_refused(self, layer: Path, tmp_path: Path) -> None:
        with pytest.raises(
            RasterError, match="has no column 'type'; its columns are kind"
        ):
            LabelFromMask(layer, column='type')
        with pytest.raises(
            RasterError, match=r'has no polygon of sea .* it has lake, wood'
        ):
            LabelFromMask(layer, ['sea'], column='kind')
        with pytest.raises(RasterError, match='polygons come from one file'):
            LabelFromMask([layer, layer], column='kind')
        (tmp_path / 'x.gpkg').write_text('no layer')
        with pytest.raises(RasterError, match='cannot be read as a vector file'):
            LabelFromMask(tmp_path / 'x.gpkg', column='kind')
        with pytest.raises(RasterError, match='polygons need the `column`'):
            LabelFromMask(layer)


class TestRefused:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'rule': 'any'}, "rule 'any', share 0.1 and min_known 0.5 do not fit"),
            ({'share': 0}, 'share 0 and min_known'),
            ({'min_known': 2}, 'min_known 2 do not fit'),
            ({'classes': ['a']}, 'classes of a raster are code -> name'),
        ],
    )
    def test_options(self, path: Path, options: Any, message: str) -> None:
        with pytest.raises(RasterError, match=message):
            LabelFromMask(path, **options)

    def test_files(self, write_raster: Writer, tmp_path: Path) -> None:
        with pytest.raises(RasterError, match=r'there is no map of classes .*none.tif'):
            LabelFromMask(tmp_path / 'none.tif')
        with pytest.raises(RasterError, match='holds float32 and no class codes'):
            LabelFromMask(write_raster('f.tif'))
        with pytest.raises(RasterError, match='has no CRS: declare it'):
            LabelFromMask(write_raster('bare.tif', crs=None, dtype='uint8'))
        picture = write_raster(
            'p.tif', data=np.arange(400).reshape(1, 20, 20), dtype='uint16'
        )
        with pytest.raises(RasterError, match='more than 256 different numbers, as a'):
            LabelFromMask(picture)
        assert LabelFromMask(picture, {7: 'seven'}).classes == ('seven',)
        nothing = write_raster(
            'none.tif', data=np.zeros((1, 4, 4)), dtype='uint8', nodata=0
        )
        with pytest.raises(RasterError, match='holds no class: it is all nodata'):
            LabelFromMask(nothing)
