"""Peak memory of embedding a pair of whole Sentinel tiles.

Two scenes of 10980 x 10980 pixels are written as tiled, deflated GeoTIFFs: Sentinel-2 like
(12 bands, uint16) and Sentinel-1 like (2 bands, float32). Their tiles repeat and are made of
squares of one value, so that they are written soon and take little disk; read, they are as
large as any. Each is embedded
by a process of its own, whose largest resident size is told beside that of a process that has
loaded the model and embedded a small scene with it::

    python tests/benchmarks/memory.py --json memory.json
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

TILE = 512
BANDS = {'s2': (12, 'uint16'), 's1': (2, 'float32')}


def write(path: Path, size: int, modality: str) -> Path:
    """Write a scene of 10 m pixels whose tiles repeat."""
    bands, dtype = BANDS[modality]
    generator = np.random.default_rng(0)
    fields = generator.integers(1, 4000, (bands, TILE // 16, TILE // 16))
    tile = fields.repeat(16, axis=1).repeat(16, axis=2).astype(dtype)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        width=size,
        height=size,
        count=bands,
        dtype=dtype,
        crs='EPSG:32632',
        transform=Affine(10, 0, 600_000, 0, -10, 5_000_000),
        tiled=True,
        blockxsize=TILE,
        blockysize=TILE,
        compress='deflate',
        zlevel=1,
        interleave='pixel',
        num_threads='all_cpus',
    ) as file:
        for top in range(0, size, TILE):
            for left in range(0, size, TILE):
                height, width = min(TILE, size - top), min(TILE, size - left)
                window = Window(left, top, width, height)  # ty: ignore[too-many-positional-arguments]
                file.write(tile[:, :height, :width], window=window)
    return path


def work(path: Path, modality: str, model: str, patch: int, batch_size: int) -> None:
    """Embed one scene in this process and print what it took."""
    import torch

    from torchgeo_cmr.embed import embed
    from torchgeo_cmr.tasks import SSCMRSIR

    torch.manual_seed(0)
    channels = {m: bands for m, (bands, _) in BANDS.items()}
    statistics = {m: [2000.0] * n for m, n in channels.items()}
    task = SSCMRSIR(channels, model=model, mean=statistics, std=statistics)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        table = embed(
            task,
            [path],
            modality,
            patch,
            out=Path(out) / 'archive',
            batch_size=batch_size,
            progress=False,
            units='db',
        )
    told = {
        'patches': len(table),
        'seconds': round(time.perf_counter() - start, 1),
        # Kilobytes on Linux, bytes on a Mac.
        'peak_mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (2**20 if sys.platform == 'darwin' else 2**10),
    }
    sys.stdout.write(json.dumps(told) + '\n')


def measure(*words: object) -> dict[str, Any]:
    """Run :func:`work` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, '--work', *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--size', type=int, default=10_980, help='pixels across')
    parser.add_argument('--patch', type=int, default=120)
    parser.add_argument('--model', default='resnet10t')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--modality', choices=list(BANDS), action='append')
    parser.add_argument('--folder', type=Path, help='where to write the scenes')
    parser.add_argument('--json', type=Path)
    parser.add_argument('--work', nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        path, modality, model, patch, batch_size = options.work
        work(Path(path), modality, model, int(patch), int(batch_size))
        return
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for modality in options.modality or BANDS:
            how = modality, options.model, options.patch, options.batch_size
            # As many patches as a batch, so that only the size of the scene differs.
            small = options.patch * int(np.ceil(options.batch_size**0.5))
            paths = [
                write(Path(folder) / f'{modality}_{size}.tif', size, modality)
                for size in (small, options.size)
            ]
            base, whole = (measure(path, *how) for path in paths)
            row = {
                'modality': modality,
                'size': options.size,
                **whole,
                'small_scene_mib': base['peak_mib'],
                'more_mib': whole['peak_mib'] - base['peak_mib'],
                'file_mib': os.path.getsize(paths[1]) / 2**20,
            }
            rows.append(row)
            sys.stdout.write(
                f'{modality}: {row["patches"]} patches in {row["seconds"]} s, peak '
                f'{row["peak_mib"]:.0f} MiB, of which {row["small_scene_mib"]:.0f} MiB are '
                f'needed for a scene of {small} x {small} pixels too\n'
            )
            for path in paths:
                path.unlink()
    if options.json:
        options.json.write_text(json.dumps({'rows': rows}, indent=1) + '\n')


if __name__ == '__main__':
    main()
