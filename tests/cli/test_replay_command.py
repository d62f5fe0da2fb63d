"""The verb replay: a search again, and what changed since."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from torchgeo_cmr.cli.search_command import search
from torchgeo_cmr.cli.signature import read_arguments
from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export import read_search
from torchgeo_cmr.search import RESULT_COLUMNS
from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]
type Make = Callable[..., EmbeddingTable]

ONE = 's2:scene.tif:0_160_32x32'


@pytest.fixture
def saved(run: Run, archive: Path, asking: Path, tmp_path: Path) -> Path:
    """A search with every filter, and a position west of Greenwich."""
    words = ['--query', asking, '--query', ONE, '--query', '-98.585,29.595', '-k', 3]
    words += ['--within', '-98.6,29.5,-98.5,29.6', '--where', 'cloud > 2', '--undated']
    words += ['--during', '2024-01-01/..']
    assert run('search', archive, *words, '--out', tmp_path / 'hits.gpkg').code == 0
    return tmp_path / 'hits.gpkg'


def test_the_same_rows(run: Run, saved: Path) -> None:
    manifest = saved.with_suffix('.json')
    count = len(gpd.read_file(saved, layer='results'))
    assert run('replay', manifest) == (0, f'the same {count} rows\n', '')


def test_the_manifest_says_how(saved: Path, archive: Path) -> None:
    told = json.loads(saved.with_suffix('.json').read_text())
    assert told['command'][:3] == ['torchgeo-cmr', 'search', str(archive)]
    assert told['filters']['where'] == 'cloud > 2'
    assert told['filters']['undated'] is True
    assert told['query']['asked'][1] == ONE
    assert 'scenes' not in told
    record = read_search(saved).record
    assert {**told, 'scenes': record['scenes']} == record


def test_rows_written_again(run: Run, saved: Path, tmp_path: Path) -> None:
    out = tmp_path / 'again.gpkg'
    ran = run('replay', saved.with_suffix('.json'), '--out', out)
    first, second = read_search(saved), read_search(out)
    assert ran.out.startswith(f'{out}: {len(first.results)} rows\n')
    pd.testing.assert_frame_equal(
        pd.DataFrame(first.results.drop(columns='geometry')),
        pd.DataFrame(second.results.drop(columns='geometry')),
    )
    assert second.record['command'] == first.record['command']


def test_in_the_folder_of_the_search(
    run: Run, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run('search', archive.name, '--query', ONE, '--out', 'hits.parquet')
    assert run('replay', 'hits.json').out == 'the same 10 rows\n'
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    ran = run('replay', '../hits.json')
    assert ran.code == 2
    assert 'archive: check the path' in ran.err


def test_another_archive(run: Run, saved: Path, archive: Path, make: Make) -> None:
    shutil.rmtree(archive)
    make('s2', n=40).save(archive)
    ran = run('replay', saved.with_suffix('.json'))
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0] == 'other rows'
    assert lines[1].startswith(f'archive {archive}: 30 rows, ')
    # The patches that asked are the same ones.
    assert len(lines) == 3
    assert lines[-1].startswith('rows: ')


def test_other_weights(
    run: Run, saved: Path, archive: Path, asking: Path, make: Make
) -> None:
    for folder, table in ((archive, make('s2')), (asking, make('s1', n=3, seed=1))):
        shutil.rmtree(folder)
        frame = gpd.GeoDataFrame(table.frame.assign(space='xyz'))
        EmbeddingTable.from_frame(frame, table.vectors).save(folder)
    ran = run('replay', saved.with_suffix('.json'))
    assert ran.code == 0
    assert ran.out.splitlines()[1:] == ['weights: abc -> xyz']


def test_other_dates_of_the_same_vectors(
    run: Run, saved: Path, archive: Path, make: Make
) -> None:
    table = make('s2')
    shutil.rmtree(archive)
    frame = table.frame.assign(
        time_start=pd.NaT, time_end=pd.NaT, cloud=np.arange(30.0)[::-1]
    )
    EmbeddingTable.from_frame(
        gpd.GeoDataFrame(frame), table.vectors, record=table.record
    ).save(archive)
    ran = run('replay', saved.with_suffix('.json'))
    assert ran.code == 1
    assert 'vectors, queries and filters are the same: footprints, dates' in ran.out


def test_other_versions(run: Run, saved: Path) -> None:
    manifest = saved.with_suffix('.json')
    told = json.loads(manifest.read_text())
    told['versions']['numpy'] = '1.0'
    manifest.write_text(json.dumps(told))
    ran = run('replay', manifest)
    assert ran.code == 0
    assert ran.out.splitlines()[1:] == [f'version of numpy: 1.0 -> {np.__version__}']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'command': None}, 'was not made by torchgeo-cmr search'),
        ({'command': ['rm', '-rf', '.']}, 'was not made by torchgeo-cmr search'),
        ({'command': ['torchgeo-cmr', 'search', '--bogus']}, 'unrecognized|required'),
        ({'version': 9}, 'written by a newer torchgeo_cmr'),
    ],
)
def test_a_manifest_that_names_no_search(
    refused: Refused, saved: Path, change: dict[str, Any], message: str
) -> None:
    manifest = saved.with_suffix('.json')
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))
    line = refused('replay', manifest)
    assert any(part in line for part in message.split('|'))


def test_the_outputs_of_the_search_are_left_alone(
    run: Run, archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    words = (
        '--query',
        ONE,
        '--out',
        out / 'a.gpkg',
        '--html',
        '--heatmap',
        '--explain',
    )
    run('search', archive, *words, '--overwrite')
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    assert run('replay', out / 'a.json').err == ''
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == before


def test_marks_made_in_the_desktop_come_back(
    run: Run, saved: Path, tmp_path: Path
) -> None:
    """QGIS writes booleans as 1, 0 and NULL; any editor of GeoPackages does."""
    with closing(sqlite3.connect(saved)) as db, db:
        # QGIS has the functions that the spatial index calls; plain SQLite has not.
        triggers = db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'results'"
        ).fetchall()
        for (name,) in triggers:
            db.execute(f'DROP TRIGGER "{name}"')
        db.execute('UPDATE results SET relevant = 1 WHERE rank = 1')
        db.execute('UPDATE results SET relevant = 0 WHERE rank = 2')
    results, queries, _, record = read_search(saved)
    assert tuple(results.columns[: len(RESULT_COLUMNS)]) == RESULT_COLUMNS
    assert results['relevant'].dtype == 'boolean'
    for rank, mark in ((1, True), (2, False), (3, None)):
        marks = results['relevant'][results['rank'] == rank]
        assert len(marks)
        assert marks.isna().all() if mark is None else (marks == mark).all()
    assert results['rank'].dtype == np.int32
    assert results['exact'].dtype == bool
    assert str(results['time_start'].dt.tz) == 'UTC'
    assert queries is not None
    assert set(results['query_id']) <= set(queries['query_id'])
    # What was marked goes on to other formats.
    ran = run('export', saved, '--out', tmp_path / 'marked.geojson')
    assert ran.code == 0
    again = read_search(tmp_path / 'marked.geojson').results
    assert again['relevant'].equals(results['relevant'])
    assert record['k'] == 3


def test_marks_by_geopandas(saved: Path) -> None:
    """Read, changed and written by another program, the layer is still a result."""
    layer = gpd.read_file(saved, layer='results')
    layer['relevant'] = layer['rank'].map({1: True, 2: False})
    layer.to_file(saved, layer='results', mode='w', engine='pyogrio')
    marks = read_search(saved).results
    assert marks['relevant'].dtype == 'boolean'
    assert marks['relevant'][marks['rank'] == 1].all()
    assert not marks['relevant'][marks['rank'] == 2].any()
    assert marks['relevant'][marks['rank'] == 3].isna().all()


def test_marks_that_are_none(saved: Path) -> None:
    layer = gpd.read_file(saved, layer='results')
    layer['relevant'] = 'perhaps'
    layer.to_file(saved, layer='results', mode='w', engine='pyogrio')
    with pytest.raises(
        QueryError, match=r'relevant holds what is not a truth value .*correct'
    ):
        read_search(saved)


def test_search_takes_every_word_that_replay_sets() -> None:
    """Replay puts other values for the outputs; search must still know them."""
    known = {a.name for a in read_arguments(search, explained=False)}
    assert {
        'archives',
        'out',
        'project',
        'heatmap',
        'html',
        'clips',
        'explain',
        'quiet',
    } <= known
