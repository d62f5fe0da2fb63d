"""A plan is carried out: what is missing is given to an engine, counted and reported."""

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from torchgeo_cmr.embed.destination import Destination, returned
from torchgeo_cmr.embed.onnx import OnnxEncoder
from torchgeo_cmr.embed.run_options import EncoderOptions, PatchOptions, WriteOptions
from torchgeo_cmr.embed.run_report import PACKAGE, Report
from torchgeo_cmr.embed.scenes.archive_plan import Plan, header_of
from torchgeo_cmr.embed.scenes.content import fingerprint
from torchgeo_cmr.embed.scenes.prune import is_gone
from torchgeo_cmr.embed.scenes.work_item import WorkItem
from torchgeo_cmr.embed.scenes.worker import Job, Outcome, Worker, open_encoder
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.progress.bars import Bar
from torchgeo_cmr.table import EmbeddingTable

#: Facts of an archive that an update brings up to date.
_OF_SCENES = ('scenes', 'work_items')

_LOG = logging.getLogger(__name__)


class Engine(Protocol):
    """Who works through the scenes; one process leads."""

    def device(self, wanted: torch.device | str | None) -> torch.device | str | None:
        """Say where the encoder of this process is to run."""
        ...

    def share[T](self, lead: Callable[[], T]) -> T:
        """Do something once, in the process that leads, and tell all others what came of it."""
        ...

    def work(self, run: 'Run', job: Job) -> None:
        """Embed the scenes of a job and commit each; the process that leads notes all outcomes."""
        ...


class Local:
    """This process alone."""

    def device(self, wanted: torch.device | str | None) -> torch.device | str | None:
        """Keep what was chosen."""
        return wanted

    def share[T](self, lead: Callable[[], T]) -> T:
        """Do it."""
        return lead()

    def work(self, run: 'Run', job: Job) -> None:
        """Embed scene by scene."""
        with run.bar(job.items) as bar:
            worker = run.worker(job)
            for outcome, table, mark in worker.embedded(job.items, bar.update):
                if table is not None:
                    run.destination.commit(outcome.key, table, mark)
                run.note(outcome)


class Run:
    """One run, from scenes to an archive.

    Args:
        task: The encoder, on its device.
        device: Where it is.
        plan: Makes the plan.
        running: How the encoder is run.
        patches: Which patches become rows.
        writing: Where they go.
        report: What is told of each scene.
        folders: Real paths of folders that could be listed.
    """

    #: Set by the process that leads.
    plan: Plan
    destination: Destination
    _vanished: Sequence[str] = ()
    #: Parts whose scenes have become smaller than a patch.
    _shrunk: Sequence[str] = ()

    def __init__(
        self,
        task: Any,
        device: torch.device,
        plan: Callable[[], Plan],
        running: EncoderOptions,
        patches: PatchOptions,
        writing: WriteOptions,
        report: Report,
        folders: tuple[str, ...] = (),
    ) -> None:
        """Nothing is read yet."""
        self.task, self.device, self._plan = task, device, plan
        self.running, self.patches = running, patches
        self.writing, self.report, self.folders = writing, report, folders
        self._worker: Worker | None = None
        self._table: EmbeddingTable | None = None

    def complete(self, engine: Engine) -> EmbeddingTable:
        """Embed what is missing and return the whole.

        Args:
            engine: Who does it.
        """
        job = engine.share(self._begin)
        try:
            engine.work(self, job)
            engine.share(self._finish)
        except BaseException as error:
            self._stop(error)
            raise
        engine.share(self._conclude)
        if self._table is None:
            # Another process leads.
            return returned(self.writing.out or '', load=self.writing.load)
        return self._table

    def worker(self, job: Job) -> Worker:
        """Give the worker of this process; one that another leads opens its own encoder."""
        if self._worker is not None:
            return self._worker
        running = replace(self.running, runtime=job.runtime)
        encoder = open_encoder(self.task, job.items, running, self.device, job.encoding)
        return Worker(encoder, self.device, job)

    def bar(self, items: Sequence[WorkItem], *, hidden: bool = False) -> Bar:
        """Make the progress bar of some scenes, which counts patches."""
        total = 0 if hidden else sum(len(item.windows) for item in items)
        return self.writing.bar(total, 'patch')

    def note(self, outcome: Outcome) -> None:
        """Count what came of a scene; its rows are committed."""
        report = self.report
        if outcome.doubt and not report.doubtful:
            report.doubtful = True
            warnings.warn(outcome.doubt, UserWarning, skip_file_prefixes=(PACKAGE,))
        if outcome.refused:
            report.refuse(outcome.id, RasterError(outcome.refused))
            return
        self.destination.expect(outcome.key)
        report.done.append(outcome.id)
        report.patches += outcome.rows
        report.left_out += outcome.planned - outcome.rows
        if not outcome.rows:
            report.empty.append(outcome.id)

    def _begin(self) -> Job:
        """Make the plan, settle what is open, and see what is missing."""
        self.plan, begun = self._plan(), self.writing.begun
        encoding = self.running.encoding(self.device, begun)
        items = self.plan.items
        encoder = open_encoder(self.task, items, self.running, self.device, encoding)
        modality, sample = items[0].modality, self._sample()
        key = encoder.keys[modality]

        def encode(number: int) -> Tensor:
            return encoding(
                lambda x: encoder.embed({key: x}, modality),
                sample.expand(number, *sample.shape),
                self.device,
            )

        number = self.running.size(begun, encode, self.device, 'patches')
        patches = self.patches = replace(self.patches, batch_size=number)
        space, dim = encoder.space, encode(1).shape[-1]
        header = {
            **header_of(self.plan, space, dim, patches),
            'precision': encoding.precision,
            'flips': encoding.flips,
            'work_items': len(items),
        }
        self.destination = Destination(self.writing, header, replacing=_OF_SCENES)
        missing = self._missing()
        job = Job(
            missing,
            encoding,
            patches,
            self.report.errors,
            space,
            dim,
            self.destination.sink,
            'onnx' if isinstance(encoder, OnnxEncoder) else 'torch',
        )
        self._worker = Worker(encoder, self.device, job)
        return job

    def _sample(self) -> Tensor:
        """Make one empty patch, as the encoder gets it."""
        item, transforms = self.plan.items[0], self.patches.transforms
        image = torch.zeros(len(item.scene.bands), item.size, item.size)
        return image if transforms is None else transforms({'image': image})['image']

    def _missing(self) -> tuple[WorkItem, ...]:
        """List the scenes that are to be embedded, and note those that are there or gone."""
        items, done = self.plan.items, self.destination.fingerprints()
        missing = tuple(item for item in items if self._is_missing(item, done))
        if len(missing) < len(items):
            _LOG.info(
                '%d of %d scenes are in %s already, %d to do',
                len(items) - len(missing),
                len(items),
                self.writing.out,
                len(missing),
            )
        # Only an update gets so far with parts that are not planned.
        if self.writing.update:
            small = {f'{items[0].modality}:{id}' for id in self.plan.too_small}
            others = {*done} - {item.key for item in items}
            # Those were read, and what they held when they were larger is gone.
            self._shrunk = sorted(others & small)
            self.report.changed += [key.partition(':')[2] for key in self._shrunk]
            self._vanished = sorted(others - small)
            self.report.vanished += [key.partition(':')[2] for key in self._vanished]
        return missing

    def _finish(self) -> None:
        """Say that all scenes are there."""
        if self.writing.update:
            self._prune()
        self.destination.finish()

    def _conclude(self) -> None:
        """Write the report, look at what was written, and replace what is to be replaced."""
        self._write_report()
        self.report.check()
        self._summarise(self.destination.rows())
        self._table = self.destination.conclude()

    def _write_report(self) -> None:
        # Several workers end in any order; the plan has that of the ids.
        for names in (self.report.done, self.report.empty):
            names.sort()
        self.destination.write(self.report)

    def _stop(self, error: BaseException) -> None:
        """Write the report of a run that ends early, where this process leads it."""
        if self._worker is None:
            return
        # A disk that is full takes no report either, and what matters is what came first.
        with suppress(OSError):
            self._write_report()
        if isinstance(error, KeyboardInterrupt) and self.writing.out is not None:
            _LOG.warning('stopped: %s', self._kept())
        if isinstance(error, OSError) and self.writing.out is not None:
            raise OSError(f'{error}; {self._kept()}') from error

    def _kept(self) -> str:
        """Say what a run that ends early leaves in the archive."""
        if self.writing.overwrite:
            return 'nothing was replaced'
        kept = len(self.report.done) + len(self.report.skipped)
        return (
            f'{kept} of {len(self.plan.items)} scenes are in {self.writing.out}, run the same '
            'again to go on'
        )

    def _prune(self) -> None:
        """Drop the rows of scenes without a patch, and of files that are gone if that was chosen."""
        self.destination.remove(*self._shrunk)
        if self.writing.prune:
            gone = self._known_gone(self._vanished)
            self.destination.remove(*gone)
            self.report.pruned += [key.partition(':')[2] for key in gone]

    def _known_gone(self, keys: Sequence[str]) -> list[str]:
        """Pick the parts whose files are gone; the others keep their rows, with a warning."""
        opened = {os.path.realpath(item.scene.path) for item in self.plan.items}
        gone = [
            key
            for key in keys
            if is_gone(key.partition(':')[2], self.plan.root, self.folders, opened)
        ]
        if kept := sorted(set(keys) - set(gone)):
            warnings.warn(
                f'rows of {len(kept)} scenes are kept, for example {kept[0]}: they were not '
                'embedded in this run, but nothing shows that their files are gone (refused, '
                'not named, or in a folder that is empty or was not named)',
                UserWarning,
                skip_file_prefixes=(PACKAGE,),
            )
        return gone

    def _is_missing(self, item: WorkItem, done: Mapping[str, str | None]) -> bool:
        """Decide whether a scene is to be embedded; the report has it if it was before."""
        if item.key not in done:
            return True
        if self.writing.update:
            mark = None
            with self.report.trying(item.id):
                mark = fingerprint(item)
            if item.id in self.report.refused:
                return False
            if mark != done[item.key]:
                self.report.changed.append(item.id)
                return True
        self.report.skipped.append(item.id)
        return False

    def _summarise(self, rows: Mapping[str, int]) -> None:
        """Log what the archive holds and what was skipped; raise if it holds nothing."""
        used = {*self.report.done, *self.report.skipped}
        items = [item for item in self.plan.items if item.id in used]
        planned = sum(len(item.windows) for item in items)
        if not any(rows.values()):
            raise RasterError(
                f'none of the {planned} patches holds a share of {self.patches.min_valid} valid '
                f'pixels and at most {self.patches.max_cloud} percent cloud, or the encoder gives '
                'them only zeros: change min_valid or max_cloud, or check the nodata value of the '
                'files, their scale and the weights'
            )
        made = sum(rows.get(item.key, 0) for item in items)
        kept = len(self.report.vanished) - len(self.report.pruned)
        _LOG.info(
            '%d patches of %d scenes%s; skipped: %d patches with too few valid pixels '
            'or too much cloud, %d scenes smaller than a patch%s',
            made,
            len(items),
            self.writing.suffix,
            planned - made,
            len(self.report.too_small),
            f'; {kept} scenes of earlier runs that this one does not name stay in it'
            if kept
            else '',
        )
