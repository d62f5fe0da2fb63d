"""Masks: which pixels are missing and which are cloud."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from rasterio.windows import Window

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.converting import ConvertingReader, open_reader
from torchgeo_cmr.reading.cube_reader import CubeReader
from torchgeo_cmr.reading.quality_reader import QualityReader
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.reading.validity import Validity
from torchgeo_cmr.scenes.quality import judged
from torchgeo_cmr.scenes.scene import Scene, assemble, bands_of

Writer = Callable[..., Path]


def scene_of(path: Path) -> Scene:
    names, sources = bands_of(str(path))
    return judged(assemble(sources, names))


def window(row: int, column: int, height: int, width: int) -> Window:
    return Window(column, row, width, height)  # ty: ignore[too-many-positional-arguments]


def test_classes_of_scl_at_half_the_resolution(write_raster: Writer) -> None:
    path = write_raster('R10m/T32TQM_20240611T101031_B02_10m.tif', shape=(8, 8))
    codes = np.array([[0, 1, 2, 3], [4, 7, 8, 9], [10, 11, 5, 6], [4, 4, 4, 4]])
    write_raster(
        'R20m/T32TQM_20240611T101031_SCL_20m.tif',
        data=codes[None],
        dtype='uint8',
        res=20,
    )
    scene = scene_of(path)
    assert scene.quality is not None
    missing, cloud = QualityReader(scene).read(window(0, 0, 8, 8))
    np.testing.assert_array_equal(
        missing, np.isin(codes, (0, 1)).repeat(2, 0).repeat(2, 1)
    )
    np.testing.assert_array_equal(
        cloud, np.isin(codes, (8, 9, 10)).repeat(2, 0).repeat(2, 1)
    )
    # An odd window, part of it outside: no cloud there, and nothing valid.
    part, clear = QualityReader(scene).read(window(1, 3, 9, 3))
    np.testing.assert_array_equal(part[:7], missing[1:, 3:6])
    assert part[7:].all()
    np.testing.assert_array_equal(clear[:7], cloud[1:, 3:6])
    assert not clear[7:].any()


def test_bits_of_qa_pixel(write_raster: Writer) -> None:
    start = 'LC08_L2SP_001055_20230701_20230711_02_T1_'
    path = write_raster(f'{start}SR_B2.TIF', shape=(1, 8))
    # Fill, dilated, cirrus, cloud, shadow, snow, clear, and a clear pixel as USGS writes it.
    codes = np.array([[1, 2, 4, 8, 16, 32, 64, 21824]])
    write_raster(f'{start}QA_PIXEL.TIF', data=codes[None], dtype='uint16', nodata=1)
    missing, cloud = QualityReader(scene_of(path)).read(window(0, 0, 1, 8))
    assert missing[0].tolist() == [True] + [False] * 7
    assert cloud[0].tolist() == [False, True, True, True] + [False] * 4


def test_a_band_may_be_the_mask(write_raster: Writer) -> None:
    scene = scene_of(write_raster('a.tif', bands=('B02', 'SCL', 'B03')))
    assert scene.bands == ('B02', 'B03')
    assert scene.quality is not None
    assert scene.quality.sources == ((scene.path, 2),)
    assert judged(scene) is not scene
    assert judged(scene) == scene
    alone = scene_of(write_raster('b.tif', bands=('SCL',)))
    assert alone.bands == ('SCL',)
    assert alone.quality is None


def test_a_mask_of_other_ground_is_named(write_raster: Writer) -> None:
    path = write_raster('T32TQM_20240611T101031_B02.tif')
    write_raster('T32TQM_20240611T101031_SCL.tif', origin=(500_010.0, 5e6))
    with pytest.raises(RasterError, match='does not cover the same ground as'):
        QualityReader(scene_of(path))


def test_a_mask_of_a_scene_that_is_warped(write_raster: Writer) -> None:
    """The lattice of a rotated scene reaches beyond its mask; the mask counts all the same."""
    grid = Affine.translation(5e5, 5e6) @ Affine.rotation(30) @ Affine.scale(10, -10)
    name = 'T32TQM_20240611T101031_{}.tif'
    path = write_raster(name.format('B02'), shape=(20, 20), transform=grid)
    codes = np.full((1, 20, 20), 4)
    codes[:, :10] = 0
    write_raster(name.format('SCL'), data=codes, dtype='uint8', transform=grid)
    scene = scene_of(path)
    warped = scene.on_lattice(scene.crs, (10, 10), (0, 0))
    rows, columns = warped.shape
    missing, _ = QualityReader(warped).read(window(0, 0, rows, columns))
    x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    back = ~grid @ warped.transform
    column, row = (
        np.floor(back.a * x + back.b * y + back.c),
        np.floor(back.d * x + back.e * y + back.f),
    )
    kept = (column >= 0) & (column < 20) & (row >= 10) & (row < 20)
    np.testing.assert_array_equal(missing, ~kept)
    # Bands that are there, and half of them under the mask.
    reader = Validity(SceneReader(warped))
    inside = kept.sum() / kept.size
    assert reader.share((0, 0, rows, columns)) == pytest.approx(inside, rel=0.05)


MIRRORED = Affine(-20, 0, 500_080, 0, -20, 5e6)
SOUTH_UP = Affine(20, 0, 5e5, 0, 20, 4_999_920)
TURNED = Affine(0, 20, 5e5, -20, 0, 5e6)
#: A tile of which the scene is a part.
LARGER = Affine(20, 0, 499_920, 0, -20, 5_000_040)
TILTED = Affine.translation(499_900, 5e6) @ Affine.rotation(30) @ Affine.scale(15, -25)


@pytest.mark.parametrize('grid', [MIRRORED, SOUTH_UP, TURNED, LARGER, TILTED])
@pytest.mark.parametrize('crs', ['EPSG:32632', 'EPSG:32633', 'EPSG:4326'])
def test_a_mask_lies_as_it_likes(write_raster: Writer, grid: Affine, crs: str) -> None:
    """Each pixel has the class of that pixel of the mask in which its centre lies."""
    path = write_raster('T32TQM_20240611T101031_B02.tif', shape=(8, 8))
    size = 4 if grid in (MIRRORED, SOUTH_UP, TURNED) else 16
    if crs != 'EPSG:32632':
        # About the same ground: what covers it must be larger.
        there = Transformer.from_crs('EPSG:32632', crs, always_xy=True)
        x, y = there.transform(500_040, 4_999_960)
        step = 10 if crs == 'EPSG:32633' else 1e-4
        size = 40
        linear = Affine(grid.a, grid.b, 0, grid.d, grid.e, 0)
        linear = Affine.scale(step / 20) @ linear
        grid = Affine.translation(x, y) @ linear @ Affine.translation(-20, -20)
    codes = np.random.default_rng(0).integers(0, 12, (1, size, size))
    write_raster(
        'T32TQM_20240611T101031_SCL.tif',
        data=codes,
        dtype='uint8',
        transform=grid,
        crs=crs,
    )
    missing, cloud = QualityReader(scene_of(path)).read(window(0, 0, 8, 8))
    x, y = np.meshgrid(5e5 + 5 + 10 * np.arange(8), 5e6 - 5 - 10 * np.arange(8))
    x, y = Transformer.from_crs('EPSG:32632', crs, always_xy=True).transform(x, y)
    back = ~grid
    column = np.floor(back.a * x + back.b * y + back.c).astype(int)
    row = np.floor(back.d * x + back.e * y + back.f).astype(int)
    expected = codes[0, row, column]
    np.testing.assert_array_equal(missing, np.isin(expected, (0, 1)))
    np.testing.assert_array_equal(cloud, np.isin(expected, (8, 9, 10)))


def test_backscatter_is_converted_while_it_is_read(write_raster: Writer) -> None:
    data = np.full((3, 4, 4), 0.01)
    path = write_raster('a.tif', data=data, bands=('VV', 'angle', 'VH'))
    scene = replace(scene_of(path), units='power', read_as='db')
    reader = open_reader(scene)
    assert type(reader) is ConvertingReader
    pixels = reader.read(window(0, 0, 4, 4))
    np.testing.assert_allclose(pixels[[0, 2]], -20, rtol=1e-6)
    np.testing.assert_allclose(pixels[1], 0.01)
    np.testing.assert_allclose(
        reader.read(window(0, 0, 2, 2), bands=[2]), -20, rtol=1e-6
    )
    many = reader.read_many(np.array([[0, 0, 2, 2]]))
    np.testing.assert_array_equal(many[0], pixels[:, :2, :2])
    assert type(open_reader(replace(scene, read_as='power'))) is SceneReader
    assert type(open_reader(replace(scene, read_as=None, layers=()))) is CubeReader


def masked(path: Path, count: int) -> tuple[list[bool], list[bool]]:
    """Missing and cloud in the first row of a scene."""
    missing, cloud = QualityReader(scene_of(path)).read(window(0, 0, 1, count))
    return missing[0].tolist(), cloud[0].tolist()


def test_bits_of_fmask(write_raster: Writer) -> None:
    start = 'HLS.S30.T32TQM.2024001T101010.v2.0.'
    path = write_raster(f'{start}B02.tif', shape=(1, 9))
    # Cirrus, cloud, adjacent, shadow, snow, water, aerosol, clear, fill.
    codes = np.array([[1, 2, 4, 8, 16, 32, 192, 0, 255]])
    for nodata in (255, None):
        write_raster(
            f'{start}Fmask.tif', data=codes[None], dtype='uint8', nodata=nodata
        )
        missing, cloud = masked(path, 9)
        assert missing == [False] * 8 + [True]
        assert cloud == [True, True] + [False] * 7


@pytest.mark.parametrize('nodata', [None, 0])
@pytest.mark.parametrize('named', [True, False])
def test_bands_of_udm2(write_raster: Writer, nodata: int | None, named: bool) -> None:
    path = write_raster('20240611_101530_12_2479_3B_AnalyticMS_SR_8b.tif', shape=(1, 6))
    bands = ('clear', 'snow', 'shadow', 'light haze', 'heavy haze', 'cloud')
    bands += ('confidence', 'unusable') if named else ('', '')
    data = np.zeros((8, 1, 6))
    # Clear, snow, heavy haze, cloud, fill, a defect of one band.
    data[[0, 1, 4, 5], 0, [0, 1, 2, 3]] = 1
    data[7, 0] = [0, 0, 0, 2, 1, 16]
    write_raster(
        '20240611_101530_12_2479_3B_udm2.tif',
        data=data,
        dtype='uint8',
        nodata=nodata,
        bands=bands if named else ('',) * 8,
    )
    missing, cloud = masked(path, 6)
    assert missing == [False] * 4 + [True] * 2
    assert cloud == [False] * 3 + [True] + [False] * 2


def test_a_mask_without_its_bands_is_named(write_raster: Writer) -> None:
    path = write_raster('scene.tif')
    write_raster('scene_udm2.tif')
    with pytest.raises(RasterError, match=r'scene_udm2\.tif has 1 bands, but a UDM2'):
        scene_of(path)


@pytest.mark.parametrize(
    ('image', 'mask', 'found'),
    [
        (
            'T32TQM_20240611T101031_B02_10m.tif',
            'T32TQM_20240611T101031_SCL_20m.tif',
            True,
        ),
        ('scene.tif', 'scene_SCL.tif', True),
        ('scene_b8a.tif', 'scene_scl.tif', True),
        (
            'LC08_L2SP_001055_20230701_20230711_02_T1_SR_B4.TIF',
            'LC08_L2SP_001055_20230701_20230711_02_T1_QA_PIXEL.TIF',
            True,
        ),
        ('LC08_001055_B4.tif', 'LC08_001055_pixel_qa.tif', True),
        (
            'HLS.L30.T32TQM.2024001T101010.v2.0.B05.tif',
            'HLS.L30.T32TQM.2024001T101010.v2.0.Fmask.tif',
            True,
        ),
        ('2024_3B_AnalyticMS_SR_8b_harmonized_clip.tif', '2024_3B_udm2_clip.tif', True),
        ('2024_ortho_analytic_sr.tif', '2024_ortho_udm2.tif', True),
        ('B02.tif', 'SCL.tif', True),
        ('blue.tif', 'scl.tif', True),
        # Of another date, tile or scene.
        ('S2_20240611.tif', 'S2_SCL.tif', False),
        ('S2_T32TQM_B02.tif', 'S2_SCL.tif', False),
        ('scene.tif', 'SCL.tif', False),
        ('scenery.tif', 'scene_SCL.tif', False),
        ('scene.tif', 'scene_MUSCL.tif', False),
    ],
)
def test_a_mask_belongs_to_the_files_called_like_it(
    write_raster: Writer, image: str, mask: str, found: bool
) -> None:
    count = 8 if 'udm2' in mask else 1
    write_raster(mask, data=np.zeros((count, 8, 8)), bands=('',) * count)
    scene = scene_of(write_raster(image, shape=(8, 8)))
    assert (scene.quality is not None) == found
    if scene.quality is not None:
        assert Path(scene.quality.path).name == mask
