"""Scenes of one modality: one order of bands, one unit, no masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.datasets import PairedDataset
from torchgeo_cmr.datasets.listing import read_listing
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.band_order import alike, pick_bands
from torchgeo_cmr.scenes.scene import from_paths, scenes

Writer = Callable[..., Path]


def listed(*paths: Path) -> list[str]:
    listing = read_listing('m', RasterDataset([str(path) for path in paths]))
    return [Path(scene.path).name for scene in listing.scenes]


def test_patches_have_one_order_of_bands(write_raster: Writer) -> None:
    other = write_raster('other.tif', shape=(8, 16))
    data = np.stack([np.full((8, 8), value) for value in (1, 2)])
    first = write_raster('a.tif', data=data, bands=('B02', 'B03'))
    second = write_raster(
        'b.tif', data=data[::-1], bands=('green', 'B2'), origin=(500_080.0, 5e6)
    )
    pairs = PairedDataset(
        {'o': RasterDataset(other), 'm': RasterDataset([str(first), str(second)])}
    )
    x, y, t = pairs.bounds
    for left in (5e5, 500_080.0):
        sample = pairs[left : left + 80, y, t]
        assert sample['image_m'].amin(dim=(1, 2)).tolist() == [1, 2]
        assert sample['image_m'].amax(dim=(1, 2)).tolist() == [1, 2]
    assert x.stop - x.start == 160
    write_raster('b.tif', data=data, bands=('B02', 'B08'))
    with pytest.raises(RasterError, match=r'm expects 2 bands .*no band B03'):
        read_listing('m', RasterDataset([str(first), str(second)]))


def test_backscatter_has_one_unit(write_raster: Writer) -> None:
    power = np.full((1, 8, 8), 0.01)
    paths = [
        write_raster('a.tif', data=10 * np.log10(power), bands=('VV_dB',)),
        write_raster('b.tif', data=power, bands=('VV_linear',)),
    ]
    catalogue = scenes(from_paths(paths))
    assert [(s.units, s.read_as) for s in alike(catalogue, 'm')] == [
        ('db', None),
        ('power', 'db'),
    ]
    pairs = PairedDataset({m: RasterDataset(list(map(str, paths))) for m in 'ab'})
    assert pairs.members['a'].units == 'db'
    for number in (0, 1):
        patch = pairs.members['a'].reader(number).read_many(np.array([[0, 0, 8, 8]]))
        np.testing.assert_allclose(patch, -20, rtol=1e-5)
    plain = write_raster('c.tif', data=power, bands=('VV',))
    with pytest.raises(RasterError, match=r'm mixes backscatter in db .*c\.tif'):
        alike(scenes(from_paths([*paths, plain])), 'm')


def test_masks_are_not_paired(write_raster: Writer) -> None:
    image = write_raster('scene.tif', shape=(8, 8))
    mask = write_raster('scene_SCL.tif', shape=(8, 8), dtype='uint8')
    assert listed(image, mask) == ['scene.tif']
    # Who gives nothing else wants them.
    assert listed(mask) == ['scene_SCL.tif']


@pytest.mark.parametrize('names', [(), ('red', 'green', 'blue', 'opacity')])
@pytest.mark.parametrize('wanted', [('band_1', 'band_2', 'band_3'), ('R', 'G', 'B')])
def test_alpha_that_is_not_wanted_is_a_mask(
    write_raster: Writer, names: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    data = np.full((4, 8, 8), 9)
    data[3, :2] = 0
    path = write_raster('a.tif', data=data, dtype='uint8', bands=names or ('',) * 4)
    with rasterio.open(path, 'r+') as file:
        colours = 'red', 'green', 'blue', 'alpha'
        file.colorinterp = [ColorInterp[colour] for colour in colours]
    (scene,) = scenes(from_paths([path]))
    picked = pick_bands(scene, wanted, 'm')
    window = Window(0, 0, 8, 8)  # ty: ignore[too-many-positional-arguments]
    pixels = SceneReader(picked).read(window)
    assert len(pixels) == 3
    np.testing.assert_array_equal(np.isnan(pixels[0]).all(axis=1), np.arange(8) < 2)
    # An encoder of four bands takes it as a band.
    assert len(pick_bands(scene, names or [*'abcd'], 'm').bands) == 4


def test_names_that_count_are_names_where_the_file_has_them(
    write_raster: Writer,
) -> None:
    path = write_raster('a.tif', shape=(8, 8), bands=('band_2', 'band_1'))
    (scene,) = scenes(from_paths([path]))
    assert pick_bands(scene, ['band_1', 'band_2'], 'm').sources[0][1] == 2
