"""Every method on the same pairs of Sentinel-1 and Sentinel-2, for the same seconds.

    python tests/benchmarks/retrieval.py --suite san_antonio --minutes 15 --seeds 0 1 2
    python tests/benchmarks/retrieval.py --suite synthetic --methods untrained infonce aligned
    python tests/benchmarks/retrieval.py --suite ben14k --root BigEarthNet-v1.0
    python tests/benchmarks/retrieval.py --minutes 15 \
        --train-s1 'A/S1/*.tif' --train-s2 'A/S2/*.tif' --test-s1 'B/S1/*.tif' --test-s2 'B/S2/*.tif'

Frames of both sensors are paired by place. A method trains on crops of 64 px from the training
frames, each batch on crops that do not overlap; the crop of Sentinel-1 is shifted by up to 8 px in
each direction, so that the position of pixels cannot win. Test frames were not trained on: they
are divided into cells of 64 px, each of which is one query and one item, the radar crop shifted
alike, and the own place is the relevant item. All methods have the same batch size, crops,
optimiser and time of training: the seconds per step of all methods are measured first, and from
then on a method has a fixed number of steps, so that other work on the machine takes nothing
away from one of them. ``--pace FILE`` keeps the measurement for further runs. All have the same encoder, too, but for CSMAE, which has one of its own, and ``best``, whose
smaller encoder is a part of the recipe; ``best_...`` are the recipe with one part exchanged.
With ``--model resnet10t --stage 2 --grid 4`` all have the recipe's encoder, and only their losses
differ.
Chance and the encoder before training are in the table.

Prints a table, and with ``--json FILE`` writes the scores of all seeds.
"""

import argparse
import glob
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from torchgeo_cmr.datasets import BEN14K, SyntheticLandscape
from torchgeo_cmr.tasks import (
    CSMAE,
    DUCH,
    SSCMRSIR,
    BarlowTwins,
    CrossModalTask,
    CrossModalTriplet,
    DeCUR,
    InfoNCE,
    VICReg,
)

CELL, JITTER = 64, 8
SENSORS = ('s1', 's2')
CUTS = (1, 10)
#: Steps before the clock is read, and steps by which it is read.
WARM, MEASURED = 4, 12
CLOCKS = {
    'wall': time.monotonic,
    'processor': lambda: time.process_time() / torch.get_num_threads(),
}

type Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """One place as both sensors see it, on one grid."""

    name: str
    s1: Pixels
    s2: Pixels


@dataclass(frozen=True)
class Suite:
    """What is trained on, what the recipe is chosen by, and what is tested."""

    train: list[Frame]
    val: list[Frame]
    test: list[Frame]


def best(**changed: Any) -> Callable[..., CrossModalTask]:
    """Make the recipe, with its own encoder, or a change of it."""

    def build(channels: dict[str, int], **options: Any) -> CrossModalTask:
        recipe = {'model': None, 'stage': None, 'grid': None, 'preset': 'best'}
        options |= {**recipe, **changed}
        return SSCMRSIR(channels, **options)

    return build


#: Method -> its task. Options that all share are added by :func:`make`.
METHODS: dict[str, Callable[..., CrossModalTask]] = {
    'untrained': InfoNCE,
    'infonce': InfoNCE,
    'infonce_learned': lambda *a, **o: InfoNCE(*a, learned_temperature=True, **o),
    'ss_cm_rsir': SSCMRSIR,
    'aligned': lambda *a, **o: SSCMRSIR(*a, preset='aligned', **o),
    # Each switch of 'aligned' alone, on top of the paper's options.
    'joint': lambda *a, **o: SSCMRSIR(*a, variant='joint', **o),
    'joint_own_stem': lambda *a, **o: SSCMRSIR(*a, variant='joint', stem='own', **o),
    'shared_head': lambda *a, **o: SSCMRSIR(*a, shared_head=True, **o),
    'mde_on_z': lambda *a, **o: SSCMRSIR(*a, mde_on='z', **o),
    'constant': lambda *a, **o: SSCMRSIR(*a, weight_schedule='constant', **o),
    'is_plus': lambda *a, **o: SSCMRSIR(*a, is_sign=1, **o),
    'barlow_twins': BarlowTwins,
    'vicreg': VICReg,
    'decur': DeCUR,
    'triplet': CrossModalTriplet,
    'duch': DUCH,
    'csmae': CSMAE,
    'best': best(),
    # The recipe with one part exchanged.
    'best_mean': best(grid=1),
    'best_grid2': best(grid=2),
    'best_grid8': best(grid=8),
    'best_stage1': best(stage=1),
    'best_stage3': best(stage=3),
    'best_whole': best(stage=-1),
    'best_resnet18': best(model='resnet18'),
    'best_resnet50': best(model='resnet50'),
    'best_joint': best(variant='joint', stem='own'),
    'best_cosine': best(mde_weight=1.0),
    'best_temperature': best(temperature=0.2),
    'best_all': best(negatives='all'),
}
DEFAULT = ('untrained', 'infonce', 'ss_cm_rsir', 'aligned', 'best')


class Crops(IterableDataset[dict[str, Tensor]]):
    """Endless batches of paired crops, none of which overlaps another of its batch."""

    def __init__(self, frames: Sequence[Frame], size: int, seed: int) -> None:
        self.frames, self.size = frames, size
        self.rng = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            yield self._batch()

    def _batch(self) -> dict[str, Tensor]:
        # A grid with another origin for each batch: crops and their shifts stay inside a cell.
        side = CELL + 2 * JITTER
        places = []
        # Of many frames a part is enough for a batch.
        for number in self.rng.permutation(len(self.frames))[: 4 * self.size]:
            frame = self.frames[number]
            height, width = frame.s2.shape[1:]
            top, left = self.rng.integers(0, side, 2)
            places += [
                (int(number), y, x)
                for y in range(top, height - side + 1, side)
                for x in range(left, width - side + 1, side)
            ]
        drawn = self.rng.permutation(len(places))[: self.size]
        pairs = [self._pair(*places[i]) for i in drawn]
        return {
            f'image_{sensor}': torch.from_numpy(np.stack([pair[i] for pair in pairs]))
            for i, sensor in enumerate(SENSORS)
        }

    def _pair(self, number: int, y: int, x: int) -> tuple[Pixels, Pixels]:
        frame = self.frames[number]
        shifts = self.rng.integers(0, 2 * JITTER + 1, 2)
        turns, flipped = int(self.rng.integers(4)), bool(self.rng.integers(2))
        made = []
        for pixels, (down, right) in ((frame.s1, shifts), (frame.s2, (JITTER, JITTER))):
            crop = _cut(pixels, y + down, x + right)
            crop = np.rot90(crop, turns, (1, 2))
            made.append(np.ascontiguousarray(crop[:, :, ::-1] if flipped else crop))
        return made[0], made[1]


def cells(frames: Sequence[Frame], seed: int) -> dict[str, Tensor]:
    """Give every cell of test frames, the radar shifted as in training."""
    rng = np.random.default_rng(seed)
    made: dict[str, list[Pixels]] = {'s1': [], 's2': []}
    for frame in frames:
        height, width = frame.s2.shape[1:]
        for y in range(JITTER, height - CELL - JITTER + 1, CELL):
            for x in range(JITTER, width - CELL - JITTER + 1, CELL):
                down, right = rng.integers(-JITTER, JITTER + 1, 2)
                made['s1'].append(_cut(frame.s1, y + down, x + right))
                made['s2'].append(_cut(frame.s2, y, x))
    return {f'image_{s}': torch.from_numpy(np.stack(v)) for s, v in made.items()}


def _cut(pixels: Pixels, y: int, x: int) -> Pixels:
    return pixels[:, y : y + CELL, x : x + CELL]


def score(
    task: CrossModalTask, batch: dict[str, Tensor], views: int = 1
) -> dict[str, Any]:
    """Rank all cells for each cell, in both directions; ties count by their expectation.

    Scores of several views, turned by quarters and then mirrored as well, are added.
    """
    task.eval()
    rows = {
        sensor: torch.cat(
            [
                torch.cat(
                    [
                        task.embed({f'image_{sensor}': view(part, number)}, sensor)
                        for number in range(views)
                    ],
                    dim=1,
                ).cpu()
                for part in batch[f'image_{sensor}'].split(64)
            ]
        ).double()
        for sensor in SENSORS
    }
    found: dict[str, Any] = {}
    for a, b in (('s1', 's2'), ('s2', 's1')):
        scores = rows[a] @ rows[b].T
        own = scores.diagonal()[:, None]
        better = (scores > own).sum(dim=1)
        equal = (scores == own).sum(dim=1)
        found[f'{a}->{b}'] = {
            f'recall@{k}': float(((k - better) / equal).clamp(0, 1).mean())
            for k in CUTS
        }
        # With one relevant item, average precision is one over its rank.
        found[f'{a}->{b}']['map'] = float((1 / (better + (equal + 1) / 2)).mean())
    return found


def view(pixels: Tensor, number: int) -> Tensor:
    """Turn pictures by some quarters; from the fourth on they are mirrored too."""
    turned = torch.rot90(pixels, number % 4, (2, 3))
    return turned.flip(3) if number >= 4 else turned.clone()


def make(
    method: str, channels: dict[str, int], suite: Suite, chosen: argparse.Namespace
) -> CrossModalTask:
    """Build the task of a method, with the statistics of the training frames."""
    options: dict[str, Any] = {'lr': chosen.lr, 'warmup_epochs': 0}
    if method == 'csmae':
        # An encoder of its own, for one size of picture.
        options['image_size'] = CELL
    else:
        encoder = {n: getattr(chosen, n) for n in ('model', 'stage', 'grid')}
        options |= {n: value for n, value in encoder.items() if value is not None}
    task = METHODS[method](channels, **options)
    specs = {}
    for sensor, count in channels.items():
        pixels = np.concatenate(
            [getattr(f, sensor).reshape(count, -1) for f in suite.train], 1
        )
        specs[sensor] = {
            'mean': np.nanmean(pixels, axis=1).tolist(),
            'std': np.nanstd(pixels, axis=1).tolist(),
        }
    task.set_specs(specs)
    return task


class Clock(Callback):
    """The time at the end of each step."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(self.now())


def fit(
    task: CrossModalTask,
    crops: Crops,
    steps: int,
    now: Callable[[], float] = time.monotonic,
) -> list[float]:
    """Train for some steps; give the seconds of each but the first."""
    for chatter in ('lightning.pytorch', 'lightning.fabric'):
        logging.getLogger(chatter).setLevel(logging.WARNING)
    clock = Clock(now)
    trainer = Trainer(
        max_epochs=-1,
        max_steps=steps,
        accelerator='auto',
        devices=1,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, DataLoader(crops, batch_size=None))
    return [b - a for a, b in pairwise(clock.ends)]


def fresh(
    method: str, suite: Suite, seed: int, options: argparse.Namespace
) -> tuple[CrossModalTask, Crops]:
    """Build the task of a method before training, and its crops."""
    channels = {s: len(getattr(suite.train[0], s)) for s in SENSORS}
    seed_everything(seed, verbose=False)
    task = make(method, channels, suite, options)
    return task, Crops(suite.train, options.batch_size, seed)


def paces(suite: Suite, options: argparse.Namespace) -> dict[str, float]:
    """Give seconds per step: those of the file, and measured ones for methods that it lacks."""
    file = options.pace
    found = json.loads(file.read_text()) if file is not None and file.exists() else {}
    for method in options.methods:
        if method not in found and method != 'untrained':
            task, crops = fresh(method, suite, 0, options)
            # Other work on the machine only ever adds: the quickest step is the method's own.
            seconds = fit(task, crops, WARM + MEASURED, CLOCKS[options.clock])
            found[method] = min(seconds[WARM - 1 :])
            sys.stderr.write(f'{method}: {found[method]:.3f} s per step\n')
    if file is not None:
        file.write_text(json.dumps(found, indent=1) + '\n')
    return found


def run(
    method: str,
    suite: Suite,
    seed: int,
    options: argparse.Namespace,
    pace: dict[str, float],
) -> dict[str, Any]:
    """Train a method and score it on the test frames."""
    task, crops = fresh(method, suite, seed, options)
    trained = {'steps': 0, 'seconds': 0.0, 'images_per_second': 0.0}
    if method != 'untrained':
        steps = max(1, round(60 * options.minutes / pace[method]))
        begin = time.monotonic()
        fit(task, crops, steps)
        trained = {
            'steps': steps,
            'seconds': time.monotonic() - begin,
            'images_per_second': 2 * options.batch_size / pace[method],
        }
        sys.stderr.write(
            f'{method}, seed {seed}: {steps} steps in {trained["seconds"]:.0f} s\n'
        )
    scores = score(task, cells(suite.test, seed), options.views)
    if suite.val:
        scores['validation'] = score(task, cells(suite.val, seed), options.views)
    return {**scores, **trained}


# -- suites ------------------------------------------------------------------------------------


def san_antonio(data: Path) -> Suite:
    """Eleven frames of one city: three are tested, one chooses, seven are trained on."""
    home = data / 's1s2_san_antonio'
    frames = pair_frames(
        sorted(map(str, (home / 'S1').glob('*.tif'))),
        sorted(map(str, (home / 'S2').glob('*.tif'))),
    )
    test, val = frames[1::4], [frames[7]]
    return Suite([f for f in frames if f not in test and f not in val], val, test)


def synthetic(folder: Path, seed: int, size: int) -> Suite:
    """A synthetic world: the first two thirds of each scene are trained on, the last is tested."""
    world = SyntheticLandscape(folder, seed, size=size, sensors=SENSORS)
    frames = []
    grouped = {
        sensor: [
            _stack(sorted(group))
            for _, group in groupby(
                sorted(map(str, path.glob('*.tif'))), lambda f: f.rpartition('_')[0]
            )
        ]
        for sensor, path in (('s1', world.s1), ('s2', world.s2))
    }
    for place, month, pixels in grouped['s2']:
        for other, when, radar in grouped['s1']:
            if (place, month) == (other, when):
                frames.append(Frame(f'{place} {month}', radar, pixels))
    cut = size * 2 // 3
    return Suite(
        [Frame(f.name, f.s1[:, :cut], f.s2[:, :cut]) for f in frames],
        [],
        [Frame(f.name, f.s1[:, cut:], f.s2[:, cut:]) for f in frames[:2]],
    )


def ben14k(root: Path, tile: str | None) -> Suite:
    """BEN-14K in memory, about 11 GB: each patch has one cell."""
    parts = {}
    for split in ('train', 'val', 'test'):
        data = BEN14K(root, split, held_out_tile=tile)
        parts[split] = [
            Frame(data.patch_id(i), *(data[i][f'image_{s}'].numpy() for s in SENSORS))
            for i in range(len(data))
        ]
    return Suite(**parts)


def _stack(files: list[str]) -> tuple[str, str, Pixels]:
    """Read files of one band each, and the place and the month they are of."""
    layers = []
    for file in files:
        with rasterio.open(file) as raster:
            layers.append(_missing(raster.read(1).astype('float32'), raster.nodata))
            place = f'{raster.crs} {raster.bounds}'
    date = next(w for w in Path(files[0]).stem.split('_') if w[:2] == '20')
    return place, date[:6], np.stack(layers)


def _missing(pixels: Pixels, nodata: float | None) -> Pixels:
    if nodata is not None:
        pixels[pixels == nodata] = np.nan
    return pixels


def pair_frames(radar: Sequence[str], optical: Sequence[str]) -> list[Frame]:
    """Pair files that show one place; the radar is brought to the grid of the other.

    Raises:
        SystemExit: If no two files show one place.
    """
    frames = []
    for file in optical:
        with rasterio.open(file) as raster:
            pixels = _missing(raster.read().astype('float32'), raster.nodata)
            grid = {
                'crs': raster.crs,
                'transform': raster.transform,
                'width': raster.width,
                'height': raster.height,
            }
        for other in radar:
            with (
                rasterio.open(other) as source,
                # Without alpha, what lies outside a file without nodata would be zeros.
                WarpedVRT(
                    source, **grid, resampling=Resampling.bilinear, add_alpha=True
                ) as vrt,
            ):
                seen = vrt.dataset_mask() > 0
                if seen.mean() > 0.9:
                    found = vrt.read(source.indexes).astype('float32')
                    found[:, ~seen] = np.nan
                    frames.append(Frame(Path(file).stem, found, pixels))
                    break
    if not frames:
        raise SystemExit('no two files of the sensors show one place')
    return frames


def named(pattern: str) -> list[str]:
    """Give the files of a pattern.

    Raises:
        SystemExit: If there are none.
    """
    files = sorted(glob.glob(pattern, recursive=True))
    if not files:
        raise SystemExit(f'no file matches {pattern}')
    return files


# -- the table ---------------------------------------------------------------------------------


def gathered(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give mean and spread over seeds."""
    made: dict[str, Any] = {}
    for direction in ('s1->s2', 's2->s1'):
        made[direction] = {}
        for name in seeds[0][direction]:
            values = [found[direction][name] for found in seeds]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            made[direction][name] = {'mean': statistics.mean(values), 'std': spread}
    rates = [found['images_per_second'] for found in seeds]
    return {**made, 'images_per_second': statistics.mean(rates)}


def line(name: str, found: dict[str, Any]) -> str:
    words = [f'{name:<16}']
    for direction in ('s1->s2', 's2->s1'):
        for measure in ('recall@1', 'recall@10', 'map'):
            value = found[direction][measure]
            words.append(f'{value["mean"]:.3f} ±{value["std"]:.3f}')
    return '  '.join([*words, f'{found["images_per_second"]:7.0f}'])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--suite', choices=('san_antonio', 'synthetic', 'ben14k'))
    parser.add_argument(
        '--root', type=Path, help='folder of BigEarthNet v1, for ben14k'
    )
    parser.add_argument(
        '--held-out-tile', help='tile of ben14k to test on and not to train on (34TCS)'
    )
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    for part in ('train', 'test'):
        for sensor in SENSORS:
            parser.add_argument(f'--{part}-{sensor}', metavar='GLOB')
    parser.add_argument(
        '--minutes', type=float, default=15.0, help='of training, a method'
    )
    parser.add_argument(
        '--clock',
        choices=CLOCKS,
        default='wall',
        help="seconds of the pace: 'processor' for a machine that does other work, "
        'with OMP_NUM_THREADS=1',
    )
    parser.add_argument(
        '--pace',
        type=Path,
        metavar='FILE',
        help='JSON of the seconds per step of each method: read, or measured and written',
    )
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=[*DEFAULT])
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--model', default='resnet18')
    parser.add_argument(
        '--stage', type=int, help='stage of the common encoder that is its output'
    )
    parser.add_argument(
        '--grid', type=int, help='cells per side over which its map is averaged'
    )
    parser.add_argument(
        '--views',
        type=int,
        default=1,
        choices=range(1, 9),
        help='turned and mirrored copies whose scores are added when embedding',
    )
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--lr', type=float, default=1e-3)
    parser.add_argument(
        '--world', type=int, default=1248, help='width of the synthetic world'
    )
    parser.add_argument('--json', type=Path)
    options = parser.parse_args()
    patterns = [options.train_s1, options.train_s2, options.test_s1, options.test_s2]
    if bool(options.suite) == bool(all(patterns)):
        parser.error(
            'give --suite, or all of --train-s1, --train-s2, --test-s1, --test-s2'
        )
    if options.suite == 'ben14k' and options.root is None:
        parser.error('--suite ben14k needs --root, the folder of BigEarthNet v1')
    return options


def drawn(folder: Path, seed: int, options: argparse.Namespace) -> Suite:
    """Read, or draw, the frames of a seed."""
    if options.suite == 'synthetic':
        return synthetic(folder / str(seed), seed, options.world)
    if options.suite == 'ben14k':
        return ben14k(options.root, options.held_out_tile)
    if options.suite:
        return san_antonio(options.data)
    return Suite(
        pair_frames(named(options.train_s1), named(options.train_s2)),
        [],
        pair_frames(named(options.test_s1), named(options.test_s2)),
    )


def summary(
    results: dict[str, list[dict[str, Any]]],
    seeds: Sequence[int],
    suite: Suite,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Give the table of the seeds that are done, with chance and counts."""
    items = len(cells(suite.test, 0)['image_s2'])
    return {
        'suite': options.suite or 'own',
        'minutes': options.minutes,
        'seeds': seeds,
        'counts': {
            'train_frames': len(suite.train),
            'test_frames': len(suite.test),
            'test_cells': items,
        },
        'chance': {
            **{f'recall@{k}': min(1.0, k / items) for k in CUTS},
            'map': float(np.mean(1 / np.arange(1, items + 1))),
        },
        'methods': {method: gathered(found) for method, found in results.items()},
        'runs': results,
    }


def main() -> None:
    options = arguments()
    warnings.simplefilter('ignore')
    results: dict[str, list[dict[str, Any]]] = {m: [] for m in options.methods}
    answer: dict[str, Any] = {}
    pace: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(options.seeds):
            suite = drawn(Path(folder), seed, options)
            pace = pace or paces(suite, options)
            for method in options.methods:
                results[method].append(run(method, suite, seed, options, pace))
            answer = summary(results, options.seeds[: number + 1], suite, options)
            if options.json is not None:
                # After each seed: hours of training are not lost with the last of them.
                options.json.write_text(json.dumps(answer, indent=1) + '\n')
    head = [f'{d} {n}' for d in ('s1->s2', 's2->s1') for n in ('R@1', 'R@10', 'map')]
    sys.stdout.write(f'{"":<16}  ' + '  '.join(f'{h:<13}' for h in head) + ' img/s\n')
    for method, found in answer['methods'].items():
        sys.stdout.write(line(method, found) + '\n')
    sys.stdout.write(f'chance: {answer["chance"]}; {answer["counts"]}\n')


if __name__ == '__main__':
    main()
