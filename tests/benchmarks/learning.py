"""Every method for some steps on a synthetic world, against its encoder before training.

    python tests/benchmarks/learning.py --seeds 0 1 2
    python tests/benchmarks/learning.py --seeds 0 1 2 --methods infonce duch --codes infonce duch

A small world is cut in two: methods train on the upper two thirds, and the lower third is judged. All
have the same tiny network for each sensor, 64 crops of 24 px to the batch and the same number of
steps; ``aligned``, which shares a trunk, and CSMAE have tiny networks of their own. Two things are measured on the ground not trained
on, in each direction: recall@10 of the own place, and mean average precision of patches with
the same main class of land cover, a patch itself left out (and that of both sensors together for the task
that classifies them together). Ties count by their expectation.

With ``--codes METHOD ...`` codes of 64 bits are compared with the vectors that they are made of: the signs of
DUCH's own codes, and signs, random hyperplanes and a learned rotation of vectors of other methods.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from lightning.pytorch import Trainer, seed_everything
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from torchgeo_cmr.datasets.synthetic import SCENES, SyntheticLandscape
from torchgeo_cmr.metrics.functional import LabelTruth, MatrixTruth, score_ranking
from torchgeo_cmr.search import Hash
from torchgeo_cmr.tasks import (
    CSMAE,
    DUCH,
    SSCMRSIR,
    BarlowTwins,
    CMIRNet,
    CMIRPretrain,
    CrossModalTask,
    CrossModalTriplet,
    DeCUR,
    InfoNCE,
    SupCon,
    SupervisedCMR,
    VICReg,
)

SIZE, CROP, BATCH, STEPS = 720, 24, 64, 80
SENSORS = {'s1': 2, 's2': 4}
S2_BANDS = ('B02', 'B03', 'B04', 'B08')
CLASSES = 16
CROSS = ('s1->s2', 's2->s1')
SAME = ('s1->s1', 's2->s2')
FUSED = ('s1+s2->s1+s2',)

type Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Method:
    """How a method is made, and what it must be better at than before training."""

    kind: Callable[..., CrossModalTask]
    options: dict[str, Any]
    measure: str
    directions: tuple[str, ...]
    #: By how much it must be better, in every direction and for every seed.
    margin: float


#: Labels say what is alike, so methods that need them are judged by class.
METHODS = {
    'infonce': Method(InfoNCE, {}, 'recall@10', CROSS, 0.3),
    'ss_cm_rsir': Method(SSCMRSIR, {'temperature': 0.1}, 'recall@10', CROSS, 0.25),
    'aligned': Method(SSCMRSIR, {'preset': 'aligned'}, 'recall@10', CROSS, 0.05),
    'barlow_twins': Method(BarlowTwins, {}, 'recall@10', CROSS, 0.1),
    'vicreg': Method(VICReg, {}, 'recall@10', CROSS, 0.2),
    'decur': Method(DeCUR, {}, 'recall@10', CROSS, 0.05),
    'triplet': Method(CrossModalTriplet, {}, 'recall@10', CROSS, 0.15),
    'duch': Method(DUCH, {'temperature': 0.2}, 'recall@10', CROSS, 0.08),
    'csmae': Method(CSMAE, {}, 'recall@10', CROSS, 0.02),
    'supcon': Method(SupCon, {'num_classes': CLASSES}, 'map', CROSS, 0.1),
    # Stage A for half of the run; its encoders then learn on.
    'cmir_net': Method(
        CMIRNet,
        {'num_classes': CLASSES, 'pretrain_epochs': 5, 'freeze_encoders': False},
        'map',
        CROSS,
        0.04,
    ),
    'cmir_pretrain': Method(CMIRPretrain, {'num_classes': CLASSES}, 'map', SAME, 0.03),
    # One classifier sees both sensors together, and so do its queries.
    'supervised': Method(SupervisedCMR, {'num_classes': CLASSES}, 'map', FUSED, 0.03),
}


@dataclass(frozen=True)
class World:
    """Ground to train on and ground to judge on, as both sensors see it, and its classes."""

    train: dict[str, Pixels]
    cover: NDArray[np.uint8]
    #: Crops on a grid, ``image_<sensor>`` and ``label``.
    test: dict[str, Tensor]


class Crops(IterableDataset[dict[str, Tensor]]):
    """Endless batches of crops at random places."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.rng = world, np.random.default_rng(seed)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        height, width = self.world.cover.shape
        while True:
            rows = self.rng.integers(0, height - CROP + 1, BATCH)
            columns = self.rng.integers(0, width - CROP + 1, BATCH)
            yield cut(self.world.train, self.world.cover, rows, columns)


def cut(
    pixels: dict[str, Pixels], cover: NDArray[np.uint8], rows: Any, columns: Any
) -> dict[str, Tensor]:
    """Crops by their upper left corners, with their main class."""
    where = [
        (slice(y, y + CROP), slice(x, x + CROP))
        for y, x in zip(rows, columns, strict=True)
    ]
    made = {
        f'image_{sensor}': torch.from_numpy(
            np.stack([whole[:, y, x] for y, x in where])
        )
        for sensor, whole in pixels.items()
    }
    main = [
        np.bincount(cover[y, x].ravel(), minlength=CLASSES).argmax() for y, x in where
    ]
    return made | {'label': torch.tensor(np.array(main))}


def write_world(folder: Path, seed: int) -> World:
    """Write a world of one scene and one date, and read it."""
    whole = SyntheticLandscape(
        folder,
        seed,
        size=SIZE,
        scenes=SCENES[:1],
        dates=['2024-06-14'],
        clouds=0.0,
        sensors=('s1', 's2'),
    )
    pixels = {}
    for sensor, home, bands in (
        ('s1', whole.s1, ('VV', 'VH')),
        ('s2', whole.s2, S2_BANDS),
    ):
        files = [next(Path(home).glob(f'*_{band}.tif')) for band in bands]
        pixels[sensor] = np.nan_to_num(np.stack([_read(file) for file in files]))
    cover = _read(next((folder / 'truth').glob('*.tif'))).astype(np.uint8)
    edge = SIZE * 2 // 3
    grid = product(range(edge, SIZE - CROP + 1, CROP), range(0, SIZE - CROP + 1, CROP))
    return World(
        {s: np.ascontiguousarray(p[:, :edge]) for s, p in pixels.items()},
        cover[:edge],
        cut(pixels, cover, *zip(*grid, strict=True)),
    )


def _read(file: Path) -> Pixels:
    with rasterio.open(file) as raster:
        return raster.read(1).astype('float32')


def network(channels: int) -> nn.Module:
    """Give a network of two convolutions that keeps a little of where things are."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, 2, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )


def make(name: str, world: World, seed: int, **more: Any) -> CrossModalTask:
    """Give the task of a method, not yet trained."""
    seed_everything(seed, verbose=False)
    method = METHODS[name]
    options: dict[str, Any] = {'lr': 3e-3, 'warmup_epochs': 0}
    for word, reduce in (('mean', np.mean), ('std', np.std)):
        options[word] = {
            s: reduce(p, axis=(1, 2)).tolist() for s, p in world.train.items()
        }
    if name == 'csmae':
        options |= {'size': 'tiny', 'image_size': CROP, 'patch_size': 6, 'lr': 1e-3}
        options |= {'specific_depth': 1, 'common_depth': 1, 'temperature': 0.1}
        options |= {'decoder_dim': 64, 'decoder_depth': 1}
    elif name == 'aligned':
        # One trunk behind two first layers, which only a model of timm is divided into.
        options['model'] = 'test_resnet'
    else:
        options['model'] = {s: network(n) for s, n in SENSORS.items()}
    if name not in ('csmae', 'cmir_pretrain'):
        options['output_dim'] = 64
    return method.kind(SENSORS, **(options | method.options | more))


def fit(task: CrossModalTask, world: World, seed: int, steps: int = STEPS) -> None:
    """Train for some steps, ten epochs of them."""
    trainer = Trainer(
        max_epochs=10,
        limit_train_batches=max(1, steps // 10),
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, DataLoader(Crops(world, seed), batch_size=None))


def embed(task: CrossModalTask, world: World) -> dict[str, Pixels]:
    """Unit rows of the ground that is judged, by sensor."""
    task.eval()
    with torch.no_grad():
        return {s: task.embed(world.test, s).numpy() for s in SENSORS}


def scores(
    rows: dict[str, Pixels], label: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """Give ``recall@10`` of the own place (across sensors) and ``map`` by class, by direction."""
    own = np.eye(len(label), dtype=bool)
    found: dict[str, dict[str, float]] = {'recall@10': {}, 'map': {}}
    for a, b in product(SENSORS, SENSORS):
        ranked = partial(score_ranking, rows[a], rows[b], ks=(10,))
        by_class = ranked(LabelTruth(label, label), names=['map'], exclude=own)
        found['map'][f'{a}->{b}'] = by_class.means()['map'].mean
        if a != b:
            by_place = ranked(MatrixTruth(own), names=['recall@k'])
            found['recall@10'][f'{a}->{b}'] = by_place.means()['recall@10'].mean
    both = np.concatenate([*rows.values()], axis=1)
    fused = score_ranking(
        both, both, LabelTruth(label, label), names=['map'], exclude=own
    )
    found['map'][FUSED[0]] = fused.means()['map'].mean
    return found


def learned(name: str, world: World, seed: int, steps: int = STEPS) -> dict[str, Any]:
    """Scores of a method before and after training, and what it embeds after."""
    label = world.test['label'].numpy()
    task = make(name, world, seed)
    before = scores(embed(task, world), label)
    fit(task, world, seed, steps)
    rows = embed(task, world)
    return {'before': before, 'after': scores(rows, label), 'rows': rows}


def codes(rows: dict[str, Pixels], kind: str, bits: int = 64) -> dict[str, Pixels]:
    """Vectors of -1 and 1 whose product ranks as the Hamming distance of codes does.

    Args:
        rows: Unit rows by sensor.
        kind: ``'sign'``, ``'lsh'`` or ``'itq'``, fitted on the vectors of both sensors.
        bits: Length of a code.
    """
    both = np.concatenate([*rows.values()])
    dim = both.shape[1]
    hashing = {
        'sign': lambda: Hash.sign(dim),
        'lsh': lambda: Hash.lsh(dim, bits),
        'itq': lambda: Hash.itq(both, bits),
    }[kind]()
    return {
        s: np.unpackbits(hashing.codes(part), axis=1)[:, :bits].astype(np.float32) * 2
        - 1
        for s, part in rows.items()
    }


# -- the tables --------------------------------------------------------------------------------


def _line(words: Sequence[str], values: Sequence[Sequence[float]]) -> str:
    cells = []
    for each in values:
        spread = statistics.stdev(each) if len(each) > 1 else 0.0
        cells.append(f'{statistics.mean(each):.3f} ±{spread:.3f}')
    return f'| {" | ".join([*words, *cells])} |\n'


def learning_lines(name: str, runs: Sequence[dict[str, Any]]) -> str:
    """Scores before and after training, and the least gain over seeds."""
    method, lines = METHODS[name], ''
    for direction in method.directions:
        before, after = (
            [run[when][method.measure][direction] for run in runs]
            for when in ('before', 'after')
        )
        least = min(b - a for a, b in zip(before, after, strict=True))
        line = _line([name, method.measure, direction], [before, after])
        lines += line.rstrip('|\n') + f'| {least:.3f} | {method.margin:.2f} |\n'
    return lines


def code_lines(
    name: str, runs: Sequence[dict[str, Any]], worlds: Sequence[World]
) -> str:
    """Mean average precision of vectors and of their codes, by class and by own place."""
    lines = ''
    for kind in ('sign', 'lsh', 'itq'):
        pairs = [
            (place_and_class(rows, world), place_and_class(codes(rows, kind), world))
            for world, rows in zip(worlds, (run['rows'] for run in runs), strict=True)
        ]
        for direction in CROSS:
            values = [
                [pair[i][measure][direction] for pair in pairs]
                for measure in ('class', 'place')
                for i in (0, 1)
            ]
            lines += _line([name, kind, direction], values)
    return lines


def place_and_class(
    rows: dict[str, Pixels], world: World
) -> dict[str, dict[str, float]]:
    """Mean average precision of the own place and of the same class, across sensors."""
    label = world.test['label'].numpy()
    own = np.eye(len(label), dtype=bool)
    truths: dict[str, Any] = {
        'class': LabelTruth(label, label),
        'place': MatrixTruth(own),
    }
    return {
        measure: {
            f'{a}->{b}': score_ranking(rows[a], rows[b], truth, names=['map'])
            .means()['map']
            .mean
            for a, b in (('s1', 's2'), ('s2', 's1'))
        }
        for measure, truth in truths.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=[*METHODS])
    parser.add_argument('--steps', type=int, default=STEPS)
    parser.add_argument('--codes', nargs='*', choices=METHODS, default=[])
    options = parser.parse_args()
    warnings.simplefilter('ignore')
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    compared = ''
    with tempfile.TemporaryDirectory() as folder:
        worlds = {s: write_world(Path(folder) / str(s), s) for s in options.seeds}
        sys.stdout.write(
            '| method | measure | direction | before | after | least gain | margin |\n'
            '|---|---|---|---:|---:|---:|---:|\n'
        )
        for name in options.methods:
            runs = [learned(name, w, seed, options.steps) for seed, w in worlds.items()]
            sys.stdout.write(learning_lines(name, runs))
            sys.stdout.flush()
            if name in options.codes:
                compared += code_lines(name, runs, [*worlds.values()])
    if compared:
        sys.stdout.write(
            '\n| method | code | direction | class: vectors | codes | place: vectors | codes |\n'
            f'|---|---|---|---:|---:|---:|---:|\n{compared}'
        )


if __name__ == '__main__':
    main()
