"""What a run may fetch from servers: the addresses it was given, and what identifies their content."""

import hashlib
import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from contextvars import copy_context
from http.client import HTTPException
from threading import Lock
from typing import Any
from urllib.parse import urljoin
from xml.sax.saxutils import escape

import rasterio

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.remote_files import (
    RemoteFile,
    answer,
    fetched,
    fetchers,
    remote_file,
)

#: Seconds to wait before a request is made again: what is left of a short fault is over by then.
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Answers that may be another one a moment later.
_TRANSIENT = (429, 500, 502, 503, 504)
#: Seconds without a word from a server.
_PATIENCE = 30
#: Seconds that an answer may take, however many words come.
_LONGEST_ANSWER = 300
#: Bytes of a list of items: those of some 10,000 items.
_LONGEST = 64 * 2**20
#: First bytes of a file that identify it where the server states nothing.
_HEAD = 16_384

#: Sockets of the request of this thread, which are closed when its time is over.
_REQUEST = threading.local()


class _Connection(http.client.HTTPConnection):
    """A connection that :func:`_limited` can close."""

    def connect(self) -> None:
        super().connect()
        _REQUEST.sockets.append(self.sock)


class _SafeConnection(http.client.HTTPSConnection):
    """The same, encrypted."""

    def connect(self) -> None:
        super().connect()
        _REQUEST.sockets.append(self.sock)


class _HTTP(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _HTTPS(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SafeConnection, req)


class _Redirection(urllib.request.HTTPRedirectHandler):
    """Follows to HTTP alone: not to files, and not to other kinds of addresses."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith(('http://', 'https://')):
            raise urllib.error.HTTPError(newurl, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.OpenerDirector()
for _handler in (
    urllib.request.ProxyHandler,
    _HTTP,
    _HTTPS,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    _Redirection,
    urllib.request.UnknownHandler,
):
    _OPENER.add_handler(_handler())

#: Address -> what identified its content when this process last opened it: GDAL keeps parts of
#: files by their names, and would mix those of the old content with those of the new.
_LAST: dict[str, tuple[int, int]] = {}


class RemoteAccess:
    """Makes the rasters that a run may fetch, one object for each address."""

    def __init__(self) -> None:
        """Know none."""
        self._files: dict[str, RemoteFile] = {}
        self._lock = Lock()

    def file(self, address: str, home: str = '') -> RemoteFile:
        """Allow a file to be fetched.

        Args:
            address: Its address; or a relative one.
            home: Address of the list that names it.

        Raises:
            RasterError: If it is not an address, or differs from another of the run in its
                query or password alone.
        """
        made = remote_file(urljoin(home, address) if home else address)
        with self._lock:
            known = self._files.setdefault(str(made), made)
        if not known.same_address(made):
            raise RasterError(
                f'two addresses of {made} differ only in their query or password, which are not '
                'kept: one name would mean two files; drop one, or download them'
            )
        return known

    def read_list(self, address: str) -> Any:
        """Fetch a list of STAC items.

        Args:
            address: ``http(s)://`` of a JSON file.

        Returns:
            The content as plain values.

        Raises:
            RasterError: If it cannot be fetched or is not JSON.
        """
        file = address if isinstance(address, RemoteFile) else self.file(address)
        if not file.startswith('http'):
            raise RasterError(f'{file} is a list on S3, which is not read: download it')
        status, _, content = _request(file, {}, _LONGEST + 1)
        if status != 200:
            raise RasterError(f'{file} cannot be read: {answer(status)}')
        if len(content) > _LONGEST:
            raise RasterError(f'{file} is longer than {_LONGEST} bytes: divide it')
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise RasterError(
                f'{file} cannot be read as JSON: give a STAC item or a raster'
            ) from None


def all_at_once(calls: Iterable[Callable[[], Any]]) -> None:
    """Make many calls that fetch, each in a thread, so that what they remember is there.

    Args:
        calls: What to do; what they raise is left to whoever calls them again.
    """

    def tried(call: Callable[[], Any]) -> None:
        with suppress(Exception):
            call()

    coming = [fetchers().submit(copy_context().run, tried, call) for call in calls]
    for done in coming:
        done.result()


def identify(file: RemoteFile) -> tuple[int, int]:
    """Find what identifies the content of a file, once per object.

    That is its size with ``ETag`` or ``Last-Modified``, of one request for one byte; on S3, and where
    a server does not state them or wants credentials that only GDAL has, its first 16 KiB.

    Args:
        file: The file.

    Returns:
        Two numbers of 32 bits.

    Raises:
        RasterError: If it cannot be fetched.
    """
    if file.fault is not None:
        raise file.fault
    if file.mark is None:
        try:
            stated = _stated(file) if file.startswith('http') else None
            content = _head(file) if stated is None else json.dumps(stated).encode()
        except RasterError as error:
            file.fault = error
            raise
        digest = hashlib.sha256(content).digest()
        file.mark = (
            int.from_bytes(digest[:4], 'big'),
            int.from_bytes(digest[4:8], 'big'),
        )
    return file.mark


def first_opened(file: RemoteFile) -> Any:
    """Open a file for the first time in a run: nothing that was kept of other content is used.

    Args:
        file: The file.

    Returns:
        The open dataset.

    Raises:
        RasterError: If it cannot be opened; the file remembers why.
    """
    mark = identify(file)
    if _LAST.get(file, mark) != mark:
        file.forget()
    _LAST[str(file)] = (-1, -1)  # as long as it is not sure that it can be opened
    try:
        opened = file.open()
    except RasterError as error:
        file.fault = error
        raise
    _LAST[str(file)] = mark
    return opened


def _stated(file: RemoteFile) -> list[Any] | None:
    """Give the size of a file and what its server calls this version of it; None if it does not."""
    status, headers, _ = _request(file, {'Range': 'bytes=0-0'}, 1)
    if status in (404, 410, *_TRANSIENT) or 300 <= status < 400:
        raise RasterError(f'{file} cannot be read: {answer(status)}')
    if status == 200:
        raise RasterError(
            f'{file} cannot be read: the server does not give parts of files; download it'
        )
    version = headers.get('ETag') or headers.get('Last-Modified')
    size = (headers.get('Content-Range') or '').rpartition('/')[2]
    # Other credentials than those of the address are GDAL's: its own request will tell.
    return [size, version] if status == 206 and version and size.isdigit() else None


def _request(
    file: RemoteFile, headers: dict[str, str], most: int
) -> tuple[int, Any, bytes]:
    """Make a request, again and again while it fails for a reason that may pass.

    Returns:
        Status, headers and at most *most* bytes of content.

    Raises:
        RasterError: If no server answers.
    """
    query, user = file.secrets
    request = urllib.request.Request(f'{file}?{query}' if query else str(file))
    for name, value in {'User-Agent': 'torchgeo-cmr', **headers}.items():
        request.add_header(name, value)
    if user:
        # Not sent to where the server may redirect.
        code = b64encode(user.encode()).decode()
        request.add_unredirected_header('Authorization', f'Basic {code}')
    for pause in (*_PAUSES, None):
        try:
            with _limited(file), _OPENER.open(request, timeout=_PATIENCE) as found:
                content = found.read(most)
                if not content:
                    raise HTTPException('the answer broke off')
                return found.status, found.headers, content
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in _TRANSIENT or pause is None:
                return error.code, error.headers, b''
        except RasterError:
            raise
        except (OSError, HTTPException, ValueError) as error:
            if pause is None or isinstance(error, ValueError):
                raise RasterError(
                    f'{file} cannot be read: no server answers ({type(error).__name__}); check '
                    'the address and the network'
                ) from None
        time.sleep(pause)
    raise AssertionError('the last attempt returns or raises')


@contextmanager
def _limited(file: RemoteFile) -> Generator[None]:
    """End a request whose time is over: a server that sends a word now and then would hold us for ever."""
    _REQUEST.sockets = sockets = []
    over = threading.Event()

    def end() -> None:
        over.set()
        for opened in sockets:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(_LONGEST_ANSWER, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if over.is_set():
            raise RasterError(_too_slow(file)) from None
        raise
    finally:
        timer.cancel()
    if over.is_set():  # what was read may be a part
        raise RasterError(_too_slow(file))


def _too_slow(file: RemoteFile) -> str:
    return (
        f'{file} cannot be read: the server is too slow, its answer takes more than '
        f'{_LONGEST_ANSWER:g} s; download the file'
    )


def _head(file: RemoteFile) -> bytes:
    """Read the first bytes of a file with GDAL, which finds credentials where the user keeps them."""
    description = (
        # With a place of its own, for rasterio warns of what has none.
        f'<VRTDataset rasterXSize="{_HEAD}" rasterYSize="1">'
        '<GeoTransform>0, 1, 0, 1, 0, -1</GeoTransform><VRTRasterBand dataType="Byte" '
        'band="1" subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="0">'
        f'{escape(file.gdal_name)}</SourceFilename></VRTRasterBand></VRTDataset>'
    )

    def read() -> bytes:
        file.forget()
        with file.settings(GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE='ALL'):
            try:
                with rasterio.open(description) as bytes_of_file:
                    return bytes_of_file.read(1).tobytes()
            except rasterio.errors.RasterioIOError:
                # Opening it will say why.
                return b''

    return fetched(read)
