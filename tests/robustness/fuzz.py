"""Damage files in one place and see what their readers make of it.

Each case runs in a child process with limits on time and memory. Readers of files with checksums
(archive, index, checkpoint) must give the same answer or one of our errors; readers of what
people write (areas, conditions, manifests, layers) any answer or one of our errors.

    python tests/robustness/fuzz.py --minutes 60
    python tests/robustness/fuzz.py --cases 10000 --targets archive index --seed 7

Prints a table of outcomes; keeps the files of a fault in ``fuzz-faults/`` and then ends with 1.
"""

import argparse
import faulthandler
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A child of fork has none of the threads of its parent, and waits for them for ever.
os.environ['OMP_NUM_THREADS'] = os.environ['OPENBLAS_NUM_THREADS'] = '1'

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.export import make_record, read_manifest, read_search, write
from torchgeo_cmr.export.record.manifest import write_manifest
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

#: Seconds and bytes that one case may take on top of what the process has.
SECONDS, BYTES = 30, 4 << 30
#: Outcomes that are no fault.
FINE = ('same', 'refused', 'other')
_ROWS, _DIM = 300, 32

_CONDITIONS = (
    "cloud < 80 and source like 'scene%'",
    "not (source in ('scene1', 'scene2') or cloud between 10 and 20)",
    'cloud is not null && source != "scene3"',
    "time_start >= '2024-06-10' and cloud * 2 <= 120",
)
_AREAS = (
    'POLYGON ((9.2 45.2, 9.7 45.2, 9.7 45.8, 9.2 45.8, 9.2 45.2))',
    'SRID=32632;POLYGON ((520000 5010000, 560000 5010000, 560000 5060000, 520000 5010000))',
    '9.2,45.2,9.7,45.8',
    '{"type": "Polygon", "coordinates": [[[9.2,45.2],[9.7,45.2],[9.7,45.8],[9.2,45.2]]]}',
)
#: What replaces a value of JSON.
_ODD = (
    b'null', b'true', b'-1', b'1e400', b'NaN', b'""', b'[]', b'{}', b'"x"', b'[[' * 5_000,
    b'{"a":' * 5_000, b'1' * 400, b'"\\u0000"', b'"\\ud800"', b'[null]', b'9223372036854775808',
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Args:
        make: Write it into an empty folder.
        ask: Read the folder and give an answer as text.
        strict: Whether damage must be noticed, or may give another answer.
    """

    make: Callable[[Path], None]
    ask: Callable[[Path], str]
    strict: bool = False


def table() -> EmbeddingTable:
    """Three hundred patches of which some are undated."""
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(9, 10, _ROWS), rng.uniform(45, 46, _ROWS)
    days = pd.to_timedelta(rng.integers(0, 90, _ROWS), 'D')
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'p{i:04d}' for i in range(_ROWS)],
            'modality': 's2',
            'source': [f'scene{i % 7}' for i in range(_ROWS)],
            'cloud': rng.uniform(0, 100, _ROWS),
            'time_start': pd.Timestamp('2024-06-01', tz='UTC') + days,
        },
        geometry=shapely.box(lon, lat, lon + 0.01, lat + 0.01),
        crs=4326,
    )
    record = {
        'sources': {f'scene{i}': [[f'scene{i}.tif', 1, 'B02', 10.0]] for i in range(7)}
    }
    vectors = rng.standard_normal((_ROWS, _DIM))
    return EmbeddingTable.from_frame(frame, vectors, space='x', record=record)


def _answer(index: RetrievalIndex) -> str:
    area = shapely.box(9.2, 45.2, 9.7, 45.8)
    where = Where(
        area, 'EPSG:4326', during='2024-06-10/2024-08-01', where=_CONDITIONS[0]
    )
    queries = np.random.default_rng(1).standard_normal((3, _DIM))
    hits = index.search(queries, 10, where=where)
    return hits.drop(columns='geometry').to_csv() + hits.geometry.to_wkt().to_csv()


def _make_archive(folder: Path) -> None:
    rows = table()
    sink = ParquetSink(
        folder / 'a', {'space': 'x', 'rows': _ROWS, 'record': rows.record}
    )
    for begin in range(0, _ROWS, 100):
        sink.commit(f'part {begin}', rows.select(range(begin, begin + 100)))


def _make_index(vectors: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        index = RetrievalIndex.build(table(), folder / 'i', vectors=vectors)
        index.delete(['p0007', 'p0123'])

    return make


def _make_search(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        rows = table()
        hits = RetrievalIndex(rows).search(rows.select(range(3)), 5)
        record = make_record(
            hits, archives={'a': rows}, queries=rows.select(range(3)), k=5
        )
        if name.endswith('.json'):
            write_manifest(record, folder / name)
        else:
            write(hits, folder / name, record=record)

    return make


def _make_checkpoint(folder: Path) -> None:
    from lightning.pytorch import Trainer

    from torchgeo_cmr.tasks import CMIRPretrain

    task = CMIRPretrain({'pan': 1, 'ms': 4}, 3, 'cmir_small')
    trainer = Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(folder / 'a.ckpt')


def _ask_checkpoint(folder: Path) -> str:
    from torchgeo_cmr.tasks import load_task

    task = load_task(folder / 'a.ckpt')
    sums = [float(w.double().sum()) for w in task.state_dict().values()]
    return f'{task.space} {sums}'


def _make_texts(texts: tuple[str, ...]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for i, text in enumerate(texts):
            (folder / f'{i}.txt').write_text(text)

    return make


def _make_areas(folder: Path) -> None:
    shapes = gpd.GeoDataFrame(
        {'name': ['a', 'b']},
        geometry=[
            shapely.box(9.2, 45.2, 9.7, 45.8),
            shapely.Point(9.5, 45.5).buffer(0.1),
        ],
        crs=4326,
    )
    for name in ('a.gpkg', 'a.geojson', 'a.fgb', 'a.shp'):
        shapes.to_file(folder / name, engine='pyogrio')
    shapes.to_parquet(folder / 'a.parquet')


def _ask_texts(filtered: Callable[[str], Where]) -> Callable[[Path], str]:
    rows = table()

    def ask(folder: Path) -> str:
        made = []
        for file in sorted(folder.glob('*.txt')):
            text = file.read_bytes().decode('utf-8', 'replace')
            try:
                made.append(len(filtered(text).rows(rows)))
            except CMRError:
                made.append(-1)
        return repr(made)

    return ask


def _ask_areas(folder: Path) -> str:
    made, rows = [], table()
    for file in sorted(folder.glob('a.*')):
        if file.suffix in ('.gpkg', '.geojson', '.fgb', '.shp', '.parquet'):
            try:
                made.append(len(Where(str(file)).rows(rows)))
            except CMRError:
                made.append(-1)
    return repr(made)


#: What is damaged.
TARGETS: dict[str, Callable[[], Target]] = {
    'archive': lambda: Target(
        _make_archive,
        lambda f: _answer(RetrievalIndex(EmbeddingTable.load(f / 'a'))),
        strict=True,
    ),
    'index': lambda: Target(
        _make_index('int8'),
        lambda f: _answer(RetrievalIndex.open(f / 'i')),
        strict=True,
    ),
    'index_float32': lambda: Target(
        _make_index('float32'),
        lambda f: _answer(RetrievalIndex.open(f / 'i')),
        strict=True,
    ),
    'checkpoint': lambda: Target(_make_checkpoint, _ask_checkpoint, strict=True),
    'condition': lambda: Target(
        _make_texts(_CONDITIONS), _ask_texts(lambda text: Where(where=text))
    ),
    'area_text': lambda: Target(_make_texts(_AREAS), _ask_texts(Where)),
    'area_file': lambda: Target(_make_areas, _ask_areas),
    'manifest': lambda: Target(
        _make_search('a.json'), lambda f: repr(read_manifest(f / 'a.json'))
    ),
    **{
        f'search_{suffix}': lambda suffix=suffix: Target(
            _make_search(f'a.{suffix}'), lambda f: repr(read_search(f / f'a.{suffix}'))
        )
        for suffix in ('gpkg', 'geojson', 'fgb', 'parquet')
    },
}


def mutate(content: bytes, draw: random.Random, *, text: bool) -> tuple[str, bytes]:
    """Damage bytes in one place; of text, in a value or a bracket as well."""
    kinds = ['bit', 'bytes', 'cut', 'zeros', 'copy', 'drop']
    kind = draw.choice([*kinds, *(['value', 'value', 'key'] if text else [])])
    made, place = bytearray(content), draw.randrange(len(content))
    if kind == 'bit':
        made[place] ^= 1 << draw.randrange(8)
    elif kind == 'bytes':
        made[place : place + 4] = draw.randbytes(4)
    elif kind == 'cut':
        del made[place:]
    elif kind == 'zeros':
        made[place : place + 64] = bytes(len(made[place : place + 64]))
    elif kind == 'copy':
        made[place:place] = made[place : place + draw.randrange(1, 64)]
    elif kind == 'drop':
        del made[place : place + draw.randrange(1, 16)]
    elif kind == 'value':
        begin = place + max(0, content[place:].find(b':')) + 1
        ends = [i for sign in b',}]\n' if (i := content.find(sign, begin)) >= 0]
        made[begin : min(ends, default=begin)] = draw.choice(_ODD)
    else:
        begin = place + max(0, content[place:].find(b'"'))
        made[begin : begin + 1] = b'"x'
    return kind, bytes(made)


def judge(target: Target, folder: Path, expected: str) -> str:
    """Read a damaged folder in a child process.

    Returns:
        ``same``, ``refused``, ``other`` (if that is allowed), or the fault: ``wrong``,
        ``raw`` with the error, ``crash`` with the signal, ``hang``.
    """
    inner, outer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of threads, none of which the child uses
        child = os.fork()
    if not child:
        os.close(inner)
        os.write(outer, _outcome(target, folder, expected).encode('utf-8', 'replace'))
        os._exit(0)
    os.close(outer)
    with os.fdopen(inner, 'rb') as pipe:
        outcome = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return 'hang' if number == signal.SIGALRM else f'crash by signal {number}'
    return outcome


def _outcome(target: Target, folder: Path, expected: str) -> str:
    signal.alarm(SECONDS)
    faulthandler.disable()  # a crash is counted by the parent
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter('ignore')
    try:
        answer = target.ask(folder)
    except CMRError:
        return 'refused'
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is a fault
        text = ' '.join(str(error).split())[:120]
        return f'raw {type(error).__name__}: {text}'
    if answer == expected:
        return 'same'
    return 'wrong' if target.strict else 'other'


def cases(
    name: str, draw: random.Random, folder: Path
) -> Iterator[tuple[str, str, Path]]:
    """Give endless cases of one target.

    Args:
        name: Of the target.
        draw: Where what is damaged comes from.
        folder: Empty folder to work in.

    Yields:
        What was damaged, the outcome, and the damaged folder, which the next case replaces.
    """
    target = TARGETS[name]()
    whole, copy = folder / 'whole', folder / 'copy'
    whole.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        target.make(whole)
        expected = target.ask(whole)
    files = sorted(f for f in whole.rglob('*') if f.is_file() and f.stat().st_size)
    while True:
        file = draw.choice(files)
        text = file.suffix in ('.json', '.geojson', '.txt')
        kind, content = mutate(file.read_bytes(), draw, text=text)
        if content == file.read_bytes():
            continue
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        (copy / file.relative_to(whole)).write_bytes(content)
        yield f'{file.relative_to(whole)} {kind}', judge(target, copy, expected), copy


def main(words: list[str] | None = None) -> int:
    """Run for some minutes or cases; 1 if a fault was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--minutes', type=float, default=1.0)
    parser.add_argument('--cases', type=int, help='stop after so many cases')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--targets', nargs='+', choices=TARGETS, default=[*TARGETS])
    options = parser.parse_args(words)
    draw = random.Random(options.seed)
    counts: Counter[tuple[str, str]] = Counter()
    end, left = time.monotonic() + 60 * options.minutes, options.cases or -1
    kept = Path('fuzz-faults')
    with tempfile.TemporaryDirectory() as home:
        streams: dict[str, Any] = {
            name: cases(name, draw, Path(home, name)) for name in options.targets
        }
        while left if options.cases else time.monotonic() < end:
            name = options.targets[sum(counts.values()) % len(options.targets)]
            what, outcome, folder = next(streams[name])
            counts[name, outcome.partition(' ')[0]] += 1
            if outcome not in FINE:
                number = sum(counts.values())
                sys.stdout.write(f'{name} {number}: {what}: {outcome}\n')
                shutil.copytree(folder, kept / f'{name}-{options.seed}-{number}')
            left -= 1
    total = Counter[str]()
    for (name, outcome), count in sorted(counts.items()):
        sys.stdout.write(f'{name:16} {outcome:10} {count:6}\n')
        total[outcome] += count
    sys.stdout.write(
        f'{sum(total.values())} cases with seed {options.seed}: {dict(total)}\n'
    )
    return int(any(outcome not in FINE for outcome in total))


if __name__ == '__main__':
    sys.exit(main())
