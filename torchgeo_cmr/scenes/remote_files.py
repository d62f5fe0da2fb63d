"""Rasters on servers, which are read only where the user has allowed it.

A plain path is never fetched, whatever it says: only an object of :class:`RemoteFile` is, and those
are made of addresses that the user gave together with ``remote=True``, or that a list of STAC items
names that was given so. Its text is the address without query and password: that is what archives,
logs and messages may hold.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import rasterio
from rasterio.env import ensure_env
from rasterio.errors import RasterioIOError

from torchgeo_cmr.errors import CMRError, RasterError
from torchgeo_cmr.regular_files import is_address, shown

#: Requests on their way at once. Waiting costs no core; servers refuse clients that send many more.
FETCHES = 32

#: What GDAL is told, unless the environment sets the same variable: docs/user/remote.md says why.
_SETTINGS = {
    'GDAL_HTTP_MERGE_CONSECUTIVE_RANGES': 'YES',
    'GDAL_HTTP_MULTIPLEX': 'YES',
    'GDAL_HTTP_MAX_RETRY': '5',
    'GDAL_HTTP_RETRY_DELAY': '0.5',
    'GDAL_HTTP_CONNECTTIMEOUT': '15',
    'GDAL_HTTP_LOW_SPEED_TIME': '30',
    'GDAL_HTTP_LOW_SPEED_LIMIT': '1000',
    'CPL_VSIL_CURL_CACHE_SIZE': str(128 * 2**20),
}
#: What it is told in any case: nothing next to a file is looked for, and no sidecar is written.
_FORCED = {'GDAL_DISABLE_READDIR_ON_OPEN': 'EMPTY_DIR', 'GDAL_PAM_ENABLED': 'NO'}

#: Seconds to wait before what a broken connection ended is done again.
_PAUSES = (0.5, 2.0)

#: Drivers that take all pixels from one file, in parts.
_DRIVERS = ['GTiff', 'JP2OpenJPEG']

#: Characters of a path in an address that stay as they are.
_SAFE = "/%:@!$&'()*+,;=~-._"
#: GDAL that can be given the query of an address apart from its name.
_QUERIES_SINCE = (3, 11)


class RemoteFile(str):
    """Address of a raster that may be fetched, without query and password.

    Args:
        text: The address as it may be shown and stored.
        query: What follows ``?``, without it: a signature, most often.
        user: ``name:password``.
    """

    def __new__(cls, text: str, query: str = '', user: str = '') -> Self:
        """Keep the secrets next to the text."""
        made = super().__new__(cls, text)
        made._query, made._user = query, user
        made.mark, made.fault = None, None
        return made

    _query: str
    _user: str
    #: What identifies the content: two numbers of a digest; None as long as it is unknown.
    mark: tuple[int, int] | None
    #: Why it cannot be read; None as long as it can.
    fault: CMRError | None

    @property
    def gdal_name(self) -> str:
        """Name by which GDAL opens it, without query and password."""
        if self.startswith('s3://'):
            return '/vsis3/' + self.removeprefix('s3://')
        return f'/vsicurl/{self}'

    @property
    def secrets(self) -> tuple[str, str]:
        """Query, and ``name:password``; '' where there is none."""
        return self._query, self._user

    def same_address(self, other: 'RemoteFile') -> bool:
        """Say whether two addresses are equal in what is not shown, too."""
        return self == other and self.secrets == other.secrets

    @contextmanager
    def settings(self, **more_settings: str) -> Generator[None]:
        """Set GDAL up to fetch it, in this thread, while the context lasts.

        Args:
            **more_settings: Further settings of GDAL.

        Yields:
            Nothing.
        """
        # GDAL takes what the main thread sets for all threads: a password of one server would be
        # sent to the others.
        assert threading.current_thread() is not threading.main_thread()
        known = {k: v for k, v in _SETTINGS.items() if k not in os.environ}
        if self._query:
            known['VSICURL_QUERY_STRING'] = self._query
            # A signature is often made for GET alone.
            known['CPL_VSIL_CURL_USE_HEAD'] = 'NO'
        if self._user:
            known |= {'GDAL_HTTP_USERPWD': self._user, 'GDAL_HTTP_AUTH': 'BASIC'}
        # The outer one, because the outermost leaves behind what it found in the environment.
        with rasterio.Env(), rasterio.Env(**known, **_FORCED, **more_settings):
            yield

    def open(self) -> Any:
        """Open it for reading, in a thread of :func:`fetchers`.

        Returns:
            The open dataset of rasterio, to be read within :meth:`settings`.

        Raises:
            RasterError: If it cannot be fetched, or is not a raster of its own pixels.
        """

        def opened() -> Any:
            with self.settings():
                return _opened(self.gdal_name)

        return self.attempt(opened)

    def forget(self) -> None:
        """Have GDAL forget what it has read: part of an answer that broke off, or older content."""
        fresh = self.settings(CPL_VSIL_CURL_NON_CACHED=self.gdal_name)
        with fresh, suppress(RasterioIOError):
            # It forgets when it closes what was opened so.
            _opened(self.gdal_name).close()

    def attempt[T](self, call: Callable[[], T]) -> T:
        """Do something again while connections break; GDAL itself repeats what servers refuse.

        Args:
            call: What to do.

        Returns:
            What it returns.

        Raises:
            RasterError: If it fails for good.
        """
        for pause in (*_PAUSES, None):
            try:
                return call()
            except RasterioIOError as error:
                if pause is None or _status(error):
                    # Not chained: what GDAL says may hold what must not be shown.
                    raise RasterError(
                        f'{self} cannot be read: {_reason(error)}'
                    ) from None
            time.sleep(pause)
            self.forget()
        raise AssertionError('the last attempt returns or raises')


@ensure_env
def _opened(name: str) -> Any:
    return rasterio.DatasetReader(name, driver=_DRIVERS)


def remote_file(address: str) -> RemoteFile:
    """Divide an address into what may be shown and what may not.

    Args:
        address: ``http(s)://`` or ``s3://``.

    Raises:
        RasterError: If it is not an address.

    Examples:
        >>> remote_file('https://me:secret@example.com/a.tif?signature=secret')
        'https://example.com/a.tif'
    """
    if not is_address(address):
        raise RasterError(f'{address:.80} is not an address: give https:// or s3://')
    if address.lower().startswith('s3://'):
        return RemoteFile('s3://' + address[5:])
    try:
        parts = urlsplit(address.strip())
        host, port = parts.hostname or '', parts.port
    except ValueError:
        host, port = '', None
    if not re.fullmatch(r'[\w.:-]+', host) or host.startswith('-'):
        raise RasterError(f'{shown(address)} names no server: check the address')
    host = f'[{host}]' if ':' in host else host
    host += '' if port is None else f':{port}'
    text = f'{parts.scheme.lower()}://{host}{quote(parts.path, safe=_SAFE) or "/"}'
    user = ''
    if parts.username is not None:
        user = f'{unquote(parts.username)}:{unquote(parts.password or "")}'
    if parts.query and gdal_version() < _QUERIES_SINCE:
        raise RasterError(
            f'{text} has a query (signed addresses do), which GDAL {rasterio.__gdal_version__} '
            'would write into messages: install rasterio 1.5 or later, or download the file'
        )
    return RemoteFile(text, parts.query, user)


def gdal_version() -> tuple[int, ...]:
    """Give the version of GDAL that rasterio brings."""
    return tuple(map(int, re.findall(r'\d+', rasterio.__gdal_version__)[:2]))


def unallowed(address: str) -> str:
    """Say what to do about an address that may not be fetched."""
    return (
        f'{shown(address)} is on a server, and nothing is fetched without your word: give '
        '--remote (in Python remote=True), or download it'
    )


def _words(error: BaseException | None) -> str:
    """Give all that GDAL says of an error."""
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return ' '.join(texts)


def _status(error: Exception) -> int:
    """Status of the HTTP answer that an error is about; 0 if it is about something else."""
    match = re.search(r'(?:response code|error)\D{0,4}([45]\d\d)\b', _words(error))
    return int(match[1]) if match else 0


def _reason(error: Exception) -> str:
    """Say why GDAL could not fetch something, without its words, which may hold an address."""
    if status := _status(error):
        return answer(status)
    text = _words(error)
    if 'AWS_NO_SIGN_REQUEST' in text:
        return (
            'there are no credentials for it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or '
            'AWS_NO_SIGN_REQUEST=YES for a public bucket'
        )
    if 'Range downloading not supported' in text:
        return 'the server does not give parts of files; download it'
    if 'supported file format' in text or 'not recognized' in text:
        return (
            'it is neither a GeoTIFF nor a JPEG 2000, and what names data elsewhere (VRT, XML) '
            'is not fetched; give the raster itself'
        )
    return (
        'the connection failed, or the file is damaged; run the same again to try again'
    )


def answer(status: int) -> str:
    """Explain the status of an HTTP answer that is not the file."""
    if status in (404, 410):
        return f'the server answers {status}, there is no such file; check the address'
    if status in (401, 403):
        return (
            f'the server answers {status}, it does not permit it; check your credentials '
            '(a signature may have expired)'
        )
    if 300 <= status < 400:
        return (
            f'the server answers {status}, a redirection in a circle or to what is not HTTP; check '
            'the address'
        )
    if 400 <= status < 500 and status not in (408, 425, 429):
        return f'the server answers {status}, it refuses the request; check the address'
    return f'the server answers {status}; run the same again later'


def fetchers() -> ThreadPoolExecutor:
    """Return the threads that wait for servers, whatever reads."""
    return _fetchers_of(os.getpid())


@lru_cache(maxsize=1)
def _fetchers_of(process: int) -> ThreadPoolExecutor:
    """Start threads: those of another process did not survive the fork."""
    return ThreadPoolExecutor(
        FETCHES, thread_name_prefix=f'torchgeo_cmr-fetch-{process}'
    )


def fetched[T](call: Callable[[], T]) -> T:
    """Call a function in a thread in which GDAL may be set up for one server.

    Args:
        call: The function.

    Returns:
        What it returns.
    """
    if threading.current_thread() is threading.main_thread():
        return fetchers().submit(call).result()
    return call()
