"""Scenes to rows, one after the other: what every engine runs, wherever it runs it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import torch

from torchgeo_cmr.embed.encoder_record import Encoder
from torchgeo_cmr.embed.inference import Encoding
from torchgeo_cmr.embed.onnx import onnx_encoder, quicker_encoder
from torchgeo_cmr.embed.run_options import EncoderOptions, PatchOptions
from torchgeo_cmr.embed.run_report import Errors, Report
from torchgeo_cmr.embed.scenes.content import fingerprint
from torchgeo_cmr.embed.scenes.item import embed_item
from torchgeo_cmr.embed.scenes.patch_batches import ROOM, Batch, read_item
from torchgeo_cmr.embed.scenes.pixel_range import (
    check_light,
    doubt_backscatter,
    doubt_missing,
)
from torchgeo_cmr.embed.scenes.work_item import WorkItem
from torchgeo_cmr.reading.threads import ahead, one_early, some_early
from torchgeo_cmr.scenes.remote_files import FETCHES
from torchgeo_cmr.table import EmbeddingTable, ParquetSink


@dataclass(frozen=True)
class Job:
    """What workers need besides the encoder, settled once for all of them."""

    #: Scenes that are missing, in the order of the plan.
    items: tuple[WorkItem, ...]
    encoding: Encoding
    patches: PatchOptions
    errors: Errors
    #: Fingerprint of the weights.
    space: str
    #: Length of a vector.
    dim: int
    #: Where rows go; None for memory.
    sink: ParquetSink | None
    #: What runs the encoder, in all workers: ``'torch'`` or ``'onnx'``.
    runtime: Literal['torch', 'onnx'] = 'torch'


@dataclass(frozen=True)
class Outcome:
    """What came of one scene: plain values, which may come from another machine."""

    #: Scene id, and the key of its part.
    id: str
    key: str
    #: Patches in the plan.
    planned: int
    #: Rows made of them.
    rows: int = 0
    #: Why the scene was refused; empty if it was not.
    refused: str = ''
    #: Why its numbers are doubtful; empty if they are not.
    doubt: str = ''


def open_encoder(
    task: Any,
    items: Sequence[WorkItem],
    running: EncoderOptions,
    device: torch.device,
    encoding: Encoding,
) -> Encoder:
    """Give the task, or what runs it in another runtime.

    Args:
        task: A trained task, on the device.
        items: Scenes that it will embed.
        running: Which runtime.
        device: Where the task is.
        encoding: Precision and flips.
    """
    if running.runtime == 'torch':
        return task
    sizes: Counter[int] = Counter()
    for item in items:
        sizes[item.size] += len(item.windows)
    given = task, items[0].modality, sizes, device, encoding
    if running.runtime != 'auto':
        return onnx_encoder(*given, running.runtime)
    return task if running.compile else quicker_encoder(*given)


@dataclass(frozen=True)
class Worker:
    """An encoder that is open, and its job."""

    encoder: Encoder
    device: torch.device
    job: Job

    def embedded(
        self, items: Iterable[WorkItem], count: Callable[[int], Any] = int
    ) -> Iterator[tuple[Outcome, EmbeddingTable | None, str]]:
        """Embed scene by scene; with a GPU, one thread reads ahead.

        Args:
            items: Scenes.
            count: Is given the number of patches of each batch that is done.

        Yields:
            What came of a scene, its rows (None if it was refused), and the fingerprint of
            what they were made of.
        """
        patches = vars(self.job.patches)
        items = [*items]
        # Servers are waited for, which costs no core.
        remote = any(item.scene.remote for item in items)
        number = FETCHES if remote else 1
        with ThreadPoolExecutor(number, 'torchgeo_cmr-read') as pool:
            # An encoder on the CPU needs the cores itself: threads that decode meanwhile delay
            # those that wait for one another, by as much as they gain.
            early = self.device.type != 'cpu'
            streams = (read_item(item, **patches, early=early) for item in items)
            if early or remote:
                streams = (ahead(stream, pool) for stream in streams)
            # With a GPU, the first patches of the next scene are read during this one, of scenes
            # on servers those of as many as there is room for.
            begun = (
                some_early(streams, map(self._size, items), ROOM)
                if remote
                else one_early(streams)
            )
            for item, batches in zip(items, begun, strict=True):
                yield self._embed(item, batches, count)

    def _size(self, item: WorkItem) -> int:
        """Bytes of the patches of a scene that are read at first; no scene counts as nothing."""
        return max(ROOM // FETCHES, min(ROOM, len(item.windows) * item.bytes))

    def _embed(
        self, item: WorkItem, batches: Iterable[Batch], count: Callable[[int], Any]
    ) -> tuple[Outcome, EmbeddingTable | None, str]:
        """Embed a scene; a broken one is refused, if that was chosen."""
        job, planned = self.job, len(item.windows)
        report, doubts, table, mark, counted = Report(job.errors), [], None, '', 0

        def counting() -> Iterator[Batch]:
            nonlocal counted
            for batch in self._checked(item, batches, doubts):
                yield batch
                counted += len(batch.windows)
                count(len(batch.windows))

        with report.trying(item.id):
            mark = fingerprint(item)
            table = embed_item(
                item,
                self.encoder,
                batches=counting(),
                batch_size=job.patches.batch_size,
                min_valid=job.patches.min_valid,
                max_cloud=job.patches.max_cloud,
                device=self.device,
                space=job.space,
                dim=job.dim,
                encoding=job.encoding,
            )
        count(planned - counted)
        outcome = Outcome(
            item.id,
            item.key,
            planned,
            0 if table is None else len(table),
            ''.join(report.refused.values()),
            ''.join(doubts[:1]),
        )
        return outcome, table, mark

    def _checked(
        self, item: WorkItem, batches: Iterable[Batch], doubts: list[str]
    ) -> Iterator[Batch]:
        """Look at the numbers of the first patches of a scene."""
        spec = self.encoder.specs.get(item.modality) or {}
        # Transforms may change any number.
        first = self.job.patches.transforms is None
        for batch in batches:
            if first:
                first, given = False, (batch.images, item.scene, spec, item.modality)
                check_light(*given)
                doubt = doubt_missing(batch.images, item.scene, item.modality)
                doubt = doubt or doubt_backscatter(*given)
                if doubt is not None:
                    doubts.append(doubt)
            yield batch
