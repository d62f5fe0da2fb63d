"""Whether something became slower: this checkout against another one, in turns.

A process of each checkout prepares the same archive and indexes; then they run the cases in turns,
so that a busy machine slows both alike. Printed are medians of both in milliseconds and the
median of the ratios of the rounds, of the time that passed and of that of the processor::

    git worktree add ../before COMMIT
    python tests/benchmarks/against.py --against ../before --rounds 15

Only what both checkouts have can be compared. With ``TORCHGEO_CMR_PLAIN=1`` indexes have no codes.
"""

import argparse
import contextlib
import inspect
import io
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

#: Rows of the archives, and numbers of a vector.
SMALL, SOME, LARGE, DIM = 1_000, 2_000, 100_000, 256


def table(rows: int) -> Any:
    """Make an archive of small boxes."""
    import geopandas as gpd
    import shapely

    from torchgeo_cmr.table import EmbeddingTable

    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 20, rows), rng.uniform(40, 60, rows)
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'p{i}' for i in range(rows)], 'source': 'a', 'cloud': x},
        geometry=shapely.box(x, y, x + 0.01, y + 0.01),
        crs=4326,
    )
    vectors = rng.standard_normal((rows, DIM))
    return EmbeddingTable.from_frame(frame, vectors, space='made', modality='s2')


def embedding(folder: Path) -> Callable[[], object]:
    """Make the case that embeds three scenes."""
    import rasterio
    import torch
    from affine import Affine

    from torchgeo_cmr.embed import embed
    from torchgeo_cmr.tasks import SSCMRSIR

    scenes = []
    for i in range(3):
        scenes.append(folder / f'scene{i}.tif')
        profile = {
            'driver': 'GTiff',
            'width': 512,
            'height': 512,
            'count': 3,
            'dtype': 'uint16',
            'crs': 'EPSG:32632',
            'transform': Affine(10, 0, 6e5 + 6e3 * i, 0, -10, 5e6),
        }
        pixels = np.random.default_rng(i).integers(1, 4000, (3, 512, 512))
        with rasterio.open(scenes[-1], 'w', **profile) as file:
            file.write(pixels.astype('uint16'))
    torch.manual_seed(0)
    statistics_of = {'s2': [2000.0] * 3, 's1': [2000.0] * 2}
    task = SSCMRSIR(
        {'s2': 3, 's1': 2}, model='test_resnet', mean=statistics_of, std=statistics_of
    )
    names = itertools.count()
    return lambda: embed(
        task,
        scenes,
        modality='s2',
        size=64,
        out=folder / f'embedded{next(names)}',
        progress=False,
        units='db',
    )


def cases(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and run what is compared."""
    from torchgeo_cmr.export import write
    from torchgeo_cmr.search import RetrievalIndex, Where
    from torchgeo_cmr.table import EmbeddingTable

    tables = {n: table(n) for n in (SMALL, SOME, LARGE)}
    known = inspect.signature(RetrievalIndex.build).parameters
    plain: dict[str, Any] = (
        {'codes': False}
        if 'TORCHGEO_CMR_PLAIN' in os.environ and 'codes' in known
        else {}
    )
    for rows in (SMALL, LARGE):
        path = folder / f'index{rows}'
        RetrievalIndex.build(tables[rows], path, **plain)
        yield f'open {rows:,}', lambda path=path: RetrievalIndex.open(path)
    for rows in (SOME, LARGE):
        path = folder / f'new{rows}'

        def build(rows: int = rows, path: Path = path) -> None:
            shutil.rmtree(path, ignore_errors=True)
            RetrievalIndex.build(tables[rows], path, **plain)

        yield f'build {rows:,}', build
    index = RetrievalIndex.open(folder / f'index{LARGE}')
    queries = np.random.default_rng(1).standard_normal((64, DIM))
    area = Where((5, 45, 10, 50), where='cloud < 8')
    for count, where in itertools.product((1, 64), (None, area)):
        words = f'search {count}' + ('' if where is None else ', filtered')
        asked = queries[:count]
        yield (
            words,
            lambda asked=asked, where=where: index.search(asked, 10, where=where),
        )
    archive = folder / 'archive'
    tables[LARGE].save(archive)
    yield 'save archive', lambda: tables[LARGE].save(archive, overwrite=True)
    yield 'open archive', lambda: EmbeddingTable.load(archive)
    hits = index.search(queries[:1], 1_000)
    for suffix in ('gpkg', 'geojson', 'parquet'):
        layer = folder / f'hits.{suffix}'
        yield (
            f'write {suffix}',
            lambda layer=layer: write(hits, layer, overwrite=True),
        )
    yield 'embed', embedding(folder)


def work() -> None:
    """Run the cases that are named on the standard input, once each."""
    warnings.simplefilter('ignore')
    answers = sys.stdout
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(sys.stderr),
    ):
        known = dict(cases(Path(folder)))
        answers.write(json.dumps(list(known)) + '\n')
        answers.flush()
        for line in sys.stdin:
            begin = time.perf_counter(), time.process_time()
            known[line.strip()]()
            spent = time.perf_counter() - begin[0], time.process_time() - begin[1]
            answers.write(json.dumps(spent) + '\n')
            answers.flush()


class Checkout:
    """A process that imports one checkout."""

    def __init__(self, root: Path) -> None:
        """Start it, and wait until it has prepared its files."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, '--work'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            text=True,
            env={**os.environ, 'PYTHONPATH': str(root.resolve())},
        )
        self.names = self._answer()

    def run(self, name: str) -> list[float]:
        """Run a case once and give its seconds."""
        stream = self._process.stdin
        assert isinstance(stream, io.TextIOBase)
        stream.write(name + '\n')
        stream.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--against', type=Path, help='another checkout')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument(
        '--cases', nargs='+', default=[''], help='begins of their names'
    )
    parser.add_argument('--work', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work()
    root = Path(__file__).parents[2]
    sides = [Checkout(options.against), Checkout(root)]
    print(f'{"":22}{"before":>10}{"now":>10}{"ratio":>8}{"of the processor":>18}')
    for name in sides[1].names:
        if not name.startswith(tuple(options.cases)):
            continue
        spent: list[list[list[float]]] = [[], []]
        for turn in range(options.rounds + 2):
            for side in (0, 1) if turn % 2 else (1, 0):
                seconds = sides[side].run(name)
                if turn >= 2:  # the first two warm up
                    spent[side].append(seconds)
        before, now = ([1e3 * wall for wall, _ in side] for side in spent)
        wall, processor = (
            statistics.median(b[i] / a[i] for a, b in zip(*spent, strict=True))
            for i in (0, 1)
        )
        print(
            f'{name:22}{statistics.median(before):10.2f}{statistics.median(now):10.2f}'
            f'{wall:8.2f}{processor:18.2f}',
            flush=True,
        )
    return None


if __name__ == '__main__':
    main()
