"""Rasters that are more than pixels: none runs code, fetches, or reads another file."""

import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio

from torchgeo_cmr.datasets.benchmarks.chips import open_chip
from torchgeo_cmr.embed.files.file_kinds import has_place
from torchgeo_cmr.errors import QueryError, RasterError
from torchgeo_cmr.evaluate.raster_labels import labels_from_raster
from torchgeo_cmr.export.pictures.thumbnails import PatchReader
from torchgeo_cmr.export.qgis.backdrop import picture_layer
from torchgeo_cmr.rasters.raster_files import open_pixels
from torchgeo_cmr.scenes.header import read_header

Writer = Callable[..., Path]
Address = tuple[str, Callable[[], int]]


def virtual(source: str, more: str = '', size: int = 64) -> str:
    """A VRT of one band."""
    return (
        f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}"><SRS>EPSG:32632</SRS>'
        f'<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>{more}'
        '<VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{source}</SourceFilename>'
        '<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>'
    )


def service(url: str) -> str:
    """A raster of tiles on the network."""
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png'
        '</ServerUrl></Service><DataWindow><UpperLeftX>500000</UpperLeftX>'
        '<UpperLeftY>5000000</UpperLeftY><LowerRightX>500640</LowerRightX>'
        '<LowerRightY>4999360</LowerRightY><SizeX>32</SizeX><SizeY>32</SizeY></DataWindow>'
        '<Projection>EPSG:32632</Projection><BlockSizeX>32</BlockSizeX>'
        '<BlockSizeY>32</BlockSizeY><BandsCount>1</BandsCount></GDAL_WMS>'
    )


def remote(url: str) -> str:
    return virtual(f'/vsicurl/{url}/x.tif')


def overviews(url: str) -> str:
    item = f'<MDI key="OVERVIEW_FILE">/vsicurl/{url}/x.ovr</MDI>'
    return f'<Metadata domain="OVERVIEWS">{item}</Metadata>'


#: Kind -> name of the file and what it holds; ``good.tif`` next to it is a raster.
TEXTS: dict[str, tuple[str, Callable[[str], str]]] = {
    'VRT as .tif': ('x.tif', remote),
    'VRT behind a blank as .jp2': ('x.jp2', lambda url: '\n ' + remote(url)),
    'service as .tif': ('x.tif', service),
    'service as .vrt': ('x.vrt', service),
    'tile index as .tif': (
        'x.tif',
        lambda url: (
            f'<GDALTileIndexDataset><IndexDataset>{url}</IndexDataset>'
            '</GDALTileIndexDataset>'
        ),
    ),
    'algorithm as .tif': (
        'x.tif',
        lambda url: (
            '{"type": "gdal_streamed_alg", "command_line": "gdal raster reproject '
            f'--of stream /vsicurl/{url}/x.tif streamed --dst-crs EPSG:4326"}}'
        ),
    ),
    'STAC as .tif': (
        'x.tif',
        lambda url: (
            '{"type": "FeatureCollection", "stac_version": "1.0.0", "features": '
            f'[], "links": [{{"rel": "next", "href": "{url}"}}]}}'
        ),
    ),
    'VRT of the network': ('x.vrt', remote),
    'VRT of an address': ('x.vrt', lambda url: virtual(f'{url}/x.tif')),
    'VRT of an archive on the network': (
        'x.vrt',
        lambda url: virtual(f'/vsizip//vsicurl/{url}/x.zip/x.tif'),
    ),
    'VRT of a directory of a file': (
        'x.vrt',
        lambda _: virtual('GTIFF_DIR:1:good.tif'),
    ),
    'VRT of a variable': ('x.vrt', lambda _: virtual('NETCDF:&quot;x.nc&quot;:v')),
    'VRT of text': ('x.vrt', lambda _: virtual('text.tif').replace('="0"', '="1"')),
    'VRT of itself': ('x.vrt', lambda _: virtual('x.vrt').replace('="0"', '="1"')),
    'VRT of XML': ('x.vrt', lambda url: virtual(remote(url).replace('<', '&lt;'))),
    'VRT of a pipe': ('x.vrt', lambda _: virtual('pipe.tif').replace('="0"', '="1"')),
    'VRT with an attribute for an element': (
        'x.vrt',
        lambda url: virtual('good.tif').replace(
            '<SimpleSource>', f'<SimpleSource SourceFilename="/vsicurl/{url}/x.tif">'
        ),
    ),
    'VRT in capitals': (
        'x.VRT',
        lambda url: remote(url).replace('SourceFilename', 'SOURCEFILENAME'),
    ),
    'VRT with overviews elsewhere': (
        'x.vrt',
        lambda url: virtual('good.tif', overviews(url)),
    ),
    'VRT with a step of another file': (
        'x.vrt',
        lambda url: virtual(
            'good.tif',
            '<ProcessingSteps><Step><Algorithm>LocalScaleOffset</Algorithm>'
            f'<Argument name="gain_dataset_filename_1">{url}/x.tif</Argument></Step>'
            '</ProcessingSteps>',
        ),
    ),
    'VRT with code': (
        'x.vrt',
        lambda _: virtual('good.tif').replace(
            'band="1">',
            'band="1" subClass="VRTDerivedRasterBand"><PixelFunctionType>f'
            '</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>'
            '<PixelFunctionCode>open("ran", "w")\ndef f(*a, **k): pass'
            '</PixelFunctionCode>',
        ),
    ),
    'VRT with entities': (
        'x.vrt',
        lambda _: (
            '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>' + virtual('&a;')
        ),
    ),
    'overviews next to it': ('good.tif.ovr', service),
    'mask next to it': ('good.tif.msk', remote),
    'overviews in its metadata': (
        'good.tif.aux.xml',
        lambda url: f'<PAMDataset>{overviews(url)}</PAMDataset>',
    ),
}


@pytest.fixture
def folder(
    write_raster: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    write_raster('good.tif', shape=(64, 64))
    (tmp_path / 'text.tif').write_text('root:x:0:0')
    os.mkfifo(tmp_path / 'pipe.tif')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('GDAL_VRT_ENABLE_PYTHON', 'YES')
    return tmp_path


def use(file: Any) -> None:
    """Have GDAL look at pixels, overviews and masks."""
    with file:
        file.read(1)
        file.read(1, out_shape=(8, 8))
        file.overviews(1)
        file.read_masks(1)


@pytest.mark.parametrize('kind', TEXTS)
def test_a_raster_that_names_data_elsewhere_is_refused(
    kind: str, folder: Path, address: Address
) -> None:
    url, connections = address
    name, make = TEXTS[kind]
    (folder / name).write_text(make(url))
    name = 'good.tif' if name.startswith('good') else name
    with pytest.raises(RasterError) as caught:
        read_header(str(folder / name))
    with pytest.raises(RasterError):
        use(open_chip(folder / name))
    has_place(folder / name)
    assert connections() == 0
    assert not (folder / 'ran').exists()
    assert len(str(caught.value).splitlines()) == 1
    assert name in str(caught.value) or 'pipe.tif is a named pipe' in str(caught.value)


@pytest.mark.parametrize(
    'name',
    [
        '/vsicurl/{url}/x.tif',
        '/vsizip//vsicurl/{url}/x.zip/x.tif',
        '/vsizip/{{/vsicurl/{url}/x.zip}}/x.tif',
        '/vsicurl_streaming/{url}/x.tif',
        '/vsis3/bucket/x.tif',
        '/vsistdin/',
        '/vsisubfile/0_100,/vsicurl/{url}/x.tif',
        '{url}/x.tif',
        'GTIFF_DIR:1:good.tif',
        'GTIFF_RAW:good.tif',
        'NETCDF:"good.tif":v',
        'ZARR:"/vsicurl/{url}"',
        'DERIVED_SUBDATASET:LOGAMPLITUDE:good.tif',
        'WMTS:{url}',
        'pipe.tif',
        '/dev/zero',
        'socket.tif',
        '.',
        'nothing.tif',
        'a\0b.tif',
        '<VRTDataset/>',
        '',
    ],
)
def test_a_name_that_is_not_a_file_is_refused(
    name: str, folder: Path, address: Address
) -> None:
    url, connections = address
    with socket.socket(socket.AF_UNIX) as plugged:
        plugged.bind('socket.tif')
        name = name.format(url=url)
        with pytest.raises(RasterError, match='file'):
            read_header(name)
        # As a record of a foreign archive names it.
        record = {'sources': {'x': [[name, 1, 'B1', 10]]}, 'root': str(folder)}
        for root in (str(folder), '', 'GTIFF_DIR:1:', f'/vsicurl/{url}'):
            with pytest.raises(QueryError, match='cannot be opened'):
                PatchReader({'s2': record}, root).open(
                    record, record['sources']['x'][0]
                )
    assert connections() == 0


def test_files_inside_an_archive_and_odd_names_open(folder: Path) -> None:
    with zipfile.ZipFile('z.zip', 'w') as packed:
        packed.write('good.tif', 'a/b.tif')
    for name in ('GTIFF_DIR:1:x', 'http:x.tif', '<x>.tif'):
        (folder / name).write_bytes((folder / 'good.tif').read_bytes())
        use(open_pixels(name))
    use(open_pixels(f'/vsizip/{folder}/z.zip/a/b.tif'))
    # A record names files, not what is inside of them.
    band = [f'/vsizip/{folder}/z.zip/a/b.tif', 1, 'B1', 10]
    with pytest.raises(QueryError, match='is not a file on this disk'):
        PatchReader({}).open({}, band)


def test_a_vrt_of_files_on_this_disk_opens(folder: Path) -> None:
    (folder / 'deep').mkdir()
    (folder / 'deep' / 'x.vrt').write_text(
        virtual('../good.tif').replace('="0"', '="1"')
    )
    (folder / 'y.vrt').write_text(virtual(f'{folder}/deep/x.vrt'))
    with open_pixels(folder / 'y.vrt') as found, rasterio.open('good.tif') as good:
        assert (found.read(1) == good.read(1)).all()
    # What it names may have changed since.
    (folder / 'y.vrt').write_text(virtual(f'{folder}/text.tif'))
    with pytest.raises(RasterError, match=r'text\.tif, which is not a GeoTIFF'):
        open_pixels(folder / 'y.vrt')


@pytest.mark.parametrize('kind', ['VRT as .tif', 'service as .tif'])
def test_a_file_found_by_pictures_projects_or_labels_is_refused(
    kind: str, folder: Path, address: Address
) -> None:
    url, connections = address
    name, make = TEXTS[kind]
    (folder / name).write_text(make(url))
    with pytest.raises(RasterError, match='XML in place of pixels'):
        picture_layer(folder / name, (), folder)
    with pytest.raises(RasterError, match='XML in place of pixels'):
        labels_from_raster(_nowhere(), [folder / name])
    with pytest.raises(QueryError, match='XML in place of pixels'):
        PatchReader({}).open({'root': str(folder)}, [name, 1, 'B1', 10])
    assert connections() == 0


def _nowhere() -> Any:
    import geopandas as gpd

    return gpd.GeoDataFrame(geometry=[], crs=4326)
