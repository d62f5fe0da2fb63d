"""Memory of search, evaluation and export while the rows of an archive grow tenfold.

Each case runs in a process of its own over an archive of small boxes with vectors of 256 numbers. Evaluations score
queries of two modalities in an archive that was loaded before.
Measured are the pages that belong to the process alone (anonymous) and those of files that it has
mapped, which the system takes back when it needs them: the most of each above what the process had
before the case, in MiB::

    python tests/benchmarks/growth.py --rows 100000 1000000 --folder /tmp

With ``--embed``, in place of these, the end of a run of ``embed`` over an archive of 10,000 rows per scene::

    python tests/benchmarks/growth.py --embed --rows 100000 1000000
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

DIM = 256
#: Rows of the queries of an evaluation, and hits that are exported.
QUERIES, HITS = 100, 10_000


def pages() -> np.ndarray:
    """Give the anonymous and the mapped bytes of this process."""
    lines = Path('/proc/self/status').read_text().splitlines()
    words = dict(line.split(':') for line in lines)
    return np.array([int(words[w].split()[0]) << 10 for w in ('RssAnon', 'RssFile')])


class Watch:
    """The most that was seen in a block, looking a hundred times a second."""

    def __enter__(self) -> Self:
        """Begin."""
        self.most = self.before = pages()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(0.01):
            self.most = np.maximum(self.most, pages())

    def __exit__(self, *_: object) -> None:
        """End."""
        self._done.set()
        self._thread.join()
        self.more = ((np.maximum(self.most, pages()) - self.before) / 2**20).round(1)


def cases(folder: Path, what: str = '') -> dict[str, Callable[[], object]]:
    """Name what is measured; each opens what it needs, or evaluates a table that is there."""
    from torchgeo_cmr.evaluate import make_report
    from torchgeo_cmr.export import write
    from torchgeo_cmr.search import RetrievalIndex, Where
    from torchgeo_cmr.table import EmbeddingTable

    def index(kind: str = 'float32') -> Any:
        return RetrievalIndex.open(folder / kind)

    queries = np.random.default_rng(1).standard_normal((64, DIM))
    area = (8, 47, 10, 49)

    def export(suffix: str) -> None:
        hits = index().search(queries[:1], HITS)
        write(hits, folder / f'hits.{suffix}', overwrite=True)

    def load() -> EmbeddingTable:
        return EmbeddingTable.load(folder / 'archive')

    def spool() -> EmbeddingTable:
        return EmbeddingTable.load(folder / 'archive', spool=True)

    if what.startswith('evaluate'):
        archive = spool() if what.endswith('spooled') else load()
        kinds = np.arange(len(archive)) * 2 // len(archive)
        if 'mixed' in what:
            kinds = np.random.default_rng(2).permutation(kinds)
        archive.frame['modality'] = np.array(['s1', 's2'])[kinds]
        archive.frame['label'] = np.array(['lake', 'wood', 'field'])[
            np.arange(len(kinds)) % 3
        ]
        ends = np.r_[: QUERIES // 2, -QUERIES // 2 : 0] % len(archive)
        patches = archive.select(ends)

    def score(rule: str) -> None:
        make_report(patches, archive, relevance=rule, directions='cross')

    return {
        'open': index,
        'search, 1 query': lambda: index().search(queries[:1], 10),
        'search, 64 queries': lambda: index().search(queries, 10),
        'search, 64 queries, int8': lambda: index('int8').search(queries, 10),
        'search, area': lambda: index().search(queries, 10, where=area),
        'search, condition': lambda: index().search(
            queries, 10, where=Where(where="source is null and modality = 's2'")
        ),
        'search, all above a score': lambda: index().search(
            queries[:1], None, min_score=0.2
        ),
        f'{HITS:,} hits as GeoPackage': lambda: export('gpkg'),
        f'{HITS:,} hits as GeoJSON': lambda: export('geojson'),
        f'{HITS:,} hits as GeoParquet': lambda: export('parquet'),
        'load archive': load,
        'evaluate, distance': lambda: score('distance:1000'),
        'evaluate, place': lambda: score('place'),
        'evaluate, label': lambda: score('label:label'),
        'evaluate, distance, mixed': lambda: score('distance:1000'),
        'load archive, spooled': spool,
        'evaluate, distance, spooled': lambda: score('distance:1000'),
        'evaluate, distance, mixed, spooled': lambda: score('distance:1000'),
    }


#: Pixels along a side of a scene, of which each is a patch.
SIDE = 100


def embedding(folder: Path) -> dict[str, Callable[[], object]]:
    """Name runs over an archive in which all scenes are: planning, and what a run does at its end."""
    import torch

    from torchgeo_cmr.embed import center_archive, embed, stack_dates

    class Lengthened(torch.nn.Module):
        """Gives every pixel a direction of its own."""

        keys, in_channels, specs, space = {'s2': 'image'}, {'s2': 1}, {}, 'lengthened'

        def embed(self, batch: Any, modality: str) -> torch.Tensor:
            """Give unit vectors (batch, DIM)."""
            angles = batch['image'].flatten(1) * torch.arange(1, DIM + 1) / DIM
            return torch.nn.functional.normalize(angles.cos() + 2, dim=1)

    def run(**options: Any) -> object:
        out, scenes = folder / 'archive', folder / 'scenes'
        options = {'batch_size': 10_000, 'progress': False} | options
        return embed(Lengthened(), scenes, 's2', 1, out=out, **options)

    return {
        'embed, nothing returned': lambda: run(load=False),
        'embed, all rows returned': run,
        'centre': lambda: center_archive(folder / 'archive'),
        'join dates': lambda: stack_dates(folder / 'archive'),
    }


def prepare_scenes(folder: Path, rows: int) -> None:
    """Write scenes of random pixels, two of each place, and embed them."""
    import rasterio

    (folder / 'scenes').mkdir()
    rng = np.random.default_rng(0)
    for i in range(rows // SIDE**2):
        west = 500_000 + 1000 * (i // 2)
        options: dict[str, Any] = {
            'driver': 'GTiff',
            'width': SIDE,
            'height': SIDE,
            'count': 1,
            'dtype': 'uint8',
            'crs': 'EPSG:32632',
            'transform': rasterio.Affine(10, 0, west, 0, -10, 5_000_000),
        }
        path = folder / 'scenes' / f'{i:05}.tif'
        with rasterio.open(path, 'w', **options) as file:
            file.write(rng.integers(1, 99, (1, SIDE, SIDE), np.uint8))
    embedding(folder)['embed, nothing returned']()


def prepare(folder: Path, rows: int) -> None:
    """Write an archive and its indexes."""
    from search import make_table  # imports what a case should not

    from torchgeo_cmr.search import RetrievalIndex

    table = make_table(rows, DIM, 0)
    table.save(folder / 'archive')
    RetrievalIndex.build(table, folder / 'float32')
    RetrievalIndex.build(table, folder / 'int8', vectors='int8')


def run(*words: object) -> Any:
    """Run a case, or the preparation, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, '--work', *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def work(folder: Path, what: str, *, embeds: bool) -> None:
    """Do one thing and print what it took, or what there is to do."""
    warnings.simplefilter('ignore')
    if what.isdecimal():
        (prepare_scenes if embeds else prepare)(folder, int(what))
        print(json.dumps(list(embedding(folder) if embeds else cases(folder))))
        return
    case = embedding(folder)[what] if embeds else cases(folder, what)[what]
    begin = time.perf_counter()
    with Watch() as watch:
        case()
    print(json.dumps([*watch.more.tolist(), time.perf_counter() - begin]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--rows', type=int, nargs='+', default=[100_000, 1_000_000])
    parser.add_argument('--folder', type=Path, help='where to write')
    parser.add_argument(
        '--cases', nargs='+', default=[''], help='begins of their names'
    )
    parser.add_argument(
        '--embed', action='store_true', help='the end of a run of embed'
    )
    parser.add_argument('--work', nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(Path(options.work[0]), options.work[1], embeds=options.embed)
    more = ['--embed'] * options.embed
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(f'{rows:,} rows{"":24}{"anonymous":>12}{"mapped":>12}{"seconds":>10}')
            for name in run(folder, rows, *more):
                if name.startswith(tuple(options.cases)):
                    own, mapped, seconds = run(folder, name, *more)
                    print(
                        f'{name:34}{own:12.0f}{mapped:12.0f}{seconds:10.1f}', flush=True
                    )
    return None


if __name__ == '__main__':
    main()
