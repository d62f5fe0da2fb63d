"""How well the demo retrieves, over several worlds.

Runs ``torchgeo-cmr demo`` once for each seed (a world, its splits and the weights come from
it) and prints the median of every score, for the trained and the untrained encoder and for
chance::

    python tests/benchmarks/demo.py --json demo.json
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torchgeo_cmr.main import main as command

WHO = ('trained', 'untrained', 'chance')
SCORES = ('recall@10', 'map')


def run(seeds: list[int], folder: Path) -> dict[str, Any]:
    """Run the demo for each seed and gather its metrics.

    Args:
        seeds: World seeds.
        folder: Where the demos write.

    Returns:
        Runs and medians, with command, seeds and versions.
    """
    runs: list[dict[str, Any]] = []
    for seed in seeds:
        out = folder / str(seed)
        begin, spent = time.perf_counter(), time.process_time()
        code = command(['demo', '--out', str(out), '--seed', str(seed), '--overwrite'])
        if code != 0:
            raise SystemExit(f'the demo of seed {seed} ended with code {code}')
        metrics = json.loads((out / 'metrics.json').read_text())
        took = {
            'seconds': time.perf_counter() - begin,
            'processor_seconds': time.process_time() - spent,
        }
        runs.append({'seed': seed, **took, **metrics})
    directions = {
        name: {
            who: {
                score: statistics.median(
                    r['directions'][name][who][score] for r in runs
                )
                for score in SCORES
            }
            for who in WHO
        }
        for name in runs[0]['directions']
    }
    packages = ('torchgeo-cmr', 'torchgeo', 'torch', 'timm', 'numpy')
    return {
        'command': ' '.join(['python', *sys.argv]),
        'seeds': seeds,
        'versions': {'python': platform.python_version()}
        | {p: version(p) for p in packages},
        'median': directions,
        **{
            name: statistics.median(r[name] for r in runs)
            for name in ('seconds', 'processor_seconds')
        },
        'runs': runs,
    }


def table(report: dict[str, Any]) -> str:
    """Lay out the medians as a Markdown table."""
    heads = [f'{who} {score}' for who in WHO for score in SCORES]
    lines = ['| direction | ' + ' | '.join(heads) + ' |']
    lines.append('|---' * (len(heads) + 1) + '|')
    for name, scores in report['median'].items():
        cells = [f'{scores[who][score]:.3f}' for who in WHO for score in SCORES]
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Parse the command line, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--out', type=Path, help='keep what the demos write here')
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        report = run(words.seeds, words.out or Path(temporary))
    print(table(report))
    print(
        f'medians of seeds {words.seeds}; per demo {report["seconds"]:.0f} s, '
        f'{report["processor_seconds"]:.0f} s of processor time'
    )
    if words.json:
        words.json.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
