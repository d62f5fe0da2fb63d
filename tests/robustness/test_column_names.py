"""Names of a user's own columns that a format or we use for something else: every format takes them."""

import warnings
from contextlib import suppress
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.export import read_search, write
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable

NAMES = [
    *('geom', 'Geometry', 'GEOMETRY', 'fid', 'FID', 'ogc_fid', 'id', 'Name', 'name'),
    *('rank', 'score', 'query', 'query_id', 'exact', 'relevant', 'Score', 'index'),
    *('a"b', "it's", 'semi;colon', 'a,b', 'back\\slash', 'new\nline', 'tab\t', ' '),
    *('x' * 300, 'x' * 299 + 'y', 'ünï', '日本', '=1+1', 'select', 'type', 'bbox.x'),
    *('null', 'true', 'and', '1st', '-', '%', '<b>', '{0}', 'time', 'datetime'),
]
FORMATS = ['gpkg', 'geojson', 'fgb', 'parquet', 'csv', 'html', 'stac.json']


def make(names: list[str]) -> EmbeddingTable:
    x = np.arange(4.0)
    frame = gpd.GeoDataFrame(
        {
            'patch_id': list('abcd'),
            'time_start': '2024-06-01T00:00:00Z',
            **{name: list('stuv') for name in names},
        },
        geometry=shapely.box(x, 0, x + 1, 1),
        crs='EPSG:4326',
    )
    vectors = np.random.default_rng(0).normal(size=(4, 4))
    return EmbeddingTable.from_frame(frame, vectors, space='x', modality='s2')


@pytest.fixture(scope='module')
def table(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """A row per letter, with a column per name, as it comes back from an archive."""
    path = tmp_path_factory.mktemp('names') / 'archive'
    loaded = EmbeddingTable.load(make(NAMES).save(path))
    assert set(NAMES) <= set(loaded.frame)
    return loaded


@pytest.mark.parametrize('suffix', FORMATS)
def test_every_format_takes_every_name(
    table: EmbeddingTable, tmp_path: Path, suffix: str
) -> None:
    hits = RetrievalIndex(table).search(table.select([0]), 3)
    path = tmp_path / f'hits.{suffix}'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of names that the format changes
        write(hits, path)
        if suffix in ('gpkg', 'geojson', 'fgb', 'parquet'):
            back = read_search(path).results
            assert back['patch_id'].tolist() == hits['patch_id'].tolist()
            assert back['rank'].tolist() == [1, 2, 3]
            if suffix in ('gpkg', 'parquet'):
                assert set(hits) <= {*back, 'native_corners'}
                assert (back['geom'] == hits['geom']).all()


@pytest.mark.parametrize('name', NAMES)
def test_a_condition_on_every_name(table: EmbeddingTable, name: str) -> None:
    quoted = name.replace('"', '""')
    with suppress(QueryError):
        assert Where(where=f'"{quoted}" = \'t\'').rows(table).tolist() == [1]


@pytest.mark.parametrize('name', ['vector', 'part_row', 'bbox'])
def test_names_that_an_archive_needs(name: str) -> None:
    with pytest.raises(ArchiveError, match=name):
        make([name])
