"""What the tests of foreign files share: an address on which a request is noticed."""

import socket
from collections.abc import Callable, Generator

import pytest


@pytest.fixture
def address(
    socket_enabled: None, monkeypatch: pytest.MonkeyPatch
) -> Generator[tuple[str, Callable[[], int]]]:
    """An address of this machine, and a function that counts the connections to it.

    Nobody answers there: whoever waits for an answer does so for a second at most.
    """
    monkeypatch.setenv('GDAL_HTTP_TIMEOUT', '1')
    monkeypatch.setenv('GDAL_HTTP_CONNECTTIMEOUT', '1')
    monkeypatch.setenv('GDAL_HTTP_MAX_RETRY', '0')
    with socket.create_server(('127.0.0.1', 0)) as listener:
        listener.setblocking(False)

        def connections() -> int:
            count = 0
            while True:
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    return count
                count += 1

        yield f'http://127.0.0.1:{listener.getsockname()[1]}', connections
