"""Scenes on a server: the vectors of the same files on this disk, and nothing without the user's word."""

import json
import logging
import os
import pickle
import time
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from range_server import RangeServer, range_server

from torchgeo_cmr.embed import embed, list_scenes, read_report
from torchgeo_cmr.embed.run_report import RefusedWarning
from torchgeo_cmr.errors import QueryError, RasterError
from torchgeo_cmr.export import Catalogue, clip_hits, scenes_of, to_collection, to_html
from torchgeo_cmr.main import main
from torchgeo_cmr.scenes.remote_files import RemoteFile, gdal_version
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable

BANDS = ('B02', 'B03', 'B04')

queries = pytest.mark.skipif(
    gdal_version() < (3, 11), reason='this GDAL would write queries into messages'
)


@pytest.fixture
def scenes(write_raster: Callable[..., Path], tmp_path: Path) -> Path:
    """Three scenes of three bands, of four blocks each."""
    rng = np.random.default_rng(0)
    for i in range(3):
        write_raster(
            f'served/{i}.tif',
            bands=BANDS,
            data=rng.integers(1, 10_000, (3, 64, 64)),
            dtype='uint16',
            origin=(500_000.0 + 1000 * i, 5_000_000.0),
            tiled=True,
            blockxsize=32,
            blockysize=32,
            interleave='pixel',
            compress='deflate',
        )
    return tmp_path / 'served'


@pytest.fixture
def server(
    scenes: Path, socket_enabled: None, monkeypatch: pytest.MonkeyPatch
) -> Generator[RangeServer]:
    """Serve them; nobody waits long for what fails."""
    monkeypatch.setattr('torchgeo_cmr.scenes.remote_access._PAUSES', (0.01, 0.01, 0.01))
    monkeypatch.setattr('torchgeo_cmr.scenes.remote_files._PAUSES', (0.01, 0.01, 0.01))
    monkeypatch.setenv('GDAL_HTTP_RETRY_DELAY', '0.01')
    with range_server(scenes) as served:
        yield served


@pytest.fixture
def run(fake: Callable[..., Any]) -> Callable[..., EmbeddingTable]:
    def run(scenes: Any, **options: Any) -> EmbeddingTable:
        options = {'progress': False, 'remote': True} | options
        return embed(fake(bands=BANDS), scenes, 's2', 16, **options)

    return run


def item(address: str, name: str = '0.tif') -> dict[str, Any]:
    return {
        'type': 'Feature',
        'stac_version': '1.0.0',
        'id': 'one',
        'properties': {'datetime': '2024-06-11T10:10:31Z'},
        'assets': {
            'data': {
                'href': f'{address}/{name}',
                'type': 'image/tiff',
                'eo:bands': [{'name': band} for band in BANDS],
            },
            'other': {
                'href': f'{address}/1.tif',
                'type': 'image/tiff',
                'eo:bands': [{'name': 'B11'}],
            },
        },
    }


def test_vectors_are_those_of_the_disk(
    server: RangeServer, scenes: Path, run: Callable[..., EmbeddingTable]
) -> None:
    local = run(scenes, remote=False)
    table = run([f'{server.address}/{i}.tif' for i in range(3)])
    np.testing.assert_array_equal(table.vectors, local.vectors)
    assert table.frame.geometry.equals(local.frame.geometry)
    assert set(table.frame['source']) == {f'{server.address}/{i}.tif' for i in range(3)}
    requests = [entry for entry in server.log() if entry['path'] == '/0.tif']
    # Once a byte, once the size, once the header: then nothing but what it lacks of the blocks.
    assert [entry['range'] for entry in requests[:3]] == [
        'bytes=0-0',
        None,
        'bytes=0-16383',
    ]
    size = (scenes / '0.tif').stat().st_size
    assert sum(entry['bytes'] for entry in requests) <= size + 16_384


@pytest.mark.parametrize('word', ['{}/0.tif', '{}/private/0.tif?key=K', 's3://b/a.tif'])
def test_nothing_is_fetched_without_remote(
    server: RangeServer, run: Callable[..., EmbeddingTable], word: str
) -> None:
    with pytest.raises(
        RasterError, match=r'give --remote \(in Python remote=True\)'
    ) as e:
        run(word.format(server.address), remote=False)
    assert 'key' not in str(e.value)
    assert not server.log()


def test_items_name_rasters_on_servers(
    server: RangeServer,
    scenes: Path,
    run: Callable[..., EmbeddingTable],
    tmp_path: Path,
) -> None:
    path = tmp_path / 'items.json'
    path.write_text(json.dumps(item(server.address)))
    with pytest.raises(RasterError, match=r'0.tif is on a server.*give --remote'):
        run(path, remote=False)
    assert not server.log()
    table = run(path)
    np.testing.assert_array_equal(
        table.vectors, run(scenes / '0.tif', remote=False).vectors
    )
    assert table.frame['time_start'].notna().all()
    # The asset without a wanted band is not touched.
    assert {entry['path'] for entry in server.log()} == {'/0.tif'}


def test_lists_on_servers_have_relative_hrefs(
    server: RangeServer, scenes: Path, run: Callable[..., EmbeddingTable]
) -> None:
    listed = item('.')
    listed['assets']['secret'] = {'href': 'file:///etc/passwd.tif'}
    (scenes / 'item.json').write_text(json.dumps(listed))
    catalogue = {
        'type': 'Catalog',
        'links': [
            {'rel': 'item', 'href': 'item.json'},
            {'rel': 'child', 'href': 'top.json'},
        ],
    }
    (scenes / 'top.json').write_text(json.dumps(catalogue))
    table = run(f'{server.address}/top.json')
    assert set(table.frame['source']) == {f'{server.address}/0.tif'}
    with pytest.raises(RasterError, match=r'give --remote'):
        run(f'{server.address}/top.json', remote=False)


@pytest.mark.parametrize(
    'start', ['fail/503/2', 'fail/429/2', 'cut/1', 'cut/2', 'cut/3']
)
def test_what_fails_for_a_moment_is_fetched_again(
    server: RangeServer, scenes: Path, run: Callable[..., EmbeddingTable], start: str
) -> None:
    table = run(f'{server.address}/{start}/1.tif')
    np.testing.assert_array_equal(
        table.vectors, run(scenes / '1.tif', remote=False).vectors
    )


@pytest.mark.parametrize(
    ('bad', 'sentence'),
    [
        (
            'none.tif',
            'the server answers 404, there is no such file; check the address',
        ),
        ('private/1.tif', 'the server answers 403, it does not permit it'),
        ('whole/1.tif', 'does not give parts of files; download it'),
        ('fail/500/99/1.tif', 'the server answers 500; run the same again later'),
        ('evil.tif', 'what names data elsewhere .VRT, XML. is not fetched'),
        ('cube.nc', 'is a .nc on a server, which is not read: download it'),
    ],
)
def test_a_scene_that_fails_is_refused_alone(
    server: RangeServer,
    scenes: Path,
    run: Callable[..., EmbeddingTable],
    tmp_path: Path,
    bad: str,
    sentence: str,
) -> None:
    vrt = f"""<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1">
        <SimpleSource><SourceFilename>/vsicurl/{server.address}/2.tif</SourceFilename>
        </SimpleSource></VRTRasterBand></VRTDataset>"""
    (scenes / 'evil.tif').write_text(vrt)
    query = '?signature=hidden' if gdal_version() >= (3, 11) else ''
    words = [f'{server.address}/{bad}{query}', f'{server.address}/0.tif']
    with pytest.warns(RefusedWarning, match='1 of 2 scenes'):
        table = run(words, out=tmp_path / 'archive')
    assert set(table.frame['source']) == {words[1]}
    ((name, text),) = read_report(tmp_path / 'archive')['refused'].items()
    assert name == f'{server.address}/{bad}'
    assert name in text
    assert sentence.replace('.VRT', '(VRT').replace('XML.', 'XML)') in text
    assert not [e for e in server.log() if e['path'].startswith('/2.tif')]


@pytest.mark.parametrize('path', ['slow/items.json', 'slow-head/items.json'])
def test_a_server_that_never_ends_is_left(
    server: RangeServer,
    run: Callable[..., EmbeddingTable],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    monkeypatch.setattr('torchgeo_cmr.scenes.remote_access._LONGEST_ANSWER', 0.5)
    start = time.monotonic()
    with pytest.raises(
        RasterError, match=r'too slow, its answer takes more than 0\.5 s'
    ):
        run(f'{server.address}/{path}')
    assert time.monotonic() - start < 10
    assert len(server.log()) == 1


def test_a_list_on_a_server_names_no_file_of_this_disk(
    server: RangeServer, run: Callable[..., EmbeddingTable], scenes: Path
) -> None:
    named = item(server.address)
    named['assets']['data']['href'] = (scenes / '0.tif').as_uri()
    named['assets'].pop('other')
    (scenes / 'item.json').write_text(json.dumps(named))
    with pytest.raises(
        RasterError, match=r'the item one: file:.*0\.tif would be a file of this disk'
    ):
        run(f'{server.address}/item.json')


@pytest.mark.parametrize('place', ['file', 'ftp', 'self'])
@pytest.mark.parametrize('name', ['', 'items.json'])
def test_redirections_lead_to_http_alone(
    server: RangeServer, run: Callable[..., EmbeddingTable], place: str, name: str
) -> None:
    with pytest.raises(
        RasterError, match='302, a redirection in a circle or to what is'
    ):
        run(f'{server.address}/to/{place}/{name}')


@pytest.mark.parametrize('secret', [pytest.param('?key=K', marks=queries), 'me:K@'])
def test_secrets_are_not_stored(
    server: RangeServer,
    run: Callable[..., EmbeddingTable],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    secret: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    plain = f'{server.address}/private/0.tif'
    address = plain + secret if '?' in secret else plain.replace('//', f'//{secret}')
    run(address, out=tmp_path / 'archive', catalogue=tmp_path / 'known.parquet')
    table = EmbeddingTable.load(tmp_path / 'archive')
    assert set(table.frame['source']) == {plain}
    assert list(table.record['sources']) == [plain]
    files = [path for path in tmp_path.rglob('*') if path.is_file()]
    found = [p for p in files if p.parent.name != 'served']
    assert len(found) > 3
    for path in found:
        assert b'key=K' not in path.read_bytes()
        assert b'me:K' not in path.read_bytes()
    assert 'key=K' not in caplog.text
    assert 'me:K' not in caplog.text


@queries
def test_two_files_of_one_name_are_refused(
    server: RangeServer, run: Callable[..., EmbeddingTable]
) -> None:
    words = [f'{server.address}/0.tif?version={i}' for i in (1, 2)]
    with pytest.raises(RasterError, match='differ only in their query or password'):
        run(words, errors='raise')


def test_an_update_reads_what_changed(
    server: RangeServer,
    scenes: Path,
    run: Callable[..., EmbeddingTable],
    tmp_path: Path,
) -> None:
    words = [f'{server.address}/{i}.tif' for i in range(2)]
    options = {'out': tmp_path / 'archive', 'catalogue': tmp_path / 'known.parquet'}
    before = run(words, **options)
    server.log()
    again = run(words, update=True, **options)
    np.testing.assert_array_equal(again.vectors, before.vectors)
    # One byte of each, to see that it is the same file.
    assert sorted((e['path'], e['bytes']) for e in server.log()) == [
        ('/0.tif', 1),
        ('/1.tif', 1),
    ]
    os.replace(scenes / '2.tif', scenes / '1.tif')
    run(words, update=True, prune=True, **options)
    report = read_report(tmp_path / 'archive')
    assert (report['changed'], report['skipped']) == ([words[1]], [words[0]])
    assert not [e for e in server.log() if e['path'] == '/0.tif' and e['bytes'] > 1]
    # What is not named any more is not known to be gone.
    with pytest.warns(UserWarning, match='rows of 1 scenes are kept'):
        run(words[:1], update=True, prune=True, **options)
    assert not read_report(tmp_path / 'archive')['pruned']


@pytest.fixture
def bucket(
    server: RangeServer, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> RangeServer:
    """Serve a scene as an endpoint of S3 does; no credentials are known."""
    (scenes / 'bucket').mkdir()
    os.link(scenes / '0.tif', scenes / 'bucket' / '0.tif')
    monkeypatch.setenv('AWS_S3_ENDPOINT', server.address.removeprefix('http://'))
    monkeypatch.setenv('AWS_HTTPS', 'NO')
    monkeypatch.setenv('AWS_VIRTUAL_HOSTING', 'FALSE')
    for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE'):
        monkeypatch.delenv(name, raising=False)
    for name in ('AWS_CONFIG_FILE', 'CPL_AWS_CREDENTIALS_FILE'):
        monkeypatch.setenv(name, '/dev/null')
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    monkeypatch.setenv('CPL_AWS_AUTODETECT_EC2', 'NO')
    return server


@pytest.mark.parametrize('signed', [True, False])
def test_s3_is_read_from_an_endpoint(
    bucket: RangeServer,
    scenes: Path,
    run: Callable[..., EmbeddingTable],
    monkeypatch: pytest.MonkeyPatch,
    signed: bool,
) -> None:
    monkeypatch.setenv('AWS_NO_SIGN_REQUEST', 'NO' if signed else 'YES')
    if signed:
        monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'me')
        monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'secret')
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        table = run('s3://bucket/0.tif')
    assert not said
    expected = 'AWS4-HMAC-SHA256' if signed else ''
    assert {entry['signed'] for entry in bucket.log()} == {expected}
    np.testing.assert_array_equal(
        table.vectors, run(scenes / '0.tif', remote=False).vectors
    )
    assert set(table.frame['source']) == {'s3://bucket/0.tif'}


def test_s3_without_credentials_is_said(
    bucket: RangeServer, run: Callable[..., EmbeddingTable]
) -> None:
    with pytest.raises(
        RasterError, match='no credentials for it; set AWS_ACCESS_KEY_ID'
    ):
        run('s3://bucket/0.tif')
    assert not bucket.log()


@queries
def test_a_scene_goes_to_other_processes_with_its_address(server: RangeServer) -> None:
    (scene,) = list_scenes([f'{server.address}/private/0.tif?key=K'], remote=True)
    sent = pickle.loads(pickle.dumps(scene))
    assert isinstance(sent.path, RemoteFile)
    assert sent.path.secrets == ('key=K', '')
    assert sent.remote


def test_datasets_are_of_this_disk() -> None:
    with pytest.raises(RasterError, match='remote is for paths and addresses'):
        list_scenes(object(), remote=True)  # ty: ignore[invalid-argument-type]


def test_no_export_fetches(
    server: RangeServer, run: Callable[..., EmbeddingTable], tmp_path: Path
) -> None:
    address = f'{server.address}/0.tif'
    table = run(address, out=tmp_path / 'archive')
    server.log()
    table = EmbeddingTable.load(tmp_path / 'archive')
    scenes = scenes_of([table])
    assert {band[0] for band in scenes['s2']['sources'][address]} == {address}
    hits = RetrievalIndex(table).search(table, k=1, exclude=None)
    with pytest.raises(QueryError, match=r'0.tif cannot be opened: it is on a server'):
        clip_hits(hits, tmp_path / 'clips', record={'scenes': scenes})
    to_html(hits, tmp_path / 'hits.html', record={'scenes': scenes})
    catalogue = to_collection(
        tmp_path / 'archive',
        tmp_path / 'collection.json',
        catalogue=Catalogue(time='2024'),
    )
    assert f'"href": "{address}"' in ''.join(
        path.read_text() for path in catalogue.parent.rglob('*.json')
    )
    assert not server.log()


@pytest.mark.slow
def test_scenes_are_fetched_at_once(
    scenes: Path, socket_enabled: None, run: Callable[..., EmbeddingTable]
) -> None:
    """Requests of many scenes wait together: the time is far below the sum of their delays."""
    for i in range(3, 12):
        os.link(scenes / '0.tif', scenes / f'{i}.tif')
    with range_server(scenes, 0.2) as server:
        begun = time.perf_counter()
        run([f'{server.address}/{i}.tif' for i in range(12)])
        seconds = time.perf_counter() - begun
        requests = len(server.log())
    assert requests >= 48
    assert seconds < requests * 0.2 / 2


def test_items_of_a_file_per_band_have_masks(
    server: RangeServer,
    scenes: Path,
    write_raster: Callable[..., Path],
    run: Callable[..., EmbeddingTable],
    tmp_path: Path,
) -> None:
    """Clouds of a mask on a server count as those of one on this disk."""
    rng = np.random.default_rng(1)
    listed = item('.')
    listed['assets'] = {}
    for name in (*BANDS, 'SCL'):
        data = rng.integers(4, 11, (1, 64, 64))
        write_raster(f'served/x_{name}.tif', data=data, dtype='uint8')
        listed['assets'][name] = {'href': f'./x_{name}.tif', 'type': 'image/tiff'}
    (scenes / 'item.json').write_text(json.dumps(listed))
    options = {'max_cloud': 43.0, 'scale': 0.004}
    local = run(scenes / 'item.json', **options | {'remote': False})
    table = run(f'{server.address}/item.json', **options)
    assert 0 < len(table) < 16
    np.testing.assert_array_equal(table.vectors, local.vectors)
    np.testing.assert_array_equal(table.frame['cloud'], local.frame['cloud'])


@pytest.mark.filterwarnings('default')
def test_the_command_says_what_it_needs(
    server: RangeServer,
    fake: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = fake(bands=BANDS)
    monkeypatch.setattr('torchgeo_cmr.tasks.load_task', lambda *_: task)
    monkeypatch.setattr('torchgeo_cmr.regular_files.check_checkpoint', str)
    words = ['embed', f'{server.address}/0.tif', '--ckpt', 'best.ckpt', '--quiet']
    words += ['--modality', 's2', '--out', str(tmp_path / 'archive')]
    assert main(words) == 2
    assert 'give --remote' in capsys.readouterr().err
    assert not server.log()
    assert main([*words, '--remote']) == 0
    words.insert(1, f'{server.address}/none.tif')
    assert main([*words, '--remote', '--update']) == 1
    assert 'the server answers 404' in capsys.readouterr().err


def test_an_archive_is_not_written_to_a_server(
    server: RangeServer, run: Callable[..., EmbeddingTable], tmp_path: Path
) -> None:
    with pytest.raises(QueryError, match='s3://bucket/archive is an address'):
        run(f'{server.address}/0.tif', out='s3://bucket/archive')
    assert not server.log()
