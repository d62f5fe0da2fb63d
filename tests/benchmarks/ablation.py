"""What each loss of SS-CM-RSIR does alone and together, on the synthetic world.

For each seed one world is written and one data module made, as in the demo; the rows of the
table start from the same weights, see the same number of batches, and differ in their losses
only. Scores are those of ``torchgeo-cmr demo`` on held-out places, of the last epoch, so that
no choice of checkpoint hides a collapse. The table shows the median over seeds::

    python tests/benchmarks/ablation.py --json ablation.json
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer, seed_everything
from torchgeo.datasets import RasterDataset

from torchgeo_cmr import demo
from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.embed import embed
from torchgeo_cmr.metrics import CollapseWarning
from torchgeo_cmr.tasks import SSCMRSIR

#: Rows. A term alone has nothing to be ramped against, so it has its full weight throughout;
#: all rows of features h retrieve with encoder outputs, so that only the losses differ.
ROWS: dict[str, dict[str, Any]] = {
    'untrained (h)': {'epochs': 0, 'retrieval_features': 'h'},
    'MIM (h)': {'mde_weight': 0.0, 'is_weight': 0.0, 'retrieval_features': 'h'},
    'MDE (h)': {
        'mim_weight': 0.0,
        'is_weight': 0.0,
        'weight_schedule': 'constant',
        'retrieval_features': 'h',
    },
    'IS (h)': {
        'mim_weight': 0.0,
        'mde_weight': 0.0,
        'weight_schedule': 'constant',
        'retrieval_features': 'h',
    },
    'MIM + MDE + IS (h)': {'retrieval_features': 'h'},
    'MIM (z)': {'mde_weight': 0.0, 'is_weight': 0.0},
    'MIM + MDE + IS (z)': {},
}
SCORES = ('recall@10', 'map')


def one_seed(
    seed: int, folder: Path, settings: demo.Settings, rows: list[str]
) -> dict[str, Any]:
    """Make a world, train every row on it, score it.

    Args:
        seed: Seed of the world, the splits, the weights and the draws.
        folder: Where to write the world.
        settings: Sizes and lengths, as of the demo.
        rows: Names of rows.

    Returns:
        Row -> direction -> scores, verdicts, chance and seconds.
    """
    members, truth = demo._members(folder, seed, None, settings.size)
    data = demo._pairs(members, settings, seed, {})
    found: dict[str, Any] = {}
    for row in rows:
        begin = time.perf_counter()
        task, collapsed = train(data, settings, seed, dict(ROWS[row]))
        scores, chance = score(task, members, truth, data, settings)
        found[row] = {
            'directions': scores,
            'collapsed': collapsed,
            'chance': chance,
            'seconds': time.perf_counter() - begin,
        }
        print(f'seed {seed}: {row}, {found[row]["seconds"]:.0f} s', file=sys.stderr)
    return found


def train(
    data: PairedDataModule, settings: demo.Settings, seed: int, options: dict[str, Any]
) -> tuple[SSCMRSIR, str | None]:
    """Train one row to its last epoch.

    Args:
        data: Pairs.
        settings: Sizes and lengths.
        seed: Seed of weights and draws; the same for all rows.
        options: Options of the task, and ``epochs`` if they are not those of *settings*.

    Returns:
        The task in evaluation mode, and the last sentence about a collapse if there was one.
    """
    epochs = options.pop('epochs', settings.epochs)
    seed_everything(seed, verbose=False)
    told = data.describe()
    task = SSCMRSIR(
        {name: len(spec['bands']) for name, spec in told.items()},
        settings.model,
        temperature=settings.temperature,
        lr=settings.lr,
        warmup_epochs=1,
        **options,
    )
    task.set_specs(told)
    if not epochs:
        return task.eval(), None
    trainer = Trainer(
        max_epochs=epochs,
        accelerator='auto',
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # the last epoch alone is judged
        check_val_every_n_epoch=epochs,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        trainer.fit(task, data)
    sentences = [str(w.message) for w in caught if w.category is CollapseWarning]
    return task.eval(), sentences[-1] if sentences else None


def score(
    task: SSCMRSIR,
    members: dict[str, RasterDataset],
    truth: list[Path],
    data: PairedDataModule,
    settings: demo.Settings,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Embed the test places and score all four directions by the demo's protocol.

    Args:
        task: In evaluation mode.
        members: Modality -> dataset.
        truth: Land-cover maps.
        data: Knows the test places.
        settings: Sizes.

    Returns:
        Scores by direction, and those of a random ranking.
    """
    galleries = {}
    for modality, dataset in members.items():
        table = embed(
            task,
            dataset,
            modality,
            data.zones[0].sizes(settings.patch_size)[modality],
            batch_size=settings.batch_size,
            root=demo._root(dataset),
            progress=False,
        )
        ground = data.ground('test')
        galleries[modality] = demo._gallery(table, ground, settings.during, truth)
    scores, chance = {}, {}
    for a in members:
        for b in members:
            given = demo._direction({'row': galleries}, a, b)
            scores[f'{a}->{b}'] = given['row']
            chance[f'{a}->{b}'] = given['chance']
    return scores, chance


def run(
    seeds: list[int], settings: demo.Settings, rows: list[str], folder: Path
) -> dict[str, Any]:
    """Run all seeds and take medians.

    Args:
        seeds: Seeds.
        settings: Sizes and lengths.
        rows: Names of rows.
        folder: Where to write the worlds.

    Returns:
        What was found, with command, seeds, settings and versions.
    """
    runs = {s: one_seed(s, folder / str(s), settings, rows) for s in seeds}
    directions = list(runs[seeds[0]][rows[0]]['directions'])

    def middle(row: str, kind: str, direction: str, name: str) -> float | None:
        values = [runs[s][row][kind][direction][name] for s in seeds]
        return None if None in values else statistics.median(values)

    median: dict[str, Any] = {
        row: {
            d: {n: middle(row, 'directions', d, n) for n in SCORES} for d in directions
        }
        for row in rows
    }
    median['chance'] = {
        d: {n: middle(rows[0], 'chance', d, n) for n in SCORES} for d in directions
    }
    packages = ('torchgeo-cmr', 'torchgeo', 'torch', 'timm', 'numpy')
    return {
        'command': ' '.join(['python', *sys.argv]),
        'seeds': seeds,
        'settings': {f.name: getattr(settings, f.name) for f in fields(settings)},
        'versions': {'python': platform.python_version()}
        | {p: version(p) for p in packages},
        'median': median,
        'collapsed': {
            row: sum(runs[s][row]['collapsed'] is not None for s in seeds)
            for row in rows
            if ROWS[row].get('epochs') != 0  # what is not trained is not judged
        },
        'runs': runs,
    }


def table(report: dict[str, Any]) -> str:
    """Lay out the medians as a Markdown table."""
    directions = list(report['median']['chance'])
    heads = [f'{d} {n}' for n in SCORES for d in directions]
    lines = ['| losses (features) | ' + ' | '.join(heads) + ' | collapsed |']
    lines.append('|---' * (len(heads) + 2) + '|')
    for row, scores in report['median'].items():
        values = [scores[d][n] for n in SCORES for d in directions]
        cells = ['' if v is None else f'{v:.3f}' for v in values]
        count = report['collapsed'].get(row)
        last = '' if count is None else f'{count} of {len(report["seeds"])}'
        lines.append(f'| {row} | ' + ' | '.join([*cells, last]) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Parse the command line, run, print, write."""
    # The losses of the paper: the demo itself trains with those of another preset.
    usual = replace(demo.Settings(), epochs=28, temperature=0.1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--rows', nargs='+', choices=list(ROWS), default=list(ROWS))
    for name in ('size', 'batch_size', 'epochs', 'steps'):
        flag = '--' + name.replace('_', '-')
        parser.add_argument(flag, type=int, default=getattr(usual, name))
    words = parser.parse_args()
    settings = replace(
        usual,
        size=words.size,
        batch_size=words.batch_size,
        epochs=words.epochs,
        steps=words.steps,
    )
    with tempfile.TemporaryDirectory() as temporary:
        report = run(words.seeds, settings, words.rows, Path(temporary))
    print(table(report))
    print(f'median of seeds {words.seeds}')
    if words.json:
        words.json.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
