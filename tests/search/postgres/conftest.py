"""A database for tests: our own server, or the one that TORCHGEO_CMR_TEST_DSN names."""

import os
from collections.abc import Iterator

import own_postgres
import pytest


@pytest.fixture(scope='session')
def database() -> Iterator[str]:
    """The address of a server; in CI it must be there."""
    if address := os.environ.get('TORCHGEO_CMR_TEST_DSN'):
        yield address
        return
    server = own_postgres.start_or_skip()
    yield server.address
    server.remove()


@pytest.fixture
def own() -> Iterator[own_postgres.Database]:
    """A server that a test may kill."""
    server = own_postgres.start_or_skip()
    yield server
    server.remove()
