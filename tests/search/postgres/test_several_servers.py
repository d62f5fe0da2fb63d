"""Replicas and slices: the answers of one server; a server that is gone is an error, never fewer rows."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import geopandas as gpd
import numpy as np
import own_postgres
import pandas as pd
import psycopg
import pytest
import shapely
from psycopg import sql

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.main import main
from torchgeo_cmr.search import RetrievalIndex, Where, load_archive
from torchgeo_cmr.search.postgres.server_check import describe_server, verify_server
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

pytestmark = pytest.mark.postgres

AREA = shapely.Polygon([(0, 0), (4, 0), (4, 1), (1, 1), (1, 4), (0, 4)])
FILTERS = [
    None,
    Where(AREA, 4326),
    Where(during='2024-03'),
    Where(AREA, 4326, predicate='within', where="source != 'b'"),
    Where(where='cloud < 30'),
]


def table(n: int = 900, seed: int = 0) -> EmbeddingTable:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 5, n), rng.uniform(0, 5, n)
    start = pd.Series(
        pd.Timestamp('2024-01-10', tz='UTC')
        + pd.to_timedelta(rng.integers(0, 120, n), unit='D')
    )
    start[rng.random(n) < 0.1] = pd.NaT
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{seed}-{i:04d}' for i in range(n)],
            'source': rng.choice(['a', 'b', "o'neill"], n),
            'time_start': start,
            'time_end': start,
            'cloud': rng.uniform(0, 100, n),
        },
        geometry=shapely.box(x, y, x + 0.05, y + 0.05),
        crs=4326,
    )
    vectors = rng.normal(size=(n, 16))
    if n > 520:
        vectors[500:520] = vectors[20:40]  # ties, which lie in several slices
    return EmbeddingTable.from_frame(frame, vectors, space='w')


def same_answers(index: RetrievalIndex, table: EmbeddingTable) -> None:
    memory = RetrievalIndex(table)
    queries = table.select(np.array([25, 300]))
    for where in FILTERS:
        for k in (7, 400):
            wanted = memory.search(queries, k, where)
            hits = index.search(queries, k, where)
            pd.testing.assert_frame_equal(pd.DataFrame(hits), pd.DataFrame(wanted))


def count(schema: str, table: str) -> sql.Composed:
    return sql.SQL('SELECT count(*) FROM {}').format(sql.Identifier(schema, table))


@pytest.fixture
def servers() -> Iterator[list[own_postgres.Database]]:
    """Three servers, the last two to be shards of the first."""
    with ExitStack() as held:
        made = [own_postgres.start_or_skip() for _ in range(3)]
        for server in made:
            held.callback(server.remove)
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(
    'divide', ['source', 'month', pytest.param('year', marks=pytest.mark.slow)]
)
def test_slices_of_one_server_answer_as_one_table(
    database: str, tmp_path: Path, divide: str
) -> None:
    address = f'{database}&archive=by_{divide}'
    whole = table()
    folder = whole.save(tmp_path / 'archive')
    load_archive(folder, address, divide=divide, approximate=True)
    index = RetrievalIndex.open(address)
    same_answers(index, whole)
    index.delete(['0-0001', '0-0500'])
    rest = whole.select(np.setdiff1d(np.arange(len(whole)), [1, 500]))
    same_answers(index, rest)
    with psycopg.connect(database) as server:
        left = server.execute(count('torchgeo_cmr', f'by_{divide}_vector')).fetchone()
    assert left == (len(rest),)


@pytest.mark.slow
def test_shards_answer_as_one_server_and_a_stopped_one_is_an_error(
    servers: list[own_postgres.Database],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, *others = servers
    whole = table()
    sink = ParquetSink(tmp_path / 'a', {'space': 'w'})
    for i, rows in enumerate(np.array_split(np.arange(len(whole)), 3)):
        sink.commit(f'part{i}', whole.select(rows))
    words = ['load', str(tmp_path / 'a'), first.address, '--divide', 'month']
    for other in others:
        words += ['--shard', other.address_for_servers]
    assert main(words) == 0, capsys.readouterr().err
    capsys.readouterr()
    counts = []
    for other in others:
        with psycopg.connect(other.address) as server:
            names = server.execute(
                'SELECT table_name FROM information_schema.tables WHERE table_schema = '
                "'torchgeo_cmr_slices' AND table_name NOT LIKE '%vector%'"
            ).fetchall()
            assert len(names) >= 2
            counts.append(
                sum(
                    row[0]
                    for (name,) in names
                    for row in server.execute(count('torchgeo_cmr_slices', name))
                )
            )
    assert sum(counts) == len(whole)
    assert min(counts) > 100
    index = RetrievalIndex.open(first.address)
    same_answers(index, whole)
    with pytest.raises(ArchiveError, match='over several servers; leave approximate'):
        load_archive(tmp_path / 'a', first.address, approximate=True)
    # Again, with a column more and rows replaced: nothing is there twice.
    frame = whole.frame.iloc[:300].assign(note='new')
    sink.commit(
        'part0', EmbeddingTable.from_frame(frame, whole.vectors[:300], space='w')
    )
    assert load_archive(tmp_path / 'a', first.address)['rows'] == len(whole)
    assert len(index.rows(Where(where="note = 'new'"))) == 300
    query = whole.vectors[25]
    wanted = index.search(query, 400)
    others[1].kill()
    for where in (None, Where(AREA, 4326)):
        with pytest.raises(ArchiveError, match='the database refused'):
            index.search(query, 400, where)
    others[1].start()
    assert index.search(query, 400)['patch_id'].tolist() == wanted['patch_id'].tolist()


@pytest.mark.slow
def test_a_load_that_was_killed_between_servers_is_done_again_whole(
    servers: list[own_postgres.Database], tmp_path: Path
) -> None:
    first, *others = servers
    shards = [other.address_for_servers for other in others]
    whole = table()
    folder = whole.save(tmp_path / 'archive')
    load_archive(folder, first.address, divide='month', shards=shards)
    # As if the first server had gone after the others had kept what they got.
    with psycopg.connect(first.address, autocommit=True) as server:
        server.execute('DELETE FROM torchgeo_cmr.part')
    counts = load_archive(folder, first.address)
    assert counts == {'parts': 1, 'kept': 0, 'removed': 0, 'rows': len(whole)}
    same_answers(RetrievalIndex.open(first.address), whole)


#: Lets a server refuse new rows of slices at the last moment, when it is asked to commit them.
_FAILS_LATE = """
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too late'; END $$;
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE made record; BEGIN
FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE'
AND schema_name = 'torchgeo_cmr_slices' AND object_identity NOT LIKE '%vector%' LOOP
EXECUTE format('CREATE CONSTRAINT TRIGGER late AFTER INSERT ON %s DEFERRABLE INITIALLY DEFERRED '
'FOR EACH ROW EXECUTE FUNCTION public.late()', made.object_identity); END LOOP; END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch();
"""
_NO_MORE = (
    'DROP EVENT TRIGGER watch; DROP FUNCTION watch(); DROP FUNCTION late() CASCADE'
)


@pytest.mark.slow
def test_what_one_server_kept_and_another_refused_is_replaced_or_pruned(
    servers: list[own_postgres.Database], tmp_path: Path
) -> None:
    first, *others = servers
    shards = [other.address_for_servers for other in others]
    whole = table()
    folder = whole.save(tmp_path / 'archive')
    torn = 0
    for failing in others:  # one of them is asked first
        address = f'{first.address}&archive={failing.name[-6:]}'
        with psycopg.connect(failing.address, autocommit=True) as server:
            server.execute(_FAILS_LATE)
        with pytest.raises(ArchiveError, match='too late'):
            load_archive(folder, address, divide='month', shards=shards)
        with psycopg.connect(failing.address, autocommit=True) as server:
            server.execute(_NO_MORE)
        left = len(RetrievalIndex.open(address))
        assert any(f.fault for f in verify_server(address)) == (left > 0)
        torn += left
        empty = ParquetSink(tmp_path / f'other-{failing.name}', {'space': 'w'})
        empty.commit('other', table(5, seed=7))
        load_archive(tmp_path / f'other-{failing.name}', address, prune=True)
        assert len(RetrievalIndex.open(address)) == 5
        counts = load_archive(folder, address, prune=True)
        assert counts == {'parts': 1, 'kept': 0, 'removed': 1, 'rows': len(whole)}
        same_answers(RetrievalIndex.open(address), whole)
        assert not any(f.fault for f in verify_server(address))
    assert torn


@pytest.mark.slow
def test_two_first_servers_do_not_share_the_tables_of_a_name(
    servers: list[own_postgres.Database], tmp_path: Path
) -> None:
    first, second, shard = servers
    whole = table(60)
    folder = whole.save(tmp_path / 'archive')
    shards = [shard.address_for_servers]
    load_archive(folder, first.address, divide='source', shards=shards)
    with pytest.raises(ArchiveError, match='another archive of this name'):
        load_archive(folder, second.address, divide='source', shards=shards)
    index = RetrievalIndex.open(first.address)
    index.delete(whole.frame['patch_id'].tolist())
    with pytest.raises(ArchiveError, match='another archive of this name'):
        load_archive(folder, second.address, divide='source', shards=shards)
    assert len(index) == 0
    other = f'{second.address}&archive=other'
    load_archive(folder, other, divide='source', shards=shards)
    assert len(RetrievalIndex.open(other)) == 60


@pytest.mark.slow
def test_a_column_that_one_server_has_of_a_failed_load_may_be_of_another_type(
    servers: list[own_postgres.Database], tmp_path: Path
) -> None:
    first, *others = servers
    whole = table(200)
    folder = whole.save(tmp_path / 'archive')
    shards = [other.address_for_servers for other in others]
    load_archive(folder, first.address, divide='source', shards=shards)
    more = table(40, seed=1)
    for note, down in (
        (list(range(40)), True),
        ([f'no {i}' for i in range(40)], False),
    ):
        frame = gpd.GeoDataFrame(more.frame.assign(note=note))
        again = EmbeddingTable.from_frame(frame, more.vectors, space='w')
        again.save(tmp_path / f'more-{down}')
        if down:
            others[1].kill()
            with pytest.raises(ArchiveError, match='the database refused'):
                load_archive(tmp_path / 'more-True', first.address)
            others[1].start()
    assert load_archive(tmp_path / 'more-False', first.address)['rows'] == 40
    index = RetrievalIndex.open(first.address)
    found = index.select(index.rows(Where(where="note = 'no 7'")))
    assert found.frame['patch_id'].tolist() == ['1-0007']


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_not_taken_and_a_password_is_renewed(
    servers: list[own_postgres.Database], tmp_path: Path
) -> None:
    first, shard, _ = servers
    folder = table(30).save(tmp_path / 'archive')
    wrong = 'postgresql://bob:Sesame@127.0.0.1:1/x'
    with pytest.raises(ArchiveError, match='port 1') as error:
        load_archive(folder, first.address, divide='source', shards=[wrong])
    assert 'Sesame' not in str(error.value)
    right = shard.address_for_servers
    load_archive(folder, first.address, divide='source', shards=[right])
    load_archive(folder, first.address, shards=[f'{right}&password=Sesame'])
    question = 'SELECT address FROM torchgeo_cmr.shard'
    mapped = 'SELECT umoptions FROM pg_user_mappings'
    with psycopg.connect(first.address) as server:
        (plain,) = server.execute(question).fetchall()
        options = server.execute(mapped).fetchall()
    assert 'Sesame' not in plain[0]
    assert options == [(['user=postgres', 'password=Sesame'],)]
    load_archive(folder, first.address, shards=[right])  # without it, it stays
    with psycopg.connect(first.address) as server:
        assert server.execute(mapped).fetchall() == options


def test_a_reader_asks_what_a_divided_archive_is(
    own: own_postgres.Database, tmp_path: Path
) -> None:
    folder = table(30).save(tmp_path / 'archive')
    load_archive(folder, own.address, divide='source', role='readers')
    with psycopg.connect(own.address, autocommit=True) as server:
        server.execute('CREATE ROLE anna LOGIN IN ROLE readers')
    anna = own.address.replace('user=postgres', 'user=anna')
    assert describe_server(anna)['slices'] == 3


@pytest.mark.parametrize('source', ['\0', 'long'])
def test_a_source_that_cannot_be_a_slice_is_refused(
    database: str, tmp_path: Path, source: str
) -> None:
    letters = np.random.default_rng(0).choice([*'abcdefgh'], 10_000)
    name = ''.join(letters) if source == 'long' else f'a{source}b'
    frame = gpd.GeoDataFrame(table(3).frame.assign(source=name))
    bad = EmbeddingTable.from_frame(frame, np.eye(3, 16), space='w')
    address = f'{database}&archive=sources'
    with pytest.raises(ArchiveError, match='cannot be a slice') as error:
        load_archive(bad.save(tmp_path / 'a'), address, divide='source')
    assert len(str(error.value)) < 300


def test_what_cannot_be_divided_is_refused(database: str, tmp_path: Path) -> None:
    folder = table(30).save(tmp_path / 'a')
    plain, divided = f'{database}&archive=plain', f'{database}&archive=divided'
    load_archive(folder, plain)
    load_archive(folder, divided, divide='source')
    with pytest.raises(QueryError, match='not one of source, year, month'):
        load_archive(folder, divided, divide='week')
    with pytest.raises(ArchiveError, match='is divided by source'):
        load_archive(folder, divided, divide='month')
    with pytest.raises(ArchiveError, match='is not divided'):
        load_archive(folder, plain, divide='month')
    shard = 'postgresql://x@localhost:1/x'
    with pytest.raises(ArchiveError, match='only an archive that is divided'):
        load_archive(folder, plain, shards=[shard])
    with pytest.raises(ArchiveError, match='leave approximate out'):
        load_archive(folder, divided, shards=[shard], approximate=True)
    for wrong in ('hello', 'postgresql:///gis', 'postgresql://secret:word@%zz/gis'):
        with pytest.raises(QueryError, match='shard') as error:
            load_archive(folder, divided, shards=[wrong])
        assert 'word' not in str(error.value)
    # A patch twice, in another slice, is found though no index spans the slices.
    sink = ParquetSink(tmp_path / 'twice', {'space': 'w'})
    frame = table(30).frame.iloc[:3].assign(source='elsewhere')
    sink.commit('other', EmbeddingTable.from_frame(frame, np.eye(3, 16), space='w'))
    with pytest.raises(ArchiveError, match='patch_id that is in another part'):
        load_archive(tmp_path / 'twice', divided)
    same = RetrievalIndex.open(divided)
    assert len(same) == 30


@pytest.mark.slow
def test_a_replica_answers_as_the_server_it_follows(
    own: own_postgres.Database, tmp_path: Path
) -> None:
    whole = table()
    folder = whole.save(tmp_path / 'a')
    load_archive(folder, own.address, approximate=True)
    replica = own_postgres.Database(follows=own)
    try:
        replica.start()
        index = RetrievalIndex.open(replica.address)
        same_answers(index, whole)
        with pytest.raises(ArchiveError, match='read-only'):
            index.delete('0-0001')
        RetrievalIndex.open(own.address).delete('0-0001')
        until = time.monotonic() + 5
        while len(index) == len(whole) and time.monotonic() < until:
            time.sleep(0.01)
        assert len(index) == len(whole) - 1
        assert '0-0001' not in set(index.search(whole.vectors[1], 5)['patch_id'])
    finally:
        replica.remove()
