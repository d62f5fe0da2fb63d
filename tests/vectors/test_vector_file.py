"""Types of columns, and kinds of errors, of vector files."""

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.vectors.vector_file import read_frame


@pytest.mark.parametrize('suffix', ['gpkg', 'geojson', 'shp', 'parquet'])
def test_columns_among_nulls_keep_their_type(tmp_path: Path, suffix: str) -> None:
    frame = gpd.GeoDataFrame(
        {
            'id': pd.array([2**53 + 1, None], dtype='Int64'),
            'built': pd.array([True, None], dtype='boolean'),
        },
        geometry=shapely.box([0, 1], 0, [1, 2], 1),
        crs=4326,
    )
    path = tmp_path / f'places.{suffix}'
    frame.to_parquet(path) if suffix == 'parquet' else frame.to_file(path)
    found = read_frame(path, typed=True)
    assert found['id'].map(str).tolist() == ['9007199254740993', '<NA>']
    assert found['built'].map(str).tolist() == ['True', '<NA>']
    assert found.crs == frame.crs
    assert found.geometry.geom_equals(frame.geometry).all()


def test_a_mistake_has_the_kind_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / 'broken.gpkg').write_text('no layer')
    for path, message in [
        (tmp_path / 'gone.gpkg', 'the map .*gone.gpkg is not there'),
        (tmp_path / 'broken.gpkg', 'the map .* cannot be read as a vector file'),
        ('https://x.org/a.gpkg', 'is on the network'),
    ]:
        with pytest.raises(RasterError, match=message):
            read_frame(path, 'map', kind=RasterError)


def test_geoparquet_has_no_layers(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    frame.to_parquet(tmp_path / 'a.parquet')
    for path, layer in (('a.parquet', 'east'), ('a.parquet|layername=east', None)):
        with pytest.raises(RasterError, match="no layers, so there is no 'east'"):
            read_frame(tmp_path / path, layer=layer, kind=RasterError)
