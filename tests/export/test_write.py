"""The door to all writers: suffixes, and what is refused before the work."""

import os
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pytest
import rasterio

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import check_outputs, to_geojson, write


@pytest.mark.parametrize(
    'name', ['hits.geojson', 'new/folder/HITS.GeoJSON', 'a.b.geojson']
)
def test_geojson_by_suffix(hits: gpd.GeoDataFrame, tmp_path: Path, name: str) -> None:
    path = write(hits, tmp_path / name)
    assert path == tmp_path / name
    plain = to_geojson(hits, tmp_path / 'plain.geojson')
    assert path.read_bytes() == plain.read_bytes()
    assert pyogrio.read_info(path)['driver'] == 'GeoJSON'


@pytest.mark.parametrize(
    ('name', 'driver'),
    [
        ('a.gpkg', 'GPKG'),
        ('a.GEOJSON', 'GeoJSON'),
        ('a.b.stac.json', 'GeoJSON'),
        ('A.STAC.JSON', 'GeoJSON'),
        ('a.tif', 'GTiff'),
    ],
)
def test_another_reader_knows_the_format(
    hits: gpd.GeoDataFrame, tmp_path: Path, name: str, driver: str
) -> None:
    path = write(hits, tmp_path / name)
    if driver == 'GTiff':
        with rasterio.open(path) as file:
            assert file.driver == driver
    else:
        (layer, _), *_ = pyogrio.list_layers(path)
        assert pyogrio.read_info(path, layer=layer)['driver'] == driver
        assert len(pyogrio.read_dataframe(path, layer=layer)) == 6


def test_parquet_and_html_by_suffix(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    assert len(gpd.read_parquet(write(hits, tmp_path / 'a.parquet'))) == 6
    assert write(hits, tmp_path / 'a.html').read_text().startswith('<!DOCTYPE html>')


def test_everything_reaches_the_writer(
    hits: gpd.GeoDataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def writer(results: gpd.GeoDataFrame, path: str, **others: Any) -> Path:
        seen.update(results=results, path=path, **others)
        return Path(path)

    monkeypatch.setitem(write.__globals__['WRITERS'], '.gpkg', writer)
    others: dict[str, Any] = {
        'queries': object(),
        'area': object(),
        'record': {'k': 10},
        'overwrite': True,
    }
    assert write(hits, 'a.GPKG', **others) == Path('a.GPKG')
    assert seen.pop('results') is hits
    assert seen == {'path': 'a.GPKG', **others}
    check_outputs(['a.gpkg'])


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('hits.shp', r'hits\.shp has the suffix \.shp, .*in one of \.gpkg, \.geojson'),
        ('hits', r'hits has no suffix; name a file that ends in one of \.gpkg'),
        ('.geojson', r'\.geojson has no suffix'),
        ('hits.json', r'name it hits\.geojson if you want that format'),
        ('stac.json', r'name it stac\.geojson if you want that format'),
        ('hits.geojson.gz', r'has the suffix \.gz'),
    ],
)
def test_suffixes_without_a_writer(
    hits: gpd.GeoDataFrame, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        write(hits, tmp_path / name)
    with pytest.raises(QueryError, match=message):
        check_outputs([tmp_path / 'fine.geojson', tmp_path / name])
    assert not list(tmp_path.iterdir())


def test_overwrite(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = write(hits, tmp_path / 'hits.geojson')
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match='is there already'):
        write(hits.head(1), path)
    assert path.read_bytes() == before
    write(hits.head(1), path, overwrite=True)
    assert len(gpd.read_file(path)) == 1


class TestCheckOutputs:
    def test_creates_nothing(self, tmp_path: Path) -> None:
        check_outputs([tmp_path / 'a.geojson', tmp_path / 'new' / 'b.geojson'])
        check_outputs([])
        assert not list(tmp_path.iterdir())

    def test_there_already(self, tmp_path: Path) -> None:
        (tmp_path / 'a.geojson').touch()
        (tmp_path / 'b.geojson').symlink_to(tmp_path / 'nowhere')
        for name in ('a.geojson', 'b.geojson'):
            with pytest.raises(OutputExistsError, match='choose another name or'):
                check_outputs([tmp_path / name])
            check_outputs([tmp_path / name], overwrite=True)

    def test_a_style_beside_a_file(self, tmp_path: Path) -> None:
        (tmp_path / 'a.qml').touch()
        check_outputs([tmp_path / 'a.gpkg', tmp_path / 'a.parquet'])
        for name in ('a.geojson', 'a.tif'):
            with pytest.raises(OutputExistsError, match=r'a\.qml is there already'):
                check_outputs([tmp_path / name])
        with pytest.raises(
            QueryError,
            match=r'b\.geojson and \S*b\.tif would share the style \S*b\.qml',
        ):
            check_outputs([tmp_path / 'b.geojson', tmp_path / 'b.tif'])

    @pytest.mark.parametrize('overwrite', [True, False])
    def test_a_folder(self, tmp_path: Path, overwrite: bool) -> None:
        (tmp_path / 'a.geojson').mkdir()
        with pytest.raises(OutputExistsError, match='is a folder; name a file'):
            check_outputs([tmp_path / 'a.geojson'], overwrite=overwrite)

    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / 'file').touch()
        with pytest.raises(QueryError, match='file is a file; name another folder'):
            check_outputs([tmp_path / 'file' / 'deep' / 'a.geojson'])

    def test_named_twice(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(QueryError, match=r'a\.geojson is named twice'):
            check_outputs(['a.geojson', tmp_path / 'a.geojson'])

    def test_closed_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = tmp_path / 'closed'
        closed.mkdir(mode=0o500)
        # The superuser may write everywhere; pretend to be somebody else.
        access = os.access
        monkeypatch.setattr(
            os, 'access', lambda p, mode: Path(p) != closed and access(p, mode)
        )
        for path in (closed / 'a.geojson', closed / 'new' / 'a.geojson'):
            with pytest.raises(QueryError, match='closed is closed to you'):
                check_outputs([path])
        check_outputs([tmp_path / 'a.geojson'])
