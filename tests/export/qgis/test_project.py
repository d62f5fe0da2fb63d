"""The QGIS project without QGIS: what QGIS would silently ignore."""

import shutil
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import pytest
import shapely
from pyproj import CRS

from torchgeo_cmr.errors import OutputExistsError, QueryError, RasterError
from torchgeo_cmr.export import to_geopackage, to_project

AREA = shapely.box(9, 45, 9.1, 45.2)


def document(path: Path) -> ET.Element:
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        assert name == f'{path.stem}.qgs'
        return ET.fromstring(archive.read(name))


@pytest.fixture
def project(hits: gpd.GeoDataFrame, make: Any, tmp_path: Path) -> Path:
    return to_project(
        hits, tmp_path / 'hits.qgz', queries=make('s1', 2), area=AREA, links=True
    )


def test_layers(project: Path) -> None:
    root = document(project)
    layers = root.findall('projectlayers/maplayer')
    names = [layer.findtext('layername') for layer in layers]
    assert names == ['query', 'results', 'area_of_interest', 'links']
    ids = [layer.findtext('id') or '' for layer in layers]
    assert len(set(ids)) == len(ids)
    assert all(len(i) > 10 for i in ids)
    nodes = root.findall('layer-tree-group/layer-tree-layer')
    assert [n.get('id') for n in nodes] == ids
    assert [n.get('id') for n in root.findall('layerorder/layer')] == ids
    for layer in layers:
        assert layer.findtext('srs/spatialrefsys/authid') == 'EPSG:4326'
        assert layer.findtext('provider') == 'ogr'
        assert layer.find('renderer-v2') is not None
    assert layers[0].get('geometry') == 'Polygon'
    assert layers[3].get('geometry') == 'Line'
    assert layers[1].get('labelsEnabled') == '1'


def test_crs_has_wkt_wherever_it_is(project: Path) -> None:
    root = document(project)
    for parent in ('projectCrs', 'mapcanvas/destinationsrs'):
        system = root.find(f'{parent}/spatialrefsys')
        assert system is not None
        assert system.findtext('authid') == 'EPSG:32632'
        assert CRS.from_wkt(system.findtext('wkt') or '').to_epsg() == 32632
    for system in root.iter('spatialrefsys'):
        assert system.findtext('wkt')
    enabled = root.find('properties/SpatialRefSys/ProjectionsEnabled')
    assert enabled is not None
    assert (enabled.get('type'), enabled.text) == ('int', '1')


def test_paths_are_relative(project: Path) -> None:
    root = document(project)
    sources = [s.text or '' for s in root.iter('datasource')]
    assert sources[1] == './hits.gpkg|layername=results'
    assert root.findtext('properties/Paths/Absolute') == 'false'
    assert str(project.parent) not in ET.tostring(root, encoding='unicode')


def test_extent_and_times(project: Path, hits: gpd.GeoDataFrame) -> None:
    root = document(project)
    canvas = root.find('mapcanvas')
    assert canvas is not None
    assert canvas.get('name') == 'theMapCanvas'
    assert canvas.findtext('units') == 'meters'
    west = float(canvas.findtext('extent/xmin') or 'nan')
    east = float(canvas.findtext('extent/xmax') or 'nan')
    assert 499_000 < west < 500_000
    assert 503_000 > east > 501_920
    assert (
        root.findtext('ProjectTimeSettings/TemporalRange/start')
        == '2024-06-01T10:30:00Z'
    )
    assert (
        root.findtext('ProjectTimeSettings/TemporalRange/end') == '2024-06-01T10:30:00Z'
    )


def test_a_geopackage_that_is_there(
    hits: gpd.GeoDataFrame, make: Any, tmp_path: Path
) -> None:
    package = to_geopackage(hits, tmp_path / 'deep' / 'a.gpkg')
    before = package.read_bytes()
    path = to_project(hits, tmp_path / 'b.qgz', queries=make('s1'), geopackage=package)
    (source,) = [s.text for s in document(path).iter('datasource')]
    assert source == './deep/a.gpkg|layername=results'
    assert package.read_bytes() == before
    assert not (tmp_path / 'b.gpkg').exists()


def test_rasters_below(hits: gpd.GeoDataFrame, scenes: Path) -> None:
    path = to_project(
        hits,
        scenes / 'out' / 'a.qgz',
        similarity=scenes / 's1.tif',
        rasters=[scenes / 's2.tif'],
    )
    root = document(path)
    _, heat, picture = root.findall('projectlayers/maplayer')
    assert heat.get('type') == picture.get('type') == 'raster'
    assert heat.findtext('layername') == 'similarity'
    assert picture.findtext('datasource') == '../s2.tif'
    assert picture.findtext('srs/spatialrefsys/authid') == 'EPSG:32632'
    for layer, kind in ((heat, 'singlebandpseudocolor'), (picture, 'multibandcolor')):
        renderer = layer.find('pipe/rasterrenderer')
        assert renderer is not None
        assert renderer.get('type') == kind


def test_rasters_of_the_record(hits: gpd.GeoDataFrame, scenes: Path) -> None:
    band = [[str(scenes / 's2.tif'), i + 1, n, 10.0] for i, n in enumerate('abc')]
    gone = [['/nowhere/s9.tif', 1, 'x', 10.0]]
    record = {
        'scenes': {'s2': {'root': None, 'sources': {'s2.tif': band, 's9.tif': gone}}}
    }
    hits.loc[0, 'source'] = 's9.tif'
    path = to_project(hits, scenes / 'a.qgz', record=record)
    assert [s.text for s in document(path).iter('datasource')][1:] == ['./s2.tif']
    path = to_project(hits, scenes / 'b.qgz', record=record, rasters=[])
    assert len(list(document(path).iter('datasource'))) == 1
    # One band a file: one in grey.
    apart = [
        [str(scenes / 's1.tif'), 2, 'B04', 10.0],
        *([*b[:2], n, 10.0] for b, n in zip(band, ('B03', 'B02'), strict=False)),
    ]
    record['scenes']['s2']['sources']['s2.tif'] = apart
    root = document(to_project(hits, scenes / 'c.qgz', record=record))
    renderer = root.find('.//pipe/rasterrenderer')
    assert renderer is not None
    assert renderer.get('grayBand') == '2'


def test_without_results_and_times(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    root = document(to_project(hits.iloc[:0], tmp_path / 'a.qgz'))
    assert root.find('ProjectTimeSettings/TemporalRange') is None
    assert root.findtext('projectCrs/spatialrefsys/authid') == 'EPSG:4326'


def test_awkward_name(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = to_project(hits, tmp_path / 'a & <b> "ü".qgz')
    root = document(path)
    assert root.findtext('title') == 'a & <b> "ü"'
    assert next(root.iter('datasource')).text == './a & <b> "ü".gpkg|layername=results'


def test_refuses(hits: gpd.GeoDataFrame, tmp_path: Path, write_raster: Any) -> None:
    path = to_project(hits, tmp_path / 'a.qgz')
    with pytest.raises(OutputExistsError, match=r'a\.qgz is there already'):
        to_project(hits, path)
    shutil.move(path, tmp_path / 'b.qgz')
    with pytest.raises(OutputExistsError, match=r'a\.gpkg is there already'):
        to_project(hits, path)
    to_project(hits, path, overwrite=True)
    new = tmp_path / 'c.qgz'
    with pytest.raises(QueryError, match='is not there; write the GeoPackage first'):
        to_project(hits, new, geopackage=tmp_path / 'gone.gpkg')
    hits.drop(columns='native_corners').to_file(tmp_path / 'bare.gpkg')
    with pytest.raises(QueryError, match=r'holds no styles .*; write it with'):
        to_project(hits, new, geopackage=tmp_path / 'bare.gpkg')
    with pytest.raises(RasterError, match='cannot be opened as a raster'):
        to_project(hits, new, rasters=[tmp_path / 'gone.tif'])
    with pytest.raises(RasterError, match='has no CRS; declare it'):
        to_project(hits, new, similarity=write_raster('bare.tif', crs=None))
    assert not new.exists()
    assert not new.with_suffix('.gpkg').exists()
