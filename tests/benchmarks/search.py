"""Filtered search against the plain plans, all asked the same question in turns.

A made archive: clustered unit vectors, clustered footprints (turned rectangles in EPSG:4326),
40-cornered areas in EPSG:32632 that hold a stated share of the rows. What is timed is
``index.rank(vectors, k, where)``: bringing the area to the archive's CRS, filter, scores,
top k, arrays only. Every candidate begins with the same area in the same foreign CRS, gives
ids and scores, and is compared with an oracle that tests every footprint and scores in
float64. A round asks every candidate once, in changing order. Rounds in which other
processes took the cores are repeated; if the machine is never quiet, the quietest count and
the report says so::

    python tests/benchmarks/search.py --n 1000000 --json search.json
    python tests/benchmarks/search.py --n 1000000 --without-codes --flat
    python tests/benchmarks/search.py --n 100000 --lance --postgres 'host=/tmp user=postgres'
    python tests/benchmarks/search.py --n 10000000 --huge
    python tests/benchmarks/search.py --n 10000000 --huge --folders 4
    python tests/benchmarks/search.py --quick

``--without-codes`` builds an index that scans float32 vectors as well; ``--flat`` asks random
directions, whose best scores are low and close together.

``multiple`` is the median of a candidate over that of ``torchgeo_cmr`` on the same question. The
last rows are what people ask every day: queries that do not find what is near them, scores
corrected for hubs, the first search of an index of ten parts, and a command from the shell;
their multiple is of the first row of each group. ``--everyday`` asks nothing else.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import faiss
import geopandas as gpd
import numpy as np
import search_peers
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from shapely import Geometry

from torchgeo_cmr.search import HubFree, RetrievalIndex, Where, open_archives
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.schema import empty_frame

CRS = 'EPSG:32632'
K = 10
OURS = 'torchgeo_cmr'
#: What a scan of float32 vectors cannot do without.
LIMIT = 'limit: one read of as many vectors'
#: Share of the cores that others may take in a round that counts.
QUIET = 0.15
#: Rounds that are tried for each that shall count.
PATIENCE = 3

type Answer = tuple[NDArray[np.int64], NDArray[np.floating]]
type Candidate = Callable[[], Answer]


@dataclass(frozen=True)
class World:
    """A made archive and what the plain plans build of it once."""

    table: EmbeddingTable
    shapes: NDArray[np.object_]
    tree: shapely.STRtree
    flat: Any


def make_table(n: int, dim: int, seed: int, first: int = 0) -> EmbeddingTable:
    """Make clustered vectors and clustered footprints round 9 E, 48 N.

    Clusters and towns come from the seed, so parts of one archive (``first`` is the number
    of a part's first row) share them.
    """
    common, rng = np.random.default_rng(seed), np.random.default_rng([seed, first])
    centres = common.standard_normal((2_000, dim), dtype=np.float32)
    towns = common.uniform((6, 46), (12, 50), (400, 2))
    vectors = np.empty((n, dim), dtype=np.float32)
    for start in range(0, n, 100_000):
        part = slice(start, min(n, start + 100_000))
        size = part.stop - part.start
        vectors[part] = centres[rng.integers(0, len(centres), size)]
        vectors[part] += rng.standard_normal((size, dim), dtype=np.float32)
        vectors[part] /= np.linalg.norm(vectors[part], axis=1, keepdims=True)
    vectors.flags.writeable = False
    middle = towns[rng.integers(0, len(towns), n)] + rng.normal(0, 0.3, (n, 2))
    turn = rng.uniform(0, 0.4, n)
    half = np.array([[-1, 1], [1, 1], [1, -1], [-1, -1], [-1, 1]]) * 0.002
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    x = middle[:, :1] + half[:, 0] * cos - half[:, 1] * sin
    y = middle[:, 1:] + half[:, 0] * sin + half[:, 1] * cos
    shapes = shapely.polygons(np.stack([x, y], axis=2))
    ids = [f'p{i:08d}' for i in range(first, first + n)]
    frame = gpd.GeoDataFrame(
        {'patch_id': ids, 'modality': 's2', 'space': 'made'},
        geometry=gpd.GeoSeries(shapes, crs='EPSG:4326'),
    )
    blank = empty_frame()
    for name in blank.columns.drop('geometry'):
        if name not in frame:
            frame[name] = np.full(n, None, dtype=object)
        frame[name] = frame[name].astype(blank[name].dtype)
    return EmbeddingTable(frame[list(blank.columns)], vectors, 'cosine', {})


def make_world(n: int, dim: int, seed: int) -> World:
    """Make an archive and what the plain plans build of it once."""
    table = make_table(n, dim, seed)
    shapes = table.frame.geometry.to_numpy()
    flat = faiss.IndexFlatIP(dim)
    flat.add(table.vectors)
    return World(table, shapes, shapely.STRtree(shapes), flat)


def make_area(world: World, share: float) -> Geometry:
    """Give a 40-cornered area in :data:`CRS` that meets about a share of the footprints."""
    project = Transformer.from_crs('EPSG:4326', CRS, always_xy=True)
    middles = shapely.get_coordinates(shapely.centroid(world.shapes[::97]))
    x, y = project.transform(middles[:, 0], middles[:, 1])
    centre = np.median(x), np.median(y)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    wobble = 1 + 0.15 * np.sin(5 * angle)
    way = np.hypot(x - centre[0], y - centre[1])
    bearing = np.arctan2(y - centre[1], x - centre[0])
    scaled = way / (1 + 0.15 * np.sin(5 * bearing))
    radius = np.quantile(scaled, share) * wobble
    corners = [centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)]
    return shapely.Polygon(np.column_stack(corners))


def top(scores: NDArray[np.float32], rows: NDArray[np.int64]) -> Answer:
    """Give the k best columns of scores (num_queries, m)."""
    k = min(K, scores.shape[1])
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
    best = np.take_along_axis(best, order, 1)
    return rows[best], np.take_along_axis(scores, best, 1)


def plain_plans(
    world: World, queries: NDArray[np.float32], area: Geometry | None
) -> dict[str, Candidate]:
    """Give the plain plans: what one writes with shapely, NumPy and faiss alone."""
    vectors = world.table.vectors
    every = np.arange(len(vectors))

    def tree() -> NDArray[np.int64]:
        assert area is not None
        shape = Where(area, CRS).area
        return np.sort(world.tree.query(shape, predicate='intersects'))

    def gather() -> Answer:
        rows = tree()
        return top(queries @ vectors[rows].T, rows)

    def scan() -> Answer:
        scores = queries @ vectors.T
        if area is not None:
            shape = Where(area, CRS).area
            assert shape is not None
            shapely.prepare(shape)
            west, south, east, north = shape.bounds
            own = world.table.boxes
            near = np.flatnonzero(
                (own[:, 0] <= east)
                & (own[:, 2] >= west)
                & (own[:, 1] <= north)
                & (own[:, 3] >= south)
            )
            mask = np.zeros(len(vectors), dtype=bool)
            mask[near] = shapely.intersects(shape, world.shapes[near])
            scores[:, ~mask] = -np.inf
        return top(scores, every)

    def selector(kind: str) -> Candidate:
        def search() -> Answer:
            rows = tree()
            chosen: Any = {'sel': getattr(faiss, kind)(rows)}
            how = faiss.SearchParameters(**chosen)
            scores, found = world.flat.search(queries, K, params=how)
            return found, scores

        return search

    def flat() -> Answer:
        scores, found = world.flat.search(queries, K)
        return found, scores

    if area is None:
        return {'full scan': scan, 'faiss Flat': flat}
    plans = {'R-tree + gather': gather, 'full scan + mask': scan}
    plans['faiss Flat + IDSelectorBatch'] = selector('IDSelectorBatch')
    if len(queries) == 1:
        plans['faiss Flat + IDSelectorArray'] = selector('IDSelectorArray')
    return plans


def oracle(
    world: World, queries: NDArray[np.float32], area: Geometry | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Test every footprint, score in float64, sort everything."""
    rows = np.arange(len(world.shapes))
    if area is not None:
        rows = np.flatnonzero(shapely.intersects(world.shapes, Where(area, CRS).area))
    found, scores = [], []
    for query in queries.astype(np.float64):
        score = np.empty(len(rows))
        for start in range(0, len(rows), 50_000):
            some = rows[start : start + 50_000]
            score[start : start + len(some)] = world.table.vectors[some] @ query
        order = np.lexsort((rows, -score.astype(np.float32)))[:K]
        found.append(rows[order])
        scores.append(score[order])
    return np.stack(found), np.stack(scores), len(rows)


def busy() -> tuple[float, float]:
    """Give CPU seconds spent by everybody and by this process."""
    own = os.times()
    try:
        words = Path('/proc/stat').read_text().split('\n', 1)[0].split()[1:9]
    except OSError:
        return 0.0, 0.0
    # Without idle and waiting.
    used = sum(int(w) for i, w in enumerate(words) if i not in (3, 4))
    return used / os.sysconf('SC_CLK_TCK'), own.user + own.system


def rounds(
    candidates: Mapping[str, Candidate], count: int, patience: int = PATIENCE
) -> tuple[dict[str, list[float]], bool]:
    """Ask every candidate once a round; keep the rounds that others left alone.

    Each round has an order of its own, for who comes after a candidate finds the caches full of
    what that one read.
    """
    rng = np.random.default_rng(0)
    for ask in candidates.values():
        ask()
    taken: list[tuple[float, dict[str, float]]] = []
    names = list(candidates)
    cores = os.cpu_count() or 1
    for _ in range(patience * count):
        spent = {}
        all_before, own_before = busy()
        begin = time.perf_counter()
        for i in rng.permutation(len(names)):
            name = names[i]
            start = time.perf_counter()
            candidates[name]()
            spent[name] = (time.perf_counter() - start) * 1000
        wall = time.perf_counter() - begin
        all_after, own_after = busy()
        others = (all_after - all_before) - (own_after - own_before)
        taken.append((max(0.0, others / (wall * cores)), spent))
        if sum(load <= QUIET for load, _ in taken) >= count:
            break
    taken.sort(key=lambda one: one[0])
    kept = taken[:count]
    quiet = kept[-1][0] <= QUIET
    return {name: [spent[name] for _, spent in kept] for name in names}, quiet


def recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Give the share of the oracle's rows that were found."""
    hits = [len(np.intersect1d(a, b)) for a, b in zip(found, truth, strict=True)]
    return float(np.sum(hits) / truth.size)


def bandwidth(vectors: NDArray[np.float32]) -> None:
    """Read every vector once, all cores, doing as little as can be done."""
    cores = os.cpu_count() or 1
    bounds = np.linspace(0, len(vectors), 8 * cores + 1).astype(int)
    bits = vectors.view(np.int32)
    with ThreadPoolExecutor(cores) as pool:
        list(
            pool.map(lambda i: bits[bounds[i] : bounds[i + 1]].max(), range(8 * cores))
        )


def one_question(
    world: World,
    index: RetrievalIndex,
    share: float,
    num_queries: int,
    count: int,
    patience: int = PATIENCE,
    peers: Mapping[str, search_peers.Ask] = MappingProxyType({}),
    plain: RetrievalIndex | None = None,
    flat: bool = False,
) -> list[dict[str, Any]]:
    """Ask all candidates one question and give their rows of the report."""
    area = None if share == 1 else make_area(world, share)
    rng = np.random.default_rng(7)
    picked = world.table.vectors[rng.choice(len(world.shapes), num_queries)]
    noise = rng.standard_normal(picked.shape, dtype=np.float32) / 16
    queries = (0.0 if flat else 1.0) * picked + 0.5 * noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)

    def ours(index: RetrievalIndex = index) -> Answer:
        # The area is read anew, as other plans do.
        return index.rank(queries, K, None if area is None else Where(area, CRS))

    candidates: dict[str, Candidate] = {OURS: ours}
    if plain is not None:
        candidates[f'{OURS}, codes=False'] = partial(ours, plain)
    candidates |= plain_plans(world, queries, area)
    if area is not None:
        for name, ask in peers.items():
            candidates[name] = partial(_peer, ask, queries, area)
            if num_queries > 1:
                one_by_one = partial(_one_by_one, ask, queries, area)
                candidates[f'{name}, one by one'] = one_by_one
    truth, scores, matching = oracle(world, queries, area)
    if num_queries == 1:
        vectors = world.table.vectors[:matching]
        nothing = np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)
        candidates[LIMIT] = lambda: (bandwidth(vectors), nothing)[1]
    if area is None and num_queries == 1 and any(index._state.approximate):
        candidates[f'{OURS}, exact=False'] = lambda: index.rank(queries, K, exact=False)
    found, score = ours()
    if not (found == truth).all() or np.abs(score - scores).max() > 1e-6:
        raise SystemExit(
            f"share {share}, {num_queries} queries: not the oracle's answer"
        )
    times, quiet = rounds(candidates, count, patience)
    base = statistics.median(times[OURS])
    report = []
    for name, spent in times.items():
        rows = candidates[name]()[0]
        report.append(
            {
                'n': len(world.shapes),
                'd': world.table.dim,
                'share': share,
                'matching': matching,
                'queries': num_queries,
                'candidate': name,
                'median_ms': statistics.median(spent),
                'ratio': statistics.median(spent) / base,
                'recall': recall(rows, truth) if rows.shape[1] else None,
                'quiet': quiet,
            }
        )
        print(row(report[-1]), flush=True)
    return report


def _peer(
    ask: search_peers.Ask, queries: NDArray[np.float32], area: Geometry
) -> Answer:
    shape = Where(area, CRS).area
    assert shape is not None
    return ask(queries, shape, K)


def _one_by_one(
    ask: search_peers.Ask, queries: NDArray[np.float32], area: Geometry
) -> Answer:
    found = [_peer(ask, query[None], area) for query in queries]
    rows, scores = zip(*found, strict=True)
    return np.concatenate(rows), np.concatenate(scores)


def row(one: dict[str, Any]) -> str:
    """Lay out a row for reading."""
    share = '-' if one['recall'] is None else f'{one["recall"]:.3f}'
    return (
        f'| {one["n"]} | {100 * one["share"]:g} % | {one["queries"]} | {one["candidate"]} '
        f'| {one["median_ms"]:.2f} | {multiple(one["ratio"])} | {share} '
        f'| {"yes" if one["quiet"] else "no"} |'
    )


def multiple(ratio: float | None) -> str:
    """Say how many times as long this took as the first of its group, or that, and who was faster."""
    if ratio is None:
        return '-'
    if ratio >= 1:
        return f'x{ratio:.3g}' + (', the first is faster' if ratio > 1 else '')
    return f'x{1 / ratio:.3g}, this is faster'


#: Run in a fresh process: resident memory of one that opens an index and searches.
_SEARCH = """
import sys, numpy as np
from torchgeo_cmr.search import RetrievalIndex
def anonymous_and_mapped():
    words = dict(l.split(':') for l in open('/proc/self/status') if 'Rss' in l or 'VmRSS' in l)
    return int(words['VmRSS'].split()[0]) * 1024
before = anonymous_and_mapped()
index = RetrievalIndex.open(sys.argv[1])
query = np.random.default_rng(0).normal(size=(1, index.dim))
index.rank(query, 10)
print(anonymous_and_mapped() - before)
"""


def opening(world: World, folder: Path, path: Path, count: int) -> list[dict[str, Any]]:
    """Compare opening the saved index with reading the archive, and weigh a searcher."""
    world.table.save(folder / 'archive')

    def read() -> Answer:
        EmbeddingTable.load(folder / 'archive')
        return np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)

    def opened() -> Answer:
        RetrievalIndex.open(path)
        return np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)

    def parquet() -> Answer:
        gpd.read_parquet(next((folder / 'archive').glob('part-*.parquet')))
        return np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)

    names = {
        f'{OURS}, open': opened,
        'read_parquet': parquet,
        'EmbeddingTable.load': read,
    }
    times, quiet = rounds(names, max(1, count // 2))
    base = statistics.median(times[f'{OURS}, open'])
    common = {'n': len(world.shapes), 'd': world.table.dim, 'share': 1, 'queries': 0}
    report = [
        {
            **common,
            'candidate': name,
            'median_ms': statistics.median(spent),
            'ratio': statistics.median(spent) / base,
            'recall': None,
            'quiet': quiet,
        }
        for name, spent in times.items()
    ]
    for one in report:
        print(row(one), flush=True)
    grown = subprocess.run(
        [sys.executable, '-c', _SEARCH, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    ratio = int(grown.stdout) / world.table.vectors.nbytes
    print(f'resident memory of a searching process over its vectors: {ratio:.3f}')
    return [
        *report,
        {
            **common,
            'candidate': 'resident memory',
            'median_ms': None,
            'ratio': ratio,
            'recall': None,
            'quiet': quiet,
        },
    ]


def everyday(world: World, folder: Path, count: int) -> list[dict[str, Any]]:
    """Time what people ask every day: neighbours left out, hubs, several parts, a command.

        ``--without-codes`` builds an index that scans float32 vectors as well; ``--flat`` asks random
    directions, whose best scores are low and close together.

    ``ratio`` is over the first candidate of each group, the same search without it.
    """
    table = world.table
    rng = np.random.default_rng(7)
    asked = table.select(np.sort(rng.choice(len(table), min(100, len(table)), False)))
    index, blank = RetrievalIndex(table), np.empty((1, 0), np.float32)
    groups: list[dict[str, Candidate]] = [
        {
            'nothing left out': partial(index.rank, asked, K, exclude=None),
            'without itself': partial(index.rank, asked, K),
            '500 m left out': partial(index.rank, asked, K, exclude=500.0),
            '2 km left out': partial(index.rank, asked, K, exclude=2000.0),
            '10 km left out': partial(index.rank, asked, K, exclude=10_000.0),
        }
    ]
    reference = table.vectors[:: max(1, len(table) // 500)]
    known = HubFree(index, reference)
    known.rank(asked, K)
    groups.append(
        {
            'hubs, terms known': partial(known.rank, asked, K),
            'hubs, first search': lambda: HubFree(index, reference).rank(asked, K),
        }
    )
    whole, parts = folder / 'whole', folder / 'parts'
    RetrievalIndex.build(table, whole)
    rows = np.array_split(np.arange(len(table)), 10)
    RetrievalIndex.build(table.select(rows[0]), parts)
    for some in rows[1:]:
        RetrievalIndex.open(parts).append(table.select(some))
    groups.append(
        {
            f'first search of {name}': lambda path=path: RetrievalIndex.open(path).rank(
                asked.vectors[:1], K
            )
            for name, path in (('one part', whole), ('ten parts', parts))
        }
    )
    question = folder / 'question'
    asked.select([0]).save(question)

    def run(*words: str) -> Answer:
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        return np.empty((1, 0), np.int64), blank

    words = ['-m', 'torchgeo_cmr', 'search', str(whole), '--query', str(question)]
    groups.append(
        {
            'import geopandas, pyarrow': lambda: run(
                '-c', 'import geopandas, pyarrow.parquet'
            ),
            'torchgeo-cmr search': lambda: run(*words),
        }
    )
    report = []
    for candidates in groups:
        times, quiet = rounds(candidates, count)
        spent = {name: statistics.median(each) for name, each in times.items()}
        base = next(iter(spent.values()))
        for name, median in spent.items():
            one = {
                'n': len(table),
                'd': table.dim,
                'share': 1,
                'queries': len(asked),
                'candidate': name,
                'median_ms': median,
                'ratio': median / base,
                'recall': None,
                'quiet': quiet,
            }
            report.append(one)
            print(row(one), flush=True)
    return report


def codes(world: World, kinds: list[str], count: int) -> list[dict[str, Any]]:
    """Compare smaller vectors with whole ones, without a filter."""
    report = []
    rng = np.random.default_rng(7)
    asked = world.table.vectors[rng.choice(len(world.shapes), 20)]
    asked = asked + 0.5 * rng.standard_normal(asked.shape, dtype=np.float32) / 16
    truth = oracle(world, asked / np.linalg.norm(asked, axis=1, keepdims=True), None)[0]
    for kind in kinds:
        index = RetrievalIndex.build(world.table, vectors=kind)
        for exact in (True, False):
            if kind == 'binary' and exact:
                continue
            ask = partial(index.rank, exact=exact)
            times, quiet = rounds({'': partial(ask, asked[:1], K)}, count)
            median = statistics.median(times[''])
            base = report[0]['median_ms'] if report else median
            report.append(
                {
                    'n': len(world.shapes),
                    'd': world.table.dim,
                    'share': 1,
                    'queries': 1,
                    'candidate': f'{OURS}, {kind}' + ('' if exact else ', exact=False'),
                    'median_ms': median,
                    'ratio': median / base,
                    'recall': recall(ask(asked, K)[0], truth),
                    'quiet': quiet,
                }
            )
            print(row(report[-1]), flush=True)
    return report


def huge(
    n: int, dim: int, seed: int, kinds: list[str], count: int, folders: int = 0
) -> list[dict[str, Any]]:
    """Build an archive part by part, larger than memory would hold, and search its codes.

    The parts are of one index, or so many folders of one each that are searched as one.
    """
    size = -(-n // (folders or 10))
    asked = make_table(20, dim, seed).vectors
    noise = np.random.default_rng(7).standard_normal(asked.shape, dtype=np.float32) / 16
    asked = asked + 0.5 * noise
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    truth, score = np.empty((20, 0), int), np.empty((20, 0))
    report = []
    with tempfile.TemporaryDirectory() as temporary:
        paths = {kind: Path(temporary) / kind for kind in kinds}
        spent = dict.fromkeys(kinds, 0.0)
        for first in range(0, n, size):
            table = make_table(min(size, n - first), dim, seed, first)
            for kind, path in paths.items():
                begin = time.perf_counter()
                if folders:
                    path.mkdir(exist_ok=True)
                    RetrievalIndex.build(table, path / f'{first}', vectors=kind)
                elif first:
                    RetrievalIndex.open(path).append(table)
                else:
                    RetrievalIndex.build(table, path, vectors=kind)
                spent[kind] += time.perf_counter() - begin
            for start in range(0, len(table), 50_000):
                some = asked.astype(float) @ table.vectors[start : start + 50_000].T
                rows = np.arange(some.shape[1]) + first + start
                score = np.hstack([score, some])
                truth = np.hstack([truth, np.tile(rows, (20, 1))])
                best = np.argsort(-score, axis=1, kind='stable')[:, :K]
                score = np.take_along_axis(score, best, 1)
                truth = np.take_along_axis(truth, best, 1)
            del table
            print(f'{min(n, first + size)} rows are indexed', flush=True)
        for kind, path in paths.items():
            begin = time.perf_counter()
            index = open_archives(sorted(path.iterdir()) if folders else path)
            opened = time.perf_counter() - begin
            ask = partial(index.rank, exact=kind != 'binary')
            times, quiet = rounds({'': partial(ask, asked[:1], K)}, count)
            found = ask(asked, K)[0]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            report.append(
                {
                    'n': n,
                    'd': dim,
                    'share': 1,
                    'queries': 1,
                    'candidate': f'{OURS}, {kind}, in {folders or 10} parts',
                    'open_ms': 1e3 * opened,
                    'median_ms': statistics.median(times['']),
                    'ratio': None,
                    'recall': recall(found, truth),
                    'quiet': quiet,
                    'peak_gib': peak,
                    'build_s_per_million': 1e6 * spent[kind] / n,
                }
            )
            if not folders:
                report[-1] |= changes(path, n, dim, seed)
            print(row(report[-1]), f'{peak:.1f} GiB at most', flush=True)
            words = ('build_s_per_million', 'append_s', 'delete_s', 'deleted')
            print({word: report[-1].get(word) for word in words}, flush=True)
    return report


def changes(path: Path, n: int, dim: int, seed: int) -> dict[str, float]:
    """Add 100,000 rows to an index on disk, then take those of a box out; give seconds."""
    added = make_table(100_000, dim, seed, n)
    index = RetrievalIndex.open(path)
    begin = time.perf_counter()
    index.append(added)
    appended = time.perf_counter() - begin
    (found,), _ = index.rank(added.vectors[:1], 1)
    if found.tolist() != [n]:
        raise SystemExit(f'the first row that was added is {n}, and {found} was found')
    box = Where((9.0, 48.0, 9.5, 48.5))
    gone, before = len(index.rows(box)), len(index)
    begin = time.perf_counter()
    index.delete(box)
    deleted = time.perf_counter() - begin
    if len(index) != before - gone or len(index.rows(box)):
        raise SystemExit(
            f'of {before} rows {gone} were deleted and {len(index)} are left'
        )
    return {'append_s': appended, 'delete_s': deleted, 'deleted': gone}


def everything(words: argparse.Namespace) -> list[dict[str, Any]]:
    """Ask every question, open the index, compare the codes."""
    rows: list[dict[str, Any]] = []
    world = make_world(words.n, words.dim, words.seed)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as servers:
        folder = Path(temporary)
        peers: dict[str, search_peers.Ask] = {}
        if words.lance:
            peers['Lance'] = search_peers.in_lance(world.table, folder)
        if words.postgres:
            server = search_peers.in_postgres(world.table, words.postgres)
            peers['PostGIS + pgvector'] = servers.enter_context(server)
        kinds = words.approximate or ()
        path = words.index or folder / 'index'
        if path.exists():
            index = RetrievalIndex.open(path, world.table)
        else:
            index = RetrievalIndex.build(world.table, path, approximate=kinds)
        plain = None
        if words.without_codes:
            plain = RetrievalIndex.build(world.table, folder / 'plain', codes=False)
        for share in words.shares:
            for num_queries in words.queries:
                rows += one_question(
                    world,
                    index,
                    share,
                    num_queries,
                    words.rounds,
                    words.patience,
                    peers,
                    plain,
                    words.flat,
                )
        if plain is None:
            rows += opening(world, folder, path, words.rounds)
            rows += everyday(world, folder, words.rounds)
    if words.codes:
        rows += codes(world, words.codes, words.rounds)
    return rows


def main() -> None:
    """Parse the command line, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    parser.add_argument('--n', type=int, default=100_000, help='rows of the archive')
    parser.add_argument('--dim', type=int, default=256)
    parser.add_argument(
        '--shares', type=float, nargs='+', default=[0.001, 0.01, 0.1, 0.5, 1]
    )
    parser.add_argument('--queries', type=int, nargs='+', default=[1, 64])
    parser.add_argument('--rounds', type=int, default=5, help='rounds that count')
    parser.add_argument(
        '--patience',
        type=int,
        default=PATIENCE,
        help='rounds tried for each that counts',
    )
    parser.add_argument(
        '--approximate', default='ivf', help='kind to build; empty for none'
    )
    parser.add_argument(
        '--codes', nargs='*', default=[], help='kinds of vectors to compare'
    )
    parser.add_argument(
        '--without-codes', action='store_true', help='compare with float32 alone'
    )
    parser.add_argument('--flat', action='store_true', help='ask random directions')
    parser.add_argument(
        '--huge', action='store_true', help='only int8 and binary vectors, in ten parts'
    )
    parser.add_argument(
        '--folders',
        type=int,
        default=0,
        help='with --huge, so many index folders that are searched as one',
    )
    parser.add_argument(
        '--everyday', action='store_true', help='only the everyday questions'
    )
    parser.add_argument(
        '--index', type=Path, help='keep the index here; what is there is used again'
    )
    parser.add_argument('--lance', action='store_true', help='ask Lance too')
    parser.add_argument(
        '--postgres',
        metavar='DSN',
        help='ask this server too; the schema torchgeo_cmr_benchmark is made and dropped',
    )
    parser.add_argument(
        '--quick', action='store_true', help='20,000 rows of 64, three rounds'
    )
    parser.add_argument('--seed', type=int, default=0)
    words = parser.parse_args()
    if words.quick:
        words.n, words.dim, words.rounds = 20_000, 64, 3
    for asked, package in ((words.lance, 'lance'), (words.postgres, 'psycopg')):
        if asked and find_spec(package) is None:
            parser.error(
                f"{package} is missing; install '.[benchmarks]' or leave it out"
            )
    begin = time.perf_counter()
    rows: list[dict[str, Any]] = []
    print('| n | share | queries | candidate | median ms | multiple | recall | quiet |')
    print('|---' * 8 + '|')
    if words.huge:
        kinds = words.codes or ['int8', 'binary']
        rows += huge(words.n, words.dim, words.seed, kinds, words.rounds, words.folders)
    elif words.everyday:
        with tempfile.TemporaryDirectory() as temporary:
            world = make_world(words.n, words.dim, words.seed)
            rows += everyday(world, Path(temporary), words.rounds)
    else:
        rows += everything(words)
    packages = ['torchgeo-cmr', 'numpy', 'faiss-cpu', 'shapely']
    packages += ['pylance'] if words.lance else []
    report = {
        'command': ' '.join(['python', *sys.argv]),
        'seed': words.seed,
        'cores': os.cpu_count(),
        'seconds': time.perf_counter() - begin,
        'versions': {'python': platform.python_version()}
        | {p: version(p) for p in packages},
        'rows': rows,
    }
    if words.json:
        words.json.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
