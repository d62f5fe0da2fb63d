"""A server of files in parts, in a process of its own, that counts requests and fails as told.

GDAL keeps Python's lock during some requests, so a server in a thread of the same process would
wait for its own client. Paths may begin with what goes wrong:

    /a.tif                  the file
    /fail/503/2/a.tif       the first two requests are answered with 503, then the file is given
    /cut/2/a.tif            the first two answers of more than a byte break off half-way
    /private/a.tif?key=K    403 unless the query is ``key=K``, or the user is ``me:K``
    /whole/a.tif            ranges are not supported
    /slow/a.tif             a byte of content now and then, without end
    /slow-head/a.tif        a line of the head now and then
    /to/file/               a redirection to a file; /to/ftp/, /to/self/ as well
"""

import argparse
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, root: str, delay: float) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.root, self.delay = root, delay
        self.log: list[dict[str, Any]] = []
        self.failed: Counter[str] = Counter()
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may hang up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server  # ty: ignore[incompatible-mutable-override]

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        if self.path == '/-/log':
            with self.server.lock:
                content, self.server.log = self.server.log, []
            self._send(200, json.dumps(content).encode())
            return
        self._answer()

    def _send(self, code: int, content: bytes = b'', **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(content)

    def _turn(self, count: str) -> bool:
        """Whether this path is to fail once more."""
        with self.server.lock:
            self.server.failed[self.path] += 1
            return self.server.failed[self.path] <= int(count)

    def _answer(self) -> None:
        asked = self.headers.get('Range')
        entry = {'method': self.command, 'path': self.path, 'range': asked, 'bytes': 0}
        # How a request was signed, without the secret.
        entry['signed'] = (self.headers.get('Authorization') or '').partition(' ')[0]
        with self.server.lock:
            self.server.log.append(entry)
        time.sleep(self.server.delay)
        path, _, query = self.path.partition('?')
        cut = False
        if match := re.fullmatch(r'/fail/(\d+)/(\d+)(/.*)', path):
            path = match[3]
            if self._turn(match[2]):
                self._send(int(match[1]))
                return
        elif match := re.fullmatch(r'/cut/(\d+)(/.*)', path):
            path = match[2]
            # An answer of one byte has no half.
            whole = self.command == 'GET' and asked != 'bytes=0-0'
            cut = whole and self._turn(match[1])
        elif path.startswith('/private/'):
            path = path.removeprefix('/private')
            user = 'Basic ' + b64encode(b'me:K').decode()
            if query != 'key=K' and self.headers.get('Authorization') != user:
                self._send(403)
                return
        elif path.startswith(('/slow/', '/slow-head/')):
            self._drip(path.startswith('/slow/'))
            return
        elif match := re.match(r'/to/(file|ftp|self)/', path):
            places = {'file': 'file:///etc/hostname', 'ftp': 'ftp://127.0.0.1:9/a'}
            self._send(302, Location=places.get(match[1], path))
            return
        elif path.startswith('/whole/'):
            path, asked = path.removeprefix('/whole'), None
        self._file(self.server.root + path, asked, cut, entry)

    def _drip(self, content: bool) -> None:
        """Say a little every tenth of a second for a minute."""
        self.close_connection = True
        self.wfile.write(b'HTTP/1.1 200 OK\r\n')
        if content:
            self.wfile.write(b'Content-Length: 1000000\r\n\r\n')
        for i in range(600):
            self.wfile.write(b' ' if content else f'X-{i}: a\r\n'.encode())
            self.wfile.flush()
            time.sleep(0.1)

    def _file(
        self, file: str, asked: str | None, cut: bool, entry: dict[str, Any]
    ) -> None:
        if not os.path.isfile(file):
            self._send(404)
            return
        status = os.stat(file)
        match = re.fullmatch(r'bytes=(\d+)-(\d*)', asked or '')
        first = int(match[1]) if match else 0
        last = min(
            int(match[2] or status.st_size) if match else status.st_size,
            status.st_size - 1,
        )
        self.send_response(206 if match else 200)
        if match:
            self.send_header('Content-Range', f'bytes {first}-{last}/{status.st_size}')
        self.send_header('Content-Length', str(last - first + 1))
        self.send_header('ETag', f'"{status.st_mtime_ns:x}-{status.st_size:x}"')
        self.end_headers()
        if self.command != 'GET':
            return
        with open(file, 'rb') as source:
            source.seek(first)
            content = source.read(last - first + 1)
        if cut:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(content)
        self.wfile.flush()
        entry['bytes'] = len(content)


@dataclass(frozen=True)
class RangeServer:
    """A server that runs."""

    #: ``http://127.0.0.1:PORT``.
    address: str

    def log(self) -> list[dict[str, Any]]:
        """Give the requests since the last call: ``method``, ``path``, ``range``, ``bytes``, ``signed``."""
        with urllib.request.urlopen(f'{self.address}/-/log') as answer:
            return json.load(answer)


@contextmanager
def range_server(
    folder: str | os.PathLike[str], delay: float = 0
) -> Generator[RangeServer]:
    """Serve a folder while the context lasts.

    Args:
        folder: The folder.
        delay: Seconds before each answer.

    Yields:
        The server.
    """
    words = [sys.executable, __file__, str(folder), '--delay', str(delay)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield RangeServer(f'http://127.0.0.1:{int(process.stdout.readline())}')
        finally:
            process.terminate()


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('folder')
    parser.add_argument('--delay', type=float, default=0)
    words = parser.parse_args()
    server = _Server(str(Path(words.folder).absolute()), words.delay)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == '__main__':
    _main()
