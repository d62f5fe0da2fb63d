"""Kill commands at random moments, run them again, and compare with an undisturbed run.

``python tests/robustness/kills.py --kills 200`` needs Linux, and about three seconds a kill. Each command runs
in a forked child, which imports nothing and so spends its time on files. Exit code 1 if a state was
neither the old nor the new one, if the same again did not complete, or if anything was left behind.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import test_faults_injected
import torch

from torchgeo_cmr.embed import embed
from torchgeo_cmr.errors import OutputExistsError
from torchgeo_cmr.table import EmbeddingTable


class Encoder(torch.nn.Module):
    """Mean and spread of the pixels."""

    def __init__(self, space: str) -> None:
        super().__init__()
        self.space = space
        self.keys, self.in_channels = {'s2': 'image'}, {'s2': 1}
        self.specs: dict[str, dict[str, Any]] = {}

    def embed(self, batch: dict[str, torch.Tensor], modality: str) -> torch.Tensor:
        pixels = batch['image'].flatten(1)
        rows = torch.stack([pixels.mean(1), pixels.std(1) + 1], dim=1)
        return torch.nn.functional.normalize(rows)


def scenes(home: Path, names: str) -> None:
    (home / 's').mkdir(exist_ok=True)
    profile = {
        'driver': 'GTiff',
        'width': 64,
        'height': 64,
        'count': 1,
        'dtype': 'uint8',
    }
    for i, name in enumerate(names):
        place = rasterio.Affine(10, 0, 500_000 + 640 * i, 0, -10, 5_000_000)
        pixels = np.random.default_rng(ord(name)).integers(1, 99, (1, 64, 64), np.uint8)
        options = {**profile, 'crs': 'EPSG:32632', 'transform': place}
        with rasterio.open(home / 's' / f'{name}.tif', 'w', **options) as file:
            file.write(pixels)


def embedded(home: Path, space: str = 'one', **options: Any) -> None:
    options |= {'out': home / 'x', 'root': home / 's', 'progress': False}
    embed(Encoder(space), [str(home / 's')], 's2', 16, **options)


def begun(home: Path) -> None:
    scenes(home, 'abcd')
    embedded(home)


def moved(home: Path) -> None:
    """One scene is gone, one is new."""
    begun(home)
    (home / 's' / 'a.tif').unlink()
    scenes(home, 'e')


def embeddings(home: Path) -> dict[str, Any]:
    if not (home / 'x' / '_archive.json').exists():
        return {}
    found = EmbeddingTable.load(home / 'x')
    ids = found.frame['patch_id'].tolist()
    return dict(zip(ids, map(tuple, found.vectors.tolist()), strict=True))


def commands() -> dict[str, Any]:
    """Give what is killed: the cases of the injected faults, and embedding."""
    case, known = test_faults_injected.Case, test_faults_injected.CASES
    return {
        'embed': case(embedded, embeddings, lambda h: scenes(h, 'abcd'), stepwise=True),
        'embed --overwrite': case(
            lambda home: embedded(home, 'two', flips=True, overwrite=True),
            embeddings,
            begun,
        ),
        'embed --update --prune': case(
            lambda home: embedded(home, update=True, prune=True),
            embeddings,
            moved,
            stepwise=True,
        ),
        **{
            name: known[name]
            for name in (
                *('save over', 'build', 'build over', 'append', 'delete'),
                *(
                    'all of h.gpkg new',
                    'all of h.gpkg over',
                    'h.html over',
                    'h.stac.json new',
                ),
            )
        },
    }


def child(run: Callable[[Path], Any], home: Path) -> int:
    """Run something in a child, and give its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        run(home)
        code = 0
    finally:
        os._exit(code)


def fault_of(case: Any, folder: Path, new: Any, seconds: float) -> tuple[str, bool]:
    """Kill a command once; say what was wrong, and whether it was killed before its end."""
    home = folder / 'home'
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(folder / 'old', home)
    process = child(case.run, home)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    killed = os.WIFSIGNALED(os.waitpid(process, 0)[1])
    state, old = case.read(home), case.read(folder / 'old')
    if case.several or case.stepwise:
        every = {*old.items(), *new.items()}
        if not {*state.items()} <= every:
            return 'a file or row is neither old nor new', killed
    elif state not in (old, new):
        return 'the state is neither old nor new', killed
    try:
        case.run(home)
    except OutputExistsError:
        if state != new:
            return 'the same again is refused', killed
    if case.read(home) != new:
        return 'the same again gives something else', killed
    litter = [p.name for p in folder.rglob('.*') if p.name != '.writer']
    return (f'{litter[0]} is left' if litter else ''), killed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, counts, wrong = random.Random(options.seed), Counter(), []
    known = commands()
    with tempfile.TemporaryDirectory() as name:
        truth: dict[str, tuple[Any, float]] = {}
        for command, case in known.items():
            folder = Path(name) / command.replace(' ', '_')
            (folder / 'home').mkdir(parents=True)
            case.before(folder / 'home')
            shutil.copytree(folder / 'home', folder / 'old')
            begin = time.monotonic()
            os.waitpid(child(case.run, folder / 'home'), 0)
            spent = time.monotonic() - begin
            truth[command] = case.read(folder / 'home'), spent
        while sum(counts.values()) < options.kills:
            command = [*known][(sum(counts.values()) + len(wrong)) % len(known)]
            new, spent = truth[command]
            folder = Path(name) / command.replace(' ', '_')
            fault, killed = fault_of(known[command], folder, new, rng.uniform(0, spent))
            counts[command] += killed
            if fault:
                wrong.append(f'{command}: {fault}')
            if not killed:
                truth[command] = new, spent * 0.9
    for command, count in counts.items():
        sys.stdout.write(f'{command}: {count} kills\n')
    sys.stdout.write(f'{sum(counts.values())} kills, {len(wrong)} wrong\n')
    sys.stdout.writelines(f'{line}\n' for line in wrong)
    return int(bool(wrong))


if __name__ == '__main__':
    sys.exit(main())
