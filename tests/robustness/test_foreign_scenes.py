"""Scenes, catalogues, cubes, images and sounds that are broken on purpose: refused alone."""

import copy
import json
import os
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import xarray as xr
from affine import Affine
from PIL import Image
from rasterio.windows import Window

from torchgeo_cmr import tasks
from torchgeo_cmr.datasets.spoken.class_folders import read_image
from torchgeo_cmr.embed import embed_images, embed_sounds, list_scenes, read_report
from torchgeo_cmr.embed.scenes.torchgeo_dataset import open_dataset
from torchgeo_cmr.errors import AudioError, CMRError, RasterError
from torchgeo_cmr.main import main
from torchgeo_cmr.reading.cube_reader import CubeReader
from torchgeo_cmr.scenes.files import find_files
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.sources.cubes import cube_scenes
from torchgeo_cmr.scenes.sources.stac import find_items
from torchgeo_cmr.speech import read_wav, speak, write_wav

Writer = Callable[..., Path]
Address = tuple[str, Callable[[], int]]

BANDS = ('B02', 'B03', 'B04')
STATED = {'bands': BANDS, 'shape': (32, 32)}


class Encoder:
    """Means of bands, as a task."""

    training = False
    space = 'means'

    def __init__(self, key: str = 'image_s2', channels: int = 3) -> None:
        self.keys = {'s2': key}
        self.in_channels = {'s2': channels}
        self.specs: dict[str, Any] = {
            's2': {'bands': list(BANDS)[:channels], 'patch_size': 16}
        }

    def embed(self, batch: dict[str, Any], modality: str) -> Any:
        rows = batch[self.keys[modality]].flatten(2).float().nan_to_num().mean(2) + 1
        return rows / rows.norm(dim=1, keepdim=True)

    def __getattr__(self, name: str) -> Any:
        import torch

        return getattr(torch.nn.Identity(), name)


def item(name: str = 'x', **changes: Any) -> dict[str, Any]:
    """A STAC item of one asset."""
    return {
        'type': 'Feature',
        'stac_version': '1.0.0',
        'id': name,
        'geometry': None,
        'properties': {'datetime': '2024-06-01T10:00:00Z', 'proj:code': 'EPSG:32632'},
        'assets': {
            'data': {
                'href': 'good.tif',
                'type': 'image/tiff',
                'roles': ['data'],
                'bands': [{'name': band} for band in BANDS],
                'raster:bands': [{'scale': 1, 'offset': 0}] * 3,
            }
        },
        **changes,
    }


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to all values inside of a value."""
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in inside:
        yield (*way, key)
        yield from places(child, (*way, key))


def opened_or_refused(path: Path) -> str:
    """Open all items of a list; give the sentence if one is refused."""
    try:
        for _, opening in find_items(str(path), BANDS):
            opening()
    except RasterError as error:
        return str(error)
    return ''


@pytest.mark.slow
def test_an_item_of_any_shape_is_refused_or_opened(
    write_raster: Writer, tmp_path: Path
) -> None:
    """Every value of an item is replaced by values of other kinds: no raw exception."""
    write_raster('good.tif', **STATED)
    path = tmp_path / 'items.json'
    deep: Any = []
    for _ in range(50):
        deep = [deep]
    wrong = [
        None,
        '',
        0,
        -1,
        1e300,
        True,
        [],
        [1],
        {},
        {'a': 1},
        'x\0y',
        deep,
        '/vsicurl/x',
    ]
    opened = refused = 0
    for way in places(item()):
        for value in wrong:
            changed: Any = item()
            inner = changed
            for key in way[:-1]:
                inner = inner[key]
            inner[way[-1]] = copy.deepcopy(value)
            path.write_text(json.dumps(changed))
            sentence = opened_or_refused(path)
            opened, refused = opened + (not sentence), refused + bool(sentence)
            assert len(sentence.splitlines()) < 2
    assert opened + refused > 350
    assert min(opened, refused) > 100


@pytest.mark.parametrize(
    'text',
    [
        '[]',
        '3',
        'null',
        '"x"',
        '{}',
        '{"type": []}',
        '{"type": "FeatureCollection", "features": 3}',
        '{"type": "FeatureCollection", "features": {"a": 1}}',
        '{"type": "Catalog", "links": 3}',
        '{"type": "Catalog", "links": [3, null, {"rel": ["item"]}]}',
        '{"type": "Catalog", "links": [{"rel": "item", "href": "pipe.json"}]}',
        '{"type": "Catalog", "links": [{"rel": "item", "href": "/dev/zero"}]}',
        '{"type": "Catalog", "links": [{"rel": "item", "href": 5}]}',
        '[' * 100_000,
        '{"type": "Feature", "id": ' + '{"a":' * 100_000,
        '\0',
        '',
    ],
    ids=range(17),
)
def test_a_list_of_any_shape_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / 'list.json'
    path.write_text(text)
    os.mkfifo(tmp_path / 'pipe.json')
    assert len(opened_or_refused(path).splitlines()) == 1


@pytest.mark.parametrize('name', ['list.json', 'list.parquet'])
def test_a_list_that_is_a_pipe_or_device_is_refused(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(RasterError, match='is a named pipe and not a file'):
        find_items(str(tmp_path / name))
    (tmp_path / 'zero.json').symlink_to('/dev/zero')
    with pytest.raises(RasterError, match='is a device and not a file'):
        find_items(str(tmp_path / 'zero.json'))


@pytest.mark.parametrize(
    'value', ['', [], {}, 0, False, 'yesterday', 20240601, ['2024']]
)
@pytest.mark.parametrize('key', ['datetime', 'start_datetime', 'end_datetime'])
def test_a_date_that_is_not_one_is_refused(
    key: str, value: Any, write_raster: Writer, tmp_path: Path
) -> None:
    write_raster('good.tif', **STATED)
    dates = {'datetime': '2024-06-01', key: value}
    (tmp_path / 'x.json').write_text(json.dumps(item(properties=dates)))
    ((_, opening),) = find_items(str(tmp_path / 'x.json'))
    with pytest.raises(RasterError, match=r'date of the item x: .* is not a date'):
        opening()


@pytest.mark.parametrize(
    'href',
    [
        '{url}/x.tif',
        '/vsicurl/{url}/x.tif',
        '/vsizip//vsicurl/{url}/x.zip/x.tif',
        's3://bucket/x.tif',
        'GTIFF_DIR:1:good.tif',
        'NETCDF:x.nc:a',
        'vrt.tif',
        'vrt.vrt',
        'pipe.tif',
        '<VRTDataset/>',
        'x.zarr',
    ],
)
def test_an_asset_elsewhere_is_refused(
    href: str, write_raster: Writer, tmp_path: Path, address: Address
) -> None:
    url, connections = address
    write_raster('good.tif', **STATED)
    virtual = (
        '<VRTDataset rasterXSize="32" rasterYSize="32"><VRTRasterBand dataType="Byte" '
        f'band="1"><SimpleSource><SourceFilename>/vsicurl/{url}/x.tif</SourceFilename>'
        '</SimpleSource></VRTRasterBand></VRTDataset>'
    )
    for name in ('vrt.tif', 'vrt.vrt'):
        (tmp_path / name).write_text(virtual)
    os.mkfifo(tmp_path / 'pipe.tif')
    (tmp_path / 'x.zarr').mkdir()
    os.mkfifo(tmp_path / 'x.zarr' / '.zgroup')
    asset = {'href': href.format(url=url), 'type': 'image/tiff', 'roles': ['data']}
    (tmp_path / 'x.json').write_text(json.dumps(item(assets={'data': asset})))
    ((_, opening),) = find_items(str(tmp_path / 'x.json'))
    with pytest.raises(RasterError):
        opening()
    assert connections() == 0


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack('>I', zlib.crc32(kind + data))
        return struct.pack('>I', len(data)) + kind + data + check

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', pixels)
        + chunk(b'IEND', b'')
    )


#: Kind -> suffix and content of an image or a sound that cannot be used.
IMAGES = {
    'empty': ('png', b''),
    'text': ('jpg', b'no picture'),
    'too many pixels': ('png', png(40_000, 40_000)),
    'far too many pixels': ('png', png(2**31 - 1, 2**31 - 1)),
    'cut': ('png', png(64, 64)[:50]),
    'PostScript': (
        'png',
        b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n',
    ),
    'a header of Windows alone': ('bmp', b'BM' + bytes(60)),
    'a claim of JPEG': (
        'jpg',
        b'\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03' + bytes(9),
    ),
    'a claim of WebP': ('webp', b'RIFF\xff\xff\xff\xffWEBPVP8X' + b'\xff' * 20),
    'TIFF that loops': ('tif', b'II*\0\x08\0\0\0\0\0\x08\0\0\0'),
    'XML': ('tif', b'<VRTDataset rasterXSize="9" rasterYSize="9"/>'),
}


@pytest.mark.parametrize('kind', IMAGES)
def test_one_bad_image_is_refused_and_the_others_are_embedded(
    kind: str, tmp_path: Path
) -> None:
    suffix, content = IMAGES[kind]
    folder = tmp_path / 'in'
    folder.mkdir()
    (folder / f'bad.{suffix}').write_bytes(content)
    Image.new('RGB', (32, 32), (9, 99, 9)).save(folder / 'good.png')
    with pytest.warns(UserWarning, match=r'bad\.'):
        table = embed_images(
            Encoder(), folder, 's2', out=tmp_path / 'out', progress=False
        )
    assert table.frame['source'].tolist() == ['good.png']
    ((name, sentence),) = read_report(tmp_path / 'out')['refused'].items()
    assert (name, len(sentence.splitlines())) == (f'bad.{suffix}', 1)


def test_no_interpreter_runs_for_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / 'gs'
    program.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    (tmp_path / 'x.png').write_bytes(IMAGES['PostScript'][1])
    with pytest.raises(RasterError, match='cannot be read as an image'):
        read_image(tmp_path / 'x.png')
    assert not (tmp_path / 'ran').exists()


def wav(fields: dict[int, bytes]) -> bytes:
    """A WAV of 1,000 samples with bytes of its header replaced."""
    header = struct.pack(
        '<4sI4s4sIHHIIHH4sI',
        *(
            b'RIFF',
            2036,
            b'WAVE',
            b'fmt ',
            16,
            1,
            1,
            16_000,
            32_000,
            2,
            16,
            b'data',
            2000,
        ),
    )
    content = bytearray(header + np.arange(1, 1001, dtype='<i2').tobytes())
    for place, value in fields.items():
        content[place : place + len(value)] = value
    return bytes(content)


SOUNDS = {
    'empty': b'',
    'text': b'no sound',
    'no format': wav({20: b'\xff\xff'}),
    'no channels': wav({22: b'\0\0'}),
    '65,535 channels': wav({22: b'\xff\xff', 32: b'\xff\xff'}),
    'no rate': wav({24: b'\0\0\0\0'}),
    'a rate of 4 GHz': wav({24: b'\xff\xff\xff\xff'}),
    '65,535 bits': wav({34: b'\xff\xff'}),
    '4 GB': wav({4: b'\xff\xff\xff\xff', 40: b'\xff\xff\xff\x7e'}),
    'silence': wav({44: bytes(2000)}),
    'a chunk without end': wav({36: b'junk', 40: b'\xff\xff\xff\xff'}),
    'a pickle': b'\x80\x04\x95' + bytes(60),
}


@pytest.mark.parametrize('kind', SOUNDS)
def test_one_bad_sound_is_refused_and_the_others_are_embedded(
    kind: str, tmp_path: Path
) -> None:
    folder = tmp_path / 'in'
    folder.mkdir()
    (folder / 'bad.wav').write_bytes(SOUNDS[kind])
    write_wav(folder / 'good.wav', np.sin(np.arange(8000)))
    with pytest.warns(UserWarning, match=r'bad\.wav'):
        table = embed_sounds(
            Encoder('audio', 1),
            folder,
            seconds=0.5,
            out=tmp_path / 'out',
            progress=False,
        )
    assert table.frame['source'].tolist() == ['good.wav']
    (sentence,) = read_report(tmp_path / 'out')['refused'].values()
    assert len(sentence.splitlines()) == 1


def test_a_sound_or_image_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    for name, read in (('x.wav', read_wav), ('x.png', read_image)):
        os.mkfifo(tmp_path / name)
        with pytest.raises(CMRError):
            read(tmp_path / name)


def cube(path: Path, **arrays: Any) -> Path:
    """A Zarr store, version 2, of three bands with four chunks each."""
    centres = 10 * np.arange(32) + 5.0
    data = {
        band: (('y', 'x'), np.full((32, 32), 500 + i, 'uint16'))
        for i, band in enumerate(BANDS)
    }
    made = xr.Dataset(
        {**data, 'spatial_ref': ((), 0, {'crs_wkt': pyproj.CRS(32632).to_wkt()})},
        {'x': 6e5 + centres, 'y': 5e6 - centres},
    )
    for band in BANDS:
        made[band].attrs['grid_mapping'] = 'spatial_ref'
    chunks = {band: {'chunks': (16, 16), **arrays} for band in BANDS}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        made.to_zarr(path, zarr_format=2, encoding=chunks, consolidated=False)
    return path


def damage_chunk(path: Path) -> None:
    (path / 'B03' / '0.1').write_bytes(b'damaged')


def make_pipe(path: Path) -> None:
    (path / 'B03' / '0.1').unlink()
    os.mkfifo(path / 'B03' / '0.1')


def edited(name: str, **changes: Any) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        file = path / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return edit


CUBES: dict[str, Callable[[Path], Any]] = {
    'damaged chunk': damage_chunk,
    'pipe for a chunk': make_pipe,
    'no metadata': lambda path: (path / 'B03' / '.zarray').write_text('{'),
    'pickled objects': edited(
        'B03/.zarray', dtype='|O', filters=[{'id': 'pickle', 'protocol': 4}]
    ),
    'unknown codec': edited('B03/.zarray', compressor={'id': 'nothing'}),
    'codec of another shape': edited('B03/.zarray', compressor=[3]),
    'a trillion pixels': edited('B03/.zarray', shape=[10**6, 10**6]),
    'negative pixels': edited('B03/.zarray', shape=[-1, 32]),
    'chunks of nothing': edited('B03/.zarray', chunks=[0, 0]),
    'deep attributes': lambda path: (path / 'B03' / '.zattrs').write_text('[' * 99_999),
    'pipe for attributes': lambda path: (
        (path / 'B03' / '.zattrs').unlink(),
        os.mkfifo(path / 'B03' / '.zattrs'),
    )[0],
    'uneven steps': lambda path: (path / 'x' / '0').write_bytes(os.urandom(256)),
}


@pytest.fixture
def run(
    write_raster: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, dict[str, Any]]]:
    """Embed two good scenes and others from the command line."""
    monkeypatch.setattr(tasks, 'load_task', lambda ckpt, task_class: Encoder())
    monkeypatch.setattr('torchgeo_cmr.regular_files.check_checkpoint', str)
    for name in ('good.tif', 'last.tif'):
        write_raster(name, **STATED)

    def call(*given: str, out: str = 'out') -> tuple[int, str, dict[str, Any]]:
        paths = [str(tmp_path / name) for name in ('good.tif', *given, 'last.tif')]
        words = ['--ckpt', 'x', '--modality', 's2', '--quiet', '--size', '16']
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter('always')
            code = main(['embed', *paths, *words, '--out', str(tmp_path / out)])
        error = capsys.readouterr().err
        return code, error, read_report(tmp_path / out) if code < 2 else {}

    return call


@pytest.mark.parametrize('kind', CUBES)
def test_one_bad_cube_is_refused_and_the_others_are_embedded(
    kind: str, run: Callable[..., Any], tmp_path: Path
) -> None:
    CUBES[kind](cube(tmp_path / 'bad.zarr'))
    code, error, report = run('bad.zarr')
    assert (code, len(report['done'])) == (1, 2), error
    ((name, sentence),) = report['refused'].items()
    assert name.startswith('bad.zarr') or name.endswith('bad.zarr')
    assert len(sentence.splitlines()) == 1


def test_a_cube_that_names_its_crs_by_an_address_is_refused(
    tmp_path: Path, address: Address
) -> None:
    url, connections = address
    path = cube(tmp_path / 'x.zarr')
    for name in ('crs_wkt', 'spatial_ref', 'crs'):
        (path / 'spatial_ref' / '.zattrs').write_text(
            json.dumps({name: f'{url}/crs', '_ARRAY_DIMENSIONS': []})
        )
        with pytest.raises(RasterError, match='names its CRS by an address'):
            cube_scenes(str(path))
    assert connections() == 0


#: A fill value of a store, and what a chunk that is not there reads as.
@pytest.mark.parametrize(('fill', 'value'), [(None, 0.0), (0, np.nan), (500, np.nan)])
def test_a_chunk_that_is_not_there_is_missing_where_the_store_says_so(
    fill: int | None, value: float, tmp_path: Path
) -> None:
    path = cube(tmp_path / 'x.zarr')
    for band in BANDS:
        edited(f'{band}/.zarray', fill_value=fill)(path)
        (path / band / '0.1').unlink()
    (scene,) = cube_scenes(str(path))
    window = Window.from_slices((0, 16), (16, 32))
    pixels = CubeReader(scene).read(window)
    assert np.array_equal(pixels, np.full((3, 16, 16), value), equal_nan=True)


def write_backwards(write: Writer, folder: Path) -> None:
    write('other/x.tif', **STATED)
    asset = {'href': 'other/x.tif', 'type': 'image/tiff'}
    dates = {
        'start_datetime': '2025-01-01T00:00:00Z',
        'end_datetime': '2020-01-01T00:00:00Z',
    }
    content = item(properties=dates, assets={'data': asset})
    (folder / 'bad.json').write_text(json.dumps(content))


SCENES: dict[str, Callable[[Writer, Path], Any]] = {
    'a name that is not UTF-8': lambda write, folder: shutil.copy(
        folder / 'good.tif', os.fsdecode(os.fsencode(folder) + b'/bad_\xff.tif')
    ),
    'a pipe': lambda write, folder: os.mkfifo(folder / 'bad.tif'),
    'a claim of 10^12 pixels': lambda write, folder: (folder / 'bad.vrt').write_text(
        '<VRTDataset rasterXSize="1000000" rasterYSize="1000000"><SRS>EPSG:32632</SRS>'
        '<GeoTransform>600000,10,0,5000000,0,-10</GeoTransform>'
        + ''.join(f'<VRTRasterBand dataType="UInt16" band="{i}"/>' for i in (1, 2, 3))
        + '</VRTDataset>'
    ),
    'a date that ends before it begins': write_backwards,
    'pixels of an infinite size': lambda write, folder: write(
        'bad.tif', **STATED, transform=Affine(1e300, 0, 0, 0, -1e300, 0)
    ),
}


@pytest.mark.parametrize('kind', SCENES)
def test_one_bad_scene_is_refused_and_the_others_are_embedded(
    kind: str, run: Callable[..., Any], write_raster: Writer, tmp_path: Path
) -> None:
    SCENES[kind](write_raster, tmp_path)
    (bad,) = [name for name in os.listdir(tmp_path) if name.startswith('bad')]
    code, error, report = run(bad)
    assert 'Traceback' not in error
    if kind == 'a pipe':  # named by the user: nothing is begun
        assert code == 2
        assert 'is neither a file nor a folder' in error
        return
    assert (code, len(report['done'])) == (1, 2), error
    (sentence,) = report['refused'].values()
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize(
    'text', ['mine', '{}', '[]', '{"counts": 1}', '[' * 100_000, '\0'], ids=range(6)
)
def test_a_report_that_is_not_ours_is_not_replaced(
    text: str, run: Callable[..., Any], tmp_path: Path
) -> None:
    mine = tmp_path / 'out-report.json'
    mine.write_text(text)
    code, error, _ = run()
    assert code == 2
    assert 'out-report.json is where the report of the run goes' in error
    assert mine.read_text() == text
    assert not (tmp_path / 'out').exists()
    mine.unlink()
    mine.symlink_to('elsewhere.json')
    assert run()[0] == 2
    mine.unlink()
    # Ours is replaced by the next run.
    assert run()[0] == 0
    assert run()[0] == 0


def test_torchgeo_is_not_given_what_fetches(
    write_raster: Writer, tmp_path: Path, address: Address
) -> None:
    url, connections = address
    write_raster('in/T32TQM_20240601T101559_B02.tif', shape=(32, 32))
    (tmp_path / 'in' / 'T32TQM_20240611T101559_B02.tif').write_text(
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{url}</ServerUrl></Service></GDAL_WMS>'
    )
    with pytest.warns(UserWarning, match='1 of 2 files do not begin like rasters'):
        found = open_dataset(
            'torchgeo.datasets.Sentinel2', [str(tmp_path / 'in')], ['B02']
        )
    assert len(list_scenes(found)) == 1
    assert connections() == 0


class Voice:
    """Says the same whatever the words."""

    name = 'voice'

    def say(
        self, words: str, voice: str, speed: int, pitch: int
    ) -> tuple[np.ndarray, int]:
        return np.ones(8000, np.float32), 16_000


@pytest.mark.parametrize(
    'label',
    ['../x', '/x', '..', '.', '', 'a/b', 'a\\b', 'a\0b', 'a\nb', '\x1b[2J', 'x' * 300],
)
def test_no_label_or_voice_leaves_the_folder(label: str, tmp_path: Path) -> None:
    for labels in ([label], {label: 'words'}):
        with pytest.raises(AudioError):
            speak(labels, tmp_path / 'a' / 'b', engine=Voice(), progress=False)
    if (len(label) > 2 and '..' in label) or set(label) & set('/\\\0\n\x1b'):
        with pytest.raises(AudioError, match='part of a file name'):
            speak(
                ['river'],
                tmp_path / 'a' / 'b',
                voices=[label],
                engine=Voice(),
                progress=False,
            )
    assert not list(tmp_path.rglob('*.wav'))


def test_records_of_a_corpus_that_are_broken_are_named(tmp_path: Path) -> None:
    for name, text in (('speak.json', '[]'), ('speak.json', '{'), ('manifest.csv', '')):
        folder = tmp_path / f'{name}-{len(text)}'
        folder.mkdir()
        (folder / name).write_text(text)

        with pytest.raises(CMRError, match=name):
            speak(['river'], folder, engine=Voice(), takes=1, progress=False)


@pytest.mark.parametrize('name', ['product.zip', 'a.tif.gz', 'a.7z'])
def test_an_archive_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    heads = {'.zip': b'PK\3\4', '.gz': b'\x1f\x8b', '.7z': b'7z\xbc\xaf\x27\x1c'}
    path = tmp_path / name
    path.write_bytes(heads[path.suffix] + bytes(200))
    with pytest.raises(RasterError, match='it is an archive, so unpack it'):
        read_header(str(path))
    for inside in (f'/vsizip/{path}/a.tif', f'zip://{path}!a.tif'):
        with pytest.raises(RasterError, match='is not read, so unpack it'):
            find_files(inside)
