"""Encoders on a CPU: torch as embed runs it, compiled too, beside ONNX Runtime and OpenVINO.

The same random weights and pixels go through every engine with as many threads, in rounds in
which the engines take turns; medians are told, and the ratio to torch of the same round, so
that a busy machine slows all of them alike::

    python tests/benchmarks/engines.py --json engines.json

An engine that is not installed is left out. The vectors of all engines are compared first; what
``torch.compile`` takes to start, for which it needs a C++ compiler, is told apart.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchgeo_cmr.embed import Encoding, export_onnx
from torchgeo_cmr.embed.device import evaluating, prepared
from torchgeo_cmr.tasks import SSCMRSIR

CPU = torch.device('cpu')
BANDS = 12


def with_onnxruntime(path: Path, threads: int) -> Callable[[np.ndarray], Any]:
    """Open a model with ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        path, options, providers=['CPUExecutionProvider']
    )
    return lambda pixels: session.run(['vectors'], {'pixels': pixels})[0]


def with_openvino(path: Path, threads: int) -> Callable[[np.ndarray], Any]:
    """Open a model with OpenVINO, in float32."""
    openvino: Any = import_module('openvino')

    settings = {
        'INFERENCE_NUM_THREADS': threads,
        'INFERENCE_PRECISION_HINT': 'f32',
        'PERFORMANCE_HINT': 'LATENCY',
    }
    model = openvino.Core().compile_model(path, 'CPU', settings)
    return lambda pixels: model(pixels)[0]


ENGINES = {'onnxruntime': with_onnxruntime, 'openvino': with_openvino}


def compare(
    model: str, patch: int, batch: int, threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Time all engines on one encoder."""
    torch.manual_seed(0)
    task = SSCMRSIR(
        {'s2': BANDS, 's1': 2},
        model=model,
        mean={'s2': [2000.0] * BANDS, 's1': [0.0] * 2},
        std={'s2': [900.0] * BANDS, 's1': [1.0] * 2},
    )
    generator = np.random.default_rng(0)
    shape = batch, BANDS, patch, patch
    pixels = generator.uniform(0, 4000, shape).astype(np.float32)

    def run_torch(x: np.ndarray, task: SSCMRSIR = task) -> np.ndarray:
        rows = Encoding()(
            lambda y: task.embed({'image_s2': y}, 's2'), torch.from_numpy(x), CPU
        )
        return rows.numpy()

    other = copy.deepcopy(task)
    runs: dict[str, Callable[[np.ndarray], Any]] = {
        'torch': run_torch,
        'torch.compile': lambda x: run_torch(x, other),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(task, 's2', Path(folder) / 'encoder.onnx', size=patch)
        for name, opened in ENGINES.items():
            if find_spec(name) is not None:
                runs[name] = opened(path, threads)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        with (
            evaluating(task, CPU),
            prepared(task, CPU),
            evaluating(other, CPU),
            prepared(other, CPU, compiled=True),
        ):
            expected = run_torch(pixels)
            begin = time.perf_counter()
            run_torch(pixels, other)
            starts = time.perf_counter() - begin
            apart = {n: float(abs(r(pixels) - expected).max()) for n, r in runs.items()}
            for _ in range(rounds):
                for name, run in runs.items():
                    start = time.perf_counter()
                    run(pixels)
                    seconds[name].append(time.perf_counter() - start)
    return [
        {
            'model': model,
            'patch': patch,
            'engine': name,
            'patches_per_second': batch / statistics.median(took),
            'ratio': statistics.median(
                a / b for a, b in zip(seconds['torch'], took, strict=True)
            ),
            'largest_difference': apart[name],
            'starts_in': starts if name == 'torch.compile' else None,
        }
        for name, took in seconds.items()
    ]


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--threads', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--json', type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for model, patch in (('resnet10t', 64), ('resnet18', 120)):
        for row in compare(
            model, patch, options.batch, options.threads, options.rounds
        ):
            rows.append(row)
            sys.stdout.write(
                f'{model} {patch} px  {row["engine"]:<13} {row["patches_per_second"]:7.1f} '
                f'patches/s  {row["ratio"]:.2f} of torch  {row["largest_difference"]:.1g} apart'
                + (
                    f'  starts in {row["starts_in"]:.0f} s\n'
                    if row['starts_in']
                    else '\n'
                )
            )
    if options.json:
        report = {'threads': options.threads, 'rows': rows}
        options.json.write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
