"""Addresses: what may be shown of them, how GDAL calls them, and what it is told."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import rasterio
from rasterio.env import getenv

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.rasters.raster_files import open_pixels
from torchgeo_cmr.regular_files import is_address, shown, under
from torchgeo_cmr.scenes.files import find_files
from torchgeo_cmr.scenes.remote_files import (
    RemoteFile,
    fetched,
    gdal_version,
    remote_file,
    unallowed,
)

queries = pytest.mark.skipif(
    gdal_version() < (3, 11), reason='this GDAL would write queries into messages'
)


@pytest.mark.parametrize(
    ('address', 'text', 'name', 'secrets'),
    [
        (
            'https://h.org/a/b.tif',
            'https://h.org/a/b.tif',
            '/vsicurl/https://h.org/a/b.tif',
            ('', ''),
        ),
        pytest.param(
            'HTTPS://me:p%40ss@H.org:8443/a b.tif?x=1&sig=%2F#part',
            'https://h.org:8443/a%20b.tif',
            '/vsicurl/https://h.org:8443/a%20b.tif',
            ('x=1&sig=%2F', 'me:p@ss'),
            marks=queries,
        ),
        ('http://[::1]:80/a.tif', 'http://[::1]:80/a.tif', None, ('', '')),
        (
            's3://bucket/a?b#c.tif',
            's3://bucket/a?b#c.tif',
            '/vsis3/bucket/a?b#c.tif',
            ('', ''),
        ),
    ],
)
def test_an_address_is_divided(
    address: str, text: str, name: str | None, secrets: tuple[str, str]
) -> None:
    file = remote_file(address)
    assert (str(file), file.secrets) == (text, secrets)
    assert file.gdal_name == (name or f'/vsicurl/{text}')
    for other in (pickle.loads(pickle.dumps(file)), copy.deepcopy(file)):
        assert isinstance(other, RemoteFile)
        assert other.same_address(file)
    # Whatever becomes of it as text is not allowed to be fetched.
    assert type(str(file)) is str
    assert type(file.removesuffix('.tif')) is str


@pytest.mark.parametrize(
    ('address', 'sentence'),
    [
        ('ftp://h.org/a.tif', 'is not an address: give https:// or s3://'),
        ('/vsicurl/https://h.org/a.tif', 'is not an address'),
        ('https:///a.tif', 'names no server: check the address'),
        ('https://h.org:port/a.tif?sig=1', 'https://h.org:port/a.tif names no server'),
        ('https://-h.org\n/a.tif', 'names no server'),
        ('https://me:secret@ho st/a.tif', '^https://ho st/a.tif names no server'),
    ],
)
def test_what_is_not_an_address_is_refused(address: str, sentence: str) -> None:
    with pytest.raises(RasterError, match=sentence):
        remote_file(address)


def test_old_versions_of_gdal_get_no_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasterio, '__gdal_version__', '3.10.3')
    with pytest.raises(
        RasterError, match=r'a.tif has a query .signed addresses do., which GDAL'
    ):
        remote_file('https://h.org/a.tif?sig=1')
    assert remote_file('https://h.org/a.tif')


def test_secrets_are_not_shown() -> None:
    address = 'https://me:secret@h.org/a.tif?sig=secret#secret'
    assert shown(address) == 'https://h.org/a.tif'
    assert shown('https://h.org?sig=secret') == 'https://h.org'
    assert 'secret' not in unallowed(address)
    with pytest.raises(
        RasterError, match=r'^https://h.org/a.tif is on a server, from where'
    ):
        find_files(address)
    assert is_address('S3://b/k')
    assert not is_address('gs://b/k')
    assert under('/root', 's3://b/k') == 's3://b/k'


@queries
def test_each_file_has_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('GDAL_HTTP_MAX_RETRY', '1')
    first = remote_file('https://me:K@h.org/a.tif?sig=1')
    second = remote_file('https://h.org/b.tif')

    def settings(file: RemoteFile) -> dict[str, Any]:
        with file.settings():
            return getenv()

    with ThreadPoolExecutor(1) as pool:
        known = pool.submit(settings, first).result()
        other = pool.submit(settings, second).result()
    assert known['VSICURL_QUERY_STRING'] == 'sig=1'
    assert known['GDAL_HTTP_USERPWD'] == 'me:K'
    assert known['GDAL_DISABLE_READDIR_ON_OPEN'] == 'EMPTY_DIR'
    assert other.get('VSICURL_QUERY_STRING') is None
    assert other.get('GDAL_HTTP_USERPWD') is None
    # What the environment says is the user's word.
    assert 'GDAL_HTTP_MAX_RETRY' not in known
    # What the main thread sets, GDAL takes for all threads.
    with pytest.raises(AssertionError), first.settings():
        pass
    assert fetched(lambda: settings(second))['GDAL_HTTP_MULTIPLEX']


def test_text_of_an_address_is_never_opened(
    socket_enabled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(rasterio.errors.RasterioIOError, match='No such file'):
        open_pixels('http://127.0.0.1:9/a.tif')
    # Not even what may be fetched, in the door of all local files.
    with pytest.raises(rasterio.errors.RasterioIOError, match='No such file'):
        open_pixels(remote_file('http://127.0.0.1:9/a.tif'))
