"""Options of a run: which patches become rows, how they are encoded, where rows go."""

import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from torchgeo_cmr.drafts import check_folder
from torchgeo_cmr.embed.device import evaluating, prepared
from torchgeo_cmr.embed.inference import (
    Encoding,
    Precision,
    check_batch_size,
    find_batch_size,
    settle_precision,
)
from torchgeo_cmr.errors import ArchiveError, RasterError
from torchgeo_cmr.progress.bars import Bar, bar
from torchgeo_cmr.table import read_header
from torchgeo_cmr.table.archive.folder import is_archive

#: What a TorchGeo dataset's ``transforms`` is: one sample in, one sample out.
Transforms = Callable[[dict[str, Any]], dict[str, Any]]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PatchOptions:
    """Which patches of a scene become rows, and how they are batched.

    Args:
        batch_size: Patches per batch; the last may have fewer.
        min_valid: Smallest share of valid pixels, 0 to 1.
        max_cloud: Largest percentage of cloud among the valid pixels, 0 to 100.
        transforms: Applied to each sample before the encoder.

    Raises:
        RasterError: If a number is out of range.
    """

    batch_size: int = 64
    min_valid: float = 0.5
    max_cloud: float = 100
    transforms: Transforms | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if not 0 <= self.min_valid <= 1:
            raise RasterError(
                f'min_valid is {self.min_valid}: give a share between 0 and 1'
            )
        if not 0 <= self.max_cloud <= 100:
            raise RasterError(
                f'max_cloud is {self.max_cloud}: give a percentage between 0 and 100'
            )


@dataclass(frozen=True)
class EncoderOptions:
    """How an encoder is run, as :func:`~torchgeo_cmr.embed.embed` describes it.

    Raises:
        RasterError: If the batch size is neither a number nor ``'auto'``.
    """

    batch_size: int | Literal['auto'] = 64
    device: torch.device | str | None = None
    precision: Precision = 'auto'
    flips: bool = False
    compile: bool = False
    runtime: Literal['auto', 'torch', 'onnx'] = 'auto'

    def __post_init__(self) -> None:
        """Refuse a batch size that cannot be read."""
        check_batch_size(self.batch_size)

    @contextmanager
    def running(self, task: Any) -> Generator[torch.device]:
        """Put a task on the device, in evaluation mode; leave it as it was."""
        with (
            evaluating(task, self.device) as device,
            prepared(task, device, compiled=self.compile),
        ):
            yield device

    def encoding(self, device: torch.device, begun: Mapping[str, Any]) -> Encoding:
        """Settle the precision: as given, else as the archive was begun, else by device."""
        precision: str = self.precision
        if precision == 'auto':
            precision = begun.get('precision', precision)
        return Encoding(settle_precision(precision, device), self.flips)

    def size(
        self,
        begun: Mapping[str, Any],
        run: Callable[[int], Any],
        device: torch.device,
        unit: str,
    ) -> int:
        """Settle the batch size: as given, else as the archive was begun, else the fastest.

        Args:
            begun: Header of the archive to complete.
            run: Encodes a batch of so many patches.
            device: Where it runs.
            unit: What is batched, for the log.
        """
        number = check_batch_size(self.batch_size) or begun.get('batch_size')
        if not number:
            number = find_batch_size(run, device)
            _LOG.info('batches of %d %s', number, unit)
        return number


@dataclass(frozen=True)
class WriteOptions:
    """Where rows go, and what happens to an archive that is there.

    Args:
        out: Archive folder to write or to complete; None for memory.
        overwrite: Replace an archive instead of completing it.
        update: Complete an archive whose scenes or pairs have changed.
        prune: With *update*, drop rows of scenes whose files are gone.
        progress: Show a bar on stderr where that is a terminal or a notebook.
        load: Return all rows; else none of those of an archive.

    Raises:
        ArchiveError: If an update has no archive to complete, scenes are pruned without one, or rows
            would go nowhere.
        QueryError: If the archive would be at an address.
    """

    out: str | os.PathLike[str] | None = None
    overwrite: bool = False
    update: bool = False
    prune: bool = False
    progress: bool = True
    load: bool = True

    def __post_init__(self) -> None:
        """Refuse an update of nothing, and a place that takes no archive."""
        if self.out is not None:
            check_folder(self.out)
        if self.update and (self.out is None or self.overwrite):
            raise ArchiveError(
                'an update completes an archive: name it with out, and do not overwrite it'
            )
        if self.out is None and not self.load:
            raise ArchiveError(
                'load=False leaves all rows in an archive: name it with out'
            )
        if self.prune and not self.update:
            raise ArchiveError('only an update prunes scenes: set update as well')

    @property
    def begun(self) -> dict[str, Any]:
        """Header of the archive that this run completes; empty if there is none."""
        if self.out is None or self.overwrite or not is_archive(self.out):
            return {}
        return read_header(self.out)

    @property
    def suffix(self) -> str:
        """Where the rows are, as the end of a sentence."""
        return '' if self.out is None else f' in {self.out}'

    def bar(self, total: int, unit: str) -> Bar:
        """Make the progress bar; none is shown if there is nothing to do."""
        return bar(total, unit, wanted=self.progress and total > 0)
