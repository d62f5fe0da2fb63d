"""Results in a database: a table that QGIS opens with its style, and that is replaced whole."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import psycopg
import pytest
import shapely
from psycopg import sql

from torchgeo_cmr.errors import ArchiveError, OutputExistsError, QueryError
from torchgeo_cmr.export import write_all
from torchgeo_cmr.export.vector.postgres_layer import to_postgres
from torchgeo_cmr.main import main
from torchgeo_cmr.search import RetrievalIndex, load_archive
from torchgeo_cmr.search.store.origin import without_password

type Make = Callable[..., Any]

pytestmark = pytest.mark.postgres


@pytest.fixture
def hits(make: Make) -> gpd.GeoDataFrame:
    return RetrievalIndex(make('s2')).search(make('s1').select([0]), 5)


def rows(database: str, table: str) -> list[Any]:
    with psycopg.connect(database) as server:
        names = sql.Identifier('public', table)
        rows = sql.SQL('SELECT rank, patch_id FROM {} ORDER BY fid').format(names)
        return server.execute(rows).fetchall()


def test_a_table_holds_the_results_and_is_replaced_whole(
    database: str, hits: gpd.GeoDataFrame
) -> None:
    address = f'{database}&table=hits"; --'
    assert to_postgres(hits, address, record={'k': 5}) == 'hits"; --'
    with psycopg.connect(database) as server:
        found = server.execute(
            'SELECT rank, score, patch_id, time_start, ST_AsBinary(geom) '
            'FROM public."hits""; --" ORDER BY fid'
        ).fetchall()
    assert [row[0] for row in found] == hits['rank'].tolist()
    assert [row[1] for row in found] == hits['score'].tolist()
    assert [row[2] for row in found] == hits['patch_id'].tolist()
    assert [row[3] for row in found] == hits['time_start'].tolist()
    shapes = shapely.from_wkb([row[4] for row in found])
    np.testing.assert_allclose(
        shapely.area(shapes), shapely.area(hits.geometry.to_numpy()), rtol=1e-6
    )
    with pytest.raises(OutputExistsError, match='choose another name, or overwrite'):
        to_postgres(hits, address)
    fewer = hits.iloc[:2].assign(cloud=[1.5, None])
    to_postgres(fewer, address, overwrite=True)
    with psycopg.connect(database) as server:
        found = server.execute('SELECT cloud FROM public."hits""; --" ORDER BY fid')
        assert found.fetchall() == [(1.5,), (None,)]


def test_columns_that_every_table_has_get_another_name(
    database: str, hits: gpd.GeoDataFrame
) -> None:
    taken = gpd.GeoDataFrame(hits.assign(ctid='a', XMIN=1, tableoid=2, fid=3))
    to_postgres(taken, f'{database}&table=named')
    with psycopg.connect(database) as server:
        question = 'SELECT * FROM public.named LIMIT 1'
        found = {c.name for c in server.execute(question).description or ()}
    assert {'ctid_2', 'XMIN_2', 'tableoid_2', 'fid_2'} <= found


def test_rights_on_a_table_stay_when_its_rows_are_replaced(
    database: str, hits: gpd.GeoDataFrame
) -> None:
    address = f'{database}&table=stay'
    to_postgres(hits, address)
    with psycopg.connect(database, autocommit=True) as server:
        server.execute('GRANT SELECT ON public.stay TO PUBLIC')
        before = server.execute("SELECT 'public.stay'::regclass::oid").fetchone()
        to_postgres(hits.iloc[:3], address, overwrite=True)
        after = server.execute("SELECT 'public.stay'::regclass::oid").fetchone()
        rights = server.execute(
            "SELECT has_table_privilege('pg_monitor', 'public.stay', 'SELECT')"
        ).fetchone()
    assert (before, rights) == (after, (True,))
    assert len(rows(database, 'stay')) == 3


def test_another_user_writes_results_with_the_rights_of_the_guide(
    database: str, hits: gpd.GeoDataFrame
) -> None:
    to_postgres(hits, f'{database}&table=first')
    bert = database.replace('user=postgres', 'user=bert')
    with psycopg.connect(database, autocommit=True) as server:
        server.execute('CREATE ROLE bert LOGIN')
        server.execute('GRANT CREATE ON SCHEMA public TO bert')
        with pytest.raises(ArchiveError, match='permission denied for table layer_st'):
            to_postgres(hits, f'{bert}&table=second')
        server.execute('GRANT SELECT, INSERT, DELETE ON layer_styles TO bert')
        server.execute('GRANT USAGE ON layer_styles_id_seq TO bert')
        to_postgres(hits, f'{bert}&table=second')
        to_postgres(hits, f'{bert}&table=second', overwrite=True)
        with pytest.raises(ArchiveError, match='permission denied for table first'):
            to_postgres(hits, f'{bert}&table=first', overwrite=True)
    assert len(rows(database, 'second')) == len(hits)


def test_a_table_of_others_is_not_replaced(
    database: str, hits: gpd.GeoDataFrame
) -> None:
    with psycopg.connect(database, autocommit=True) as server:
        server.execute('CREATE TABLE public.theirs (a integer)')
        server.execute('CREATE VIEW public.seen AS SELECT 1 AS a')
        for name in ('theirs', 'seen'):
            with pytest.raises(OutputExistsError, match='not one of results'):
                to_postgres(hits, f'{database}&table={name}', overwrite=True)
        assert server.execute('SELECT count(*) FROM public.theirs').fetchone() == (0,)
    with pytest.raises(QueryError, match='add \\?table=NAME'):
        write_all(hits, [database])
    with pytest.raises(ArchiveError, match='the database cannot be reached'):
        to_postgres(hits, 'postgresql:///x?host=/nowhere&table=hits')


def test_a_search_in_a_database_writes_its_table_and_keeps_no_password(
    database: str, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f'{database}&archive=tabled'
    load_archive(make('s2').save(tmp_path / 'archive'), address)
    secret = address.replace('postgresql://', 'postgresql://postgres:secret@', 1)
    secret = secret.replace('user=postgres&', '')
    out = tmp_path / 'hits.gpkg'
    words = ['search', secret, '--query', 's2:s2.tif:0_0_32x32', '-k', '3']
    target = f'{secret}&table=found'
    assert main([*words, '--out', str(out), '--out', target]) == 0
    printed = capsys.readouterr()
    assert 'found: 3 rows in the database' in printed.out
    assert len(rows(database, 'found')) == 3
    record = (tmp_path / 'hits.json').read_text()
    assert 'archive=tabled' in record
    for text in (record, printed.out, printed.err):
        assert 'secret' not in text
    assert b'secret' not in out.read_bytes()


@pytest.mark.parametrize(
    ('words', 'bare'),
    [
        ('postgresql://me:p%40w@host:5/db?x=1', 'postgresql://me@host:5/db?x=1'),
        ('postgresql://me:a:b@c@host/db', 'postgresql://me@host/db'),
        ('postgres://host/db?password=x&user=y', 'postgres://host/db?user=y'),
        ('postgresql:///db?user=y&password=x', 'postgresql:///db?user=y'),
        ('postgresql://[::1]:5/db', 'postgresql://[::1]:5/db'),
        ('a:b@c', 'a:b@c'),
    ],
)
def test_password_is_left_out(words: str, bare: str) -> None:
    assert without_password(words) == bare


@pytest.mark.slow
@pytest.mark.qgis
def test_qgis_opens_it_finished_and_sees_what_others_write(
    database: str, hits: gpd.GeoDataFrame, qgis: Callable[..., dict[str, Any]]
) -> None:
    to_postgres(hits, f'{database}&table=shown')
    with psycopg.connect(database) as server:
        there = server.info
        name, host, port = there.dbname, there.host, there.port
    uri = (
        f"dbname='{name}' host={host} port={port} user='postgres' key='fid' "
        'table="public"."shown" (geom)'
    )
    write = (
        f'import psycopg; s = psycopg.connect({database!r}, autocommit=True); '
        "s.execute('DELETE FROM public.shown WHERE rank > 2')"
    )
    told = qgis(uri, meanwhile=[sys.executable, '-c', write])
    (layer,), (later,) = told['layers'], told['later']
    assert (layer['valid'], layer['crs'], layer['count']) == (True, 'EPSG:4326', 5)
    assert layer['renderer'] == 'graduatedSymbol'
    assert layer['temporal']
    assert layer['first']['rank'] == 1
    assert later['count'] == 2
