"""What the methods reach across PAN and MS, and across images and speech.

Three suites, each one command; figures depend on the seed, and are printed beside chance::

    python tests/benchmarks/cmir.py --suite synthetic --json synthetic.json
    python tests/benchmarks/cmir.py --suite pan_ms --pan 'pan/*.tif' --ms 'ms/*.tif'
    python tests/benchmarks/cmir.py --suite speech --images chips --audio words

``synthetic``: CMIR-NET on patches of eight kinds of land cover of the synthetic world, tested
on the eastern part of each scene. ``pan_ms``: the place of a PAN patch among MS patches that do
not overlap, learnt without labels (SS-CM-RSIR) on another part of the ground; the PAN patch lies
up to four pixels off. ``speech``: CMIR-NET on images and spoken names of their classes, one
folder a class, tested on images and voices that training did not meet; images are vectors of
their colour and texture (``texture.py``), for a dozen of each class teach a network little.

A direction's ``map`` is the mean average precision, ``recall@1`` the share of queries whose
first answer is relevant, ``chance`` what a random ranking scores as ``map``.
"""

import argparse
import contextlib
import csv
import itertools
import json
import logging
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from glob import glob
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import rasterio
import torch
from lightning.pytorch import Trainer, seed_everything
from numpy.typing import NDArray
from rasterio.windows import Window, from_bounds
from torch import Tensor
from torch.nn.functional import max_pool2d
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    WeightedRandomSampler,
    default_collate,
)
from torchgeo.datasets import NonGeoDataset

from torchgeo_cmr.datasets import (
    ClassFolders,
    ImageSpeech,
    SpokenLabels,
    SyntheticLandscape,
)
from torchgeo_cmr.errors import AudioError, CMRError, PairingError
from torchgeo_cmr.metrics.functional import LabelTruth, RandomOrder, score_ranking
from torchgeo_cmr.speech import speak
from torchgeo_cmr.tasks import SSCMRSIR, CMIRNet, CrossModalTask

from texture import describe  # isort: skip

SHARED = Path(__file__).parents[3] / 'shared' / 'data'

#: The eight kinds of the suite; as in DSRSID, water that runs is one of its own.
LAKE, RIVER, BROADLEAF, CONIFER, FIELD, DENSE, SPARSE, WETLAND = range(8)

#: Land-cover codes of the synthetic world -> kinds. A field is a field whatever grows on it, or
#: nothing: on the one day of the pair, fallow land and what is sown but not yet up look alike.
KINDS = (-1, LAKE, BROADLEAF, CONIFER, *[FIELD] * 5, DENSE, SPARSE, WETLAND)

#: How folder names of UC-Merced are said, where a voice would stumble.
WORDS = {
    'baseballdiamond': 'baseball diamond',
    'denseresidential': 'dense residential',
    'golfcourse': 'golf course',
    'mediumresidential': 'medium residential',
    'mobilehomepark': 'mobile home park',
    'parkinglot': 'parking lot',
    'sparseresidential': 'sparse residential',
    'storagetanks': 'storage tanks',
    'tenniscourt': 'tennis court',
}


# -- scores ---------------------------------------------------------------------------------


def score(
    rows: Mapping[str, NDArray[Any]],
    labels: Mapping[str, NDArray[Any]],
    directions: Sequence[tuple[str, str]],
    *,
    interval: bool = False,
) -> dict[str, dict[str, Any]]:
    """Score each direction; a query does not find itself in its own modality."""
    found: dict[str, dict[str, Any]] = {}
    for a, b in directions:
        truth = LabelTruth(labels[a], labels[b])
        own = np.eye(len(rows[a]), dtype=bool) if a == b else None
        names = ('map', 'precision@k')
        options: dict[str, Any] = {'names': names, 'ks': (1,), 'exclude': own}
        scored = score_ranking(rows[a], rows[b], truth, **options)
        random = score_ranking(
            rows[a], rows[b], truth, similarity=RandomOrder(0), **options
        )
        found[f'{a}->{b}'] = {
            'map': scored.means()['map'].mean,
            'recall@1': scored.means()['precision@1'].mean,
            'chance': random.means()['map'].mean,
            'chance_recall@1': random.means()['precision@1'].mean,
        }
        if interval:
            values = scored.values['map']
            draws = np.random.default_rng(0).choice(values, (2000, len(values)))
            low, high = np.percentile(draws.mean(axis=1), (2.5, 97.5))
            found[f'{a}->{b}']['map_95%'] = [float(low), float(high)]
    return found


def embedded(
    task: CrossModalTask,
    samples: Sequence[Any],
    modality: str,
    flips: Sequence[tuple[int, ...]] = ((),),
) -> NDArray[Any]:
    """Embed samples in batches, in evaluation mode; the mean over flips along some axes."""
    task.eval()
    key, parts = task.keys[modality], []
    for i in range(0, len(samples), 64):
        batch = default_collate(list(samples[i : i + 64]))
        views = (batch | {key: batch[key].flip(axes)} for axes in flips)
        parts.append(sum(task.embed(view, modality).numpy() for view in views))
    rows = np.concatenate(parts)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def train(task: CrossModalTask, data: DataLoader[Any], epochs: int) -> None:
    """Train for some epochs; the last one counts, nothing is chosen by test scores."""
    trainer = Trainer(
        max_epochs=epochs,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )
    trainer.fit(task, train_dataloaders=data)


def turned(pair: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn and flip both pictures of a place alike."""
    quarter, flip = int(torch.randint(4, ())), bool(torch.randint(2, ()))
    out = dict(pair)
    for key in ('image_pan', 'image_ms'):
        image = torch.rot90(out[key], quarter, (1, 2))
        out[key] = image.flip(2) if flip else image
    return out


def statistics(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """Mean and deviation of both modalities, as a task wants them."""
    told: dict[str, dict[str, Any]] = {'mean': {}, 'std': {}}
    for m in ('pan', 'ms'):
        pixels = (
            torch.stack([s[f'image_{m}'] for s in samples]).movedim(1, 0).flatten(1)
        )
        told['mean'][m] = pixels.mean(1).tolist()
        told['std'][m] = pixels.std(1).tolist()
    return told


# -- synthetic ------------------------------------------------------------------------------


#: Synthetic worlds that are drawn, two scenes each.
WORLDS = 8

#: As `torchgeo-cmr embed --flips`: a patch is embedded as it is, and mirrored.
FLIPS = ((), (2,), (3,), (2, 3))

#: Width of a patch in pixels of the truth, 10 m.
PATCH = 24

#: Test patches of a kind at most, so that no kind makes the score by itself.
MOST = 40


class Drawn(IterableDataset):
    """Training patches, every kind equally often, turned at random."""

    def __init__(self, samples: Sequence[Mapping[str, Tensor]], length: int) -> None:
        self.samples, self.length = samples, length
        kinds = torch.stack([s['label'] for s in samples])
        self.weights = torch.bincount(kinds).float().reciprocal()[kinds]

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for i in torch.multinomial(self.weights, self.length, replacement=True):
            yield turned(self.samples[int(i)])


def kinds(truth: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Give each cell its kind; a river is water into which no square of 70 m fits."""
    kind = np.array(KINDS)[truth]
    water = torch.tensor(kind == LAKE).float()[None]
    lake = max_pool2d(-max_pool2d(-water, 7, 1, 3), 15, 1, 7)  # and its coves
    kind[(kind == LAKE) & (lake[0].numpy() == 0)] = RIVER
    return kind


def clear(image: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Take the light of the air off each band, and the logarithm.

    The darkest thousandth of a scene is said to reflect one per cent (Chavez 1988): air is
    brighter or darker from scene to scene by as much as water differs from woods.
    """
    darkest = np.quantile(image, 0.001, axis=(1, 2), keepdims=True)
    return np.log(np.maximum(image - darkest, 0) + 100).astype(np.float32)


def cut(world: SyntheticLandscape) -> Iterator[tuple[str, tuple[str, int, int], Any]]:
    """Cut patches of 240 m, half a patch apart: side of the scene, place and sample.

    One kind covers 0.85 of a patch, or a river a fifth of it (and less than a twentieth of
    others). Patches of the west and of the east are a patch's width apart.
    """
    for files in zip(*map(world.files, ('truth', 'pan', 'ms')), strict=True):
        truth, pan, ms = (rasterio.open(file).read() for file in files)
        kind, pan, ms = kinds(truth[0]), *map(torch.from_numpy, map(clear, (pan, ms)))
        most = ms.shape[1] * 3
        border, starts = 0.6 * most, range(0, most - PATCH + 1, PATCH // 2)
        for row, col in itertools.product(starts, starts):
            west = col + PATCH <= border
            inside = kind[row : row + PATCH, col : col + PATCH]
            shares = np.bincount(inside[inside >= 0], minlength=8) / inside.size
            river = shares[RIVER] >= 0.2
            clear_cut = shares[RIVER] < 0.05 and shares.max() >= 0.85
            if (river or clear_cut) and (west or col >= border + PATCH):
                low = [slice(at // 3, (at + PATCH) // 3) for at in (row, col)]
                high = [slice(2 * s.start, 2 * s.stop) for s in low]
                yield (
                    'west' if west else 'east',
                    (str(files[0]), row, col),
                    {
                        'image_pan': pan[:, *high],
                        'image_ms': ms[:, *low],
                        'label': torch.tensor(RIVER if river else int(shares.argmax())),
                    },
                )


def scattered(
    places: Sequence[tuple[str, int, int]],
    labels: NDArray[np.int64],
    most: int,
    seed: int,
) -> list[int]:
    """Take at most so many patches of each kind, none over another, rare kinds first."""
    order = np.random.default_rng(seed).permutation(len(places))
    taken: list[int] = []
    for kind in np.argsort(np.bincount(labels)):
        end = len(taken) + most
        for i in order[labels[order] == kind]:
            scene, row, col = places[i]
            over = (
                scene == s and max(abs(row - r), abs(col - c)) < PATCH
                for s, r, c in (places[j] for j in taken)
            )
            if len(taken) < end and not any(over):
                taken.append(int(i))
    return taken


def synthetic(seed: int, folder: Path, words: argparse.Namespace) -> dict[str, Any]:
    """CMIR-NET on eight kinds of land cover, learnt in the west of several worlds."""
    parts: dict[str, list[Any]] = {'west': [], 'east': []}
    places = []
    for number in range(WORLDS):
        world = SyntheticLandscape(
            folder / str(number), WORLDS * seed + number, sensors=('pan', 'ms')
        )
        for where, place, sample in cut(world):
            parts[where].append(sample)
            if where == 'east':
                places.append(place)
    found = np.array([int(s['label']) for s in parts['east']])
    chosen = scattered(places, found, MOST, seed)
    train_set, test_set = parts['west'], [parts['east'][i] for i in chosen]
    told = statistics(train_set)
    seed_everything(seed, verbose=False)
    task = CMIRNet(
        {'pan': 1, 'ms': 4},
        8,
        {'pan': 'cmir_small', 'ms': 'cmir_small'},
        dropout=0.3,
        class_weight=10.0,  # in a run this short the other terms would drown it
        orth_weight=0.0,  # for batches have fewer rows than features
        pretrain_epochs=34,
        lr=2e-3,
        schedule='cosine',
        warmup_epochs=1,
        mean=told['mean'],
        std=told['std'],
    )
    train(task, DataLoader(Drawn(train_set, 4096), 64), 48)
    labels = found[chosen]
    both = ('pan', 'ms')
    return {
        'counts': {
            'classes': 8,
            'train': len(train_set),
            'test': len(test_set),
            'test_by_class': np.bincount(labels, minlength=8).tolist(),
        },
        'directions': score(
            {m: embedded(task, test_set, m, FLIPS) for m in both},
            dict.fromkeys(both, labels),
            [(a, b) for a in both for b in both],
        ),
    }


# -- pan_ms ---------------------------------------------------------------------------------

JITTER = 4


class Ground:
    """One PAN scene with the MS scene below it, held in memory."""

    def __init__(self, pan: str, ms: str, size: int) -> None:
        with rasterio.open(pan) as high, rasterio.open(ms) as low:
            if high.crs != low.crs:
                sys.exit(f'{pan} and {ms} have different CRS: reproject one of them')
            self.ratio = low.res[0] / high.res[0]
            common = [
                *np.maximum(high.bounds[:2], low.bounds[:2]),
                *np.minimum(high.bounds[2:], low.bounds[2:]),
            ]
            corners = [from_bounds(*common, f.transform) for f in (high, low)]
            self.pan, self.ms = (
                f.read(window=Window(*map(round, w.flatten()))).astype(np.float32)
                for f, w in zip((high, low), corners, strict=True)
            )
        self.size = size
        self.low = max(1, round(size / self.ratio))

    def grid(self, top: float, left: float, bottom: float, right: float) -> list[Any]:
        """Corners in MS pixels of patches that do not overlap, the jitter kept clear."""
        edge = JITTER / self.ratio
        rows = np.arange(max(top, edge), bottom - self.low - edge + 1e-6, self.low)
        cols = np.arange(max(left, edge), right - self.low - edge + 1e-6, self.low)
        return [(round(r), round(c)) for r in rows for c in cols]

    def pair(self, row: int, col: int, jitter: Tensor) -> dict[str, Tensor] | None:
        """Cut a pair, the PAN patch so many pixels off; None where data is missing."""
        y, x = (
            round(v * self.ratio) + int(j)
            for v, j in zip((row, col), jitter, strict=True)
        )
        pan = self.pan[:, y : y + self.size, x : x + self.size]
        ms = self.ms[:, row : row + self.low, col : col + self.low]
        if pan.shape[1:] != (self.size,) * 2 or ms.shape[1:] != (self.low,) * 2:
            return None
        pair = {'image_pan': torch.tensor(pan), 'image_ms': torch.tensor(ms)}
        empty = [
            float((~t.isfinite() | (t == 0)).all(0).float().mean())
            for t in pair.values()
        ]
        return None if max(empty) > 0.5 else pair


class Places(IterableDataset):
    """Batches of disjoint patches: a grid from a new origin each time."""

    def __init__(self, areas: Sequence[Any], steps: int, most: int) -> None:
        self.areas, self.steps, self.most = areas, steps, most

    def __len__(self) -> int:
        return self.steps

    def batch(self) -> list[dict[str, Tensor]]:
        """Draw one batch."""
        places = []
        for ground, (top, left, bottom, right) in self.areas:
            dy, dx = (torch.rand(2) * ground.low).tolist()
            corners = ground.grid(top + dy, left + dx, bottom, right)
            places += [(ground, *corner) for corner in corners]
        pairs: list[dict[str, Tensor]] = []
        for i in torch.randperm(len(places)).tolist():
            ground, row, col = places[i]
            pair = ground.pair(row, col, torch.randint(-JITTER, JITTER + 1, (2,)))
            if pair is not None:
                pairs.append(turned(pair))
            if len(pairs) == self.most:
                break
        return pairs

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _ in range(self.steps):
            yield default_collate(self.batch())


def pan_ms(seed: int, folder: Path, words: argparse.Namespace) -> dict[str, Any]:
    """The place of a PAN patch among MS patches."""
    files = {}
    for name, default in (('pan', 'pan_example.tif'), ('ms', 'ms_example.tif')):
        asked = getattr(words, name) or str(SHARED / 'panms_landsat_navarra' / default)
        files[name] = sorted(glob(asked))
    if not files['pan'] or len(files['pan']) != len(files['ms']):
        sys.exit(
            f'every PAN file needs its MS file, found {files}: check --pan and --ms'
        )
    grounds = [
        Ground(*pair, words.patch)
        for pair in zip(files['pan'], files['ms'], strict=True)
    ]
    train_areas: list[Any] = []
    test_areas: list[Any] = []
    for number, ground in enumerate(grounds):
        height, width = ground.ms.shape[1:]
        if len(grounds) > 1:  # whole scenes
            held_out = number % 5 >= 3
            chosen = test_areas if held_out else train_areas
            chosen.append((ground, (0, 0, height, width)))
        else:  # west and east, a patch apart
            border = 0.6 * width
            train_areas.append((ground, (0, 0, height, border - ground.low)))
            test_areas.append((ground, (0, border, height, width)))
    seed_everything(seed, verbose=False)
    test_set = []
    for ground, area in test_areas:
        for row, col in ground.grid(*area):
            pair = ground.pair(row, col, torch.randint(-JITTER, JITTER + 1, (2,)))
            if pair is not None:
                test_set.append(pair)
    data = Places(train_areas, words.steps, 64)
    sample = [pair for _ in range(4) for pair in data.batch()]
    told, bands = statistics(sample), grounds[0].ms.shape[0]
    task = SSCMRSIR(
        {'pan': 1, 'ms': bands},
        'resnet10t',
        temperature=0.1,
        lr=1e-3,
        warmup_epochs=1,
        mean=told['mean'],
        std=told['std'],
    )
    epochs = 10
    data.steps = words.steps // epochs
    train(task, DataLoader(data, batch_size=None), epochs)
    places, both = np.arange(len(test_set)), ('pan', 'ms')
    return {
        'counts': {'train_batch': len(data.batch()), 'test': len(test_set)},
        'directions': score(
            {m: embedded(task, test_set, m) for m in both},
            dict.fromkeys(both, places),
            [('pan', 'ms'), ('ms', 'pan')],
        ),
    }


# -- speech ---------------------------------------------------------------------------------

#: Length of the sound that is looked at.
SECONDS = 1.5

#: Speech as people may record it: any pace and pitch, some noise, a room.
SPOKEN: dict[str, Any] = {
    'speeds': (120, 150, 180, 210),
    'pitches': (25, 40, 50, 60, 75),
    'noise': (15.0, 40.0),
    'reverb': (0.0, 0.3),
    'progress': False,
}


#: Utterances a class to train on, below which synthesised voices that say the same are added.
ENOUGH = 10


def few(labels: NDArray[Any], most: int, seed: int) -> list[int]:
    """Take at most so many samples of each class, at random."""
    order = np.random.default_rng(seed).permutation(len(labels))
    picked = (order[labels[order] == c][:most] for c in np.unique(labels))
    return np.concatenate(list(picked)).tolist()


class Held(NonGeoDataset):
    """Samples with labels, in memory; of several views of one, any is given."""

    def __init__(self, key: str, views: Sequence[Tensor], labels: Tensor) -> None:
        self.key, self.views, self.labels = key, views, labels

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        views = self.views[index]
        one = views[int(torch.randint(len(views), ()))]
        return {self.key: one, LABELS[self.key]: self.labels[index]}


#: Where a sample holds the label of what it holds under a key.
LABELS = {'image': 'label', 'audio': 'audio_label'}


def pictures(folder: Path, split: str, seed: int) -> ClassFolders:
    """Open a part of the images, no more than some of each class."""
    part = ClassFolders(
        folder, split=split, size=256, shares={'train': 0.8, 'test': 0.2}, seed=seed
    )
    kept = few(part.labels.numpy(), {'train': 40, 'test': 20}[split], seed)
    part.files, part.labels = [part.files[i] for i in kept], part.labels[kept]
    return part


def described(part: ClassFolders, views: int) -> Held:
    """Describe the whole of each picture and, beside it, some three-quarters of it."""
    found = []
    for i in range(len(part)):
        whole = part[i]['image']
        crops = [whole]
        for row, col in torch.randint(65, (views - 1, 2)).tolist():
            crops.append(whole[:, row : row + 192, col : col + 192])
        found.append(torch.stack([describe(crop) for crop in crops]))
    return Held('image', found, part.labels)


def heard(speech: SpokenLabels, most: int) -> Held:
    """Read utterances, no more than some of each class."""
    order = sorted(few(speech.labels.numpy(), most, 0))
    sounds = [speech[i]['audio'][None] for i in order]
    return Held('audio', sounds, speech.labels[order])


def listed(recordings: Path, called: Mapping[str, str], manifest: Path) -> Path:
    """List the recordings of the word by which each class is called."""
    with manifest.open('w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['file', 'label'])
        for name, word in called.items():
            for path in sorted((recordings / word).iterdir()):
                if path.suffix.lower() == '.wav':
                    rows.writerow([path.relative_to(recordings), name])
    return manifest


def other_words(audio: Path, names: Sequence[str]) -> dict[str, str]:
    """Call classes by words that are no class names, one each, if the corpus has such only."""
    for name in names:
        with contextlib.suppress(AudioError):
            SpokenLabels(audio, [name])
            return {}
    words = SpokenLabels(audio).classes
    return dict(zip(names, words, strict=False)) if len(words) >= len(names) else {}


def voices(
    audio: Path, classes: Sequence[str], seed: int, manifest: Path | None
) -> tuple[SpokenLabels, SpokenLabels, str]:
    """Hold out voices or, where not every class has two, utterances."""
    shares = {'train': 0.8, 'test': 0.2}
    options: dict[str, Any] = {
        'manifest': manifest,
        'seconds': SECONDS,
        'shares': shares,
        'seed': seed,
    }
    SpokenLabels(audio, classes, **options)  # says so if a class is not there at all
    for unit in ('voice', 'utterance'):
        try:
            train, test = (
                SpokenLabels(audio, classes, part, hold_out=unit, **options)
                for part in ('train', 'test')
            )
        except AudioError:
            if unit == 'utterance':
                raise
        else:
            return train, test, unit
    raise AssertionError


def speech(seed: int, folder: Path, words: argparse.Namespace) -> dict[str, Any]:
    """Images and the spoken names of their classes."""
    images = Path(words.images or SHARED / 'ucmerced_rgb')
    train_set, test_set = (pictures(images, part, seed) for part in ('train', 'test'))
    names = train_set.classes
    alone = [n for c, n in enumerate(names) if not (test_set.labels == c).any()]
    if len(names) < 2 or alone:
        raise PairingError(
            f'{images} has {len(names)} classes, of which {len(alone)} have one image: '
            'retrieval is tested on two classes or more, of two images or more each'
        )
    called: dict[str, str] = {}
    manifest = None
    if words.audio is None:
        audio = folder / 'speech'
        speak({n: WORDS.get(n, n) for n in names}, audio, seed=seed, **SPOKEN)
    else:
        audio = Path(words.audio)
        called = other_words(audio, names)
        if called:
            manifest = listed(audio, called, folder / 'audio.csv')
    spoken, others, unit = voices(audio, names, seed, manifest)
    corpora = [spoken]
    if len(spoken) < ENOUGH * len(names):
        said = {n: called.get(n, WORDS.get(n, n)) for n in names}
        speak(said, folder / 'more', seed=seed, **SPOKEN)
        corpora.append(SpokenLabels(folder / 'more', names, seconds=SECONDS))
    seed_everything(seed, verbose=False)
    seen, unseen = described(train_set, 4), described(test_set, 1)
    report = learnt(seed, names, (seen, unseen), corpora, others)
    report['counts']['held_out'] = unit
    if called:
        report['called'] = called
    recordings = SHARED / 'speech_commands'
    if words.images is None and words.audio is None and recordings.is_dir():
        # each class is called by one of the recorded words, for the words name no land cover
        called = other_words(recordings, names)
        manifest = listed(recordings, called, folder / 'recordings.csv')
        speak(called, folder / 'words', seed=seed, **SPOKEN)
        both = (
            [SpokenLabels(folder / 'words', names, seconds=SECONDS)],
            SpokenLabels(recordings, names, manifest=manifest, seconds=SECONDS),
        )
        report['recordings'] = learnt(seed, names, (seen, unseen), *both)
    return report


def learnt(
    seed: int,
    names: Sequence[str],
    images: tuple[Held, Held],
    corpora: Sequence[SpokenLabels],
    others: SpokenLabels,
) -> dict[str, Any]:
    """Train on images and voices, test on others of either."""
    used = time.process_time()
    seed_everything(seed, verbose=False)
    parts, tested = [heard(one, 100) for one in corpora], heard(others, 40)
    sounds = [view for part in parts for view in part.views]
    speech = Held('audio', sounds, torch.cat([part.labels for part in parts]))
    vars(speech)['classes'] = tuple(names)
    pairs = ImageSpeech(images[0], cast(Any, speech))
    vectors = torch.cat(list(images[0].views))
    task = CMIRNet(
        {'image': vectors.shape[1], 'speech': 1},
        len(names),
        {'image': 'mlp', 'speech': 'speech'},
        dropout=0.3,
        output_dim=128,
        class_weight=10.0,
        orth_weight=0.0,  # for batches have fewer rows than features
        pretrain_epochs=12,
        lr=2e-3,
        schedule='cosine',
        warmup_epochs=1,
        mean={'image': vectors.mean(0).tolist()},
        std={'image': (vectors.std(0) + 1e-6).tolist()},
        speech={
            'frames': round(100 * SECONDS) - 2,
            'num_mels': 40,
            'widths': (16, 32, 64, 128),
            'mask_mels': 5,
        },
    )
    classes = images[0].labels
    evenly = (1.0 / torch.bincount(classes).float())[classes].tolist()
    sampler = WeightedRandomSampler(evenly, 1024)
    train(task, DataLoader(pairs, 32, sampler=sampler), 36)
    return {
        'cpu_seconds': time.process_time() - used,
        'counts': {
            'classes': len(names),
            'train_images': len(images[0]),
            'train_utterances': [len(part) for part in parts],
            'test_images': len(images[1]),
            'test_utterances': len(tested),
            'test_voices': len(others.voices),
        },
        'directions': score(
            {
                'image': embedded(task, renamed(images[1]), 'image'),
                'speech': embedded(task, renamed(tested), 'speech'),
            },
            {'image': images[1].labels.numpy(), 'speech': tested.labels.numpy()},
            [('image', 'speech'), ('speech', 'image')],
            interval=True,
        ),
    }


def renamed(held: Held) -> list[dict[str, Tensor]]:
    """Take all samples, with the names that a task expects."""
    key = {'image': 'image_image', 'audio': 'audio'}[held.key]
    return [{key: held[i][held.key]} for i in range(len(held))]


SUITES = {'synthetic': synthetic, 'pan_ms': pan_ms, 'speech': speech}


def main() -> None:
    """Parse the command line, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--suite', choices=list(SUITES), required=True)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--pan', help='PAN scenes, a glob; sorted as those of --ms')
    parser.add_argument('--ms', help='MS scenes, a glob')
    parser.add_argument('--patch', type=int, default=64, help='PAN pixels of a patch')
    parser.add_argument('--steps', type=int, default=400, help='steps of pan_ms')
    parser.add_argument('--images', help='images, one folder a class')
    parser.add_argument('--audio', help='utterances, CLASS/VOICE_N.wav')
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    words = parser.parse_args()
    warnings.simplefilter('ignore')
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    begin, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = SUITES[words.suite](words.seed, Path(folder), words)
        except CMRError as error:
            sys.exit(str(error))
    report = {
        'suite': words.suite,
        **found,
        'seed': words.seed,
        'seconds': time.perf_counter() - begin,
        'cpu_seconds_in_all': time.process_time() - used,
        'versions': {'python': platform.python_version()}
        | {p: version(p) for p in ('torchgeo-cmr', 'torchgeo', 'torch', 'timm')},
    }
    sys.stdout.write(json.dumps(report, indent=2) + '\n')
    if words.json:
        words.json.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
