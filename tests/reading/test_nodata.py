"""What is missing, against GDAL's own masks, in every kind of file and way of reading."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import CRS, Transformer
from rasterio.windows import Window
from torchgeo.datasets import NAIP, RasterDataset

from torchgeo_cmr.reading.nodata import marks_of, missing
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes import header
from torchgeo_cmr.scenes.scene import Scene, assemble, bands_of, scenes

Writer = Callable[..., Path]

SIZE = 40


def window(row: int, column: int, height: int, width: int) -> Window:
    return Window(column, row, width, height)  # ty: ignore[too-many-positional-arguments]


def holes(bands: int) -> np.ndarray:
    """Single pixels, a stripe and a corner, other ones in each band."""
    found = np.random.default_rng(bands).random((bands, SIZE, SIZE)) < 0.03
    found[:, :5, :7] = True
    for band in range(bands):
        found[band, :, 10 + 3 * band : 12 + 3 * band] = True
    return found


def ramp(bands: int, dtype: str) -> np.ndarray:
    """A plane per band, so that interpolation of valid pixels gives it back."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    plane = rows + 2 * columns + 20
    return np.stack([plane + 10 * band for band in range(bands)]).astype(dtype)


def masked(path: Path, valid: np.ndarray, *, internal: bool) -> Path:
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(path, 'r+') as file,
    ):
        file.write_mask(valid)
    assert path.with_name(path.name + '.msk').exists() != internal
    return path


def vrt(path: Path, dtype: str, nodata: list[str], source: Path | None = None) -> Path:
    """Write a stack of single bands, each with its own nodata value."""
    bands = ''.join(
        f'<VRTRasterBand dataType="{dtype}" band="{i}"><NoDataValue>{value}</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">'
        f'{source.name if source else f"b{i}.tif"}</SourceFilename><SourceBand>'
        f'{i if source else 1}</SourceBand></SimpleSource></VRTRasterBand>'
        for i, value in enumerate(nodata, 1)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}"><SRS>EPSG:32632</SRS>'
        f'<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>{bands}</VRTDataset>'
    )
    return path


def per_band(write: Writer, folder: Path) -> Path:
    values = (0, 65535, 9999)
    for i, (plane, lost) in enumerate(zip(ramp(3, 'uint16'), holes(3), strict=True)):
        data = np.where(lost, values[i], plane)[None]
        write(f'b{i + 1}.tif', data=data, dtype='uint16')
    return vrt(folder / 'stack.vrt', 'UInt16', [str(value) for value in values])


def out_of_range(write: Writer, folder: Path) -> Path:
    """Values that bytes cannot have mean nothing."""
    data = ramp(3, 'uint8')
    data[1] = np.where(holes(3)[1], 0, data[1])
    source = write('bytes.tif', data=data, dtype='uint8', bands='xyz')
    return vrt(folder / 'odd.vrt', 'Byte', ['-9999', '0', 'nan'], source)


def valued(dtype: str, nodata: float, value: float, tiled: bool = False) -> Any:
    def write_file(write: Writer, folder: Path) -> Path:
        data = np.where(holes(2), np.dtype(dtype).type(value), ramp(2, dtype))
        more: dict[str, Any] = {'blockxsize': 16, 'blockysize': 16, 'tiled': True}
        return write(
            'a.tif',
            data=data,
            dtype=dtype,
            nodata=nodata,
            bands='xy',
            **(more if tiled else {}),
        )

    return write_file


def with_mask(internal: bool, nodata: float | None = None) -> Any:
    def write_file(write: Writer, folder: Path) -> Path:
        data = np.where(holes(1), 0, ramp(2, 'uint16'))
        path = write('a.tif', data=data, dtype='uint16', nodata=nodata, bands='xy')
        return masked(path, ~holes(1)[0], internal=internal)

    return write_file


def with_alpha(dtype: str) -> Any:
    def write_file(write: Writer, folder: Path) -> Path:
        top = np.iinfo(dtype).max
        data = np.concatenate([ramp(3, dtype), np.where(holes(1), 0, top)])
        return write(
            'a.tif',
            data=data,
            dtype=dtype,
            bands='xyzw',
            photometric='RGB',
            alpha='YES',
        )

    return write_file


def by_colour(write: Writer, folder: Path) -> Path:
    """Only the triple of all three values is missing."""
    data = np.where(holes(1), 0, ramp(3, 'uint8'))
    path = write('a.tif', data=data, dtype='uint8', bands='xyz')
    with rasterio.open(path, 'r+') as file:
        file.update_tags(NODATA_VALUES='0 0 0')
    return path


LEAST = float(np.finfo(np.float32).min)
KINDS: dict[str, Callable[[Writer, Path], Path]] = {
    'per band': per_band,
    'out of range': out_of_range,
    'whole numbers': valued('uint16', 0, 0, tiled=True),
    'negative': valued('int16', -9999, -9999),
    'long integers': valued('int64', -9999, -9999),
    'as text': valued('float32', 1e20, float(np.float32(1e20)), tiled=True),
    'least float': valued('float32', -3.4e38, LEAST),
    'decimal': valued('float32', -9999.1, -9999.1, tiled=True),
    'nearly': valued('float64', -9999.1, -9999.1 * (1 + 4e-7)),
    'nan': valued('float32', np.nan, np.nan),
    'nan besides': valued('float32', -9999, np.nan),
    'internal mask': with_mask(True),
    'external mask': with_mask(False),
    'internal mask and nodata': with_mask(True, 0),
    'external mask and nodata': with_mask(False, 0),
    'alpha': with_alpha('uint8'),
    'long alpha': with_alpha('uint16'),
    'by colour': by_colour,
}


@pytest.fixture(params=KINDS)
def file(request: pytest.FixtureRequest, write_raster: Writer, tmp_path: Path) -> Path:
    return KINDS[request.param](write_raster, tmp_path)


def valid(path: Path, bands: int) -> np.ndarray:
    """What GDAL says, besides that NaN is never a value."""
    with rasterio.open(path) as source:
        indexes = list(range(1, bands + 1))
        pixels = np.stack([source.read(i).astype(np.float64) for i in indexes])
        return (source.read_masks(indexes) > 0) & ~np.isnan(pixels)


def scene_of(path: Path, bands: int | None = None) -> Scene:
    """A scene of the first bands, without the alpha band if there is one."""
    with rasterio.open(path) as source:
        colours = [colour.name for colour in source.colorinterp]
    count = bands or sum(colour != 'alpha' for colour in colours)
    names, sources = bands_of(str(path), range(1, count + 1))
    return assemble(sources, names)


def test_pixels_are_missing_where_gdal_masks_them(file: Path) -> None:
    scene = scene_of(file)
    reader = SceneReader(scene)
    whole = reader.read(window(0, 0, SIZE, SIZE))
    expected = valid(file, len(scene.bands))
    assert expected.any()
    np.testing.assert_array_equal(np.isfinite(whole), expected)
    with rasterio.open(file) as source:
        stored = source.read(list(range(1, len(scene.bands) + 1)))
    np.testing.assert_array_equal(whole[expected], stored[expected].astype(np.float32))
    windows = np.array([[r, c, 12, 12] for r in (-3, 8, 30) for c in (0, 9, 33)])
    padded = np.pad(whole, ((0, 0), (3, 5), (3, 5)), constant_values=np.nan)
    for (row, column, *_), pixels in zip(
        windows, reader.read_many(windows), strict=True
    ):
        cut = padded[:, row + 3 : row + 15, column + 3 : column + 15]
        np.testing.assert_array_equal(pixels, cut)
    last = len(scene.bands) - 1
    np.testing.assert_array_equal(
        reader.read_many(windows[4:5], bands=[last])[0, 0], whole[last, 8:20, 9:21]
    )


def test_an_overview_takes_the_nearest_pixel_missing_or_not(file: Path) -> None:
    reader = SceneReader(scene_of(file))
    every = reader.read(window(0, 0, SIZE, SIZE), out_shape=(10, 10))
    whole = reader.read(window(0, 0, SIZE, SIZE))
    np.testing.assert_array_equal(every, whole[:, 2::4, 2::4])


def plane(column: np.ndarray, row: np.ndarray, bands: int) -> np.ndarray:
    """Values of the ramp at points in pixels, counted from corners."""
    return np.stack([row + 2 * column + 18.5 + 10 * band for band in range(bands)])


def check(
    pixels: np.ndarray, ok: np.ndarray, row: np.ndarray, column: np.ndarray
) -> None:
    """Compare resampled pixels with the plane and the mask at their centres.

    Next to missing pixels and edges the plane is extrapolated by less than a pixel.
    """
    inside = (row >= 0) & (row < SIZE) & (column >= 0) & (column < SIZE)
    # Where a centre lies on the line between two pixels, either is right.
    apart = np.min([np.abs(each - np.round(each)) for each in (row, column)], axis=0)
    sure = inside & (apart > 0.02)
    r, c = (np.clip(np.floor(each).astype(int), 0, SIZE - 1) for each in (row, column))
    np.testing.assert_array_equal(np.isfinite(pixels)[:, sure], ok[:, r, c][:, sure])
    off = np.abs(pixels - plane(column, row, len(pixels)))
    # Below a half where pixels were rounded, 1.5 where all others of a kernel are missing.
    assert np.nanmax(off) <= 2.1
    deep = ok.copy()
    for axis in (1, 2):
        for step in (-1, 1):
            deep &= np.roll(deep, step, axis)
    deep[:, [0, -1]] = deep[:, :, [0, -1]] = False
    assert off[(deep[:, r, c]) & sure].max() <= 0.6


@pytest.mark.parametrize('gsd', [4.0, 16.0])
def test_resampled_pixels_are_those_of_valid_ones(file: Path, gsd: float) -> None:
    scene = scene_of(file).at_gsd(gsd)
    assert scene.resampled
    pixels = SceneReader(scene).read(window(0, 0, *scene.shape))
    row, column = (
        (each + 0.5) * gsd / 10 for each in np.mgrid[: scene.shape[0], : scene.shape[1]]
    )
    check(pixels, valid(file, len(scene.bands)), row, column)
    windows = np.array([[7, 8, 9, 9], [0, 0, 9, 9]])
    many = SceneReader(scene).read_many(windows)
    for (top, left, *_), part in zip(windows, many, strict=True):
        same = pixels[:, top : top + 9, left : left + 9]
        np.testing.assert_array_equal(np.isnan(part), np.isnan(same))


def test_warped_pixels_are_those_of_valid_ones(file: Path) -> None:
    scene = scene_of(file)
    moved = scene.to_crs(CRS.from_epsg(3035))
    pixels = SceneReader(moved).read(window(0, 0, *moved.shape))
    rows, columns = np.mgrid[: moved.shape[0], : moved.shape[1]] + 0.5
    t = moved.transform
    x, y = Transformer.from_crs(3035, 32632, always_xy=True).transform(
        t.c + t.a * columns + t.b * rows, t.f + t.d * columns + t.e * rows
    )
    row, column = (5_000_000 - y) / 10, (x - 500_000) / 10
    # GDAL's transformer is exact to an eighth of a pixel.
    check(pixels, valid(file, len(scene.bands)), row, column)
    outside = (row < -0.2) | (row > SIZE + 0.2) | (column < -0.2)
    assert np.isnan(pixels[:, outside]).all()


@pytest.mark.parametrize('gsd', [None, 4.0])
def test_masks_beside_files_are_found_under_torchgeo(
    write_raster: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gsd: float | None,
) -> None:
    """TorchGeo's command line tells GDAL not to look for files beside a raster."""
    path = with_mask(False)(write_raster, tmp_path)
    scene = scene_of(path)
    scenes = [scene if gsd is None else scene.at_gsd(gsd)]
    scenes.append(scene.to_crs(CRS.from_epsg(3035)))
    expected = [SceneReader(s).read(window(0, 0, *s.shape)) for s in scenes]
    header._remembered.cache_clear()
    monkeypatch.setenv('GDAL_DISABLE_READDIR_ON_OPEN', 'EMPTY_DIR')
    with rasterio.open(path) as source:
        assert 'per_dataset' not in source.mask_flag_enums[0][0].name
    for one, pixels in zip(scenes, expected, strict=True):
        found = SceneReader(one).read(window(0, 0, *one.shape))
        np.testing.assert_array_equal(found, pixels)


class Bands(RasterDataset):
    filename_glob = '*_fine.tif'
    filename_regex = r'(?P<tile>\w)_(?P<band>[a-z]+)\.tif'
    all_bands = ('fine', 'coarse', 'other')
    separate_files = True


def test_each_file_of_a_band_set_has_its_own_nodata(
    write_raster: Writer, tmp_path: Path
) -> None:
    fine = np.arange(1600.0).reshape(1, 40, 40)
    coarse = np.full((1, 20, 20), 100.0)
    coarse[0, 4, 5] = 0
    write_raster('a_fine.tif', data=fine, dtype='int16', nodata=0)
    write_raster('a_other.tif', data=fine - 800, dtype='int16', nodata=-9999)
    write_raster('a_coarse.tif', data=coarse, dtype='uint16', nodata=0, res=20)
    reader = SceneReader(scenes(Bands(tmp_path))[0])
    pixels = reader.read(window(0, 0, 40, 40))
    assert np.argwhere(np.isnan(pixels)).tolist() == [
        [0, 0, 0],
        *([1, row, column] for row in (8, 9) for column in (10, 11)),
    ]
    assert set(pixels[1][np.isfinite(pixels[1])]) == {100}
    np.testing.assert_array_equal(pixels[2], fine[0] - 800)


@pytest.mark.parametrize('moved', ['stored', 'resampled', 'warped'])
@pytest.mark.parametrize('kind', ['whole numbers', 'alpha', 'internal mask', 'decimal'])
def test_a_value_that_the_user_states_is_missing_besides(
    write_raster: Writer, tmp_path: Path, kind: str, moved: str
) -> None:
    file = KINDS[kind](write_raster, tmp_path)
    with rasterio.open(file, 'r+') as source:
        data = source.read(1)
        lost = np.zeros_like(data, bool)
        lost[20:24, 25:30] = source.read_masks(1)[20:24, 25:30] > 0
        count = lost.sum()
        data[lost] = 200
        source.write(data, 1)
    plain = scene_of(file)
    scene = replace(plain, nodata=200.0)
    if moved == 'resampled':
        plain, scene = plain.at_gsd(5), scene.at_gsd(5)
    elif moved == 'warped':
        plain, scene = (each.to_crs(CRS.from_epsg(3035)) for each in (plain, scene))
    before, after = (
        SceneReader(each).read(window(0, 0, *each.shape)) for each in (plain, scene)
    )
    # Nowhere does it mix with what is not missing: the ramp ends at 158.
    assert np.nanmax(before[0]) == 200
    assert np.nanmax(after[0]) < 160
    more = np.isnan(after[0]) & ~np.isnan(before[0])
    expected = {'stored': count, 'resampled': 4 * count}.get(moved, more.sum())
    assert more.sum() == expected > 0
    np.testing.assert_array_equal(np.isnan(after[1:]), np.isnan(before[1:]))


def test_an_alpha_band_that_is_taken_is_only_a_band(write_raster: Writer) -> None:
    data = np.concatenate([ramp(3, 'uint8'), np.where(holes(1), 0, 90)])
    path = write_raster(
        'm_3412039_nw_10_060_20160616.tif', data=data, dtype='uint8', bands='rgbn'
    )
    with rasterio.open(path) as source:
        assert source.colorinterp[3].name == 'alpha'
    taken, dropped = (
        scenes(NAIP(path.parent, bands=bands))[0]
        for bands in (('R', 'G', 'B', 'NIR'), ('R', 'G', 'B'))
    )
    for scene in (taken, taken.at_gsd(5), taken.to_crs(CRS.from_epsg(3035))):
        pixels = SceneReader(scene).read(window(0, 0, *scene.shape))
        # Where one band has no pixel, no band has: that is outside.
        assert (np.isnan(pixels).sum(axis=0) % 4 == 0).all()
        assert (pixels[3] < 45).any()
    whole = SceneReader(taken).read(window(0, 0, SIZE, SIZE))
    np.testing.assert_array_equal(whole, data)
    masks = SceneReader(dropped).read(window(0, 0, SIZE, SIZE))
    np.testing.assert_array_equal(np.isnan(masks), np.repeat(holes(1), 3, axis=0))


def test_bands_of_several_types_in_one_file_are_read(
    write_raster: Writer, tmp_path: Path
) -> None:
    for i, kind in enumerate(('uint8', 'float32'), 1):
        write_raster(f'b{i}.tif', data=ramp(1, kind), dtype=kind, nodata=20)
    path = vrt(tmp_path / 'a.vrt', 'Byte', ['20', '20'])
    text = path.read_text().replace('"Byte" band="2"', '"Float32" band="2"')
    path.write_text(text)
    reader = SceneReader(scene_of(path))
    pixels = reader.read(window(0, 0, SIZE, SIZE))
    np.testing.assert_array_equal(np.isfinite(pixels), valid(path, 2))
    np.testing.assert_array_equal(
        reader.read_many(np.array([[0, 0, SIZE, SIZE]]))[0], pixels
    )


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize(
    'nodata', [-3.4e38, 1e37, 1.71e38, 1e20, -9999.1, 0.0, 1e-40, np.inf]
)
def test_floats_are_compared_as_gdal_compares_them(
    write_raster: Writer, dtype: str, nodata: float
) -> None:
    with np.errstate(over='ignore', invalid='ignore'):
        centre = np.dtype(dtype).type(nodata)
        largest = np.finfo(dtype).max
        steps = [centre * (1 + k * 1e-8) for k in range(-80, 81)]
        far = [centre * f for f in (0.999, 0.5, 0.01, 1e-6, -1, 2)]
        edge = [(largest - abs(centre)) * f for f in (-1, 1, 1 - 1e-7, 1 + 1e-7)]
        values = np.array([*steps, *far, *edge, largest, -largest, np.inf], dtype)
        for _ in range(10):
            values = np.r_[values, np.nextafter(values[-11:], centre)]
    values = values[~np.isnan(values)][None, None]
    path = write_raster('a.tif', data=values, dtype=dtype, nodata=nodata)
    with rasterio.open(path) as source:
        expected = source.read_masks(1) == 0
        found = missing(values[0][None], [marks_of(source.nodata, dtype)])
    assert found is not None
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize('epsg', [3035, 4326])
def test_small_warped_windows_miss_what_the_whole_misses(
    write_raster: Writer, epsg: int
) -> None:
    """Floats are looked at below each window before their mask is warped."""
    data = ramp(2, 'float32')
    generator = np.random.default_rng(5)
    data[0, *generator.integers(0, SIZE, (2, 12))] = np.nan
    data[1, *generator.integers(0, SIZE, (2, 3))] = np.nan
    path = write_raster('a.tif', data=data, bands='xy')
    scene = scene_of(path).to_crs(CRS.from_epsg(epsg))
    reader = SceneReader(scene)
    whole = reader.read(window(0, 0, *scene.shape))
    height, width = scene.shape
    some = 0
    for row in range(0, height - 4, 2):
        for column in range(0, width - 4, 2):
            part = reader.read(window(row, column, 4, 4))
            expected = whole[:, row : row + 4, column : column + 4]
            np.testing.assert_array_equal(np.isnan(part), np.isnan(expected))
            some += np.isfinite(part).all()
    assert 50 < some < (height // 2 - 2) * (width // 2 - 2)
