"""Files of areas, labels and hits that are more than features: none fetches or hangs."""

import gzip
import io
import json
import os
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from torchgeo_cmr.cli.export_command import _features as read_source
from torchgeo_cmr.datasets import LabelFromMask
from torchgeo_cmr.errors import CMRError, QueryError
from torchgeo_cmr.export import read_search
from torchgeo_cmr.export.layer_info import describe_layer
from torchgeo_cmr.export.record.search_check import verify_search
from torchgeo_cmr.search.where.area import read_area
from torchgeo_cmr.vectors.vector_contents import check_vector
from torchgeo_cmr.vectors.vector_file import read_frame

Address = tuple[str, Callable[[], int]]


def layer(url: str) -> str:
    return (
        '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>/vsicurl/'
        f'{url}/a.geojson</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
    )


def drawing(crs: str) -> str:
    point = '{"type": "Point", "coordinates": [1, 2]}'
    feature = f'{{"type": "Feature", "properties": {{}}, "geometry": {point}}}'
    return f'{{"type": "FeatureCollection", {crs} "features": [{feature}]}}'


def linked(url: str) -> str:
    return drawing(f'"crs": {{"type": "link", "properties": {{"href": "{url}/crs"}}}},')


def entities(root: str) -> str:
    return f'<!DOCTYPE {root} [<!ENTITY a "b">]><{root}><n>&a;</n></{root}>'


#: Kind -> what a file holds, which is no feature of its own.
TEXTS: dict[str, Callable[[str], str]] = {
    'virtual layer': layer,
    'virtual layer behind text': lambda url: '{} ' + layer(url),
    'service': lambda url: f'<OGRWFSDataSource><URL>{url}</URL></OGRWFSDataSource>',
    'capabilities': lambda url: (
        '<wfs:WFS_Capabilities xmlns:wfs="http://www.opengis.net/'
        f'wfs"><OnlineResource>{url}</OnlineResource></wfs:WFS_Capabilities>'
    ),
    'algorithm': lambda url: (
        '{"type": "gdal_streamed_alg", "command_line": '
        f'"gdal vector pipeline ! read /vsicurl/{url}/a.geojson ! write streamed"}}'
    ),
    'raster service': lambda url: (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{url}'
        '</ServerUrl></Service></GDAL_WMS>'
    ),
    'unknown XML': lambda url: f'<DataSource><URL>{url}</URL></DataSource>',
    'linked CRS': linked,
    'linked CRS at the end': lambda url: (
        drawing('')[:-1]
        + f', "crs": {{"type": "URL", "properties": {{"url": "{url}"}}}}}}'
    ),
    'linked CRS behind a mile of blanks': lambda url: (
        drawing(' ' * 70_000)[:-1]
        + f', "crs": {{"type": "link", "properties": {{"href": "{url}"}}}}}}'
    ),
    'linked CRS in numbers': lambda url: (
        linked(url).replace('crs', '\\u0063rs', 1).replace('link', 'l\\u0069nk')
    ),
    'deep CRS': lambda _: drawing(
        '"crs": ' + '{"a":' * 30_000 + '1' + '}' * 30_000 + ','
    ),
    'entities in KML': lambda _: entities('kml'),
    'entities in GPX': lambda _: entities('gpx'),
    'entities in GML': lambda _: entities('FeatureCollection'),
}


def packed_as(kind: str, text: bytes, folder: Path) -> str:
    """Pack a file, and give the name by which it is read."""
    path = folder / f'packed.{kind}'
    if kind == 'zip':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('a.geojson', text)
        return str(path)
    if kind == 'tgz':
        with tarfile.open(path, 'w:gz') as archive:
            member = tarfile.TarInfo('a.geojson')
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        return f'/vsitar/{path}/a.geojson'
    with gzip.open(path, 'wb') as file:
        file.write(text)
    return f'/vsigzip/{path}'


@pytest.mark.parametrize('kind', TEXTS)
def test_a_file_that_names_data_elsewhere_is_refused(
    kind: str, tmp_path: Path, address: Address
) -> None:
    url, connections = address
    text = TEXTS[kind](url)
    for suffix in ('geojson', 'gpkg', 'kml', 'shp'):
        (tmp_path / f'x.{suffix}').write_text(text)
        with pytest.raises(QueryError) as caught:
            read_frame(tmp_path / f'x.{suffix}')
        assert len(str(caught.value).splitlines()) == 1
    for pack in ('zip', 'tgz', 'gz'):
        with pytest.raises(QueryError):
            read_frame(packed_as(pack, text.encode(), tmp_path))
    # The same bytes in UTF-16, which GDAL may decode.
    (tmp_path / 'x.kml').write_text(text, encoding='utf-16')
    with pytest.raises(QueryError):
        read_frame(tmp_path / 'x.kml')
    assert connections() == 0


@pytest.mark.parametrize('kind', ['virtual layer', 'service', 'linked CRS'])
def test_every_reader_of_vectors_refuses_it(
    kind: str, tmp_path: Path, address: Address
) -> None:
    url, connections = address
    path = tmp_path / 'x.gpkg'
    path.write_text(TEXTS[kind](url))
    for read in (read_source, read_search, describe_layer):
        with pytest.raises(CMRError, match='not fetched'):
            read(path)
    with pytest.raises(CMRError, match='not fetched'):
        LabelFromMask(path, column='a')
    assert [finding.fault for finding in verify_search(path)] != ['']
    assert connections() == 0


@pytest.mark.parametrize(
    'name',
    [
        '/vsicurl/{url}/a.gpkg',
        '/vsizip//vsicurl/{url}/a.zip/a.shp',
        '/vsizip/{{/vsicurl/{url}/a.zip}}/a.shp',
        'zip:///vsicurl/{url}/a.zip/a.shp',
        'zip+{url}/a.zip',
        '/vsis3/bucket/a.gpkg',
        '/vsistdin/',
        '{url}/a.geojson',
        'WFS:{url}',
        'OAPIF:{url}',
        'GMLAS:{url}/a.gml',
        'PG:host=127.0.0.1',
        'CSW:{url}',
        'ADBC:a.db',
        'pipe.gpkg',
        'folder',
        'socket.gpkg',
        '/dev/zero',
        'nothing.gpkg',
    ],
)
def test_a_name_that_is_not_a_file_is_refused(
    name: str, tmp_path: Path, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, connections = address
    monkeypatch.chdir(tmp_path)
    os.mkfifo('pipe.gpkg')
    (tmp_path / 'folder').mkdir()
    os.mkfifo('folder/a.shp')
    with socket.socket(socket.AF_UNIX) as plugged:
        plugged.bind('socket.gpkg')
        with pytest.raises(QueryError):
            read_frame(name.format(url=url))
    assert connections() == 0


def test_archives_that_grow_are_refused_before_they_are_unpacked(
    tmp_path: Path,
) -> None:
    bomb = tmp_path / 'a.zip'
    with zipfile.ZipFile(bomb, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.geojson', b' ' * 2**20)
    # The size that the directory claims, as of a file of 2 GiB.
    content = bytearray(bomb.read_bytes())
    place = content.rindex(b'PK\1\2') + 24
    content[place : place + 4] = (2**31).to_bytes(4, 'little')
    bomb.write_bytes(content)
    with pytest.raises(QueryError, match='claims 2147483648 bytes'):
        read_frame(bomb)
    with zipfile.ZipFile(bomb, 'w') as archive:
        for number in range(10_001):
            archive.writestr(f'{number}', b'')
    with pytest.raises(QueryError, match='10001 files'):
        read_frame(bomb)
    bomb.write_bytes(b'PK\3\4 and no more')
    with pytest.raises(QueryError, match='cannot be read as an archive'):
        read_frame(bomb)


def test_what_only_looks_alike_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = gpd.GeoDataFrame(
        {'name': ['<OGR', 'link'], 'href': ['http://x', '{"crs": 1}']},
        geometry=shapely.box([0, 1], 0, [1, 2], 1),
        crs=4326,
    )
    monkeypatch.chdir(tmp_path)
    for name in ('a.gpkg', 'b.geojson', 'c.fgb', 'd.shp', 'e.gml', 'f.kml'):
        frame.to_file(Path(name))
        assert len(read_frame(name)) == 2
    named = json.loads(Path('b.geojson').read_text())
    named['crs'] = {
        'type': 'name',
        'properties': {'name': 'urn:ogc:def:crs:EPSG::3857'},
    }
    Path('b.geojson').write_text(json.dumps(named))
    assert read_frame('b.geojson').crs == 'EPSG:3857'
    # A name with a driver's prefix is a file if there is one.
    Path('a.gpkg').rename('PG:a.gpkg')
    assert len(read_frame('PG:a.gpkg')) == 2
    assert check_vector('c.fgb', QueryError) == str(tmp_path / 'c.fgb')


@pytest.mark.parametrize(
    'crs',
    [
        'LOCAL_CS["site",UNIT["metre",1]]',
        'ENGCRS["a",EDATUM["d"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north]]',
        'EPSG:4978',
        'EPSG:5773',
    ],
    ids=['local', 'engineering', 'geocentric', 'vertical'],
)
def test_an_area_without_a_way_to_degrees_is_a_sentence(crs: str) -> None:
    with pytest.raises(QueryError, match=r'check its CRS|is not a CRS'):
        read_area(shapely.box(0, 0, 1, 1), crs)


@pytest.mark.parametrize('name', ['a;b.geojson', 'a!b/c.geojson', 'a\nb.geojson'])
def test_a_name_that_the_library_cuts_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(drawing(''))
    for read in (read_area, read_source, describe_layer):
        with pytest.raises(
            CMRError, match=r"holds '(;|!|\\n)', .* choose a name without"
        ):
            read(path)
