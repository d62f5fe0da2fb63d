"""How fast patches are read and embedded, beside TorchGeo and beside the floor.

Two sensors are written as tiled, deflated GeoTIFFs of noise over a smooth ground: Sentinel-2
like (12 bands, uint16) and Sentinel-1 like (2 bands, float32). Each case is timed in rounds
in which the candidates take turns, and medians are told, so that a busy machine slows all of
them alike::

    python tests/benchmarks/archive.py --json archive.json

Cases: ``same_crs_grid`` and ``same_crs_random`` read pairs that share a grid in the order of a
grid and at random; ``other_crs_grid`` reads a radar in longitude and latitude onto the grid of
the optical scene; ``end_to_end`` embeds one scene. The floor decodes every touched block once
with as many threads (``other_crs_grid``: plain windows in block order through one warped handle
a file; ``end_to_end``: reader and encoder, each measured alone, one after the other).
"""

import argparse
import gc
import json
import logging
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import rasterio
import shapely
import torch
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import GriddedPatchSampler, RandomPatchSampler

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.embed import embed
from torchgeo_cmr.embed.inference import Encoding
from torchgeo_cmr.embed.scenes.archive_plan import plan_scenes
from torchgeo_cmr.embed.scenes.patch_batches import read_item
from torchgeo_cmr.samplers import Area, DisjointBatchSampler
from torchgeo_cmr.scenes.scene import from_paths, scenes
from torchgeo_cmr.tasks import SSCMRSIR

PATCH = 120
BLOCK = 512
CRS = 'EPSG:32632'
BANDS = {'s2': (12, 'uint16'), 's1': (2, 'float32')}


def write(path: Path, size: int, bands: int, dtype: str, seed: int) -> Path:
    """Write a scene of 10 m pixels."""
    generator = np.random.default_rng(seed)
    ground = gaussian_filter(generator.normal(size=(size, size)), 3) * 10
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        width=size,
        height=size,
        count=bands,
        dtype=dtype,
        crs=CRS,
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000),
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        compress='deflate',
        interleave='pixel',
    ) as file:
        for band in range(1, bands + 1):
            noise = generator.normal(size=ground.shape)
            if dtype == 'uint16':
                pixels = (2000 + ground * 100 * band + noise * 30).clip(0, 65535)
            else:
                pixels = -12 + ground * band + noise
            file.write(pixels.astype(dtype), band)
    return path


def to_lonlat(path: Path, out: Path) -> Path:
    """Write the same ground in longitude and latitude."""
    with rasterio.open(path) as source:
        transform, width, height = calculate_default_transform(
            source.crs, 'EPSG:4326', source.width, source.height, *source.bounds
        )
        with WarpedVRT(
            source,
            crs='EPSG:4326',
            transform=transform,
            width=width,
            height=height,
            resampling=Resampling.bilinear,
        ) as warped:
            out.parent.mkdir(parents=True, exist_ok=True)
            profile = source.profile | {
                'crs': 'EPSG:4326',
                'transform': transform,
                'width': width,
                'height': height,
            }
            with rasterio.open(out, 'w', **profile) as file:
                file.write(warped.read())
    return out


def torchgeo_patches(
    paths: dict[str, Path], count: int, *, shuffled: bool
) -> Callable[[], Callable[[], int]]:
    """Read patches as TorchGeo does: an intersection and one of its samplers."""

    def prepare() -> Callable[[], int]:
        both = RasterDataset([paths['s2']]) & RasterDataset([paths['s1']])
        if shuffled:
            torch.manual_seed(0)
            sampler = RandomPatchSampler(both, size=PATCH, length=count)
        else:
            sampler = GriddedPatchSampler(both, size=PATCH)
        keys = zip(sampler, range(count), strict=False)
        return lambda: sum(1 for key, _ in keys if len(both[key]))

    return prepare


def our_patches(
    paths: dict[str, Path], count: int, *, gather: int | None, batch_size: int
) -> Callable[[], Callable[[], int]]:
    """Read patches as training does: a data module and its loaders."""

    def prepare() -> Callable[[], int]:
        members = {m: RasterDataset([path]) for m, path in paths.items()}
        data = PairedDataModule(
            dict(members),
            patch_size=PATCH,
            batch_size=batch_size,
            val_split=0,
            test_split=0,
            length=count,
            gather=gather or 1,
            min_valid=0,
        )
        data.setup('fit')
        loader = (
            data.predict_dataloader() if gather is None else data.train_dataloader()
        )
        return lambda: sum(len(batch['image_s1']) for batch in loader)

    return prepare


def decode_once(paths: Iterable[Path]) -> None:
    """Decode every block of some files once, in order, on all cores."""
    with rasterio.Env(GDAL_NUM_THREADS='ALL_CPUS'):
        for path in paths:
            with rasterio.open(path) as file:
                for top in range(0, file.height, BLOCK):
                    rows = min(BLOCK, file.height - top)
                    file.read(window=Window(0, top, file.width, rows))  # ty: ignore[too-many-positional-arguments]


def warped_windows(paths: dict[str, Path], count: int) -> int:
    """Read plain windows in block order, the radar through one warped handle."""
    done = 0
    with (
        rasterio.open(paths['s2']) as s2,
        rasterio.open(paths['s1']) as raw,
        WarpedVRT(
            raw,
            crs=s2.crs,
            transform=s2.transform,
            width=s2.width,
            height=s2.height,
            resampling=Resampling.bilinear,
            nodata=np.nan,
            dtype='float32',
        ) as s1,
    ):
        for top in range(0, s2.height - PATCH + 1, PATCH):
            for left in range(0, s2.width - PATCH + 1, PATCH):
                window = Window(left, top, PATCH, PATCH)  # ty: ignore[too-many-positional-arguments]
                for file in (s2, s1):
                    torch.from_numpy(file.read(window=window).astype(np.float32))
                done += 1
                if done == count:
                    return done
    return done


def warm() -> None:
    """Use a gibibyte of memory and give it back.

    A virtual machine hands memory that was idle for seconds back to its host, and fetching it
    again costs fifty times as much as using it: the candidate after a pause would pay.
    """
    np.empty(2**30, np.uint8)[::4096] = 1


def timed(prepare: Callable[[], Callable[[], Any]]) -> float:
    """Seconds of one round.

    Catalogues and splits are made once a training, not once a patch; they are made anew each
    round, so that no decoded block is left from the last.
    """
    work = prepare()
    gc.collect()
    warm()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def serve(prepare: Callable[[], Callable[[], Any]], pipe: Any) -> None:
    """Time a round whenever asked."""
    while pipe.recv():
        pipe.send(timed(prepare))


def in_turns(
    candidates: dict[str, Callable[[], Callable[[], Any]]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round; they take turns, each in its own process.

    So none of them reads through the blocks that another one left in GDAL's cache. The first
    two rounds do not count: a process grows in them.
    """
    context = multiprocessing.get_context('fork')
    pipes = {}
    for name, prepare in candidates.items():
        pipes[name], theirs = context.Pipe()
        context.Process(target=serve, args=(prepare, theirs), daemon=True).start()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(2 + rounds):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    return {name: each[2:] for name, each in seconds.items()}


def rows(
    case: str, patches: int, seconds: dict[str, list[float]], peer: str
) -> list[dict[str, Any]]:
    """Lay out one case; ratios are medians of the rounds' ratios to the peer's."""
    told = []
    for name, each in seconds.items():
        ratios = [b / a for a, b in zip(each, seconds[peer], strict=True)]
        told.append(
            {
                'case': case,
                'candidate': name,
                'patches_per_second': patches / statistics.median(each),
                'ratio': statistics.median(ratios),
                'ratio_to': peer,
                'ratio_to_floor': statistics.median(
                    b / a for a, b in zip(each, seconds['floor'], strict=True)
                ),
            }
        )
    return told


def reading(
    folder: Path, paths: dict[str, Path], size: int, rounds: int
) -> list[dict[str, Any]]:
    """Cases that only read."""
    moved = {'s2': paths['s2'], 's1': to_lonlat(paths['s1'], folder / 'far' / 's1.tif')}
    count = (size // PATCH) ** 2
    found = []
    same_crs = {
        'torchgeo': torchgeo_patches(paths, count, shuffled=False),
        'torchgeo_cmr': our_patches(paths, count, gather=None, batch_size=64),
        'floor': lambda: lambda: decode_once(paths.values()),
    }
    found += rows('same_crs_grid', count, in_turns(same_crs, rounds), 'torchgeo')
    mixed = {
        'torchgeo': torchgeo_patches(paths, count, shuffled=True),
        'torchgeo_cmr': our_patches(paths, count, gather=8, batch_size=64),
        'torchgeo_cmr, gather=1': our_patches(paths, count, gather=1, batch_size=64),
        'floor': lambda: lambda: decode_once(paths.values()),
    }
    found += rows('same_crs_random', count, in_turns(mixed, rounds), 'torchgeo')
    other_crs = {
        'torchgeo': torchgeo_patches(moved, count, shuffled=False),
        'torchgeo_cmr': our_patches(moved, count, gather=None, batch_size=64),
        'floor': lambda: lambda: warped_windows(moved, count),
    }
    found += rows('other_crs_grid', count, in_turns(other_crs, rounds), 'torchgeo')
    return found


def end_to_end(path: Path, rounds: int) -> list[dict[str, Any]]:
    """Embed one scene, beside its reader alone and its encoder alone."""
    found = []
    for model, patch in (('resnet10t', 64), ('resnet18', 120)):
        task = SSCMRSIR(
            {'s1': 2, 's2': 12},
            model,
            mean={'s1': [-12.0] * 2, 's2': [2000.0] * 12},
            std={'s1': [5.0] * 2, 's2': [500.0] * 12},
        ).eval()
        (item,) = plan_scenes(scenes(from_paths(path)), 's2', patch).items
        count = len(item.windows)
        images = torch.randn(64, 12, patch, patch)

        def read(item: Any = item) -> None:
            for _ in read_item(item):
                pass

        def encode(task: Any = task, images: Any = images, count: int = count) -> None:
            for first in range(0, count, 64):
                Encoding()(
                    lambda x: task.embed({'image_s2': x}, 's2'),
                    images[: min(64, count - first)],
                    torch.device('cpu'),
                )

        def ours(task: Any = task, patch: int = patch) -> None:
            embed(task, str(path), 's2', patch, progress=False)

        alone = {'reader': read, 'encoder': encode, 'torchgeo_cmr': ours}
        each: dict[str, list[float]] = {name: [] for name in alone}
        for _ in range(rounds):
            for name, work in alone.items():
                each[name].append(timed(lambda work=work: work))
        each['floor'] = [
            a + b for a, b in zip(each['reader'], each['encoder'], strict=True)
        ]
        found += [
            row | {'encoder': model, 'patch': patch}
            for row in rows('end_to_end', count, each, 'floor')
        ]
    return found


def randomness(size: int, batches: int = 400) -> list[dict[str, Any]]:
    """Measure what batches of near-by patches lose: variance of what a batch tells.

    The ratio is the variance of batch means over that of batches drawn from the whole
    ground, of a field that changes over a kilometre; a batch of 64 with ratio 4 tells as
    much about it as 16 patches drawn at random.
    """
    width = size * 10.0
    outline = shapely.box(500_000, 5_000_000 - width, 500_000 + width, 5_000_000)
    field = gaussian_filter(
        np.random.default_rng(0).normal(size=(size // 10, size // 10)), 10
    )
    found: dict[int, float] = {}
    for gather in (1, 4, 8, 16):
        area = Area(
            zone=0,
            polygon=outline,
            crs=pyproj.CRS(CRS),
            time=pd.IntervalIndex.from_breaks(
                pd.to_datetime(['2024-01-01', '2024-01-02']), closed='both'
            )[0],
            origin=(500_000, 5_000_000),
            res=(10, 10),
            size=PATCH,
        )
        sampler = DisjointBatchSampler(
            [area], 64, length=64 * batches, gather=gather, generator=0
        )
        means = []
        for batch in sampler:
            x = np.array([(k[1][0].start + k[1][0].stop) / 2 for k in batch]) - 500_000
            y = 5_000_000 - np.array(
                [(k[1][1].start + k[1][1].stop) / 2 for k in batch]
            )
            means.append(field[(y / 100).astype(int), (x / 100).astype(int)].mean())
        found[gather] = float(np.var(means))
    return [
        {'case': 'randomness', 'candidate': f'gather={g}', 'ratio': v / found[1]}
        for g, v in found.items()
    ]


def run(size: int, rounds: int, *, reads: bool = True) -> dict[str, Any]:
    """Run every case and tell on what."""
    warnings.simplefilter('ignore')
    # TorchGeo prints what it converts.
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = {
            m: write(folder / m / f'{m}.tif', size, *BANDS[m], seed=i)
            for i, m in enumerate(BANDS)
        }
        found = reading(folder, paths, size, rounds) if reads else []
        found += end_to_end(paths['s2'], rounds)
    found += randomness(size)
    packages = ('torchgeo-cmr', 'torchgeo', 'torch', 'rasterio', 'numpy')
    return {
        'command': ' '.join(['python', *sys.argv]),
        'size': size,
        'rounds': rounds,
        'cores': os.cpu_count(),
        'gdal': rasterio.__gdal_version__,
        'versions': {'python': platform.python_version()}
        | {name: version(name) for name in packages},
        'peak_mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        'rows': found,
    }


def table(report: dict[str, Any]) -> str:
    """Lay out the rows as a Markdown table."""
    lines = ['| case | candidate | patches/s | ratio | to | of the floor |']
    lines.append('|---' * 6 + '|')
    for row in report['rows']:
        if row['case'] == 'randomness':
            continue
        case = ' '.join([row['case'], row.get('encoder', '')]).strip()
        lines.append(
            f'| {case} | {row["candidate"]} | {row["patches_per_second"]:.0f} | '
            f'{row["ratio"]:.2f} | {row["ratio_to"]} | {row["ratio_to_floor"]:.2f} |'
        )
    lost = [r for r in report['rows'] if r['case'] == 'randomness']
    lines.append('')
    lines += [
        f'{r["candidate"]}: variance of batch means x {r["ratio"]:.1f}' for r in lost
    ]
    return '\n'.join(lines)


def main() -> None:
    """Parse the command line, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    parser.add_argument('--size', type=int, default=3600, help='rows of a scene')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument(
        '--end-to-end', action='store_true', help='leave out the cases that only read'
    )
    words = parser.parse_args()
    if 'THP_MEM_ALLOC_ENABLE' not in os.environ:
        # Torch reads it when it is loaded; torchgeo-cmr sets it before that.
        os.environ['THP_MEM_ALLOC_ENABLE'] = '1'
        os.execv(sys.executable, sys.orig_argv)
    report = run(words.size, words.rounds, reads=not words.end_to_end)
    print(table(report))
    if words.json:
        words.json.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
