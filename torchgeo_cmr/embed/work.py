"""A plan is carried out: what is missing is embedded, committed, counted and reported."""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchgeo_cmr.embed.content import fingerprint
from torchgeo_cmr.embed.destination import Destination
from torchgeo_cmr.embed.encoder_record import Encoder
from torchgeo_cmr.embed.inference import Encoding
from torchgeo_cmr.embed.prune import is_gone
from torchgeo_cmr.embed.run_options import PatchOptions, Transforms, WriteOptions
from torchgeo_cmr.embed.run_report import PACKAGE, Report
from torchgeo_cmr.embed.scenes.archive_plan import Plan, header_of
from torchgeo_cmr.embed.scenes.item import embed_item
from torchgeo_cmr.embed.scenes.patch_batches import Batch, read_item
from torchgeo_cmr.embed.scenes.pixel_range import check_light, doubt_backscatter
from torchgeo_cmr.embed.scenes.work_item import WorkItem
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.threads import ahead
from torchgeo_cmr.table import EmbeddingTable

#: Facts of an archive that an update brings up to date.
_OF_SCENES = ('scenes', 'work_items')

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One run of a plan."""

    encoder: Encoder
    plan: Plan
    device: torch.device
    encoding: Encoding
    writing: WriteOptions
    report: Report
    #: Real paths of folders that could be listed.
    folders: tuple[str, ...] = ()

    def sample(self, transforms: Transforms | None) -> Tensor:
        """Make one empty patch, as the encoder gets it."""
        item = self.plan.items[0]
        image = torch.zeros(len(item.scene.bands), item.size, item.size)
        return image if transforms is None else transforms({'image': image})['image']

    def encode(self, images: Tensor) -> Tensor:
        """Give the vectors of patches ``(n, bands, height, width)``."""
        modality = self.plan.items[0].modality
        key = self.encoder.keys[modality]
        return self.encoding(
            lambda x: self.encoder.embed({key: x}, modality), images, self.device
        )

    def work(self, sample: Tensor, patches: PatchOptions) -> EmbeddingTable:
        """Embed what is missing and return the whole.

        Args:
            sample: An empty patch.
            patches: Which patches become rows.
        """
        plan, report = self.plan, self.report
        space, dim = self.encoder.space, self.encode(sample[None]).shape[-1]
        header = {
            **header_of(plan, space, dim, patches),
            'precision': self.encoding.precision,
            'flips': self.encoding.flips,
            'work_items': len(plan.items),
        }
        destination = Destination(self.writing, header, replacing=_OF_SCENES)
        done = destination.fingerprints()
        missing = [item for item in plan.items if self._is_missing(item, done)]
        if len(missing) < len(plan.items):
            _LOG.info(
                '%d of %d scenes are in %s already, %d to do',
                len(plan.items) - len(missing),
                len(plan.items),
                self.writing.out,
                len(missing),
            )
        vanished = self._vanished(done)
        try:
            for item, mark, table in self._tables(missing, patches, space, dim):
                destination.commit(item.key, table, mark)
                report.done.append(item.id)
                if not len(table):
                    report.empty.append(item.id)
            if self.writing.update:
                self._prune(vanished, destination)
            destination.finish()
        except BaseException as error:
            # A disk that is full takes no report either, and what matters is what came first.
            with suppress(OSError):
                destination.write(report)
            if isinstance(error, KeyboardInterrupt) and self.writing.out is not None:
                _LOG.warning('stopped: %s', self._kept())
            if isinstance(error, OSError) and self.writing.out is not None:
                raise OSError(f'{error}; {self._kept()}') from error
            raise
        destination.write(report)
        report.check()
        table = destination.table()
        self._summarise(table, patches)
        destination.replace()
        return table

    def _kept(self) -> str:
        """Say what a run that ends early leaves in the archive."""
        if self.writing.overwrite:
            return 'nothing was replaced'
        kept = len(self.report.done) + len(self.report.skipped)
        return (
            f'{kept} of {len(self.plan.items)} scenes are in {self.writing.out}, run the same '
            'again to go on'
        )

    def _vanished(self, done: Mapping[str, str | None]) -> list[str]:
        """Give the keys of parts that are not planned; only an update gets so far with any."""
        if not self.writing.update:
            return []
        keys = sorted(set(done) - {item.key for item in self.plan.items})
        self.report.vanished += [key.partition(':')[2] for key in keys]
        return keys

    def _prune(self, keys: Sequence[str], destination: Destination) -> None:
        """Drop the rows of scenes whose files are gone, if that was chosen."""
        if self.writing.prune:
            gone = self._known_gone(keys)
            destination.remove(*gone)
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

    def _tables(
        self, items: Sequence[WorkItem], patches: PatchOptions, space: str, dim: int
    ) -> Iterator[tuple[WorkItem, str, EmbeddingTable]]:
        """Embed scene by scene; with a GPU, one thread reads ahead."""
        total = sum(len(item.windows) for item in items)
        with (
            ThreadPoolExecutor(1, thread_name_prefix='torchgeo_cmr-read') as pool,
            self.writing.bar(total, 'patch') as bar,
        ):
            # An encoder on the CPU needs the cores itself: threads that decode meanwhile delay
            # those that wait for one another, by as much as they gain.
            early = self.device.type != 'cpu'
            streams = (read_item(item, **vars(patches), early=early) for item in items)
            if early:
                streams = (ahead(stream, pool) for stream in streams)
            following = next(streams, None)
            for item in items:
                # With a GPU, the first patches of the next scene are read during this one.
                batches, following = following, next(streams, None)
                planned, counted, table, mark = len(item.windows), [0], None, ''

                def count(number: int, counted: list[int] = counted) -> None:
                    counted[0] += number
                    bar.update(number)

                with self.report.trying(item.id):
                    mark = fingerprint(item)
                    table = embed_item(
                        item,
                        self.encoder,
                        batches=self._checked(item, batches or (), count, patches),
                        batch_size=patches.batch_size,
                        min_valid=patches.min_valid,
                        max_cloud=patches.max_cloud,
                        device=self.device,
                        space=space,
                        dim=dim,
                        encoding=self.encoding,
                    )
                bar.update(planned - counted[0])
                if table is not None:
                    self.report.patches += len(table)
                    self.report.left_out += planned - len(table)
                    yield item, mark, table

    def _checked(
        self,
        item: WorkItem,
        batches: Iterable[Batch],
        count: Callable[[int], Any],
        patches: PatchOptions,
    ) -> Iterator[Batch]:
        """Look at the numbers of the first patches of a scene, and count all."""
        spec = self.encoder.specs.get(item.modality) or {}
        first = patches.transforms is None  # which may change any number
        for batch in batches:
            if first:
                first, given = False, (batch.images, item.scene, spec, item.modality)
                check_light(*given)
                doubt = doubt_backscatter(*given)
                if doubt is not None and not self.report.doubtful:
                    warnings.warn(doubt, UserWarning, skip_file_prefixes=(PACKAGE,))
                self.report.doubtful |= doubt is not None
            yield batch
            count(len(batch.windows))

    def _summarise(self, table: EmbeddingTable, patches: PatchOptions) -> None:
        """Log what the archive holds and what was skipped; raise if it holds nothing."""
        used = {*self.report.done, *self.report.skipped}
        items = [item for item in self.plan.items if item.id in used]
        planned = sum(len(item.windows) for item in items)
        if len(table) == 0:
            raise RasterError(
                f'none of the {planned} patches holds a share of {patches.min_valid} valid '
                f'pixels and at most {patches.max_cloud} percent cloud, or the encoder gives them '
                'only zeros: change min_valid or max_cloud, or check the nodata value of the '
                'files, their scale and the weights'
            )
        rows = int(table.frame['source'].isin(used).sum())
        _LOG.info(
            '%d patches of %d scenes%s; skipped: %d patches with too few valid pixels '
            'or too much cloud, %d scenes smaller than a patch',
            rows,
            len(items),
            self.writing.suffix,
            planned - rows,
            len(self.report.too_small),
        )
