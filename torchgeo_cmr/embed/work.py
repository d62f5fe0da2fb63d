"""A plan is worked through: what is missing is embedded, committed, counted and reported."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchgeo_cmr.embed.content import fingerprint
from torchgeo_cmr.embed.inference import Encoding, find_batch_size
from torchgeo_cmr.embed.prune import is_gone
from torchgeo_cmr.embed.run_report import Report
from torchgeo_cmr.embed.scenes.archive_plan import Plan, WorkItem, header_of
from torchgeo_cmr.embed.scenes.item import Batch, Encoder, embed_item, read_item
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.threads import ahead
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

#: Facts of an archive that an update brings up to date.
_OF_SCENES = ('scenes', 'work_items')

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One run of a plan."""

    task: Encoder
    plan: Plan
    device: torch.device
    encoding: Encoding
    out: Path | None
    report: Report
    progress: bool
    #: Real paths of folders that could be listed.
    folders: tuple[str, ...] = ()

    def sample(self, transforms: Callable[..., Any] | None) -> Tensor:
        """Make one empty patch, as the encoder gets it."""
        item = self.plan.items[0]
        image = torch.zeros(len(item.scene.bands), item.size, item.size)
        return image if transforms is None else transforms({'image': image})['image']

    def encode(self, images: Tensor) -> Tensor:
        """Give the vectors of some patches."""
        modality = self.plan.items[0].modality
        key = self.task.keys[modality]
        return self.encoding(
            lambda x: self.task.embed({key: x}, modality), images, self.device
        )

    def batch_size(self, sample: Tensor) -> int:
        """Find how many patches to encode at once."""
        found = find_batch_size(
            lambda n: self.encode(sample.expand(n, *sample.shape)), self.device
        )
        _LOG.info('batches of %d patches', found)
        return found

    def work(
        self, sample: Tensor, options: dict[str, Any], *, update: bool, prune: bool
    ) -> EmbeddingTable:
        """Embed what is missing and return the whole.

        Args:
            sample: An empty patch.
            options: ``batch_size``, ``min_valid``, ``max_cloud`` and ``transforms``.
            update: Embed scenes again whose files changed, and take a new list of scenes.
            prune: Drop the rows of scenes that are no longer there.
        """
        plan, out, report = self.plan, self.out, self.report
        space, dim = self.task.space, self.encode(sample[None]).shape[-1]
        sink, done = None, dict[str, str | None]()
        if out is not None:
            header = {
                **header_of(plan, space, dim, options),
                'precision': self.encoding.precision,
                'flips': self.encoding.flips,
                'work_items': len(plan.items),
            }
            sink = ParquetSink(out, header, replacing=_OF_SCENES if update else ())
            done = sink.fingerprints()
        todo = [item for item in plan.items if self._missing(item, done, update)]
        if len(todo) < len(plan.items):
            _LOG.info(
                '%d of %d scenes are in %s already, %d to do',
                len(plan.items) - len(todo),
                len(plan.items),
                out,
                len(todo),
            )
        keys = {item.key for item in plan.items}
        # Keys of parts that are no longer planned; a plain run would have refused them.
        gone = sorted(set(done) - keys) if update else []
        report.vanished += [key.partition(':')[2] for key in gone]
        tables: list[EmbeddingTable] = []
        try:
            for item, made, table in self._tables(todo, options, space, dim):
                if sink is None:
                    tables.append(table)
                else:
                    sink.commit(item.key, table, fingerprint=made)
                report.done.append(item.id)
                if not len(table):
                    report.empty.append(item.id)
            if sink is not None and update:
                for key in self._known_gone(gone) if prune else ():
                    sink.remove(key)
                    report.pruned.append(key.partition(':')[2])
                sink.finish()
        except KeyboardInterrupt:
            if sink is not None:
                _LOG.warning(
                    'stopped: %d of %d scenes are in %s, run the same again to go on',
                    len(report.done) + len(report.skipped),
                    len(plan.items),
                    out,
                )
            raise
        finally:
            if sink is not None:
                report.write(sink.path)
        report.check()
        if out is None:
            table = EmbeddingTable.concat(tables)
        else:
            table = EmbeddingTable.load(out)
        self._tell(table, options)
        return table

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
                stacklevel=2,
            )
        return gone

    def _missing(
        self, item: WorkItem, done: dict[str, str | None], update: bool
    ) -> bool:
        """Whether a scene is to be embedded; noted if it was before."""
        if item.key not in done:
            return True
        if update:
            made = None
            with self.report.trying(item.id):
                made = fingerprint(item)
            if item.id in self.report.refused:
                return False
            if made != done[item.key]:
                self.report.changed.append(item.id)
                return True
        self.report.skipped.append(item.id)
        return False

    def _tables(
        self, todo: Sequence[WorkItem], options: dict[str, Any], space: str, dim: int
    ) -> Iterator[tuple[WorkItem, str, EmbeddingTable]]:
        """Embed one scene after the other; beside a GPU, one thread reads ahead."""
        total = sum(len(item.windows) for item in todo)
        with (
            ThreadPoolExecutor(1, thread_name_prefix='torchgeo_cmr-read') as pool,
            tqdm(
                total=total,
                unit='patch',
                disable=not (self.progress and todo),
                file=sys.stderr,
            ) as bar,
        ):
            # An encoder on the CPU needs the cores itself: threads that decode meanwhile hold
            # up those that wait for one another, by as much as they gain.
            early = self.device.type != 'cpu'
            streams = (read_item(item, **options, early=early) for item in todo)
            if early:
                streams = (ahead(stream, pool) for stream in streams)
            following = next(streams, None)
            for item in todo:
                # Beside a GPU the first patches of the next scene are read meanwhile.
                batches, following = following, next(streams, None)
                planned, counted, table, made = len(item.windows), [0], None, ''

                def count(patches: int, counted: list[int] = counted) -> None:
                    counted[0] += patches
                    bar.update(patches)

                with self.report.trying(item.id):
                    made = fingerprint(item)
                    table = embed_item(
                        item,
                        self.task,
                        batches=_counted(batches or (), count),
                        batch_size=options['batch_size'],
                        min_valid=options['min_valid'],
                        max_cloud=options['max_cloud'],
                        device=self.device,
                        space=space,
                        dim=dim,
                        encoding=self.encoding,
                    )
                bar.update(planned - counted[0])
                if table is not None:
                    self.report.patches += len(table)
                    self.report.left_out += planned - len(table)
                    yield item, made, table

    def _tell(self, table: EmbeddingTable, options: dict[str, Any]) -> None:
        """Say what the archive holds, and what was left out."""
        used = {*self.report.done, *self.report.skipped}
        items = [item for item in self.plan.items if item.id in used]
        planned = sum(len(item.windows) for item in items)
        if len(table) == 0:
            raise RasterError(
                f'none of the {planned} patches holds a share of {options["min_valid"]} valid '
                f'pixels and at most {options["max_cloud"]} percent cloud: change min_valid or '
                'max_cloud, or check the nodata value of the files'
            )
        rows = int(table.frame['source'].isin(used).sum())
        _LOG.info(
            '%d patches of %d scenes%s; left out: %d patches with too few valid pixels '
            'or too much cloud, %d scenes smaller than a patch',
            rows,
            len(items),
            '' if self.out is None else f' in {self.out}',
            planned - rows,
            len(self.report.too_small),
        )


def _counted(batches: Iterable[Batch], count: Callable[[int], Any]) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        count(len(batch.windows))
