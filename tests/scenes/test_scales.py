"""Scales: where they are found, and that numbers of different scale never mix."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import CRS
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset, Sentinel2

from torchgeo_cmr.reading.converting import open_reader
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.scales import Scale, changes, common_steps, of_baseline, stated
from torchgeo_cmr.scenes.scene import Scene, assemble, bands_of, scenes
from torchgeo_cmr.scenes.sources.cubes import cube_scenes
from torchgeo_cmr.scenes.sources.stac import find_items

Writer = Callable[..., Path]

OLD = 'S2A_MSIL2A_20210611T101559_N0301_R022_T32TPT_20210611T140000'
NEW = 'S2A_MSIL2A_20220611T101559_N0510_R022_T32TPT_20240611T140000'
TEN_THOUSANDTH = 1 / 10_000


def whole(scene: Scene) -> Window:
    return Window(0, 0, scene.shape[1], scene.shape[0])  # ty: ignore[too-many-positional-arguments]


def one_band(path: Path, band: str | None = None) -> Scene:
    names, sources = bands_of(str(path), names=(band,) if band else ())
    return assemble(sources, names)


def tag(path: Path, scales: list[float], offsets: list[float]) -> Path:
    with rasterio.open(path, 'r+') as file:
        file.scales, file.offsets = scales, offsets
    return path


def safe(
    write: Writer,
    name: str,
    shift: int = 0,
    band: str = 'B02',
    nodata: float | None = 0,
) -> Path:
    """Write a band of a product; its ground is 0 (missing), 1, 2, ... before the shift."""
    ground = np.arange(256.0).reshape(1, 16, 16)
    tile, date = name.split('_')[5], name.split('_')[2]
    return write(
        f'{name}.SAFE/GRANULE/L2A_{tile}_A000_{date}/IMG_DATA/R10m/{tile}_{date}_{band}_10m.tif',
        data=np.where(ground == 0, 0, ground + shift),
        dtype='uint16',
        nodata=nodata,
        bands=('',),
    )


def metadata(folder: Path, level: str, offsets: dict[int, float], value: str) -> None:
    word, prefix = ('BOA', 'BOA_') if level == 'L2A' else ('RADIO', '')
    lines = ''.join(
        f'<{word}_ADD_OFFSET band_id="{i}">{offset}</{word}_ADD_OFFSET>'
        for i, offset in offsets.items()
    )
    (folder / f'MTD_MSI{level}.xml').write_text(
        f'<?xml version="1.0"?><n1:P xmlns:n1="https://psd-14"><n1:Info>'
        f'<{prefix}QUANTIFICATION_VALUE unit="none">{value}</{prefix}QUANTIFICATION_VALUE>'
        f'{lines}</n1:Info></n1:P>'
    )


class TestWhatFilesState:
    def test_tags_of_a_file(self, write_raster: Writer) -> None:
        data = np.arange(2 * 16 * 16).reshape(2, 16, 16)
        path = write_raster(
            'a.tif', data=data, dtype='int16', bands=('a', 'b'), nodata=7
        )
        bands, sources = bands_of(str(tag(path, [0.5, 1], [-4, 0])))
        scene = assemble(sources, bands)
        assert scene.scales == (Scale(0.5, -8), Scale())
        assert scene.scale == [0.5, None]
        pixels = SceneReader(scene).read(whole(scene))
        expected = data.astype(np.float32)
        expected[data == 7] = np.nan
        expected[0] -= 8
        np.testing.assert_array_equal(pixels, expected)

    def test_files_that_state_nothing_have_no_scale(self, write_raster: Writer) -> None:
        scene = one_band(write_raster('a.tif'))
        assert (scene.scales, scene.scale) == (None, None)

    @pytest.mark.parametrize(
        ('scale', 'offset', 'expected'),
        [
            (1, 0, Scale()),
            (0.0001, -0.1, Scale(0.0001, -1000)),
            (2.75e-05, -0.2, Scale(2.75e-05, -0.2 / 2.75e-05)),
            (0, 1, Scale()),
            (np.nan, 0, Scale()),
            ('0.0001', 0, Scale(0.0001)),
            ('x', None, Scale()),
            (1, -5, Scale(1, -5)),
        ],
    )
    def test_scales_that_make_no_sense_say_nothing(
        self, scale: Any, offset: Any, expected: Scale
    ) -> None:
        assert stated(scale, offset) == expected

    @pytest.mark.parametrize('level', ['L2A', 'L1C'])
    def test_metadata_of_sentinel_2_go_band_by_band(
        self, write_raster: Writer, tmp_path: Path, level: str
    ) -> None:
        name = NEW.replace('L2A', level)
        first = safe(write_raster, name)
        other = safe(write_raster, name, band='B8A')
        depth = safe(write_raster, name, band='AOT')
        metadata(tmp_path / f'{name}.SAFE', level, {1: -1000, 8: -500}, '5000')
        assert one_band(first, 'B02').scales == (Scale(1 / 5000, -1000),)
        assert one_band(other, 'B8A').scales == (Scale(1 / 5000, -500),)
        # No optical depth is a reflectance.
        assert one_band(depth, 'AOT').scales is None

    @pytest.mark.parametrize(
        ('name', 'expected'),
        [
            (NEW, Scale(TEN_THOUSANDTH, -1000)),
            (NEW.replace('N0510', 'N0400'), Scale(TEN_THOUSANDTH, -1000)),
            (NEW.replace('L2A', 'L1C'), Scale(TEN_THOUSANDTH, -1000)),
            (OLD, Scale(TEN_THOUSANDTH, 0)),
            # Made by others, such as BigEarthNet: who knows what they did.
            (NEW.replace('N0510', 'N9999'), None),
        ],
    )
    def test_without_metadata_the_name_of_a_product_counts(
        self, write_raster: Writer, name: str, expected: Scale | None
    ) -> None:
        scene = one_band(safe(write_raster, name), 'B02')
        assert scene.scales == (None if expected is None else (expected,))

    def test_a_stack_that_is_named_like_a_product(self, write_raster: Writer) -> None:
        stack = write_raster(f'{NEW}.tif', dtype='uint16', bands=('', ''))
        assert one_band(stack).scales == (Scale(TEN_THOUSANDTH, -1000),) * 2
        for names in (('blue', 'NIR'), ('490', '842'), ('B2', 'S2-L2A-B08')):
            stack = write_raster(f'{NEW}.tif', dtype='int32', bands=names)
            assert one_band(stack).scales == (Scale(TEN_THOUSANDTH, -1000),) * 2
        # Decimals are not what ESA stores, nor are the 8 bits of a picture.
        for kind in ('float32', 'uint8'):
            data = np.ones((1, 8, 8))
            assert (
                one_band(write_raster(f'{NEW}.tif', data=data, dtype=kind)).scales
                is None
            )

    @pytest.mark.parametrize('end', ['txt', 'json', 'xml'])
    def test_metadata_of_landsat(
        self, write_raster: Writer, tmp_path: Path, end: str
    ) -> None:
        stem = 'LC09_L2SP_198031_20240611_20240612_02_T1'
        factors = {
            'REFLECTANCE_MULT_BAND_4': '2.75e-05',
            'REFLECTANCE_ADD_BAND_4': '-0.2',
            'TEMPERATURE_MULT_BAND_ST_B10': '0.00341802',
            'TEMPERATURE_ADD_BAND_ST_B10': '149.0',
        }
        older = {'REFLECTANCE_MULT_BAND_4': '2.0E-05', 'REFLECTANCE_ADD_BAND_4': '-0.1'}
        lines = [*factors.items(), *older.items()]
        form = {'txt': '  {} = {}', 'json': '"{}": "{}",', 'xml': '<{0}>{1}</{0}>'}[end]
        text = '\n'.join(form.format(*line) for line in lines)
        (tmp_path / f'{stem}_MTL.{end}').write_text(text)
        red = write_raster(f'{stem}_SR_B4.TIF', dtype='uint16')
        heat = write_raster(f'{stem}_ST_B10.TIF', dtype='uint16')
        mask = write_raster(f'{stem}_QA_PIXEL.TIF', dtype='uint16')
        assert one_band(red).scales == (Scale(2.75e-05, -0.2 / 2.75e-05),)
        assert one_band(heat).scales == (Scale(0.00341802, 149 / 0.00341802),)
        assert one_band(mask).scales is None


BASE = 's2:processing_baseline'
APPLIED = 'earthsearch:boa_offset_applied'
SHIFTED, PLAIN = Scale(TEN_THOUSANDTH, -1000), Scale(TEN_THOUSANDTH)


@pytest.mark.parametrize(
    ('properties', 'asset', 'expected'),
    [
        # Planetary Computer: stored as ESA gives them, and nothing but the baseline said.
        ({BASE: '05.10'}, {}, SHIFTED),
        ({BASE: '03.01'}, {}, PLAIN),
        ({BASE: '5.10', 'constellation': 'Sentinel 2'}, {}, SHIFTED),
        ({BASE: '04.00', 'constellation': None}, {}, SHIFTED),
        ({'processing:version': '05.11', 'constellation': 'SENTINEL_2'}, {}, SHIFTED),
        ({'processing:version': '05.11', 'constellation': 'Sentinel-1'}, {}, None),
        ({BASE: '99.99'}, {}, None),
        ({'s2:product_uri': f'{NEW}.SAFE'}, {}, SHIFTED),
        # Earth Search: the offset is stated though it has been applied.
        (
            {BASE: '05.10', APPLIED: True},
            {'raster:bands': [{'scale': 0.0001, 'offset': -0.1}]},
            PLAIN,
        ),
        # Tables have no truth values everywhere.
        (
            {APPLIED: 'true', 'constellation': None},
            {'raster:bands': [{'scale': 0.0001, 'offset': -0.1}]},
            PLAIN,
        ),
        (
            {BASE: '05.10', APPLIED: False},
            {'raster:bands': [{'scale': 0.0001, 'offset': -0.1}]},
            SHIFTED,
        ),
        ({'sentinel:boa_offset_applied': True, BASE: '04.00'}, {}, PLAIN),
        ({BASE: '02.08'}, {'raster:bands': [{'scale': 0.0001, 'offset': 0}]}, PLAIN),
        ({BASE: '05.10'}, {'raster:bands': [{'scale': 0.0001}]}, SHIFTED),
        # Copernicus: on the asset; STAC 1.1: on the band.
        (
            {'processing:version': '05.11'},
            {'raster:scale': 0.0001, 'raster:offset': -0.1},
            SHIFTED,
        ),
        ({}, {'bands': [{'raster:scale': 0.0001, 'raster:offset': -0.1}]}, SHIFTED),
        ({}, {}, None),
    ],
)
def test_items_of_catalogues(
    write_raster: Writer,
    tmp_path: Path,
    properties: dict[str, Any],
    asset: dict[str, Any],
    expected: Scale | None,
) -> None:
    write_raster('b02.tif', dtype='uint16', bands=('',))
    write_raster('aot.tif', dtype='uint16', bands=('',))
    item = {
        'type': 'Feature',
        'id': 'an item',
        'properties': {
            'datetime': '2022-06-11T10:15:59Z',
            'constellation': 'sentinel-2',
            **properties,
        },
        'assets': {
            'blue': {
                'href': 'b02.tif',
                'type': 'image/tiff',
                'roles': ['data'],
                **asset,
            },
            'aot': {'href': 'aot.tif', 'type': 'image/tiff', 'roles': ['data']},
        },
    }
    path = tmp_path / 'item.json'
    path.write_text(json.dumps(item))
    ((_, opening),) = find_items(str(path), ['blue'])
    (scene,) = opening()
    assert scene.scales == (None if expected is None else (expected,))
    ((_, opening),) = find_items(str(path), ['aot'])
    assert opening()[0].scales is None


def test_what_an_item_says_comes_before_what_its_file_says(
    write_raster: Writer, tmp_path: Path
) -> None:
    tag(write_raster('a.tif', dtype='uint16', bands=('x', 'y')), [0.1, 0.2], [0, 0])
    bands = [{'name': 'x', 'raster:scale': 0.5}, {'name': 'y'}]
    asset = {'href': 'a.tif', 'type': 'image/tiff', 'bands': bands}
    path = tmp_path / 'item.json'
    path.write_text(
        json.dumps(
            {'type': 'Feature', 'id': 'a', 'properties': {}, 'assets': {'a': asset}}
        )
    )
    ((_, opening),) = find_items(str(path))
    assert opening()[0].scale == [0.5, 0.2]


def test_baselines_are_versions_of_the_processing() -> None:
    for text in ('N0510', '05.10', '0400', '04.00'):
        assert of_baseline(text) == SHIFTED
    assert of_baseline('N0301') == of_baseline('02.14') == PLAIN
    for text in ('99.99', 'N9999', '1.2.3', None, '', 510):
        assert of_baseline(text) is None


class TestReading:
    @pytest.fixture
    def scene(self, write_raster: Writer) -> Scene:
        return one_band(safe(write_raster, NEW, shift=1000), 'B02')

    def test_what_is_missing_is_decided_on_stored_numbers(self, scene: Scene) -> None:
        pixels = SceneReader(scene).read(whole(scene))[0]
        assert np.argwhere(np.isnan(pixels)).tolist() == [[0, 0]]
        np.testing.assert_array_equal(pixels.ravel()[1:], np.arange(1, 256))

    def test_every_way_of_reading_gives_the_same_numbers(
        self, write_raster: Writer, scene: Scene
    ) -> None:
        plain = one_band(safe(write_raster, OLD), 'B02')
        assert plain.scales == (PLAIN,)
        windows = np.array([[r, c, 8, 8] for r in (-3, 2, 8) for c in (0, 5, 12)])
        crs = CRS.from_epsg(3035)
        for change in (lambda s: s, lambda s: s.at_gsd(5), lambda s: s.to_crs(crs)):
            a, b = (SceneReader(change(each)) for each in (scene, plain))
            one, other = (r.read(whole(r.scene), bands=[0]) for r in (a, b))
            np.testing.assert_allclose(one, other, atol=2e-3)
            assert np.isfinite(one).any()
            np.testing.assert_allclose(
                a.read_many(windows), b.read_many(windows), atol=2e-3
            )
        np.testing.assert_array_equal(
            SceneReader(scene).read_many(windows), SceneReader(plain).read_many(windows)
        )

    def test_bands_are_changed_each_by_its_own_scale(
        self, write_raster: Writer
    ) -> None:
        data = np.arange(3 * 16 * 16).reshape(3, 16, 16)
        path = write_raster('a.tif', data=data, dtype='int16', bands=('a', 'b', 'c'))
        names, sources = bands_of(str(tag(path, [0.5, 0.1, 1], [1, 0, 0])))
        scene = replace(assemble(sources, names), steps=(0.25, None, 3.0))
        reader = SceneReader(scene)
        expected = np.stack([2 * (data[0] + 2), data[1], data[2]]).astype(np.float32)
        np.testing.assert_array_equal(reader.read(whole(scene)), expected)
        windows = np.array([[0, 0, 16, 16]])
        np.testing.assert_array_equal(
            reader.read_many(windows, bands=[2, 0])[0], expected[[2, 0]]
        )
        picked = SceneReader(scene.pick([1, 0]))
        np.testing.assert_array_equal(picked.read_many(windows)[0], expected[[1, 0]])
        assert scene.scale == [0.25, 0.1, None]
        assert scene.pick([2, 1]).scale == [None, 0.1]


def test_cubes_are_decoded_to_steps_of_one(tmp_path: Path) -> None:
    cube = xr.Dataset(
        {name: (('y', 'x'), np.full((4, 4), 0.25)) for name in ('B02', 'B03')},
        {'y': np.arange(4.0), 'x': np.arange(4.0)},
    ).rio.write_crs('EPSG:32632')
    encoding = {'B02': {'dtype': 'int16', 'scale_factor': 1e-4, '_FillValue': -9}}
    cube.to_netcdf(tmp_path / 'a.nc', encoding=encoding)
    (scene,) = cube_scenes(str(tmp_path / 'a.nc'))
    assert scene.scales == (Scale(1.0), Scale())
    reader = open_reader(replace(scene, steps=(1e-4, 1e-4)))
    pixels = reader.read(whole(scene))
    np.testing.assert_allclose(pixels[0], 2500, rtol=1e-5)
    np.testing.assert_allclose(pixels[1], 0.25)
    np.testing.assert_array_equal(reader.read_many(np.array([[0, 0, 4, 4]]))[0], pixels)


class TestSeveralScenes:
    def test_both_baselines_in_one_dataset(self, write_raster: Writer) -> None:
        safe(write_raster, OLD)
        root = safe(write_raster, NEW, shift=1000).parents[5]
        found = scenes(Sentinel2(root, bands=['B02']))
        assert sorted(s.scales[0].shift for s in found if s.scales) == [-1000, 0]
        one, other = (SceneReader(scene).read(whole(scene)) for scene in found)
        np.testing.assert_array_equal(one, other)

    def test_other_steps_are_converted_to_those_of_the_first(
        self, write_raster: Writer
    ) -> None:
        data = np.arange(64).reshape(1, 8, 8)
        tag(write_raster('in/a.tif', data=data, dtype='int16'), [0.5], [0])
        tag(write_raster('in/b.tif', data=data, dtype='int16'), [0.25], [0])
        root = write_raster('in/c.tif', data=data, dtype='int16').parent
        found = scenes(RasterDataset(root))
        assert [scene.scale for scene in found] == [[0.5], [0.5], None]
        pixels = [SceneReader(scene).read(whole(scene)) for scene in found]
        np.testing.assert_array_equal(pixels[0], data)
        np.testing.assert_array_equal(pixels[1], data / 2)
        np.testing.assert_array_equal(pixels[2], data)

    def test_an_offset_among_files_that_state_nothing_is_told(
        self, write_raster: Writer
    ) -> None:
        tag(write_raster('in/a.tif', dtype='int16'), [0.0001], [-0.1])
        root = write_raster('in/b.tif', dtype='int16').parent
        with pytest.warns(
            UserWarning, match=r'a\.tif states an offset.*b\.tif \(one of 1'
        ):
            scenes(RasterDataset(root))

    def test_radar_is_read_in_its_physical_unit(self, write_raster: Writer) -> None:
        data = np.full((1, 8, 8), -1250)
        path = write_raster('a.tif', data=data, dtype='int16', bands=('VV',))
        (scene,) = scenes(RasterDataset(tag(path, [0.01], [0])))
        assert scene.scale == [1.0]
        np.testing.assert_allclose(SceneReader(scene).read(whole(scene)), -12.5)

    def test_classes_are_names_not_numbers(self, write_raster: Writer) -> None:
        class Classes(RasterDataset):
            is_image = False

        path = tag(write_raster('a.tif', dtype='uint8'), [0.5], [3])
        assert scenes(Classes(path))[0].scales is None

    def test_steps_that_agree_need_no_conversion(self) -> None:
        a, b = (Scale(0.1, 5), Scale()), (Scale(0.1), Scale(0.2))
        assert common_steps([a, None, b]) is None
        assert common_steps([]) is None
        assert common_steps([a, b, (Scale(0.3), Scale(0.2))]) == (0.1, 0.2)
        assert changes(a, None) == [(1, 5), (1, 0)]
        assert changes(a[1:], None) is None


def test_zeros_of_sentinel_2_are_missing_though_files_do_not_mark_them(
    write_raster: Writer,
) -> None:
    """As in the JPEG 2000 files of products, which state no nodata."""
    name = NEW.replace('MSIL2A', 'MSIL1C')
    path = safe(write_raster, name, 1000, nodata=None)
    scene = assemble([(str(path), 1)], ['B02'])
    pixels = open_reader(scene).read(whole(scene))
    assert np.isnan(pixels[0, 0, 0])
    np.testing.assert_array_equal(pixels.ravel()[1:], np.arange(1, 256))
    # Without an offset a dark pixel may be stored as 0.
    path = safe(write_raster, NEW.replace('N0510', 'N0300'), nodata=None)
    scene = assemble([(str(path), 1)], ['B02'])
    pixels = open_reader(scene).read(whole(scene))
    np.testing.assert_array_equal(pixels.ravel(), np.arange(256))
