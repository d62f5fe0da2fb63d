"""The similarity raster: every cell has the score it should have, and GDAL agrees on the rest."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import similarity, to_geotiff
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., EmbeddingTable]


def squares(
    places: list[tuple[float, float]],
    scores: list[float],
    *,
    size: float = 40.0,
    crs: int | None = 32632,
    src_crs: str | None = 'EPSG:32632',
) -> gpd.GeoDataFrame:
    """Squares with scores, by their lower left corners."""
    return gpd.GeoDataFrame(
        {'score': scores, 'src_crs': [src_crs] * len(scores)},
        geometry=[shapely.box(x, y, x + size, y + size) for x, y in places],
        crs=crs,
    )


def at(drawn: xr.DataArray, x: float, y: float) -> float:
    return float(drawn.sel(x=x, y=y, method='nearest'))


class TestSimilarity:
    @pytest.mark.parametrize('turned', [0, 20], ids=['boxes', 'boxes and others'])
    def test_every_cell_against_a_loop(self, turned: int) -> None:
        rng = np.random.default_rng(0)
        corners = 5e5 + rng.uniform(0, 300, (40, 2)) + [0, 4.5e6]
        frame = squares(
            [(x, y) for x, y in corners.tolist()], rng.normal(size=40).tolist()
        )
        tilted = frame.geometry.head(turned).rotate(30)
        frame.geometry = pd.concat([tilted, frame.geometry.tail(40 - turned)])
        shapes, scores = frame.geometry.to_numpy(), frame['score'].to_numpy()
        for how, merge in (('best', np.max), ('mean', np.mean)):
            drawn = similarity(frame, how=how, cell=10)
            assert drawn.dtype == np.float32
            assert drawn.dims == ('y', 'x')
            cells = drawn.to_numpy()
            wrong = 0
            for column, x in enumerate(drawn.x.to_numpy()):
                for row, y in enumerate(drawn.y.to_numpy()):
                    under = scores[shapely.intersects(shapes, shapely.Point(x, y))]
                    found = cells[row, column]
                    told = np.float32(merge(under)) if len(under) else np.nan
                    wrong += not np.isclose(found, told, atol=1e-6, equal_nan=True)
            # A footprint smaller than a cell is none here, so nothing is burnt twice.
            assert wrong == 0

    def test_the_grid_is_the_one_asked(self) -> None:
        frame = squares([(500_003, 5_000_001), (500_083, 5_000_041)], [0.5, -0.25])
        drawn = similarity(frame, cell=20)
        assert drawn.dims == ('y', 'x')
        assert drawn.name == 'similarity'
        assert tuple(drawn.rio.transform())[:6] == (20, 0, 500_000, 0, -20, 5_000_100)
        assert drawn.shape == (5, 7)
        assert drawn.x[0] == 500_010
        assert drawn.y[0] == 5_000_090
        assert drawn.rio.crs.to_epsg() == 32632
        assert np.isnan(drawn.rio.nodata)

    def test_default_cell_is_a_quarter_of_a_footprint(self) -> None:
        drawn = similarity(squares([(5e5, 5e6)], [0.5]))
        assert abs(drawn.rio.resolution()[0]) == 10
        assert drawn.shape == (4, 4)
        assert (drawn == 0.5).all()

    def test_no_hit_is_lost_on_a_coarse_grid(self) -> None:
        frame = squares(
            [(500_001, 5_000_001), (500_940, 5_000_002)], [0.5, 0.25], size=9
        )
        for how in ('best', 'mean'):
            drawn = similarity(frame, how=how, cell=500)
            assert drawn.to_numpy().tolist() == [[0.5, 0.25]]
        both = squares(
            [(500_001, 5_000_001), (500_050, 5_000_002)], [0.5, 0.25], size=9
        )
        assert similarity(both, how='best', cell=500).to_numpy() == 0.5
        assert similarity(both, how='mean', cell=500).to_numpy() == 0.375
        # One that covers the cell's centre, and one that hides in its corner.
        over = squares([(500_200, 5_000_200)], [0.1], size=99)
        mixed = gpd.GeoDataFrame(pd.concat([both.head(1), over]))
        assert similarity(mixed, how='mean', cell=500).to_numpy() == pytest.approx(0.3)

    def test_hits_of_an_archive(self, hits: gpd.GeoDataFrame) -> None:
        drawn = similarity(hits)
        assert drawn.rio.crs.to_epsg() == 32632
        assert abs(drawn.rio.resolution()[0]) == 80
        best = hits.groupby('patch_id')['score'].max()
        for patch, score in best.items():
            column = int(str(patch).split('_')[-2]) // 32
            x = 5e5 + 320 * column
            block = drawn.sel(x=slice(x, x + 320))
            assert block.shape == (4, 4)
            assert np.allclose(block, score)
        covered = 16 * len(best)
        assert int(drawn.notnull().sum()) == covered

    def test_crs_of_most_scenes(self) -> None:
        frame = squares([(5e5, 5e6)] * 3, [0.1, 0.2, 0.3])
        frame['src_crs'] = ['EPSG:32633', 'EPSG:32632', 'EPSG:32632']
        assert similarity(frame).rio.crs.to_epsg() == 32632
        assert similarity(frame, crs='EPSG:32633').rio.crs.to_epsg() == 32633
        # As many of each: the first by name.
        assert similarity(frame.head(2)).rio.crs.to_epsg() == 32632

    @pytest.mark.parametrize(
        ('lon', 'lat', 'code'),
        [
            (9.0, 45.0, 32632),
            (-98.5, 29.4, 32614),
            (30.0, -85.0, 3031),
            (30.0, 85.0, 3413),
        ],
    )
    def test_crs_without_a_scene(self, lon: float, lat: float, code: int) -> None:
        frame = squares([(lon, lat)], [0.5], size=0.01, crs=4326, src_crs=None)
        assert similarity(frame).rio.crs.to_epsg() == code

    def test_over_the_antimeridian(self) -> None:
        parts = [
            shapely.box(179.95, -17, 180, -16.9),
            shapely.box(-180, -17, -179.95, -16.9),
        ]
        frame = gpd.GeoDataFrame(
            {'score': [0.5]}, geometry=[shapely.MultiPolygon(parts)], crs=4326
        )
        drawn = similarity(frame, cell=100)
        assert drawn.rio.crs.to_epsg() in (32701, 32760)
        west, _, east, _ = drawn.rio.bounds()
        assert 10_000 < east - west < 12_000
        assert float(drawn.mean()) == 0.5
        assert float(drawn.notnull().mean()) > 0.9

    @pytest.mark.slow
    def test_far_apart_is_still_a_raster(self) -> None:
        frame = squares([(0, 0), (9_000_000, 8_000_000)], [0.5, 0.25])
        drawn = similarity(frame, crs=32632)
        assert drawn.size < 2**25
        assert sorted(drawn.to_numpy()[drawn.notnull()].tolist()) == [0.25, 0.5]

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'how': 'sum'}, "how='sum' is not known; use 'best' or 'mean'"),
            ({'cell': 0}, 'cell=0 is not a size; give units of the CRS above 0'),
            ({'cell': np.nan}, 'cell=nan is not a size'),
            (
                {'cell': 1e-4},
                r'400000 x 400000 cells; give a larger cell= than 0\.0001',
            ),
            ({'crs': 'EPSG:1'}, 'EPSG:1 is not a CRS'),
        ],
    )
    def test_refuses(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(QueryError, match=message):
            similarity(squares([(5e5, 5e6)], [0.5]), **options)  # ty: ignore[invalid-argument-type]

    def test_refuses_frames(self) -> None:
        frame = squares([(5e5, 5e6)], [0.5])
        with pytest.raises(QueryError, match='no hit to draw; widen the search'):
            similarity(frame.head(0))
        with pytest.raises(QueryError, match='no column score; draw what a search'):
            similarity(gpd.GeoDataFrame(frame.drop(columns='score')))
        with pytest.raises(QueryError, match='no CRS; declare it with set_crs'):
            similarity(squares([(5e5, 5e6)], [0.5], crs=None))
        pole = squares([(0, -89.0)], [0.5], size=2, crs=4326, src_crs=None)
        with pytest.raises(QueryError, match='has no place in'):
            similarity(pole, crs='+proj=gnom +lat_0=90')

    def test_changes_nothing(self, hits: gpd.GeoDataFrame) -> None:
        before = hits.copy(deep=True)
        similarity(hits)
        assert before.geometry.geom_equals(hits.geometry).all()
        assert before.drop(columns='geometry').equals(hits.drop(columns='geometry'))


class TestGeoTiff:
    def test_read_back(self, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
        path = to_geotiff(hits, tmp_path / 'hits.tif')
        drawn = similarity(hits)
        with rasterio.open(path) as file:
            assert file.dtypes == ('float32',)
            assert np.isnan(file.nodata)
            assert file.descriptions == ('similarity',)
            assert file.crs.to_epsg() == 32632
            assert file.transform == drawn.rio.transform()
            assert file.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
            assert np.array_equal(file.read(1), drawn.to_numpy(), equal_nan=True)

    def test_gdal_says_the_same(self, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
        path = to_geotiff(hits, tmp_path / 'hits.tif')
        code = (
            'import sys, json, rasterio\n'
            'with rasterio.open(sys.argv[1]) as f:\n'
            '    print(json.dumps([f.crs.to_epsg(), f.profile["compress"], f.count]))'
        )
        done = subprocess.run(
            [sys.executable, '-c', code, str(path)], capture_output=True, check=True
        )
        assert json.loads(done.stdout) == [32632, 'deflate', 1]

    def test_an_array_of_ones_own(self, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
        drawn = similarity(hits, how='mean', cell=40)
        path = to_geotiff(drawn, tmp_path / 'mean.tif')
        with rasterio.open(path) as file:
            assert np.array_equal(file.read(1), drawn.to_numpy(), equal_nan=True)
        bare = xr.DataArray(np.zeros((2, 2), np.float32), dims=('y', 'x'))
        with pytest.raises(QueryError, match='the array has no CRS'):
            to_geotiff(bare, tmp_path / 'bare.tif')

    @pytest.mark.parametrize(('lowest', 'begin'), [(0.2, '0.0'), (-0.2, '-1.0')])
    def test_style_holds_every_score(
        self, tmp_path: Path, lowest: float, begin: str
    ) -> None:
        frame = squares([(5e5, 5e6), (500_100, 5e6)], [lowest, 1.0])
        path = to_geotiff(frame, tmp_path / 'hits.tif')
        shader = ET.parse(path.with_suffix('.qml')).find('.//colorrampshader')
        assert shader is not None
        assert shader.get('minimumValue') == begin
        assert shader.get('maximumValue') == '1.0'

    def test_overwrite(self, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
        path = tmp_path / 'hits.tif'
        path.with_suffix('.qml').write_text('mine')
        with pytest.raises(OutputExistsError, match=r'hits\.qml is there already'):
            to_geotiff(hits, path)
        assert not path.exists()
        to_geotiff(hits, path, overwrite=True)
        assert path.with_suffix('.qml').read_text().startswith('<qgis')
        assert sorted(p.name for p in tmp_path.iterdir()) == ['hits.qml', 'hits.tif']


def test_hits_without_a_place_are_left_out(hits: gpd.GeoDataFrame) -> None:
    nowhere = hits['rank'] == 2
    some = hits.copy()
    some.loc[nowhere, 'geometry'] = None
    assert similarity(some).equals(similarity(hits[~nowhere]))
