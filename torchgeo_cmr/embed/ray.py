"""Scenes to rows in actors of Ray Data, on this machine or on a cluster."""

import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import Any

import ray
import torch
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError

from torchgeo_cmr.embed.scenes.work import Run
from torchgeo_cmr.embed.scenes.worker import Job, Outcome, Worker, open_encoder
from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.processors import cores

#: No statistics of use are sent; Ray Data's own pools would each be warned of as errors.
_SETTINGS = {'RAY_USAGE_STATS_ENABLED': '0', 'RAY_BACKEND_LOG_LEVEL': 'fatal'}
#: Work is handed out in at most so many pieces, of which Ray keeps account.
_PIECES = 4096


class Actors:
    """A pool of actors, which Ray replaces when they die.

    Args:
        workers: How many; None for one per GPU or core.
    """

    def __init__(self, workers: int | None) -> None:
        """Nothing is started before there is work."""
        self._workers = workers

    def device(self, wanted: torch.device | str | None) -> torch.device | str | None:
        """Keep what was chosen."""
        return wanted

    def share[T](self, lead: Callable[[], T]) -> T:
        """Do it: the process that hires actors leads."""
        return lead()

    def work(self, run: Run, job: Job) -> None:
        """Give scenes to actors, which commit them; note what came of each."""
        if not job.items:
            return
        with run.bar(job.items) as bar, _started(self._workers), _quiet():
            try:
                for row in self._outcomes(run, job).iter_rows():
                    fault, of_disk = row.pop('fault'), row.pop('of_disk')
                    if fault:
                        raise OSError(fault) if of_disk else CMRError(fault)
                    outcome = Outcome(**row)
                    bar.update(outcome.planned)
                    run.note(outcome)
            except RayError as error:
                reason = ' '.join(str(error).split())[-300:]
                raise CMRError(
                    f'Ray gave up ({type(error).__name__}: ...{reason}): run the same again to go on'
                ) from error

    def _outcomes(self, run: Run, job: Job) -> ray.data.Dataset:
        """Say what the actors do: nothing is done before the rows are read."""
        kind = 'GPU' if run.device.type == 'cuda' else 'CPU'
        count = int(ray.cluster_resources().get(kind, 0))
        if not count:
            raise CMRError(
                f"Ray has no {kind}: start its nodes with some, or choose device='cpu'"
            )
        # An actor has one device of its own, whatever its number is here; and broken scenes are
        # told of, whatever is done about them.
        running = replace(run.running, device=run.device.type)
        shared = ray.put((run.task.to('cpu'), replace(job, errors='refuse'), running))
        numbers = [{'number': number} for number in range(len(job.items))]
        pieces = min(len(numbers), _PIECES)
        return ray.data.from_items(numbers, override_num_blocks=pieces).map_batches(
            _Actor,
            fn_constructor_args=(shared,),
            batch_size=1,
            compute=ActorPoolStrategy(
                size=min(self._workers or count, count, len(numbers))
            ),
            num_gpus=1 if kind == 'GPU' else None,
            num_cpus=1 if kind == 'CPU' else None,
        )


class _Actor:
    """A worker in a process of Ray."""

    def __init__(self, shared: ray.ObjectRef) -> None:
        """Open the encoder, for as long as the process lives."""
        task, job, running = ray.get(shared)
        device = ExitStack().enter_context(running.running(task))
        running = replace(running, runtime=job.runtime)
        encoder = open_encoder(task, job.items, running, device, job.encoding)
        self._job, self._worker = job, Worker(encoder, device, job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Embed a scene and commit it."""
        item = self._job.items[int(batch['number'][0])]
        row = asdict(Outcome(item.id, item.key, len(item.windows)))
        row |= {'fault': '', 'of_disk': False}
        try:
            ((outcome, table, mark),) = self._worker.embedded([item])
            if table is not None:
                self._job.sink.commit(item.key, table, fingerprint=mark)
            row |= asdict(outcome)
        except (CMRError, OSError, torch.OutOfMemoryError) as error:
            # What ends the run is told as well, for Ray would wrap it in frames of its own.
            row |= {'fault': str(error), 'of_disk': isinstance(error, OSError)}
        return {name: [value] for name, value in row.items()}


@contextmanager
def _started(workers: int | None) -> Generator[None]:
    """Have Ray run: on this machine, or the cluster of ``RAY_ADDRESS``; nobody else is told of it."""
    if ray.is_initialized():
        yield
        return
    local: dict[str, Any] = {
        'address': 'local',
        'num_cpus': max(workers or 0, cores()),
        'include_dashboard': False,
    }
    options = {} if os.environ.get('RAY_ADDRESS') else local
    with _environment(_SETTINGS):
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise CMRError(
                f'Ray did not start ({error}): see that its ports are free, and what RAY_ADDRESS '
                "names, or use the engine 'local'"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _environment(settings: Mapping[str, str]) -> Generator[None]:
    """Set variables of the environment that are not set, and unset them afterwards."""
    mine = {name: text for name, text in settings.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


@contextmanager
def _quiet() -> Generator[None]:
    """Keep Ray Data from telling of its plan and progress; we have our own bar."""
    context, logger = DataContext.get_current(), logging.getLogger('ray.data')
    level, before = logger.level, context.enable_progress_bars
    logger.setLevel(logging.ERROR)
    context.enable_progress_bars = False
    try:
        yield
    finally:
        logger.setLevel(level)
        context.enable_progress_bars = before
