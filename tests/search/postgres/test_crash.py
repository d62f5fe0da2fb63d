"""Loaders and the server are killed: what was acknowledged is whole, nothing is torn or twice."""

import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import own_postgres
import psycopg
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex, load_archive
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

LOADERS, PARTS, ROWS = 3, 60, 20
_READ = """
import sys, time
import numpy as np
from torchgeo_cmr.search import RetrievalIndex
index, seen = None, 0
print('ready', flush=True)
while True:
    try:
        index = index or RetrievalIndex.open(sys.argv[1])
        hits = index.search(np.ones(16, np.float32), 100_000)
    except Exception as error:
        if index is None and ('no archive' in str(error) or 'no rows yet' in str(error)):
            time.sleep(0.01)
            continue
        print('stopped', seen, repr(error), flush=True)
        break
    if not len(hits):
        continue
    parts = hits['patch_id'].str.rpartition('-')[0].value_counts()
    if not (parts == int(sys.argv[2])).all() or len(parts) < seen:
        print('torn', parts.to_dict(), flush=True)
        break
    seen = len(parts)
    print('whole', seen, flush=True)
"""
_LOAD = 'import sys; from torchgeo_cmr.search import load_archive; load_archive(*sys.argv[1:])'


def archive(folder: Path, loader: int) -> Path:
    rng = np.random.default_rng(loader)
    sink = ParquetSink(folder, {'space': 'w'})
    for part in range(PARTS):
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'{loader}-{part}-{i}' for i in range(ROWS)]},
            geometry=shapely.box(range(ROWS), part, np.arange(ROWS) + 0.5, part + 0.5),
            crs=4326,
        )
        vectors = rng.normal(size=(ROWS, 16))
        sink.commit(
            f'{loader}-{part:02d}', EmbeddingTable.from_frame(frame, vectors, space='w')
        )
    return folder


def whole_parts(server: psycopg.Connection) -> set[str]:
    """Give the parts that are there; none lacks a row or a vector, and no row lacks a part."""
    there = server.execute("SELECT to_regclass('torchgeo_cmr.patch_vector')").fetchone()
    if there == (None,):
        return set()
    found = server.execute(
        'SELECT coalesce(p.key, t.part_key), p.rows, count(t), count(v) '
        'FROM torchgeo_cmr.part p FULL JOIN (torchgeo_cmr.patch t '
        'LEFT JOIN torchgeo_cmr.patch_vector v USING (row_number)) ON p.key = t.part_key '
        'GROUP BY 1, 2'
    ).fetchall()
    for key, rows, patches, vectors in found:
        assert rows == patches == vectors == ROWS, f'{key} is torn'
    return {key for key, *_ in found}


def test_killed_loader_then_killed_server_lose_and_double_nothing(
    own: own_postgres.Database, tmp_path: Path
) -> None:
    folders = [archive(tmp_path / str(i), i) for i in range(LOADERS)]
    told = tmp_path / 'told'
    with told.open('w') as file:
        reader = subprocess.Popen(
            [sys.executable, '-c', _READ, own.address, str(ROWS)],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    while 'ready' not in told.read_text():
        time.sleep(0.05)
    loaders = [
        subprocess.Popen(
            [sys.executable, '-c', _LOAD, str(folder), own.address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for folder in folders
    ]
    acknowledged: set[str] = set()
    killed = False
    until = time.monotonic() + 300
    with psycopg.connect(own.address, autocommit=True) as server:
        while time.monotonic() < until:
            seen = whole_parts(server)
            assert seen >= acknowledged
            acknowledged = seen
            if not killed and len(seen) >= 3:
                loaders[0].kill()
                killed = True
            # The reader, too, has searched while parts came.
            if len(seen) >= 10 and len({*told.read_text().splitlines()}) > 4:
                break
        own.kill()
    for loader in loaders:
        loader.wait(60)
    reader.wait(60)
    assert 'torn' not in told.read_text()
    assert told.read_text().splitlines()[-1].startswith('stopped')
    assert killed
    assert len(acknowledged) < LOADERS * PARTS, 'all was loaded before the kill'
    own.start()
    with psycopg.connect(own.address, autocommit=True) as server:
        assert whole_parts(server) >= acknowledged
    done = [load_archive(folder, own.address) for folder in folders]
    assert sum(counts['kept'] for counts in done) >= len(acknowledged)
    assert done[-1]['rows'] == LOADERS * PARTS * ROWS
    index = RetrievalIndex.open(own.address)
    found = index.table.frame['patch_id']
    assert found.is_unique
    assert len(found) == LOADERS * PARTS * ROWS
