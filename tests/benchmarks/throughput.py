"""Pairs per second while training from files, against the same networks on tensors in memory.

A trainer reads, flips and normalises pairs and trains on them; a bare loop of the same steps has
batches in memory that are read, flipped and normalised already. Both take turns, round by round,
so that a busy machine slows both alike::

    python tests/benchmarks/throughput.py --out world --rounds 7
    python tests/benchmarks/throughput.py --out world --size 64
    python tests/benchmarks/throughput.py --real ../shared/data/s1s2_san_antonio --size 64
    python tests/benchmarks/throughput.py --formats

With ``--formats`` no file is read: steps of the same networks on random pixels take turns in float32
and bf16, with kernels as torch makes them and channels last. ``ONEDNN_MAX_CPU_ISA`` hides what a
processor has, such as AMX (``AVX512_CORE_BF16``).

The first is what the demo trains on: 32 px, 2 and 12 bands, each in a file of its own. Medians are printed, with the ratio of rates within a round, of time on the clock and of
processor time. The first round, which opens files, does not count.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torchgeo.datasets import RasterDataset, Sentinel1, Sentinel2

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datamodules.flips import Flips
from torchgeo_cmr.datasets import SyntheticLandscape
from torchgeo_cmr.demo import Settings, _precision
from torchgeo_cmr.tasks import SSCMRSIR


class Clock(Callback):
    """Time and processor time of the steps of a fit, its set-up left out."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start."""
        self.begin = time.perf_counter(), time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Stop."""
        self.took = (
            time.perf_counter() - self.begin[0],
            time.process_time() - self.begin[1],
        )


def world(folder: Path) -> dict[str, Any]:
    """Open the world of the demo."""
    drawn = SyntheticLandscape(folder, 0, size=Settings().size, sensors=('s1', 's2'))
    return {'s1': Sentinel1(drawn.s1), 's2': Sentinel2(drawn.s2, bands=drawn.s2_bands)}


def frames(folder: Path) -> dict[str, Any]:
    """Open real frames, each with all its bands."""
    return {'s1': RasterDataset(folder / 'S1'), 's2': RasterDataset(folder / 'S2')}


def fit(task: SSCMRSIR, data: PairedDataModule, precision: Any) -> tuple[float, float]:
    """Train one epoch from files; give time and processor time of its steps."""
    clock = Clock()
    Trainer(
        max_epochs=1,
        accelerator='cpu',
        precision=precision,
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    ).fit(task, data)
    return clock.took


def bare(
    task: SSCMRSIR,
    batches: list[dict[str, torch.Tensor]],
    autocast: bool,
    order: torch.memory_format = torch.channels_last,
) -> tuple[float, float]:
    """Take as many steps with the networks alone."""
    task.train().to(memory_format=order)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3)
    begin = time.perf_counter(), time.process_time()
    for images in batches:
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            encoded = task.model.encode_together(images)
            outputs = {m: {'h': h, 'z': z} for m, (h, z) in encoded.items()}
            loss = task.compute_losses(outputs)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def run(
    members: dict[str, Any], size: int, batch: int, steps: int, rounds: int
) -> dict[str, Any]:
    """Let both take turns."""
    data = PairedDataModule(
        members,
        patch_size=size,
        batch_size=batch,
        length=steps * batch,
        units={'s1': 'db'},
        seed=0,
    )
    specs = data.describe()
    channels = {m: len(spec['bands']) for m, spec in specs.items()}
    task = SSCMRSIR(channels, preset='best', lr=1e-3)
    task.set_specs(specs)
    precision, flips = _precision(), Flips()
    ready = [
        {m: task.normalize(flips(raw), m) for m in channels}
        for raw in data.train_dataloader()
    ]
    pairs = sum(len(images['s1']) for images in ready)
    candidates: dict[str, Callable[[], tuple[float, float]]] = {
        'fit': lambda: fit(task, data, precision),
        'bare': lambda: bare(task, ready, precision != '32-true'),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, candidate in candidates.items():
            times = candidate()
            if turn:
                took[name].append(times)
    report: dict[str, Any] = {
        'pairs': pairs,
        'precision': precision,
        'patch_size': size,
    }
    for i, clock in enumerate(('seconds', 'processor_seconds')):
        for name, times in took.items():
            report[f'{name}, pairs per {clock}'] = statistics.median(
                pairs / each[i] for each in times
            )
        report[f'of the bare loop, {clock}'] = statistics.median(
            b[i] / a[i] for a, b in zip(took['fit'], took['bare'], strict=True)
        )
    return report


def formats(size: int, batch: int, steps: int, rounds: int) -> dict[str, float]:
    """Median processor time of a step by number format and order of memory, in seconds."""
    channels = {'s1': 2, 's2': 12}
    images = {m: torch.randn(batch, n, size, size) for m, n in channels.items()}
    candidates = {
        f'{name}, {order}': (SSCMRSIR(channels, preset='best'), order, name == 'bf16')
        for name in ('float32', 'bf16')
        for order in (torch.contiguous_format, torch.channels_last)
    }
    took: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, (task, order, autocast) in candidates.items():
            _, spent = bare(task, [images] * steps, autocast, order)
            if turn:
                took[name].append(spent / steps)
    return {name: statistics.median(times) for name, times in took.items()}


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--real', type=Path, help='folder with frames in S1 and S2')
    parser.add_argument('--out', type=Path, help='where the synthetic world is or goes')
    parser.add_argument('--formats', action='store_true', help='networks alone')
    parser.add_argument('--size', type=int, default=32, help='patch width in pixels')
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--steps', type=int, default=15)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--threads', type=int, default=1)
    words = parser.parse_args()
    warnings.simplefilter('ignore')
    torch.manual_seed(0)
    torch.set_num_threads(words.threads)
    if words.formats:
        report = formats(words.size, words.batch, words.steps, words.rounds)
        print(json.dumps(report, indent=2))
        return
    with tempfile.TemporaryDirectory() as temporary:
        if words.real is None:
            members = world((words.out or Path(temporary)) / 'world')
        else:
            members = frames(words.real)
        report = run(members, words.size, words.batch, words.steps, words.rounds)
    print(json.dumps(report, indent=2))


if __name__ == '__main__':
    main()
