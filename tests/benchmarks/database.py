"""An archive in PostgreSQL beside the same archive as an index in this process.

The rows of ``search.py`` (clustered unit vectors, clustered footprints, areas of 40 corners in
EPSG:32632) are saved as an archive folder, loaded into a database, and searched there and in memory
in turns; answers are compared. Loading is timed part by part, with the client's share of
processor time. ``--clients`` processes then ask at once, each with a connection of its own::

    python tests/benchmarks/scale.py database --n 1000000 --dsn 'postgresql:///postgres?host=/tmp'
    python tests/benchmarks/scale.py database --n 20000 --rounds 3

Without ``--dsn`` a server of the folder that ``.ci/postgres`` makes is started and removed. The
archive ``bench`` of the database is dropped before and after.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import psycopg.sql
from search import K, make_area, make_world

from torchgeo_cmr.search import RetrievalIndex, Where, load_archive
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

sys.path.insert(0, str(Path(__file__).parents[1] / 'robustness'))
import own_postgres

_PART = 16_384
_CRS = 'EPSG:32632'


@contextmanager
def server(dsn: str | None) -> Generator[str]:
    """Give the address of a database without the archive of this benchmark."""
    made = None
    if dsn is None:
        if reason := own_postgres.why_not():
            sys.exit(f'{reason}; or give --dsn')
        made = own_postgres.Database()
        made.start()
        dsn = made.address
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET shared_buffers = '2GB'")
            connection.execute("ALTER SYSTEM SET max_wal_size = '4GB'")
        made.stop()
        made.start()
    try:
        _drop(dsn)
        yield f'{dsn}{"&" if "?" in dsn else "?"}archive=bench'
    finally:
        if made is None:
            _drop(dsn)
        else:
            made.remove()


def _drop(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute("SELECT to_regclass('torchgeo_cmr.archive')")
        if found.fetchone() == (None,):
            return
        connection.execute(
            'DROP TABLE IF EXISTS torchgeo_cmr.bench_vector, torchgeo_cmr.bench'
        )
        for table in ('part', 'slice', 'shard'):
            words = psycopg.sql.SQL('DELETE FROM {} WHERE archive = %s').format(
                psycopg.sql.Identifier('torchgeo_cmr', table)
            )
            connection.execute(words, ['bench'])
        connection.execute("DELETE FROM torchgeo_cmr.archive WHERE name = 'bench'")


def save(table: EmbeddingTable, folder: Path) -> Path:
    """Write the archive in parts, as embed does."""
    sink = ParquetSink(folder, {'space': 'made'})
    for start in range(0, len(table), _PART):
        rows = np.arange(start, min(start + _PART, len(table)))
        sink.commit(f'{start:09d}', table.select(rows))
    return folder


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Give seconds and the answer."""
    begin = time.perf_counter()
    answer = call()
    return time.perf_counter() - begin, answer


def turns(
    candidates: Mapping[str, Callable[..., Any]], rounds: int
) -> dict[str, list[float]]:
    """Ask every candidate once a round, in changing order."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        call()
    for number in range(rounds):
        names = list(candidates)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(timed(candidates[name])[0])
    return seconds


def questions(
    table: EmbeddingTable,
    index: RetrievalIndex,
    there: RetrievalIndex,
    world: Any,
    words: Any,
) -> Iterator[dict[str, Any]]:
    """Ask both, for each share of rows and number of queries."""
    for share in words.shares:
        where = None if share >= 1 else Where(make_area(world, share), _CRS)
        for count in words.queries:
            asked = table.vectors[:: len(table) // count][:count]
            candidates = {
                'memory': lambda asked=asked, where=where: index.search(
                    asked, K, where
                ),
                'postgres': lambda asked=asked, where=where: there.search(
                    asked, K, where
                ),
            }
            one, other = (candidates[n]() for n in ('memory', 'postgres'))
            same = one['patch_id'].tolist() == other['patch_id'].tolist()
            seconds = turns(candidates, words.rounds)
            medians = {n: statistics.median(s) for n, s in seconds.items()}
            yield {
                'share': share,
                'queries': count,
                'same': same,
                'ms': {name: 1e3 * s for name, s in medians.items()},
                'ratio': medians['postgres'] / medians['memory'],
            }


def client(
    address: str, where: Any, vectors: Any, start: Any, seconds: float, answers: Any
) -> None:
    """Ask one question after the other, from when all are ready."""
    index, count = RetrievalIndex.open(address), 0
    index.search(vectors[0], K, where)
    start.wait()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        index.search(vectors[count % len(vectors)], K, where)
        count += 1
    answers.put(count)


def at_once(address: str, where: Where, vectors: Any, words: Any) -> dict[str, Any]:
    """Let several processes ask for some seconds."""
    context = multiprocessing.get_context('spawn')
    rates = {}
    for clients in (1, words.clients):
        answers = context.Queue()
        args = address, where, vectors, context.Barrier(clients), words.seconds, answers
        others = [context.Process(target=client, args=args) for _ in range(clients)]
        for other in others:
            other.start()
        counts = [answers.get() for _ in others]
        for other in others:
            other.join()
        rates[clients] = sum(counts) / words.seconds
    return {'queries_per_second': rates}


def run(words: Any) -> dict[str, Any]:
    """Make, load, ask."""
    report: dict[str, Any] = {'n': words.n, 'dim': words.dim, 'seed': words.seed}
    world = make_world(words.n, words.dim, words.seed)
    with tempfile.TemporaryDirectory() as home, server(words.dsn) as address:
        folder = save(world.table, Path(home) / 'archive')
        report['archive_bytes'] = sum(f.stat().st_size for f in folder.rglob('*'))
        before = time.process_time()
        seconds, counts = timed(lambda: load_archive(folder, address))
        spent = time.process_time() - before
        assert counts['rows'] == words.n
        report['load'] = {
            'rows_per_second': words.n / seconds,
            'client_share': spent / seconds,
        }
        with psycopg.connect(address.split('archive=')[0].rstrip('?&')) as connection:
            sizes = connection.execute(
                "SELECT pg_total_relation_size('torchgeo_cmr.bench'), "
                "pg_total_relation_size('torchgeo_cmr.bench_vector')"
            ).fetchone()
        report['database_bytes'] = sizes
        opened, there = timed(lambda: RetrievalIndex.open(address))
        report['open_ms'] = 1e3 * opened
        built, index = timed(lambda: RetrievalIndex.build(folder, Path(home) / 'index'))
        report['build_rows_per_second'] = words.n / built
        sys.stdout.write(f'{report}\n')
        report['asked'] = []
        for answer in questions(world.table, index, there, world, words):
            report['asked'].append(answer)
            sys.stdout.write(f'{answer}\n')
            sys.stdout.flush()
        where = Where(make_area(world, 0.01), _CRS)
        report |= at_once(address, where, world.table.vectors[:100], words)
    return report


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument('--n', type=int, default=1_000_000)
    parser.add_argument('--dim', type=int, default=256)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--shares', type=float, nargs='+', default=[0.001, 0.01, 0.1, 1]
    )
    parser.add_argument('--queries', type=int, nargs='+', default=[1, 64])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--clients', type=int, default=8)
    parser.add_argument('--seconds', type=float, default=10)
    parser.add_argument(
        '--dsn', help='postgresql:// of a server with PostGIS and pgvector'
    )
    parser.add_argument('--json', type=Path)
    parser.set_defaults(measure=measure)


def measure(words: Any) -> None:
    """Run, print, write."""
    report = run(words)
    sys.stdout.write(json.dumps(report, indent=1) + '\n')
    if words.json is not None:
        words.json.write_text(json.dumps(report, indent=1) + '\n')
