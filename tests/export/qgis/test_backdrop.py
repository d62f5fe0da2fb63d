"""Rasters below the hits: which, how stretched, and by which path."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pytest

from torchgeo_cmr.export.qgis.backdrop import (
    heat_layer,
    picture_layer,
    relative_path,
    scene_files,
)


def renderer(style: str) -> ET.Element:
    found = ET.fromstring(style).find('pipe/rasterrenderer')
    assert found is not None
    return found


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert relative_path(tmp_path / 'a' / 'b.tif', tmp_path) == './a/b.tif'
    assert relative_path(tmp_path / 'b.tif', tmp_path / 'x' / 'y') == '../../b.tif'
    monkeypatch.chdir(tmp_path)
    assert relative_path(Path('a.tif'), Path('.')) == './a.tif'


def test_stretch_without_what_is_no_data(write_raster: Any) -> None:
    data = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    data[0, 0] = (np.nan, np.inf, *[-9999] * 8)
    path = write_raster('a.tif', data=data, nodata=-9999)
    found = renderer(picture_layer(path, [], path.parent).style)
    assert found.get('grayBand') == '1'
    low = float(found.findtext('contrastEnhancement/minValue') or 'nan')
    high = float(found.findtext('contrastEnhancement/maxValue') or 'nan')
    assert (low, high) == tuple(np.percentile(np.arange(10, 100), [2, 98]))
    path = write_raster('b.tif', data=np.full((1, 4, 4), np.nan))
    found = renderer(picture_layer(path, [], path.parent).style)
    assert found.findtext('contrastEnhancement/maxValue') == '1.0'


@pytest.mark.parametrize(
    ('bands', 'shown'),
    [
        (('B02', 'B03', 'B04', 'B08'), ['3', '2', '1']),
        (('blue', 'green', 'red', 'nir'), ['3', '2', '1']),
        (('a', 'b', 'c'), ['1', '2', '3']),
        (('VH', 'VV'), '2'),
        (('a', 'b'), '1'),
    ],
)
def test_bands(write_raster: Any, bands: tuple[str, ...], shown: Any) -> None:
    path = write_raster('a.tif', bands=bands)
    found = renderer(picture_layer(path, [], path.parent).style)
    if isinstance(shown, str):
        assert found.get('grayBand') == shown
    else:
        assert [found.get(f'{c}Band') for c in ('red', 'green', 'blue')] == shown


@pytest.mark.parametrize(('lowest', 'begin'), [(0.2, '0.0'), (-0.2, '-1.0')])
def test_similarity(write_raster: Any, lowest: float, begin: str) -> None:
    path = write_raster('a.tif', data=np.full((1, 4, 4), lowest))
    layer = heat_layer(path, path.parent)
    assert layer.name == 'similarity'
    assert layer.crs.to_epsg() == 32632
    assert renderer(layer.style).get('classificationMin') == begin


def test_scenes_best_first(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    sources = {}
    for i in range(10):
        (tmp_path / f'{i}.tif').touch()
        sources[f'{i}.tif'] = [[f'{i}.tif', 1, 'pan', 15.0]]
    record = {'scenes': {'s2': {'root': str(tmp_path), 'sources': sources}}}
    many = gpd.GeoDataFrame(
        {
            'rank': range(10, 0, -1),
            'modality': 's2',
            'source': [f'{i}.tif' for i in range(10)],
        },
        geometry=[hits.geometry.iloc[0]] * 10,
        crs=4326,
    )
    found = scene_files(many, record)
    assert [p.name for p, _ in found] == [f'{i}.tif' for i in range(9, 1, -1)]
    assert found[0][1] == [1]
    assert scene_files(many, None) == scene_files(many, {'scenes': []}) == []
    assert scene_files(many[['rank', 'geometry']], record) == []
