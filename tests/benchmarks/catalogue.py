"""What thousands of small files cost before the first batch, next to TorchGeo.

Chips of two sensors are written side by side, each a GeoTIFF of its own: optical (4 bands,
uint16, nodata 0) and radar (2 bands, float32). For each number of chips a process of its own
opens them as TorchGeo datasets, sets a data module up, divides the ground, and draws the keys
of one epoch::

    python tests/benchmarks/catalogue.py --json catalogue.json

Columns: ``torchgeo`` is what TorchGeo needs to list both members; ``set-up`` is ``setup()`` of
the data module, splits included, of which ``split`` is a part that is timed again alone;
``grid`` lays the grids of validation and test; ``keys`` draws one training epoch, for which
every chip is judged once, ``again`` the next epoch. Opens are those of ``rasterio.open``
during set-up, per file; memory is what the process holds at most beyond its imports; the last
column is what a worker process is sent. Below the table stand milliseconds per chip at the
smallest and the largest number, on the clock and of all cores, which a busy machine disturbs
less.
"""

import argparse
import json
import logging
import os
import pickle
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datamodules.split import SPLITS
from torchgeo_cmr.samplers import DisjointBatchSampler

SIZES = (1_000, 4_000, 16_000)
CHIP = 32
#: Width of the empty ground between two chips, in metres.
GAP = 100
SENSORS = {'s2': (4, 'uint16', 0), 's1': (2, 'float32', None)}


def write(folder: Path, count: int) -> None:
    """Write the chips of both sensors, in a square."""
    generator = np.random.default_rng(0)
    step, side = 10 * CHIP + GAP, int(np.ceil(count**0.5))
    for name, (bands, dtype, nodata) in SENSORS.items():
        (folder / name).mkdir()
        pixels = generator.integers(1, 3000, (bands, CHIP, CHIP)).astype(dtype)
        for number in range(count):
            row, column = divmod(number, side)
            with rasterio.open(
                folder / name / f'{number:06}.tif',
                'w',
                driver='GTiff',
                width=CHIP,
                height=CHIP,
                count=bands,
                dtype=dtype,
                nodata=nodata,
                crs='EPSG:32632',
                transform=Affine(
                    10, 0, 400_000 + step * column, 0, -10, 5_500_000 - step * row
                ),
            ) as file:
                file.write(pixels)


def timed(row: dict[str, Any], step: str, work: Callable[[], Any]) -> Any:
    """Write down the seconds that some work takes, and give what it returns."""
    start, used = time.perf_counter(), time.process_time()
    found = work()
    row[step] = time.perf_counter() - start
    row[f'{step}_cpu'] = time.process_time() - used
    return found


def peak() -> float:
    """Most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Measure one number of chips."""
    warnings.simplefilter('ignore')
    # TorchGeo logs what it converts.
    logging.disable(logging.INFO)
    before, opened, real = peak(), 0, rasterio.open

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal opened
        opened += 1
        return real(*args, **options)

    row: dict[str, Any] = {'chips': count}
    members = timed(
        row, 'torchgeo', lambda: {n: RasterDataset(folder / n) for n in SENSORS}
    )
    data = PairedDataModule(members, patch_size=CHIP, batch_size=64)
    rasterio.open = counted
    timed(row, 'setup', data.setup)
    rasterio.open = real
    row['opens_per_file'] = opened / (2 * count)

    def split() -> None:
        tiles = data._split(data.zones)
        data.areas.clear()
        for name in reversed(SPLITS):
            data._use(name, range(len(data.zones)), [t[name] for t in tiles])

    timed(row, 'split', split)
    keys = timed(row, 'grid', lambda: data.places('val') + data.places('test'))
    sampler = DisjointBatchSampler(data.areas['train'], 64, generator=0)
    batches = timed(row, 'keys', lambda: list(sampler))
    timed(row, 'keys_again', lambda: list(sampler))
    # Larger ground loses fewer chips to the margins of its cells.
    row['grid_patches'], row['keys_patches'] = len(keys), sum(map(len, batches))
    row['keys_again_patches'] = row['keys_patches']
    row['memory_mib'] = peak() - before
    row['sent_mib'] = len(pickle.dumps(data.train_dataset)) / 2**20
    row['setup_to_torchgeo'] = row['setup'] / row['torchgeo']
    return row


def run(sizes: list[int]) -> dict[str, Any]:
    """Measure each number of chips in a process of its own."""
    rows = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), count)
            told = subprocess.run(
                [sys.executable, __file__, '--measure', folder, '--sizes', str(count)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
        rows.append(json.loads(told.splitlines()[-1]))
        print(f'{count} chips measured', file=sys.stderr)
    packages = ('torchgeo-cmr', 'torchgeo', 'rasterio', 'shapely', 'geopandas')
    return {
        'command': ' '.join(['python', *sys.argv]),
        'cores': os.cpu_count(),
        'gdal': rasterio.__gdal_version__,
        'versions': {'python': platform.python_version()}
        | {name: version(name) for name in packages},
        'rows': rows,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out the rows as a Markdown table: seconds, and milliseconds per chip below."""
    steps = ('torchgeo', 'setup', 'split', 'grid', 'keys', 'keys_again')
    names = ('torchgeo', 'set-up', 'split', 'grid', 'keys', 'again')
    heads = ['chips', *names, 'to torchgeo', 'opens', 'memory', 'sent']
    lines = ['| ' + ' | '.join(heads) + ' |', '|---' * len(heads) + '|']
    for row in rows:
        cells = [f'{row["chips"]:,}', *(f'{row[step]:.2f} s' for step in steps)]
        cells += [f'{row["setup_to_torchgeo"]:.1f} x', f'{row["opens_per_file"]:.2f}']
        cells += [f'{row["memory_mib"]:.0f} MiB', f'{row["sent_mib"]:.1f} MiB']
        lines.append('| ' + ' | '.join(cells) + ' |')
    lines.append('')
    first, last = rows[0], rows[-1]
    lines.append(
        f'At {first["chips"]:,} and {last["chips"]:,} chips, per chip that is used:'
    )
    for name, step in zip(names, steps, strict=True):
        told = []
        for kind, key in (('', step), (' of CPU', f'{step}_cpu')):
            small, large = (
                1000 * row[key] / row.get(f'{step}_patches', row['chips'])
                for row in (first, last)
            )
            told.append(f'{small:.3f} and {large:.3f} ms{kind} ({large / small:.2f} x)')
        lines.append(f'{name}: {", ".join(told)}')
    return '\n'.join(lines)


def main() -> None:
    """Parse the command line, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    parser.add_argument(
        '--sizes', type=int, nargs='+', default=SIZES, help='numbers of chips'
    )
    parser.add_argument('--measure', type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.measure:
        print(json.dumps(measure(words.measure, words.sizes[0])))
        return
    report = run(list(words.sizes))
    print(table(report['rows']))
    if words.json:
        words.json.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
