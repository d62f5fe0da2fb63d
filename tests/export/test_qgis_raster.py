"""The similarity raster in the real QGIS: its style found, every class of score drawn."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest

from torchgeo_cmr.export import similarity, to_geotiff

pytestmark = pytest.mark.qgis


@pytest.mark.slow
def test_raster_with_its_style(
    qgis: Any, hits: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    path = to_geotiff(hits, tmp_path / 'hits_similarity.tif')
    told = qgis(path, picture=tmp_path / 'a.png')
    (layer,) = told['layers']
    assert layer['valid']
    assert layer['crs'] == 'EPSG:32632'
    assert layer['bands'] == ['Band 1: similarity']
    assert layer['renderer'] == 'singlebandpseudocolor'
    assert told['picture']['errors'] == []
    # A strip of hits across the picture; white, and one colour for each score.
    assert 0.05 < told['picture']['drawn'] < 0.5
    scores = similarity(hits).to_numpy()
    different = np.unique(scores[np.isfinite(scores)])
    assert told['picture']['colours'] == len(different) + 1

    path.with_suffix('.qml').unlink()
    bare = qgis(path, picture=tmp_path / 'b.png')
    assert bare['layers'][0]['renderer'] == 'singlebandgray'


@pytest.mark.slow
def test_raster_in_degrees_and_below_zero(
    qgis: Any, result: Any, tmp_path: Path
) -> None:
    boxes = [(0.1 * i, 45, 0.1 * i + 0.1, 45.1) for i in range(3)]
    hits = result(boxes, crs=4326, scores=[0.5, -0.25, -0.9])
    path = to_geotiff(similarity(hits), tmp_path / 'a.tif')
    told = qgis(path, picture=tmp_path / 'a.png')
    (layer,) = told['layers']
    assert layer['crs'] == 'EPSG:4326'
    assert told['picture']['drawn'] > 0.2
    # White, and one colour for each hit.
    assert told['picture']['colours'] == 4
