"""How much time and memory it takes to score rankings of a large archive.

Ranks random unit vectors with random BigEarthNet-like labels (19 classes, about three a patch)
and prints seconds and the largest memory of the process. Unless it is told otherwise, every
query of 120,000 would rank 120,000 items; fewer queries take less time and the same memory::

    python tests/benchmarks/metrics.py --queries 2000 --archive 120000 --json metrics.json

``--ranking cut`` computes the metrics that have a cut-off, for which the first ranks are
enough, ``--ranking full`` computes all.
"""

import argparse
import json
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from torchgeo_cmr.metrics.functional import METRICS, LabelTruth, score_ranking

CLASSES, LABELS = 19, 3


def megabytes() -> float:
    """Largest memory that the process has held so far, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == 'darwin' else 2**10)


def run(
    queries: int, archive: int, dim: int, seed: int, ranking: str
) -> dict[str, Any]:
    """Score the rankings once.

    Args:
        queries: Rows that ask.
        archive: Rows that answer.
        dim: Numbers a vector.
        seed: Seed of vectors and labels.
        ranking: ``'cut'`` or ``'full'``.

    Returns:
        Seconds, memory in MiB before and at most, and what was asked.
    """
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((queries + archive, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = rng.random((queries + archive, CLASSES)) < LABELS / CLASSES
    truth = LabelTruth(labels[:queries], labels[queries:])
    names = [
        name
        for name, metric in METRICS.items()
        if ranking == 'full' or metric.depth != 'all'
    ]
    before, begin = megabytes(), time.perf_counter()
    scored = score_ranking(rows[:queries], rows[queries:], truth, names=names)
    seconds = time.perf_counter() - begin
    mean = scored.means()['map@10']
    return {
        'command': ' '.join(['python', *sys.argv]),
        'queries': queries,
        'archive': archive,
        'dim': dim,
        'seed': seed,
        'ranking': ranking,
        'metrics': len(names),
        'seconds': seconds,
        'queries_per_second': queries / seconds,
        'memory_before_mib': before,
        'memory_at_most_mib': megabytes(),
        'map@10': mean.mean,
        'counted': mean.num_queries,
        'versions': {'python': platform.python_version(), 'numpy': np.__version__},
    }


def main() -> None:
    """Parse the command line, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--queries', type=int, default=120_000)
    parser.add_argument('--archive', type=int, default=120_000)
    parser.add_argument('--dim', type=int, default=128)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--ranking', choices=('cut', 'full'), default='cut')
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    words = parser.parse_args()
    found = run(words.queries, words.archive, words.dim, words.seed, words.ranking)
    print(
        f'{found["queries"]:,} x {found["archive"]:,}, {found["metrics"]} metrics, '
        f'{found["ranking"]} ranking: {found["seconds"]:.1f} s, '
        f'{found["memory_at_most_mib"]:.0f} MiB at most '
        f'({found["memory_before_mib"]:.0f} MiB before)'
    )
    if words.json:
        words.json.write_text(json.dumps(found, indent=2) + '\n')


if __name__ == '__main__':
    main()
