"""The similarity of pixels that are vectors, against one matrix product."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import pixel_similarity
from torchgeo_cmr.export.pictures.pixel_similarity import example_vectors
from torchgeo_cmr.table import EmbeddingTable, VectorRaster, from_pixels
from torchgeo_cmr.table.others import vector_raster
from torchgeo_cmr.table.others.vector_raster import Place

type Writer = Callable[..., Path]


@pytest.fixture
def path(write_raster: Writer) -> Path:
    data = np.random.default_rng(0).normal(size=(6, 40, 50))
    data[:, 2, 3] = np.nan
    return write_raster(
        'in/t.tif',
        data=data,
        bands=[*'abcdef'],
        tiled=True,
        blockxsize=16,
        blockysize=16,
    )


def points(*pixels: tuple[int, int]) -> gpd.GeoDataFrame:
    """The middles of pixels (row, column), in degrees."""
    places = [
        shapely.Point(500_005 + 10 * column, 4_999_995 - 10 * row)
        for row, column in pixels
    ]
    return gpd.GeoDataFrame(geometry=places, crs=32632).to_crs(4326)


def vectors_of(raster: VectorRaster) -> np.ndarray:
    return raster.read(Place(0, 0, *raster.shape)).astype(np.float64)


@pytest.mark.parametrize('how', ['best', 'mean'])
def test_equal_to_one_product(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Any
) -> None:
    """Block by block, none larger than is allowed."""
    budget = 4 * 6 * 16 * 16
    monkeypatch.setattr(vector_raster, '_BLOCK', budget)
    sizes = []
    with VectorRaster(path) as raster:
        full = vectors_of(raster)
        real = raster.read
        monkeypatch.setattr(
            raster, 'read', lambda p: sizes.append(4 * 6 * p[2] * p[3]) or real(p)
        )
        out = pixel_similarity(
            raster, points((0, 0), (30, 41)), tmp_path / 's.tif', how=how
        )
    assert max(sizes) <= budget
    assert sum(sizes) == 4 * 6 * (40 * 50 + 2)
    examples = full[[0, 30], [0, 41]]
    if how == 'mean':
        expected = full @ (examples.sum(axis=0) / np.linalg.norm(examples.sum(axis=0)))
    else:
        expected = (full @ examples.T).max(axis=-1)
    with rasterio.open(out) as file:
        np.testing.assert_allclose(file.read(1), expected, atol=1e-6)
        assert file.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
        assert (file.dtypes, file.descriptions) == (('float32',), ('similarity',))
        assert np.isnan(file.nodata)
        assert file.crs.to_epsg() == 32632
        assert file.transform == rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
    ET.parse(out.with_suffix('.qml'))
    assert sorted(p.name for p in tmp_path.iterdir()) == ['in', 's.qml', 's.tif']


def test_examples_of_every_kind_are_the_same(path: Path) -> None:
    with VectorRaster(path) as raster:
        full = vectors_of(raster)
        square = shapely.box(
            500_040, 4_999_920, 500_080, 4_999_960
        )  # rows, columns 4..7
        place = gpd.GeoDataFrame(geometry=[square], crs=32632).to_crs(4326)
        window = full[4:8, 4:8].reshape(-1, 6).mean(axis=0)
        expected = window / np.linalg.norm(window)
        table = from_pixels(raster, 4, modality='t', space='x')
        assert isinstance(table, EmbeddingTable)
        (row,) = np.flatnonzero(table.frame['patch_id'] == 't:t.tif:4_4_4x4')
        for given in (place, table.select([row]), expected, 7 * expected[None]):
            (got,) = example_vectors(raster, given)
            np.testing.assert_allclose(got, expected, atol=1e-5)
        # Smaller than a pixel, and holding no centre of one.
        speck = shapely.box(500_040.5, 4_999_951, 500_042, 4_999_953)
        tiny = gpd.GeoDataFrame(geometry=[speck], crs=32632)
        np.testing.assert_allclose(
            example_vectors(raster, tiny)[0], full[4, 4], atol=1e-5
        )


@pytest.mark.parametrize(
    ('examples', 'words'),
    [
        (points((2, 3)), r'example 0 of 1 lies where .*t.tif has no vector'),
        (points((0, 0), (0, 5000)), 'example 1 of 2 lies where'),
        (points((0, 0)).set_crs(None, allow_override=True), 'have no CRS'),
        (points(), 'there is no example'),
        (np.ones(5), 'have 5 numbers and the pixels of'),
        (np.zeros(6), 'NaN or only zeros'),
        ('here', 'are not vectors'),
    ],
)
def test_mistakes(path: Path, tmp_path: Path, examples: Any, words: str) -> None:
    with VectorRaster(path) as raster, pytest.raises(QueryError, match=words):
        pixel_similarity(raster, examples, tmp_path / 's.tif')
    assert [p.name for p in tmp_path.iterdir()] == ['in']


def test_outputs_are_not_replaced(path: Path, tmp_path: Path) -> None:
    out = tmp_path / 's.tif'
    with VectorRaster(path) as raster:
        pixel_similarity(raster, np.ones(6), out)
        with pytest.raises(OutputExistsError):
            pixel_similarity(raster, np.ones(6), out)
        pixel_similarity(raster, np.eye(6)[:2], out, overwrite=True)
        with pytest.raises(QueryError, match=r'end it in \.tif'):
            pixel_similarity(raster, np.ones(6), tmp_path / 's.png')
        with pytest.raises(QueryError, match='is not known'):
            pixel_similarity(raster, np.ones(6), out, how='worst')  # ty: ignore[invalid-argument-type]
        with pytest.raises(QueryError, match='cancel each other'):
            pixel_similarity(
                raster, [np.ones(6), -np.ones(6)], tmp_path / 'm.tif', how='mean'
            )
