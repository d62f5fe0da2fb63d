"""Scenes to rows in the processes that torchrun has started: Lightning's predict, and a writer."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from torch.utils.data import DataLoader

from torchgeo_cmr.embed.scenes.work import Run
from torchgeo_cmr.embed.scenes.work_item import WorkItem
from torchgeo_cmr.embed.scenes.worker import Job, Outcome, Worker
from torchgeo_cmr.errors import ArchiveError, CMRError, QueryError
from torchgeo_cmr.table import EmbeddingTable

#: Ranks wait for each other at the end only, and the last scene of one may take long. One that
#: died is noticed by torchrun, which ends the others.
_PATIENCE = timedelta(days=30)


def _number(name: str, without: str) -> int:
    """Read what torchrun sets in the environment."""
    word = os.environ.get(name, without)
    if not word.isdecimal():
        raise QueryError(
            f'the variable {name} is {word!r}, which torchrun sets to a whole number; remove it to embed in '
            'one process'
        )
    return int(word)


class Ranks:
    """The processes of a torchrun, of which each embeds its share; one alone without it.

    Ranks meet over gloo, which carries what came of each scene and no vectors.
    """

    def __init__(self) -> None:
        """Read what torchrun says of this process."""
        self.rank = _number('RANK', '0')
        self.world = _number('WORLD_SIZE', '1')
        self._met = False

    def __enter__(self) -> Self:
        """Meet the others."""
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group('gloo', timeout=_PATIENCE)
            self._met = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Part, if the run is what they met for."""
        if self._met:
            dist.destroy_process_group()

    def device(self, wanted: torch.device | str | None) -> torch.device | str | None:
        """Give each process of a machine a GPU of its own."""
        name = str(wanted)
        if name == 'cuda' or (name == 'auto' and torch.cuda.is_available()):
            return f'cuda:{os.environ.get("LOCAL_RANK", "0")}'
        return wanted

    def share[T](self, lead: Callable[[], T]) -> T:
        """Do something in the first rank, and give all what came of it; if it fails, all fail."""
        if self.world == 1:
            return lead()
        if self.rank == 0:
            try:
                made = lead()
            except Exception as error:
                self._tell(None, f'rank 0 stopped: {error}')
                raise
            given = made
            if isinstance(made, Job):
                # Every rank has its own transforms, which may be no module's.
                patches = replace(made.patches, transforms=None)
                given = replace(made, patches=patches)
            self._tell(given)
            return made
        made, fault = self._tell(None)
        if fault:
            raise CMRError(fault)
        return made

    def _tell(self, made: Any, fault: str = '') -> list[Any]:
        """Give what the first rank made, or why it could not, to all."""
        message = [made, fault]
        dist.broadcast_object_list(message, 0)
        return message

    def work(self, run: Run, job: Job) -> None:
        """Embed every scene whose turn it is, and tell the first rank what came of each."""
        if not job.items:
            return
        if self.rank:
            patches = replace(job.patches, transforms=run.patches.transforms)
            job = replace(job, patches=patches)
            if run.task.space != job.space:
                raise ArchiveError(
                    f'rank {self.rank} has weights {run.task.space} and rank 0 has {job.space}: '
                    'give all ranks the same checkpoint'
                )
        mine, noted = job.items[self.rank :: self.world], []
        note = noted.append if self.rank else run.note
        with run.bar(mine, hidden=self.rank > 0) as bar:
            scenes = _Scenes(run.worker(job), mine, bar.update)
            self._predict(scenes, _PartWriter(job, note))
        if self.world > 1:
            others: list[Any] = [None] * self.world
            dist.gather_object(noted, others if self.rank == 0 else None)
            for outcome in chain.from_iterable(filter(None, others)):
                run.note(outcome)

    def _predict(self, scenes: '_Scenes', writer: '_PartWriter') -> None:
        """Run Lightning's loop over the scenes of this rank."""
        local = int(os.environ.get('LOCAL_WORLD_SIZE', '1'))
        together: dict[str, Any] = {
            'strategy': 'ddp',
            'devices': local,
            'num_nodes': self.world // local,
            'plugins': [TorchElasticEnvironment()],
        }
        with _quiet():
            trainer = Trainer(
                # The worker has its device; Lightning moves nothing.
                accelerator='cpu',
                **(together if self.world > 1 else {'devices': 1}),
                callbacks=[writer],
                # Scenes are shared out already, and none is repeated to make shares equal.
                use_distributed_sampler=False,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            numbers: Any = range(len(scenes.items))
            loader = DataLoader(numbers, collate_fn=_only)
            try:
                trainer.predict(scenes, loader, return_predictions=False)
            except SystemExit as error:
                # What Lightning makes of it.
                if isinstance(error.__context__, KeyboardInterrupt):
                    raise KeyboardInterrupt from error
                raise


class _Scenes(LightningModule):
    """The scenes of a rank; a step embeds one."""

    def __init__(
        self, worker: Worker, items: Sequence[WorkItem], count: Callable[[int], Any]
    ) -> None:
        super().__init__()
        # A rank may have nothing to do.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.items = items
        self._stream = worker.embedded(items, count)
        self._ending: Any = signal.getsignal(signal.SIGTERM)

    def on_predict_start(self) -> None:
        """Let SIGTERM end this rank: Lightning would have it wait for ranks that are gone."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ending)

    def predict_step(self, number: int) -> tuple[Outcome, EmbeddingTable | None, str]:
        """Embed the next scene, which has this number."""
        return next(self._stream)


class _PartWriter(BasePredictionWriter):
    """Commits what a step gives."""

    def __init__(self, job: Job, note: Callable[[Outcome], Any]) -> None:
        super().__init__('batch')
        self._job, self._note = job, note

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: tuple[Outcome, EmbeddingTable | None, str],
        batch_indices: Sequence[int] | None,
        batch: int,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Commit the rows of a scene, then tell of it."""
        outcome, table, mark = prediction
        if table is not None and self._job.sink is not None:
            self._job.sink.commit(outcome.key, table, fingerprint=mark)
        self._note(outcome)


def _only(batch: list[int]) -> int:
    return batch[0]


@contextmanager
def _quiet() -> Generator[None]:
    """Keep Lightning from telling of devices and workers, which are ours to choose."""
    loggers = [logging.getLogger(f'lightning.{name}') for name in ('pytorch', 'fabric')]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', module='lightning')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
