"""Figures of a validation: with every logger that takes them, right about what was found."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, Logger
from matplotlib import pyplot as plt
from torch import Tensor

from torchgeo_cmr.tasks.figures import Figures

BATCH = {f'image_{m}': torch.rand(6, 2, 8, 8) for m in ('s1', 's2')}
#: The own place of the first sample is the third best hit from s1 to s2 and the best the other way.
UNIT = {
    's1': torch.eye(4)[[0, 1, 1, 1, 1, 1]],
    's2': torch.tensor(
        [
            [0.6, 0.8, 0, 0],
            [1.0, 0, 0, 0],
            [0.8, 0.6, 0, 0],
            [0, 0, 1, 0],
            [0, 0, 0, 1],
            [0, 0, -1, 0],
        ]
    ),
}


class Kept(list):
    """What a logger was given: name, title and step."""

    def take(self, name: str, figure: Any, step: int) -> None:
        self.append((name, figure._suptitle and figure._suptitle.get_text(), step))


class Board(Kept):
    """TensorBoard's writer."""

    def add_figure(self, tag: str, figure: Any, global_step: int, close: bool) -> None:
        assert not close
        self.take(tag, figure, global_step)


class Server(Kept):
    """MLflow's client."""

    def log_figure(self, run_id: str, figure: Any, artifact_file: str) -> None:
        assert run_id == 'run'
        name, _, step = artifact_file.removesuffix('.png').rpartition('/')
        self.take(name, figure, int(step))


class Experiment(Kept):
    """Comet's experiment."""

    def log_figure(self, figure_name: str, figure: Any, step: int) -> None:
        self.take(figure_name, figure, step)


class Runs:
    """The logger of Weights & Biases."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.experiment = SimpleNamespace()

    def log_image(self, key: str, images: list[Any], step: int) -> None:
        for image in images:
            self.kept.take(key, image, step)


def run(
    *loggers: Any, batch_idx: int = 0, unit: dict[str, Tensor] = UNIT, **task: Any
) -> None:
    """Log one batch of a validation at step 7."""
    trainer = SimpleNamespace(
        is_global_zero=True, sanity_checking=False, loggers=loggers, datamodule=None
    )
    trainer.datamodule = task.pop('datamodule', None)
    given = {'trainer': trainer, 'global_step': 7, **task}
    keys = {'s1': 'image_s1', 's2': 'image_s2'}
    Figures().log(SimpleNamespace(keys=keys, **given), BATCH, batch_idx, unit)


def both(ranks: tuple[int, int]) -> list[tuple[str, str, int]]:
    names = [('s1', 's2'), ('s2', 's1')]
    return [
        (
            f'retrieval/{a}_to_{b}',
            f'{a} → {b} among 6 of the first batch: own place at rank {rank}',
            7,
        )
        for (a, b), rank in zip(names, ranks, strict=True)
    ]


def test_each_logger_gets_queries_with_their_hits() -> None:
    board, server, experiment, runs = Board(), Server(), Experiment(), Runs()
    loggers = [
        SimpleNamespace(experiment=board),
        SimpleNamespace(experiment=server, run_id='run'),
        SimpleNamespace(experiment=experiment),
        runs,
    ]
    before = plt.get_fignums()
    run(*loggers)
    # From s2 the five others score higher: they show what the own place also shows.
    expected = both((3, 6))
    for kept in (board, server, experiment, runs.kept):
        assert kept == expected
    assert plt.get_fignums() == before


def test_a_csv_logger_gets_files_next_to_its_table(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name='run', version=0)
    plot = SimpleNamespace(plot=lambda sample: 1 / 0)  # samples are not drawn for files
    run(logger, datamodule=plot)
    files = sorted(
        p.relative_to(tmp_path / 'run').as_posix() for p in tmp_path.rglob('*.png')
    )
    assert files == [
        'version_0/figures/retrieval/s1_to_s2-0000007.png',
        'version_0/figures/retrieval/s2_to_s1-0000007.png',
    ]
    assert plt.imread(tmp_path / 'run' / files[0]).shape[2] == 4


def test_only_the_first_batch_is_asked() -> None:
    board = Board()
    run(SimpleNamespace(experiment=board), batch_idx=1)
    assert not board


def test_without_pairs_no_place_is_called_the_own() -> None:
    board = Board()
    run(SimpleNamespace(experiment=board), paired=False)
    assert [title for _, title, _ in board] == [
        's1 → s2 among 6 of the first batch',
        's2 → s1 among 6 of the first batch',
    ]


def test_loggers_without_figures_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('torchgeo_cmr.tasks.figures.plot_retrieval', None)
    run(SimpleNamespace(experiment=object()))


def test_a_batch_of_one_has_nothing_to_choose_from() -> None:
    board = Board()
    run(SimpleNamespace(experiment=board), unit={m: z[:1] for m, z in UNIT.items()})
    assert not board


def test_real_loggers_are_known() -> None:
    """The mark by which MLflow is told from Comet is one that Lightning's logger has."""
    from lightning.pytorch.loggers import CometLogger, MLFlowLogger, WandbLogger

    assert isinstance(MLFlowLogger.run_id, property)
    assert not hasattr(CometLogger, 'run_id')
    assert not hasattr(CometLogger, 'log_image')
    assert callable(WandbLogger.log_image)
    assert not hasattr(Logger, 'log_image')
