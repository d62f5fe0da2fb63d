"""Coarser pixels are made of the pixels of a file, whatever its overviews hold."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.scene import from_paths, scenes

Writer = Callable[..., Path]

SIZE = 512
VRT = """<VRTDataset rasterXSize="512" rasterYSize="512"><SRS>EPSG:32632</SRS>
<GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
<SourceFilename relativeToVRT="1">tiff.tif</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"""


def read(path: Path, gsd: float, how: str) -> np.ndarray:
    (scene,) = scenes(from_paths([path]))
    scene = replace(scene.at_gsd(gsd), resampling=how)
    assert scene.resampled
    return SceneReader(scene).read(Window(1, 2, 20, 20))  # ty: ignore[too-many-positional-arguments]


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 2000, (1, SIZE, SIZE))


@pytest.mark.parametrize('kind', ['tiff', 'cog', 'jp2', 'vrt'])
@pytest.mark.parametrize('how', ['bilinear', 'nearest', 'cubic', 'average'])
def test_overviews_change_no_pixel(
    write_raster: Writer, tmp_path: Path, pixels: np.ndarray, kind: str, how: str
) -> None:
    plain = write_raster('plain.tif', data=pixels, dtype='uint16')
    path = tmp_path / f'tiff.{ {"jp2": "jp2", "vrt": "vrt"}.get(kind, "tif") }'
    tiff = write_raster('tiff.tif', data=pixels, dtype='uint16')
    with rasterio.open(tiff, 'r+') as file:
        file.build_overviews([2, 4], Resampling.nearest)
    if kind == 'vrt':
        path.write_text(VRT)
    elif kind in ('jp2', 'cog'):
        jp2 = {'driver': 'JP2OpenJPEG', 'QUALITY': '100', 'REVERSIBLE': 'YES'}
        cog = {'driver': 'COG', 'blocksize': 128}
        with rasterio.open(plain) as source:
            kept = ('width', 'height', 'count', 'dtype', 'crs', 'transform')
            profile = {key: source.profile[key] for key in kept}
        with rasterio.open(
            path, 'w', **profile, **(jp2 if kind == 'jp2' else cog)
        ) as file:
            file.write(pixels.astype(np.uint16))
    for gsd in (20.0, 40.0):
        np.testing.assert_array_equal(read(path, gsd, how), read(plain, gsd, how))


def test_classes_are_those_of_pixels(write_raster: Writer) -> None:
    """Overviews of classes are often made as if they were numbers."""
    classes = np.random.default_rng(0).choice([1, 200], (1, SIZE, SIZE))
    path = write_raster('classes.tif', data=classes, dtype='uint8')
    with rasterio.open(path, 'r+') as file:
        file.build_overviews([2, 4], Resampling.average)
    places = np.floor((np.arange(20) + 0.5) * 4).astype(int)
    expected = classes[:, 8 + places[:, None], 4 + places[None]]
    np.testing.assert_array_equal(read(path, 40.0, 'nearest'), expected)


@pytest.mark.parametrize('dtype', ['uint16', 'float32'])
@pytest.mark.parametrize('how', ['bilinear', 'cubic', 'lanczos', 'average'])
@pytest.mark.parametrize('gsd', [5.0, 15.0, 40.0])
def test_missing_pixels_spoil_none_next_to_them(
    write_raster: Writer, dtype: str, how: str, gsd: float
) -> None:
    """Lanczos leaves nothing where its weights add up to nothing: the pixel itself counts."""
    data = np.full((1, SIZE, SIZE), 500)
    rng = np.random.default_rng(0)
    data[rng.random(data.shape) < 0.3] = 7
    path = write_raster('holes.tif', data=data, dtype=dtype, nodata=7)
    found = read(path, gsd, how)
    step = gsd / 10
    rows, columns = (
        np.floor((first + np.arange(20) + 0.5) * step).astype(int) for first in (2, 1)
    )
    known = data[:, rows[:, None], columns[None]] != 7
    np.testing.assert_array_equal(np.isfinite(found), known)
    np.testing.assert_allclose(found[known], 500, atol=1e-3)
