"""Loading: types, names, changes, rights, half precision."""

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.main import main
from torchgeo_cmr.search import RetrievalIndex, Where, load_archive
from torchgeo_cmr.search.postgres.archive_tables import find_entry
from torchgeo_cmr.search.postgres.connection import Address, connect
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

pytestmark = pytest.mark.postgres


def rows(names: str, seed: int = 0, /, **columns: Any) -> EmbeddingTable:
    rng, n = np.random.default_rng(seed), len(names)
    frame = gpd.GeoDataFrame(
        {'patch_id': [*names], **columns},
        geometry=shapely.box(range(n), 0, np.arange(n) + 0.5, 1),
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, rng.normal(size=(n, 4)), space='w')


def test_columns_of_any_type_and_name_come_back(database: str, tmp_path: Path) -> None:
    table = rows(
        'abc',
        row_number=[1, 2, 3],
        **{
            '%s"; DROP TABLE x; --': ["'", '\\', None],
            'ä' * 70: [1.5, None, float('inf')],
            'long': pd.array([2**63 + 1, 0, 5], dtype='uint64'),
            'missing': pd.array([2**60 + 1, None, 5], dtype='Int64'),
            'price': [Decimal('1.10'), None, Decimal('-3.00')],
            'fine': pd.to_datetime([1, 2, None], unit='ns'),
            'lasts': pd.to_timedelta([1, None, 3], unit='s'),
            'kind': pd.Categorical(['x', None, 'y'], categories=['z', 'y', 'x']),
            'size': pd.Categorical(
                ['low', None, 'high'], ['low', 'high'], ordered=True
            ),
            'flag': [True, None, False],
            'sure': [True, True, False],
            'numbers': [[1.5, 2.0], [], None],
            'words': [['a', "'"], None, []],
            'raw': [b'\0\1', None, b''],
            'nothing': [None, None, None],
        },
    )
    folder = table.save(tmp_path / 'archive')
    address = f'{database}&archive=ty"pes'
    load_archive(folder, address)
    back = RetrievalIndex.open(address).table
    pd.testing.assert_frame_equal(
        pd.DataFrame(back.frame), pd.DataFrame(EmbeddingTable.load(folder).frame)
    )
    np.testing.assert_array_equal(back.vectors, table.vectors)
    # Conditions see the same columns.
    found = RetrievalIndex.open(address).rows(Where(where="kind = 'x' and missing > 5"))
    assert found.tolist() == [0]


@pytest.mark.parametrize('first', ['category', 'text'])
def test_categories_in_one_part_and_words_in_another(
    database: str, tmp_path: Path, first: str
) -> None:
    address = f'{database}&archive=mixed_{first}'
    sink = ParquetSink(tmp_path / 'a', {'space': 'w'})
    parts = [pd.Categorical(['x', None]), ['y', 'x'], pd.Categorical(['z', 'x'])]
    parts = parts if first == 'category' else parts[1:]
    for i, kind in enumerate(parts):
        table = rows('abcdef'[2 * i : 2 * i + 2], i, kind=kind)
        sink.commit(f'{i}', table.select([0]))
        sink.commit(f'{i} more', table.select([1]))
    load_archive(sink.path, address)
    back, truth = RetrievalIndex.open(address).table, EmbeddingTable.load(sink.path)
    pd.testing.assert_frame_equal(
        pd.DataFrame(back.frame).sort_values('patch_id', ignore_index=True),
        pd.DataFrame(truth.frame).sort_values('patch_id', ignore_index=True),
    )
    assert load_archive(sink.path, address)['parts'] == 0


def test_categories_of_parts_need_more_numbers_than_one_part(
    database: str, tmp_path: Path
) -> None:
    address = f'{database}&archive=categories'
    sink = ParquetSink(tmp_path / 'a', {'space': 'w'})
    ids = [chr(0x4E00 + i) for i in range(350)]
    for part in (ids[:50], ids[50:]):
        sink.commit(part[0], rows(''.join(part), kind=pd.Categorical(part)))
    load_archive(sink.path, address)
    frame = RetrievalIndex.open(address).table.frame
    assert frame['kind'].astype(str).tolist() == frame['patch_id'].tolist()
    # Numbers are not words.
    sink.commit('other', rows('ab', kind=[1, 2]))
    with pytest.raises(ArchiveError, match='columns of another kind'):
        load_archive(sink.path, address)


def test_categories_that_an_earlier_version_lost(database: str, tmp_path: Path) -> None:
    """It kept the categories of some parts only; the words themselves are in the table."""
    address = f'{database}&archive=lost'
    sink = ParquetSink(tmp_path / 'a', {'space': 'w'})
    for names, kinds in (('ab', ['x', 'y']), ('cde', ['z', None, 'x'])):
        sink.commit(names, rows(names, kind=pd.Categorical(kinds)))
    load_archive(sink.path, address)
    with connect(Address.read(address)) as server:
        entry = find_entry(server, 'lost')
        assert entry is not None
        i = entry.columns.schema.get_field_index('kind')
        assert entry.columns.column(i).chunk(0).dictionary.to_pylist() == [
            'x',
            'y',
            'z',
        ]
        codes = pa.array([], pa.int8())
        fewer = pa.DictionaryArray.from_arrays(codes, pa.array(['x', 'y']))
        columns = entry.columns.set_column(i, 'kind', fewer)
        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, columns.schema) as writer:
            batch = [
                c.chunk(0) if c.num_chunks else pa.array([], c.type) for c in columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(batch, schema=columns.schema))
        server.execute(
            'UPDATE torchgeo_cmr.archive SET columns = %s WHERE name = %s',
            [stream.getvalue().to_pybytes(), 'lost'],
        )
        server.commit()

    def check(truth: dict[str, str]) -> None:
        index = RetrievalIndex.open(address)
        frame = index.table.frame
        found = dict(zip(frame['patch_id'], frame['kind'].astype(object), strict=True))
        assert {k: v for k, v in found.items() if not pd.isna(v)} == truth
        for word in {*truth.values()}:
            hits = index.search([1, 0, 0, 0], 9, where=Where(where=f"kind = '{word}'"))
            assert {*hits['patch_id']} == {k for k, v in truth.items() if v == word}
            assert {*hits['kind']} == {word}
        # Rows whose categories are all known, next to others.
        every = index.search([1, 0, 0, 0], 9)
        assert (
            dict(zip(every['patch_id'], every['kind'], strict=True)).items()
            >= truth.items()
        )

    truth = dict(zip('abce', 'xyzx', strict=True))
    check(truth)
    # Loading more parts into it loses nothing either.
    sink.commit('f', rows('f', kind=pd.Categorical(['w'])))
    assert load_archive(sink.path, address)['parts'] == 1
    check(truth | {'f': 'w'})


def test_load_again_keeps_replaces_and_prunes(database: str, tmp_path: Path) -> None:
    address = f'{database}&archive=again'
    sink = ParquetSink(tmp_path / 'a', {'space': 'w', 'record': {'by': 'test'}})
    for key in 'abc':
        sink.commit(key, rows(key + key.upper(), ord(key)))
    assert load_archive(tmp_path / 'a', address) == {
        'parts': 3,
        'kept': 0,
        'removed': 0,
        'rows': 6,
    }
    index = RetrievalIndex.open(address)
    index.delete('a')
    sink.commit('b', rows('bBx', 7, cloud=[1.0, 2.0, None]))
    sink.remove('c')
    done = load_archive(tmp_path / 'a', address)
    assert done == {'parts': 1, 'kept': 1, 'removed': 0, 'rows': 6}
    # An index that is open sees it, and what was deleted stays away.
    assert set(index.search([1, 0, 0, 0], 10)['patch_id']) == set('AbBxcC')
    assert index.rows(Where(where='cloud > 1')).size == 1
    assert load_archive(tmp_path / 'a', address, prune=True)['removed'] == 1
    assert len(index) == 4
    assert index.record['by'] == 'test'
    with pytest.raises(QueryError, match="no patch_id 'a'"):
        index.delete(['A', 'a'])
    assert len(index) == 4


def test_what_does_not_fit_is_refused_whole(database: str, tmp_path: Path) -> None:
    address = f'{database}&archive=refused'
    load_archive(rows('ab').save(tmp_path / 'a'), address)
    sink = ParquetSink(tmp_path / 'twice', {'space': 'w'})
    sink.commit('other', rows('zb'))
    with pytest.raises(ArchiveError, match='patch_id that is in another part'):
        load_archive(tmp_path / 'twice', address)
    assert len(RetrievalIndex.open(address)) == 2
    wide = EmbeddingTable.from_frame(rows('q').frame, [[1, 0]], space='w')
    folder = wide.save(tmp_path / 'wide')
    with pytest.raises(ArchiveError, match=r'load it under another name'):
        load_archive(folder, address)
    with pytest.raises(ArchiveError, match=r"no archive 'none' \(found: .*refused"):
        RetrievalIndex.open(f'{database}&archive=none')
    for taken in ('archive', 'part', 'slice', 'shard'):
        with pytest.raises(QueryError, match='cannot be the name'):
            RetrievalIndex.open(f'{database}&archive={taken}')
    for year in ('-0044-03-15', '12000-01-01'):
        times = np.array([year], 'datetime64[s]')
        frame = gpd.GeoDataFrame(
            rows('t').frame.assign(time_start=times, time_end=times)
        )
        for name in ('time_start', 'time_end'):
            frame[name] = frame[name].dt.tz_localize('UTC')
        far = EmbeddingTable.from_frame(frame, rows('t').vectors, space='w')
        with pytest.raises(ArchiveError, match='not in the years 1 to 9999'):
            load_archive(far.save(tmp_path / year), address)
    with pytest.raises(QueryError, match='opened alone'):
        RetrievalIndex([address, tmp_path / 'a'])


def test_role_may_search_and_change_nothing(database: str, tmp_path: Path) -> None:
    import psycopg

    address = f'{database}&archive=rights'
    folder = rows('abc').save(tmp_path / 'a')
    load_archive(folder, address, role='p20 "readers"')
    with psycopg.connect(database, autocommit=True) as server:
        server.execute('DROP ROLE IF EXISTS p20_guest')
        server.execute('CREATE ROLE p20_guest LOGIN IN ROLE "p20 ""readers"""')
    guest = address.replace('user=postgres', 'user=p20_guest')
    index = RetrievalIndex.open(guest)
    assert len(index.search([1, 0, 0, 0], 5, (0, 0, 1, 1))) == 2
    with pytest.raises(ArchiveError, match='permission denied'):
        index.delete('a')
    rows('abd').save(folder, overwrite=True)
    with pytest.raises(ArchiveError, match='permission denied'):
        load_archive(folder, guest)


def test_a_role_that_cannot_be_made_is_refused_before_rows(
    database: str, tmp_path: Path
) -> None:
    import psycopg
    import psycopg.sql

    address = f'{database}&archive=unmade'
    folder = rows('abc').save(tmp_path / 'a')
    load_archive(rows('z').save(tmp_path / 'z'), f'{database}&archive=other')
    with psycopg.connect(database, autocommit=True) as server:
        server.execute('DROP ROLE IF EXISTS p20_loader')
        server.execute('CREATE ROLE p20_loader LOGIN')
        base = psycopg.sql.Identifier(server.info.dbname)
        create = psycopg.sql.SQL('GRANT CREATE ON DATABASE {} TO p20_loader')
        server.execute(create.format(base))
        server.execute('GRANT ALL ON SCHEMA torchgeo_cmr TO p20_loader')
        server.execute('GRANT ALL ON ALL TABLES IN SCHEMA torchgeo_cmr TO p20_loader')
    loader = address.replace('user=postgres', 'user=p20_loader')
    with pytest.raises(
        ArchiveError, match=r"no role 'p20_none'.* may not make it: have an"
    ):
        load_archive(folder, loader, role='p20_none')
    with pytest.raises(ArchiveError, match='no archive'):
        RetrievalIndex.open(address)
    for name in ('', 'ä' * 32, 'a\0b'):
        with pytest.raises(ArchiveError, match='cannot be the name of a role'):
            load_archive(folder, address, role=name)
    with psycopg.connect(database, autocommit=True) as server:
        # What an earlier test loaded belongs to another user.
        for kind in ('DROP OWNED BY p20_loader', 'DROP ROLE p20_loader'):
            server.execute(kind)


def test_half_precision_finds_the_same_rows(database: str, tmp_path: Path) -> None:
    rng, n = np.random.default_rng(5), 700
    x = rng.uniform(0, 5, n)
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{i:03d}' for i in range(n)]},
        geometry=shapely.box(x, 0, x + 0.1, 1),
        crs=4326,
    )
    table = EmbeddingTable.from_frame(frame, rng.normal(size=(n, 32)), space='h')
    address = f'{database}&archive=half'
    load_archive(table.save(tmp_path / 'a'), address, half=True)
    index, query = RetrievalIndex.open(address), table.vectors[3]
    for where in (None, (0, 0, 4, 1)):
        hits = index.search(query, 20, where)
        # Exact among the vectors that are kept.
        kept = RetrievalIndex(index.table).search(query, 20, where)
        assert hits['patch_id'].tolist() == kept['patch_id'].tolist()
        wanted = RetrievalIndex(table).search(query, 20, where)
        np.testing.assert_allclose(hits['score'], wanted['score'], atol=1e-3)


def test_commands_load_and_search(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f'{database}&archive=words'
    rows('abc').save(tmp_path / 'a')
    assert main(['load', str(tmp_path / 'a'), address]) == 0
    assert '3 rows; 1 parts loaded' in capsys.readouterr().out
    assert main(['info', address, '--json']) == 0
    assert json.loads(capsys.readouterr().out)['bytes'] > 1000
    out = str(tmp_path / 'hits.geojson')
    assert main(['search', address, '--query', 'a', '--out', out]) == 0
    assert set(gpd.read_file(out)['patch_id']) == {'b', 'c'}


def test_without_the_driver_one_sentence_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'psycopg', None)
    with pytest.raises(ArchiveError, match=r'pip install "psycopg\[binary\]"'):
        RetrievalIndex.open('postgresql://localhost/gis')


def test_info_and_check_tell_what_is_there(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import psycopg

    address = f'{database}&archive=facts'
    sink = ParquetSink(tmp_path / 'a', {'space': 'w', 'record': {'by': 'test'}})
    sink.commit('one', rows('abc', source='x'))
    sink.commit('two', rows('defg', 1, source='y'))
    load_archive(tmp_path / 'a', address, divide='source')
    assert main(['info', address, '--json']) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts.pop('bytes') > 1000
    assert facts == {
        'kind': 'archive in PostgreSQL',
        'archive': 'facts',
        'rows': 7,
        'dim': 4,
        'half': False,
        'spaces': ['w'],
        'divided': 'source',
        'slices': 2,
        'servers': 0,
        'approximate': [],
        'parts': 2,
        'record': {'by': 'test'},
    }
    assert main(['check', address]) == 0
    assert '2 files checked, 0 faults' in capsys.readouterr().out
    # A row that was deleted by us is no fault, whatever others do is.
    RetrievalIndex.open(address).delete('a')
    assert main(['check', address]) == 0
    capsys.readouterr()
    with psycopg.connect(database, autocommit=True) as server:
        swap = "UPDATE torchgeo_cmr.facts SET patch_id = 'z' WHERE patch_id = 'd'"
        server.execute(swap)
        assert main(['check', address]) == 1
        assert 'facts/two: vectors and ids are not' in capsys.readouterr().out
        server.execute(
            'DELETE FROM torchgeo_cmr.facts_vector WHERE row_number = '
            "(SELECT row_number FROM torchgeo_cmr.facts WHERE patch_id = 'b')"
        )
        server.execute("DELETE FROM torchgeo_cmr.part WHERE key = 'two'")
    assert main(['check', address]) == 1
    out = capsys.readouterr().out
    assert 'facts/one: the archive' in out
    assert 'rows without a vector' in out
    assert '4 rows belong to no part' in out
    with pytest.raises(ArchiveError, match='rows without a vector'):
        RetrievalIndex.open(address).search([1, 0, 0, 0], 9)
    folder = str(tmp_path / 'index')
    assert main(['index', f'{database}&archive=words', '--out', folder]) == 0
    assert main(['check', folder]) == 0
