"""Rasters of vectors: numbers mean what their owner says, and lie where they should."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from torchgeo_cmr.errors import ArchiveError, RasterError
from torchgeo_cmr.table import VectorRaster
from torchgeo_cmr.table.others.dequantisation import unit_vectors
from torchgeo_cmr.table.others.vector_raster import Place

type Writer = Callable[..., Path]

AXES = [f'A{n:02}' for n in range(64)]
UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)


def whole(raster: VectorRaster) -> NDArray[np.float32]:
    return raster.read(Place(0, 0, *raster.shape))


def encode(vectors: NDArray[np.floating]) -> NDArray[np.int8]:
    """Store unit vectors (height, width, 64) as AlphaEarth does."""
    codes = np.round(np.sqrt(np.abs(vectors)) * 127.5).clip(0, 127)
    return np.moveaxis(codes * np.sign(vectors), -1, 0).astype(np.int8)


@pytest.fixture
def unit() -> NDArray[np.floating]:
    vectors = np.random.default_rng(0).normal(size=(20, 30, 64))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture
def alphaearth(write_raster: Writer, unit: NDArray[np.floating]) -> Path:
    data = encode(unit)
    data[:, 3, 4] = -128
    return write_raster('aef.tif', data=data, bands=AXES, dtype='int8', nodata=-128)


def tessera(path: Path, vectors: NDArray[np.floating], years: list[int]) -> Path:
    """Write vectors (time, y, x, band) as the convention has them: int8, one scale per pixel."""
    scale = (np.abs(vectors).max(axis=-1) / 127).astype(np.float32)
    codes = np.round(vectors / scale[..., None]).astype(np.int8)
    scale[:, 0, 0], scale[:, 0, 1] = np.inf, np.nan
    stored = codes.transpose(0, 3, 1, 2)
    group = xr.Dataset(
        {
            'embeddings': (('time', 'band', 'y', 'x'), stored),
            'scales': (('time', 'y', 'x'), scale),
        },
        coords={'time': years},
        attrs={
            'proj:code': 'EPSG:32632',
            'spatial:transform': list(UTM)[:6],
            'geoemb:quantization': {
                'method': 'per_pixel_scale',
                'scale': {'type': 'array', 'array_name': 'scales', 'nodata': '+inf'},
            },
        },
    )
    chunks = {'embeddings': {'chunks': (1, stored.shape[1], 8, 8)}}
    group.to_zarr(path, encoding=chunks, consolidated=False, zarr_format=3)
    return path


class TestNumbers:
    def test_alphaearth_by_its_formula(self) -> None:
        """Every byte, against the formula of its owner in a loop."""
        for code in range(-127, 128):
            stored = np.array([127, code], np.int8).reshape(2, 1, 1)
            meant = [(v / 127.5) ** 2 * np.sign(v) for v in (127, code)]
            expected = np.array(meant) / np.linalg.norm(meant)
            got = unit_vectors(stored, 'alphaearth')[0, 0]
            np.testing.assert_allclose(got, expected, atol=1e-6)

    def test_alphaearth_file(
        self, alphaearth: Path, unit: NDArray[np.floating]
    ) -> None:
        with VectorRaster(alphaearth, time=2024) as raster:
            got = whole(raster)
        assert (raster.method, raster.dim, raster.shape) == ('alphaearth', 64, (20, 30))
        assert np.isnan(got[3, 4]).all()
        assert np.isnan(got).sum() == 64
        cosine = (got * unit).sum(axis=-1)
        assert np.nanmin(cosine) > 0.999
        assert raster.period == (
            pd.Timestamp('2024-01-01', tz='UTC'),
            pd.Timestamp('2024-12-31 23:59:59.999999', tz='UTC'),
        )
        # Read as plain numbers they are other vectors: the square matters.
        with VectorRaster(alphaearth, dequantise='linear') as raster:
            assert np.nanmean((whole(raster) * unit).sum(axis=-1)) < 0.98

    def test_one_missing_band_is_a_missing_pixel(self) -> None:
        stored = np.array([[[5, -128]], [[3, 7]]], np.int8)
        for method in ('alphaearth', 'linear'):
            got = unit_vectors(stored, method, nodata=-128)
            assert np.isfinite(got[0, 0]).all()
            assert np.isnan(got[0, 1]).all()

    def test_tessera_store(self, tmp_path: Path) -> None:
        vectors = np.random.default_rng(1).normal(size=(2, 20, 24, 16)) * 3
        path = tessera(tmp_path / 'utm32', vectors, [2023, 2024])
        with pytest.raises(RasterError, match=r'2 of its steps .* 2023-01-01, 2024'):
            VectorRaster(path)
        with VectorRaster(path, time=2024) as raster:
            got = whole(raster)
        assert raster.crs.to_epsg() == 32632
        assert raster.transform == UTM
        assert np.isnan(got[0, :2]).all()
        expected = vectors[1] / np.linalg.norm(vectors[1], axis=-1, keepdims=True)
        cosine = (got * expected).sum(axis=-1)
        assert np.nanmin(cosine) > 0.999
        assert np.isnan(cosine).sum() == 2

    def test_scales_of_a_geotiff(self, write_raster: Writer) -> None:
        data = np.ones((4, 8, 8), np.int8)
        path = write_raster('t.tif', data=data, bands=[*'abcd'], dtype='int8')
        scale = np.full((1, 8, 8), 0.5)
        scale[0, 2, 2] = np.inf
        scales = write_raster('s.tif', data=scale)
        with VectorRaster(path, scales=scales) as raster:
            assert np.isnan(whole(raster)[..., 0]).sum() == 1
        small = write_raster('small.tif', data=scale[:, :4])
        with pytest.raises(RasterError, match='give the scales of this raster'):
            VectorRaster(path, scales=small)

    def test_stated_scale_and_offset(self, write_raster: Writer) -> None:
        path = write_raster(
            'x.tif', data=np.full((2, 4, 4), 100), dtype='int16', bands=['a', 'b']
        )
        with rasterio.open(path, 'r+') as file:
            file.scales, file.offsets = (0.01, 0.02), (0.0, -2.0)
        with VectorRaster(path) as raster:
            np.testing.assert_allclose(whole(raster)[0, 0], [1, 0], atol=1e-6)

    @pytest.mark.parametrize(
        ('options', 'dequantise', 'words'),
        [
            (
                {'dtype': 'int8', 'bands': [str(i) for i in range(64)]},
                'auto',
                'A00 to A63',
            ),
            ({'dtype': 'uint8', 'bands': ['a', 'b']}, 'auto', '0 is not known'),
            ({'dtype': 'float32', 'bands': AXES}, 'alphaearth', 'decoded already'),
            ({'dtype': 'int8', 'bands': ['a']}, 'square', 'give one of auto, linear'),
        ],
    )
    def test_what_could_be_meant_in_two_ways(
        self, write_raster: Writer, options: dict[str, Any], dequantise: Any, words: str
    ) -> None:
        data = np.ones((len(options['bands']), 4, 4))
        path = write_raster('x.tif', data=data, **options)
        with pytest.raises(RasterError, match=words):
            VectorRaster(path, dequantise=dequantise)


class TestGrid:
    def test_rows_from_south_to_north(
        self, write_raster: Writer, unit: NDArray[np.floating]
    ) -> None:
        """Some copies of AlphaEarth are stored upside down."""
        south = Affine(10, 0, 500_000, 0, 10, 4_999_800)
        path = write_raster(
            'up.tif',
            data=encode(unit)[:, ::-1],
            bands=AXES,
            dtype='int8',
            transform=south,
        )
        with VectorRaster(path) as raster:
            assert raster.transform == UTM
            assert (whole(raster) * unit).sum(axis=-1).min() > 0.999

    @pytest.mark.parametrize('tiled', [True, False])
    def test_blocks_cover_every_pixel_once(
        self, write_raster: Writer, monkeypatch: pytest.MonkeyPatch, tiled: bool
    ) -> None:
        """With little memory, and aligned to the tiles of the file."""
        options: dict[str, Any] = (
            {'tiled': True, 'blockxsize': 16, 'blockysize': 16} if tiled else {}
        )
        data = np.random.default_rng(0).normal(size=(4, 75, 90))
        path = write_raster('x.tif', data=data, bands=[*'abcd'], **options)
        for budget in (4 * 4 * 16 * 16, 4 * 4 * 40, 4 * 4 * 3000, 2**25):
            monkeypatch.setattr(
                'torchgeo_cmr.table.others.vector_raster._BLOCK', budget
            )
            for area in (None, (9.0002, 45.1485, 9.0075, 45.154)):
                with VectorRaster(path, area=area) as raster:
                    count = np.zeros(raster.shape, int)
                    for row, column, height, width in raster.blocks():
                        count[row : row + height, column : column + width] += 1
                        assert 4 * 4 * height * width <= budget
                    assert (count == 1).all()

    def test_an_area_is_the_window_round_it(
        self, alphaearth: Path, unit: NDArray[np.floating]
    ) -> None:
        with VectorRaster(alphaearth) as raster:
            full = whole(raster)
        # Pixel (row 5, column 10) to (row 8, column 20).
        west, south, east, north = (500_105.0, 4_999_915.0, 500_195.0, 4_999_945.0)
        move = Transformer.from_crs(32632, 4326, always_xy=True)
        box = move.transform_bounds(west, south, east, north)
        with VectorRaster(alphaearth, area=box) as raster:
            corner = ~raster.transform @ (500_000.0, 5_000_000.0)
            part = whole(raster)
        row, column = -round(corner[1]), -round(corner[0])
        height, width = part.shape[:2]
        np.testing.assert_array_equal(
            part, full[row : row + height, column : column + width]
        )
        assert (row, column) == (5, 10)
        assert (height, width) == (4, 10)
        with pytest.raises(
            RasterError, match=r'covers 9\.\d{4},\d\d\.\d{4},9.* in degrees'
        ):
            VectorRaster(alphaearth, area=(20, 45, 21, 46))
        with pytest.raises(RasterError, match='antimeridian'):
            VectorRaster(alphaearth, area=(20, 45, 9, 46))
        with pytest.raises(ArchiveError, match='is not a box'):
            VectorRaster(alphaearth, area=(20, 46, 21, 45))


class TestMistakes:
    def test_files(self, write_raster: Writer, tmp_path: Path) -> None:
        with pytest.raises(RasterError, match=r'there is no .*x\.tif: check the path'):
            VectorRaster(tmp_path / 'x.tif')
        (tmp_path / 'text.tif').write_text('text')
        with pytest.raises(RasterError, match='neither a GeoTIFF nor'):
            VectorRaster(tmp_path / 'text.tif')
        address = 'https://me:secret@a.example/x.tif'
        with pytest.raises(
            RasterError, match=r'^https://a\.example/x\.tif is on a server'
        ):
            VectorRaster(address)
        path = write_raster('x.tif', crs=None, bands=['a', 'b'])
        with pytest.raises(RasterError, match='no CRS or no place'):
            VectorRaster(path)
        path = write_raster('y.tif', bands=['a', 'b'], tiled=True, compress='deflate')
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(RasterError), VectorRaster(path) as raster:
            whole(raster)
        with pytest.raises(RasterError, match="'last year' is not a date"):
            VectorRaster(write_raster('z.tif'), time='last year')

    @pytest.mark.parametrize(
        ('change', 'words'),
        [
            (lambda g: g.rename(embeddings='data'), 'must be called embedding'),
            (lambda g: g.rename(band='k'), 'one dimension called band'),
            (lambda g: g.drop_attrs(), 'does not say where'),
            (lambda g: g.assign_attrs({'proj:code': 'EPSG:0'}), 'no grid that can'),
            (lambda g: g.assign_attrs({'crs_wkt': 'http://x'}), 'by an address'),
            (lambda g: g.drop_vars('scales'), 'names an array of scales scales'),
            (
                lambda g: g.assign_attrs({'spatial:transform': [10, 0, 0, 0, 10, 0]}),
                'from south to north',
            ),
        ],
    )
    def test_stores(self, tmp_path: Path, change: Any, words: str) -> None:
        path = tessera(tmp_path / 'a', np.ones((1, 8, 8, 4)), [2024])
        group = xr.open_dataset(
            path, engine='zarr', consolidated=False, mask_and_scale=False
        )
        change(group.load()).to_zarr(
            tmp_path / 'b', consolidated=False, zarr_format=3, mode='w'
        )
        with pytest.raises(RasterError, match=words):
            VectorRaster(tmp_path / 'b')

    def test_a_folder_that_is_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(RasterError, match='cannot be read as a Zarr group'):
            VectorRaster(tmp_path)
