"""What it costs to go beyond one process: embedding by ranks of torchrun and by actors of Ray.

The same scenes, checkpoint and cores go through ``torchgeo-cmr embed`` with each engine, as whole
commands, in rounds in which the engines take turns, so that a busy machine slows all of them
alike. Each round embeds few scenes and many: the difference gives patches per second without the
start, and what is left of the few is the start. Medians over rounds are told, and the ratio to a
local run of the same round::

    python tests/benchmarks/scale.py embedding --json scale.json

All archives are compared with that of the local run. An archive in PostgreSQL is ``scale.py database``,
see ``database.py``.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import database
import numpy as np
import rasterio
import torch
from lightning.pytorch import Trainer

from torchgeo_cmr.processors import cores
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import SSCMRSIR

BANDS = 12
#: Patch width, and patches along a side of a scene.
PATCH, ALONG = 64, 4


def write_scenes(folder: Path, count: int) -> None:
    """Write scenes of random pixels."""
    folder.mkdir()
    side = PATCH * ALONG
    for number in range(count):
        pixels = np.random.default_rng(number).integers(1, 4000, (BANDS, side, side))
        place = rasterio.Affine(10, 0, 500_000 + 10_000 * number, 0, -10, 5_000_000)
        with rasterio.open(
            folder / f'{number:04}.tif',
            'w',
            driver='GTiff',
            width=side,
            height=side,
            count=BANDS,
            dtype='uint16',
            crs='EPSG:32632',
            transform=place,
            tiled=True,
            blockxsize=PATCH,
            blockysize=PATCH,
            compress='deflate',
        ) as file:
            file.write(pixels.astype('uint16'))


def write_checkpoint(path: Path, model: str) -> None:
    """Write a task with random weights."""
    torch.manual_seed(0)
    task = SSCMRSIR(
        {'s1': 2, 's2': BANDS},
        model,
        mean={'s1': [0.0] * 2, 's2': [2000.0] * BANDS},
        std={'s1': [1.0] * 2, 's2': [900.0] * BANDS},
    )
    trainer = Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)


def time_engine(engine: str, processes: int, folder: Path, scenes: str) -> float:
    """Embed with an engine, and give the seconds of the whole command."""
    out = folder / f'{engine}-{scenes}'
    shutil.rmtree(out, ignore_errors=True)
    launch, threads, more = ['-m', 'torchgeo_cmr'], 1, []
    if engine == 'lightning':
        launch = ['-m', 'torch.distributed.run', '--standalone']
        launch += ['--nproc-per-node', str(processes), '-m', 'torchgeo_cmr']
    elif engine == 'ray':
        more = ['--workers', str(processes)]
    else:
        threads = processes
    words = ['embed', str(folder / scenes), '--ckpt', str(folder / 'best.ckpt')]
    words += ['--modality', 's2', '--size', str(PATCH), '--gsd', 'ignore', '--quiet']
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *launch, *words, '--out', str(out), '--engine', engine, *more],
        check=True,
        env=os.environ | {'OMP_NUM_THREADS': str(threads), 'GLOO_SOCKET_IFNAME': 'lo'},
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def measure_embedding(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time all engines on few and many scenes."""
    sizes = {'few': args.few, 'many': args.many}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in args.engines}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder / 'best.ckpt', args.model)
        for scenes, count in sizes.items():
            write_scenes(folder / scenes, count)
        for number in range(args.rounds):
            # Whoever is first in one round is last in another.
            for engine in args.engines[:: -1 if number % 2 else 1]:
                seconds = {
                    scenes: time_engine(engine, args.processes, folder, scenes)
                    for scenes in sizes
                }
                taken[engine].append(seconds)
                print(f'round {number}, {engine}: {seconds}', file=sys.stderr)
        tables = [EmbeddingTable.load(folder / f'{e}-many') for e in args.engines]
    apart = [float(abs(t.vectors - tables[0].vectors).max()) for t in tables]
    patches = {scenes: count * ALONG**2 for scenes, count in sizes.items()}
    rows = []
    for engine, distance in zip(args.engines, apart, strict=True):
        rounds = taken[engine]
        rates = [
            (patches['many'] - patches['few']) / max(r['many'] - r['few'], 1e-9)
            for r in rounds
        ]
        starts = [
            r['few'] - patches['few'] / rate
            for r, rate in zip(rounds, rates, strict=True)
        ]
        ratios = {
            scenes: statistics.median(
                r[scenes] / first[scenes]
                for r, first in zip(rounds, taken[args.engines[0]], strict=True)
            )
            for scenes in sizes
        }
        rows.append(
            {
                'engine': engine,
                'seconds': {s: statistics.median(r[s] for r in rounds) for s in sizes},
                'ratio': ratios,
                'patches_per_second': statistics.median(rates),
                'start': statistics.median(starts),
                'largest_difference': distance,
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser('embedding', help='engines of embed beside a local run')
    part.add_argument('--engines', nargs='+', default=['local', 'lightning', 'ray'])
    part.add_argument('--processes', type=int, default=cores())
    part.add_argument('--few', type=int, default=8)
    part.add_argument('--many', type=int, default=72)
    part.add_argument('--model', default='resnet18')
    part.add_argument('--rounds', type=int, default=3)
    part.add_argument('--json', type=Path)
    part.set_defaults(measure=tell_embedding)
    database.add_options(
        parts.add_parser('database', help='an archive in PostgreSQL beside an index')
    )
    args = parser.parse_args()
    args.measure(args)


def tell_embedding(args: argparse.Namespace) -> None:
    """Measure the engines of embed, print and write."""
    rows = measure_embedding(args)
    for row in rows:
        seconds, ratio = row['seconds'], row['ratio']
        print(
            f'{row["engine"]:<10} {args.few} scenes {seconds["few"]:6.1f} s ({ratio["few"]:.2f} of '
            f'local), {args.many} scenes {seconds["many"]:6.1f} s ({ratio["many"]:.2f}); start '
            f'{row["start"]:5.1f} s, then {row["patches_per_second"]:6.1f} patches/s; largest '
            f'difference {row["largest_difference"]:.1e}'
        )
    if args.json:
        args.json.write_text(
            json.dumps({'arguments': str(args), 'rows': rows}, indent=1)
        )


if __name__ == '__main__':
    main()
