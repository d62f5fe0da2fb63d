"""Loaders at once: what PostgreSQL refuses to change for two of them, they change in turn."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import own_postgres
import psycopg
import pyarrow as pa
import pytest
import shapely

from torchgeo_cmr.export import to_postgres
from torchgeo_cmr.export.vector.postgres_layer import _STYLES
from torchgeo_cmr.search import RetrievalIndex, load_archive
from torchgeo_cmr.search.postgres import grants
from torchgeo_cmr.search.postgres.archive_tables import find_entry, widen
from torchgeo_cmr.search.postgres.connection import Address, connect, lock
from torchgeo_cmr.table import EmbeddingTable

pytestmark = pytest.mark.postgres

type Begin = Callable[..., Future[object]]


def table() -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {'patch_id': [*'abc'], 'source': 's'},
        geometry=shapely.box(range(3), 0, np.arange(3) + 0.5, 1),
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, np.eye(3, 4), space='w')


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return table().save(tmp_path / 'archive')


def until_it_waits(server: Any, other: Future[Any]) -> None:
    """Come back when somebody waits for a lock of the server, or the other is done."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    until = time.monotonic() + 30
    while server.execute(waits).fetchone() == (0,) and not other.done():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def begin(database: str) -> Iterator[Begin]:
    """Begin a call in a thread, and come back when it waits for a lock of the server, at the latest."""
    with ThreadPoolExecutor() as pool, psycopg.connect(database, autocommit=True) as us:

        def begin(
            call: Callable[..., object], *args: object, **words: object
        ) -> Future[object]:
            future = pool.submit(call, *args, **words)
            until_it_waits(us, future)
            return future

        yield begin


@pytest.mark.parametrize('divide', [None, 'source'])
def test_rights_are_given_while_a_table_gets_a_column(
    database: str, archive: Path, begin: Begin, divide: str | None
) -> None:
    address = f'{database}&archive=wider_{divide}'
    load_archive(archive, address, divide=divide)
    place = Address.read(address)
    with connect(place) as server, server.transaction():
        entry = find_entry(server, place.name)
        assert entry is not None
        columns = pa.table({'haze': pa.array([], pa.float64())})
        widen(server, place.name, columns, entry.record)
        other = begin(load_archive, archive, address, role='watchers')
        assert not other.done()  # so what follows can fail
    other.result(60)
    with connect(place) as server:
        entry = find_entry(server, place.name)
    assert entry is not None
    assert 'haze' in entry.columns.column_names


def test_a_column_is_added_while_rows_are_written(
    database: str, archive: Path, begin: Begin
) -> None:
    address = f'{database}&archive=busy'
    load_archive(archive, address)
    place = Address.read(address)
    columns = pa.table({'haze': pa.array([], pa.float64())})
    waiting = connect(place)
    with connect(place) as server, server.transaction():
        server.execute("SET LOCAL lock_timeout = '5s'")
        server.execute('DELETE FROM torchgeo_cmr.busy WHERE FALSE')
        other = begin(widen, waiting, place.name, columns, {})
        assert not other.done()
        # As a loader does last; the one that waits for it must not have this row.
        server.execute(
            "UPDATE torchgeo_cmr.archive SET changes = 0 WHERE name = 'busy'"
        )
    other.result(60)
    waiting.close()


def test_a_role_is_made_while_another_database_makes_it(
    database: str, archive: Path, begin: Begin
) -> None:
    address = f'{database}&archive=of_role'
    with psycopg.connect(database) as server:
        server.execute('CREATE ROLE made_twice NOLOGIN')
        other = begin(load_archive, archive, address, role='made_twice')
        assert not other.done()
        server.commit()
        other.result(60)
        can = (
            "SELECT has_table_privilege('made_twice', 'torchgeo_cmr.of_role', 'SELECT')"
        )
        assert server.execute(can).fetchone() == (True,)


def test_a_role_is_made_before_it_is_made(
    database: str, archive: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = 'SELECT current_user, TRUE FROM pg_advisory_xact_lock(42)'
    monkeypatch.setattr(grants, '_MAKES_ROLES', wait)
    with psycopg.connect(database, autocommit=True) as server:
        server.execute('SELECT pg_advisory_lock(42)')
        address = f'{database}&archive=of_late_role'
        other = begin(load_archive, archive, address, role='made_before')
        assert not other.done()
        server.execute('CREATE ROLE made_before NOLOGIN')
        server.execute('SELECT pg_advisory_unlock(42)')
        assert other.result(60) == {'parts': 1, 'kept': 0, 'removed': 0, 'rows': 3}


def test_the_first_results_of_a_database_wait_for_others(
    database: str, begin: Begin
) -> None:
    hits = RetrievalIndex(table()).search(table(), 2)
    with connect(Address.read(database)) as server:
        server.execute('DROP TABLE IF EXISTS public.layer_styles')
        with server.transaction():
            lock(server)
            server.execute(_STYLES)
            other = begin(to_postgres, hits, f'{database}&table=first_hits')
            assert not other.done()
        assert other.result(60) == 'first_hits'


@pytest.mark.slow
def test_the_extensions_of_a_shard_are_made_by_one_of_two_loaders(
    archive: Path,
) -> None:
    first, shard = own_postgres.start_or_skip(), own_postgres.start_or_skip()
    try:
        with (
            psycopg.connect(shard.address) as server,
            psycopg.connect(shard.address, autocommit=True) as watching,
            ThreadPoolExecutor() as pool,
        ):
            # As a loader does whose first server this is.
            lock(server)
            server.execute('CREATE EXTENSION postgis')
            other = pool.submit(
                load_archive,
                archive,
                first.address,
                divide='source',
                shards=[shard.address_for_servers],
            )
            until_it_waits(watching, other)
            assert not other.done()
            server.commit()
            assert other.result(60) == {'parts': 1, 'kept': 0, 'removed': 0, 'rows': 3}
    finally:
        first.remove()
        shard.remove()
