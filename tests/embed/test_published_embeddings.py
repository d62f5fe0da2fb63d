"""Embedding datasets of TorchGeo, in fake data of the layout that each reads."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from torchgeo.datasets import (
    ClayEmbeddings,
    CopernicusEmbed,
    EarthEmbeddings,
    EarthIndexEmbeddings,
    EmbeddedSeamlessData,
    GoogleSatelliteEmbedding,
    MajorTOMEmbeddings,
    PrestoEmbeddings,
    TesseraEmbeddings,
)

from torchgeo_cmr.embed import from_dataset
from torchgeo_cmr.errors import ArchiveError, RasterError
from torchgeo_cmr.table import EmbeddingTable

Writer = Callable[..., Path]
RNG = np.random.default_rng(0)
VECTORS = list(RNG.normal(size=(3, 8)).astype(np.float32))
SQUARES = [shapely.box(9 + i, 45, 9.02 + i, 45.02) for i in range(3)]


def unit(vectors: Any) -> np.ndarray:
    rows = np.asarray(vectors, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_clay_has_footprints_and_days(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {'embeddings': VECTORS, 'date': ['2024-06-01', '2024-06-02', '2024-06-03']},
        geometry=SQUARES,
        crs=4326,
    )
    frame.to_parquet(tmp_path / 'clay.parquet')
    table = from_dataset(ClayEmbeddings(tmp_path / 'clay.parquet'))
    np.testing.assert_allclose(table.vectors, unit(VECTORS), atol=1e-6)
    assert table.modality == 'ClayEmbeddings'
    assert table.space == 'ClayEmbeddings-8'
    assert table.frame.geometry.geom_equals_exact(frame.geometry, 1e-9).all()
    row = table.frame.iloc[1]
    assert row['patch_id'] == 'ClayEmbeddings:1'
    assert row['time_start'] == pd.Timestamp('2024-06-02', tz='UTC')
    assert row['time_end'] == pd.Timestamp('2024-06-02 23:59:59.999999', tz='UTC')


@pytest.mark.parametrize(
    ('dates', 'start', 'end'),
    [
        ([2024] * 3, '2024-01-01', '2024-12-31T23:59:59.999999'),
        ([1_717_236_000] * 3, '2024-06-01T10:00', '2024-06-01T10:00'),
        (
            pd.to_datetime(['2024-06-01T00:00Z'] * 3),
            '2024-06-01',
            '2024-06-01T23:59:59.999999',
        ),
    ],
)
def test_dates_of_any_kind_are_those_of_other_files(
    dates: Any, start: str, end: str
) -> None:
    data = gpd.GeoDataFrame(
        {'embedding': VECTORS, 'datetime': dates}, geometry=SQUARES, crs=4326
    )
    frame = from_dataset(SimpleNamespace(data=data), 'x', space='x').frame
    assert frame['time_start'].eq(pd.Timestamp(start, tz='UTC')).all()
    assert frame['time_end'].eq(pd.Timestamp(end, tz='UTC')).all()
    with pytest.raises(ArchiveError, match=r'the column date holds 12, .*; rename it'):
        from_dataset(SimpleNamespace(data=data.assign(date=12)), 'x', space='x')
    with pytest.raises(ArchiveError, match='the column date holds 20240601, a number'):
        from_dataset(SimpleNamespace(data=data.assign(date=20_240_601)), 'x', space='x')
    several = data.assign(date=[pd.Timestamp('2024-06-01'), '2024-06-02', None])
    with pytest.raises(ArchiveError, match='the column date holds values of several'):
        from_dataset(SimpleNamespace(data=several), 'x', space='x')
    never = data.assign(date=pd.Series([None] * 3, dtype=object))
    frame = from_dataset(SimpleNamespace(data=never), 'x', space='x').frame
    assert frame[['time_start', 'time_end']].isna().all(axis=None)


def test_major_tom_has_moments_and_columns(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {
            'embedding': VECTORS,
            'timestamp': ['2024-06-01T10:00:00Z'] * 3,
            'centre_lon': [9.01, 10.01, 11.01],
            'centre_lat': [45.01] * 3,
            'grid_cell': ['a', 'b', 'c'],
            'pixel_bbox': [[0, 0, 1, 1]] * 3,
        },
        geometry=SQUARES,
        crs=4326,
    )
    frame.to_parquet(tmp_path / 'tom.parquet')
    table = from_dataset(
        MajorTOMEmbeddings(tmp_path / 'tom.parquet'),
        's2',
        space='x',
        out=tmp_path / 'a',
    )
    assert table.frame['time_end'].eq(pd.Timestamp('2024-06-01 10:00', tz='UTC')).all()
    assert table.frame['grid_cell'].tolist() == ['a', 'b', 'c']
    assert 'pixel_bbox' not in table.frame
    assert (table.modality, table.space) == ('s2', 'x')
    again = EmbeddingTable.load(tmp_path / 'a')
    np.testing.assert_array_equal(again.vectors, table.vectors)


def test_earth_index_centres_become_squares(tmp_path: Path) -> None:
    points = gpd.points_from_xy([9.0, 9.01, -70.0], [45.0, 45.0, -33.0])
    frame = gpd.GeoDataFrame({'embedding': VECTORS}, geometry=points, crs=4326)
    frame.to_parquet(tmp_path / 'index.parquet')
    dataset = EarthIndexEmbeddings(tmp_path / 'index.parquet')
    table = from_dataset(dataset)
    for code, rows in ((32632, [0, 1]), (32719, [2])):
        squares: Any = table.frame.geometry.iloc[rows].to_crs(code)
        np.testing.assert_allclose(squares.area, 320**2, rtol=1e-6)
    assert shapely.distance(table.frame.geometry[0].centroid, points[0]) < 1e-6
    wide: Any = from_dataset(dataset, metres=640).frame.geometry.iloc[:1]
    np.testing.assert_allclose(wide.to_crs(32632).area, 640**2, rtol=1e-6)
    with pytest.raises(ArchiveError, match='metres is -1'):
        from_dataset(dataset, metres=-1)


def test_earth_embeddings_are_points_if_nobody_knows_their_width(
    tmp_path: Path,
) -> None:
    pd.DataFrame(
        {
            'embedding': VECTORS,
            'centre_lon': [9.0, 9.5, 10.0],
            'centre_lat': [45.0] * 3,
            'timestamp': ['2024-06-01T10:00:00'] * 3,
        }
    ).to_parquet(tmp_path / 'earth.parquet')
    table = from_dataset(EarthEmbeddings(tmp_path / 'earth.parquet'))
    assert set(table.frame.geom_type) == {'Point'}
    assert table.frame.geometry.x.tolist() == [9.0, 9.5, 10.0]


def pixels(bands: int, size: int = 4, dtype: str = 'float32') -> np.ndarray:
    data = np.random.default_rng(1).normal(size=(bands, size, size)) * 50
    return data.astype(dtype)


@pytest.mark.parametrize(
    ('kind', 'name', 'bands', 'dates'),
    [
        (TesseraEmbeddings, 'grid_9.05_45.05_2024.tiff', 128, (2024, 2024)),
        (GoogleSatelliteEmbedding, '2023/10N/x.tiff', 64, (2023, 2023)),
        (PrestoEmbeddings, 'Togo_Presto_embeddings_v2025.tif', 128, (2019, 2020)),
        (CopernicusEmbed, 'embed_map_310k.tif', 16, None),
    ],
)
def test_pixels_are_vectors(
    write_raster: Writer,
    tmp_path: Path,
    kind: Any,
    name: str,
    bands: int,
    dates: tuple[int, int] | None,
) -> None:
    data = pixels(bands)
    data[:, 0, 0] = 0  # ocean: nothing there
    write_raster(f'in/{name}', data=data, bands=[str(i) for i in range(bands)])
    dataset = kind(tmp_path / 'in')
    table = from_dataset(dataset, 'x', progress=False)
    assert len(table) == 15  # the pixel of zeros has no direction
    assert table.space == f'{kind.__name__}-{bands}'
    expected = unit(data.reshape(bands, -1).T[1:])
    np.testing.assert_allclose(table.vectors, expected, atol=1e-5)
    assert table.frame['native_corners'][0][:2].tolist() == [500_010.0, 5_000_000.0]
    years = (
        table.frame['time_start'].dt.year.iloc[0],
        table.frame['time_end'].dt.year.iloc[0],
    )
    assert years == dates if dates else np.isnan(years).all()


def test_windows_are_means_of_unit_vectors(
    write_raster: Writer, tmp_path: Path
) -> None:
    data = pixels(8)
    data[:, 0, :2] = np.nan
    path = write_raster('in/grid_9_45_2024.tiff', data=data, bands='abcdefgh')
    kind = type('Mine', (TesseraEmbeddings,), {'all_bands': ()})
    table = from_dataset(kind(path.parent), size=2, out=tmp_path / 'a', progress=False)
    assert len(table) == 4
    first = unit(data[:, 1, :2].T).sum(axis=0)  # two of the four pixels are missing
    np.testing.assert_allclose(table.vectors[0], unit(first), atol=1e-5)
    last = unit(data[:, 2:, 2:].reshape(8, 4).T).sum(axis=0)
    np.testing.assert_allclose(table.vectors[3], unit(last), atol=1e-5)
    assert table.frame['valid_fraction'].tolist() == [0.5, 1, 1, 1]


def test_seamless_data_is_decoded(write_raster: Writer, tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 64_000, (12, 3, 3))
    path = write_raster(
        'SDC30_EBD_V001_02VMN_2024.tif',
        data=codes,
        dtype='uint16',
        bands='abcdefghijkl',
    )
    dataset = EmbeddedSeamlessData(path)
    table = from_dataset(dataset, progress=False)
    vectors = dataset.quantizer.quantize(torch.from_numpy(codes.astype(np.int32)))
    expected = unit(vectors.reshape(72, 9).T.numpy())
    np.testing.assert_allclose(table.vectors, expected, atol=1e-5)
    assert table.space == 'EmbeddedSeamlessData-72'
    assert dataset.transforms is None


def test_what_holds_no_embeddings_is_refused() -> None:
    with pytest.raises(RasterError, match='object holds neither rasters nor a table'):
        from_dataset(object())

    class Table:
        data = pd.DataFrame({'x': [1]})

    with pytest.raises(ArchiveError, match='needs rows with a column embedding'):
        from_dataset(Table())
    Table.data = pd.DataFrame({'embedding': [[1.0], [1.0, 2.0]]})
    with pytest.raises(ArchiveError, match='vectors of different lengths'):
        from_dataset(Table())
    Table.data = pd.DataFrame({'embedding': [[1.0], [1.0]]})
    with pytest.raises(ArchiveError, match='does not locate its vectors'):
        from_dataset(Table())
    with pytest.raises(RasterError, match='one vector per row: size'):
        from_dataset(Table(), size=2)


def test_a_table_without_places_has_to_be_called_so() -> None:
    class Own:
        data = pd.DataFrame({'embedding': VECTORS, 'word': list('abc')})

    with pytest.raises(
        ArchiveError, match=r'does not locate .* or give placeless=True'
    ):
        from_dataset(Own())
    table = from_dataset(Own(), placeless=True)
    assert not table.placed.any()
    assert table.frame['word'].tolist() == list('abc')
    np.testing.assert_allclose(table.vectors, unit(VECTORS), atol=1e-6)


def test_a_row_without_a_place_among_others() -> None:
    class Own:
        data = gpd.GeoDataFrame(
            {'embedding': VECTORS}, geometry=[SQUARES[0], None, SQUARES[2]], crs=4326
        )

    with pytest.raises(ArchiveError, match='Own:1'):
        from_dataset(Own())
    assert from_dataset(Own(), placeless=True).placed.tolist() == [True, False, True]
