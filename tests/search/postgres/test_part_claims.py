"""Loaders of one archive share its parts: each part is loaded once, and all are there at the end."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import psycopg
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex, load_archive
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

pytestmark = pytest.mark.postgres

PARTS, ROWS = 16, 300
_LOAD = """
import json, sys, time
from torchgeo_cmr.search import load_archive
from torchgeo_cmr.search.postgres import part_loader
archive, address, divide, hangs = sys.argv[1:]
whole = part_loader.read_part
def read_part(part, header):
    if hangs in part.name:
        print('hangs', flush=True)
        time.sleep(600)
    return whole(part, header)
if hangs:
    part_loader.read_part = read_part
print('ready', flush=True)
sys.stdin.readline()
print(json.dumps(load_archive(archive, address, role='sharers', divide=divide or None)))
"""

type Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    sink = ParquetSink(tmp_path / 'archive', {'space': 'w'})
    for part in range(PARTS):
        frame = gpd.GeoDataFrame(
            {
                'patch_id': [f'{part}-{i}' for i in range(ROWS)],
                'source': f'{part % 3}',
                'time_start': f'2024-0{1 + part % 3}-01T10:00Z',
            },
            geometry=shapely.box(
                np.arange(ROWS), part, np.arange(ROWS) + 0.5, part + 1
            ),
            crs=4326,
        )
        frame['time_start'] = frame['time_start'].astype('datetime64[us, UTC]')
        table = EmbeddingTable.from_frame(frame, rng.normal(size=(ROWS, 32)), space='w')
        sink.commit(f'part-{part:02}', table)
    sink.finish()
    return sink.path


@pytest.fixture
def start(archive: Path) -> Iterator[Start]:
    """Begin a loader, which waits for a line; one that hangs does so at a part."""
    loaders = []

    def start(address: str, divide: str, hangs: str = '') -> subprocess.Popen[str]:
        loader = subprocess.Popen(
            [sys.executable, '-c', _LOAD, str(archive), address, divide, hangs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        loaders.append(loader)
        assert loader.stdout is not None
        assert loader.stdout.readline() == 'ready\n'
        return loader

    yield start
    for loader in loaders:
        loader.kill()
        loader.communicate()


def check(address: str, archive: Path) -> None:
    """See that the database has each row of the archive once, with its vector."""
    whole, found = EmbeddingTable.load(archive), RetrievalIndex.open(address).table
    order = found.frame['patch_id'].argsort().to_numpy()
    wanted = whole.frame['patch_id'].argsort().to_numpy()
    assert len(found) == PARTS * ROWS
    assert found.frame['patch_id'][order].tolist() == (
        whole.frame['patch_id'][wanted].tolist()
    )
    np.testing.assert_array_equal(found.vectors[order], whole.vectors[wanted])


@pytest.mark.slow
@pytest.mark.parametrize(
    'divide',
    ['', *(pytest.param(d, marks=pytest.mark.slow) for d in ('source', 'month'))],
)
def test_two_loaders_share_the_work(
    database: str, archive: Path, start: Start, divide: str
) -> None:
    address = f'{database}&archive=shared_{divide or "whole"}'
    loaders = [start(address, divide) for _ in range(2)]
    for loader in loaders:
        assert loader.stdin is not None
        loader.stdin.write('go\n')
        loader.stdin.flush()
    counts = [json.loads(loader.communicate(timeout=120)[0]) for loader in loaders]
    # Whoever is done first has waited for the last part of the other.
    assert [count['rows'] for count in counts] == [PARTS * ROWS] * 2
    assert sum(count['parts'] for count in counts) == PARTS
    # How they share is up to the machine: on a busy one the second had 3 of 16.
    assert min(count['parts'] for count in counts) >= 1
    assert all(count['parts'] + count['kept'] == PARTS for count in counts)
    check(address, archive)
    assert load_archive(archive, address)['kept'] == PARTS


@pytest.mark.slow
@pytest.mark.parametrize('divide', [pytest.param('', marks=pytest.mark.slow), 'month'])
def test_the_part_of_a_killed_loader_is_loaded_by_another(
    database: str, archive: Path, start: Start, divide: str
) -> None:
    address = f'{database}&archive=killed_{divide or "whole"}'
    first, second = start(address, divide, 'part-03'), start(address, divide)
    assert first.stdin is not None
    assert first.stdout is not None
    first.stdin.write('go\n')
    first.stdin.flush()
    assert first.stdout.readline() == 'hangs\n'
    assert second.stdin is not None
    second.stdin.write('go\n')
    second.stdin.flush()
    rest = 'SELECT count(*) FROM torchgeo_cmr.part WHERE archive = %s AND rows > 0'
    name, until = address.rpartition('=')[2], time.monotonic() + 60
    with psycopg.connect(database, autocommit=True) as server:
        while server.execute(rest, [name]).fetchone() != (PARTS - 1,):
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(0.5)
        # It waits, for the first may be done at any time.
        assert server.execute(rest, [name]).fetchone() == (PARTS - 1,)
        assert second.poll() is None
    first.kill()
    counts = json.loads(second.communicate(timeout=60)[0])
    assert counts['rows'] == PARTS * ROWS
    assert counts['parts'] == PARTS - 3
    check(address, archive)
