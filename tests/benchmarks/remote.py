"""Embedding from a server: ours next to GDAL's default settings with one thread, and to the floor.

A server of files in parts answers after a delay that stands for a distant store. It serves COGs cut
from the frames of San Antonio. The same scenes are embedded with the same encoder (mean and
deviation of each band, so that reading is what takes time) in turns, each run in a process of its
own, because GDAL keeps what it has read::

    python tests/benchmarks/remote.py ../shared/data/s1s2_san_antonio/S2 --scenes 16 --rounds 3

Printed are medians of the seconds of `embed` alone, and requests and bytes next to the floor: one
request for the header of a file, as far as its first block, and one for each block that a patch
touches. `local` reads the same files from the disk.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / 'robustness'))

from range_server import range_server

#: Pixels of a scene, of a block and of a patch.
SCENE, BLOCK, PATCH = 512, 256, 64


def cut_scenes(frames: Path, folder: Path) -> list[Path]:
    """Cut frames into COGs."""
    import rasterio
    from rasterio.windows import Window

    made = []
    for frame in sorted(frames.glob('*.tif')):
        with rasterio.open(frame) as file:
            for row in range(0, file.height - SCENE + 1, SCENE):
                for column in range(0, file.width - SCENE + 1, SCENE):
                    window = Window(column, row, SCENE, SCENE)  # ty: ignore[too-many-positional-arguments]
                    path = folder / f'{frame.stem}_{row}_{column}.tif'
                    profile: dict[str, Any] = {
                        'driver': 'COG',
                        'width': SCENE,
                        'height': SCENE,
                        'count': file.count,
                        'dtype': file.dtypes[0],
                        'crs': file.crs,
                        'transform': file.window_transform(window),
                        'blocksize': BLOCK,
                        'overviews': 'NONE',
                        'compress': 'deflate',
                    }
                    with rasterio.open(path, 'w', **profile) as scene:
                        scene.write(file.read(window=window))
                    made.append(path)
    return made


def floor(scenes: list[Path]) -> tuple[int, int]:
    """Count requests and bytes that no reader can do without."""
    import rasterio

    requests = total = 0
    for path in scenes:
        with rasterio.open(path) as file:
            places = [
                (row, column)
                for row in range(-(-file.height // BLOCK))
                for column in range(-(-file.width // BLOCK))
            ]
            offsets, sizes = (
                [
                    int(file.get_tag_item(f'BLOCK_{what}_{c}_{r}', 'TIFF', bidx=1))
                    for r, c in places
                ]
                for what in ('OFFSET', 'SIZE')
            )
        requests += 1 + len(places)
        total += min(offsets) + sum(sizes)
    return requests, total


def run(kind: str, inputs: list[str]) -> float:
    """Embed, and give the seconds."""
    import torch

    from torchgeo_cmr.embed import embed
    from torchgeo_cmr.embed.scenes import worker
    from torchgeo_cmr.scenes import remote_files

    class MeanAndSpread(torch.nn.Module):
        space = 'mean-and-spread'

        def __init__(self) -> None:
            super().__init__()
            self.keys, self.specs = {'s2': 'image'}, {}
            self.in_channels = {'s2': 3}

        def embed(self, batch: dict[str, torch.Tensor], modality: str) -> torch.Tensor:
            pixels = batch['image'].flatten(2)
            rows = torch.cat([pixels.mean(2), pixels.std(2)], dim=1)
            return torch.nn.functional.normalize(rows)

    if kind == 'default':
        # GDAL as it comes: it lists folders, looks for sidecars, and one thread waits.
        remote_files._SETTINGS, remote_files._FORCED = {}, {}
        remote_files.FETCHES = worker.FETCHES = 1  # ty: ignore[invalid-assignment]
    begun = time.perf_counter()
    table = embed(
        MeanAndSpread(), inputs, 's2', PATCH, progress=False, remote=kind != 'local'
    )
    seconds = time.perf_counter() - begun
    assert len(table) == len(inputs) * (SCENE // PATCH) ** 2
    return seconds


def compare(frames: Path, number: int, rounds: int, delay: float) -> dict[str, Any]:
    """Run all kinds in turns."""
    times: dict[str, list[float]] = {'default': [], 'ours': [], 'local': []}
    counts: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scenes = cut_scenes(frames, Path(folder))[:number]
        counts['floor'] = floor(scenes)
        with range_server(folder, delay) as server:
            for _ in range(rounds):
                for kind, seconds in times.items():
                    inputs = [
                        str(path)
                        if kind == 'local'
                        else f'{server.address}/{path.name}'
                        for path in scenes
                    ]
                    server.log()
                    words = [sys.executable, __file__, '-', '--kind', kind]
                    done = subprocess.run(
                        words,
                        input=json.dumps(inputs),
                        capture_output=True,
                        text=True,
                        check=True,
                        env=os.environ | {'OMP_NUM_THREADS': '1'},
                    )
                    seconds.append(float(done.stdout))
                    log = server.log()
                    counts[kind] = len(log), sum(entry['bytes'] for entry in log)
    medians = {kind: statistics.median(found) for kind, found in times.items()}
    ratios = [d / o for d, o in zip(times['default'], times['ours'], strict=True)]
    return {
        'scenes': len(scenes),
        'seconds': medians,
        'times_faster': statistics.median(ratios),
        'ratios': ratios,
        'requests_and_bytes': counts,
    }


def main() -> None:
    """Compare, or run one kind."""
    parser = argparse.ArgumentParser()
    parser.add_argument('frames', help='folder of GeoTIFFs')
    parser.add_argument('--scenes', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--delay', type=float, default=0.05, help='seconds per request')
    parser.add_argument('--kind', help='of one run, whose addresses come from stdin')
    words = parser.parse_args()
    if words.kind:
        print(run(words.kind, json.load(sys.stdin)))
        return
    found = compare(Path(words.frames), words.scenes, words.rounds, words.delay)
    print(f'{found["scenes"]} scenes, {words.delay * 1000:g} ms per request')
    for kind, (requests, total) in found['requests_and_bytes'].items():
        seconds = found['seconds'].get(kind)
        written = '' if seconds is None else f'{seconds:6.2f} s'
        print(f'{kind:8} {written:>9} {requests:5} requests {total / 2**20:7.2f} MiB')
    ratios = ' '.join(f'{ratio:.1f}' for ratio in found['ratios'])
    print(f'ours is {found["times_faster"]:.1f} times faster ({ratios})')


if __name__ == '__main__':
    main()
