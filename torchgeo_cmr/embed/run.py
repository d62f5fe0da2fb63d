"""The local runner: works through a plan on this machine and can be stopped at any time."""

import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torchgeo.datasets import RasterDataset
from tqdm import tqdm

from torchgeo_cmr.datasets.scene import scenes
from torchgeo_cmr.embed.item import Batch, Encoder, embed_item, read_item
from torchgeo_cmr.embed.plan import Plan, WorkItem, header_of, plan_scenes
from torchgeo_cmr.embed.scene import Paths, catalogue_of
from torchgeo_cmr.errors import CMRError, OutputExistsError, RasterError
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

#: Names of the files of an archive folder.
_ARCHIVE = re.compile(r'archive\.json|part-.*\.parquet|\.tmp-.*')

_LOG = logging.getLogger(__name__)


def embed(
    task: Encoder,
    dataset: RasterDataset | Paths,
    modality: str,
    size: int,
    stride: int | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    min_valid: float = 0.5,
    device: torch.device | str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> EmbeddingTable:
    """Embed every patch of every scene, each on the grid and at the date of its own file.

    The dataset is a catalogue: it says which files belong to a scene, which bands are
    wanted and when they were taken. It is never indexed, because TorchGeo would warp every
    file into the zone of the first and merge dates. Two dates of one place give two rows.

    With *out*, each scene is committed to the archive as soon as it is done; the same call
    made again goes on where it stopped, whatever stopped it, and ends with the same rows.
    Without, everything stays in memory.

    Patches lie side by side from the upper left corner of a scene; what is left at its
    right and lower edge is dropped, and so is a scene smaller than one patch. Sides of
    footprints are straight in longitude and latitude between the four corners.

    Args:
        task: A trained task, used in evaluation mode and left as it was.
        dataset: A TorchGeo raster dataset of images; or files, folders or glob patterns of
            rasters whose dates are then unknown.
        modality: Which encoder of the task to use, such as ``'s2'``.
        size: Patch height and width in pixels of each scene's own grid.
        stride: Step between patches in pixels (default: *size*, without overlap).
        out: Archive folder to write or to complete.
        root: Folder to which scene ids are relative (default: the deepest folder that
            holds every file). Give it if the archive is to grow beside another.
        batch_size: Patches given to the encoder at once; part of the plan.
        min_valid: Patches with a smaller share of valid pixels are left out, and those
            without any always; 0 to 1.
        device: Where to run, ``'auto'`` for the fastest present (default: where the task
            is).
        overwrite: Replace an archive at *out* instead of completing it.
        progress: Show a bar on stderr.

    Returns:
        One row a patch: scenes in the order of their ids, patches row by row within each;
        from disk, in the archive's order.

    Raises:
        CMRError: If the device is not there.
        ArchiveError: If *out* holds an archive made with other settings, weights or scenes.
        OutputExistsError: If *out* is to be replaced but holds no archive.
        RasterError: If a raster has no CRS or cannot be read, its bands are not those of
            the training, nothing is left to embed, the task does not know the modality,
            or a number is out of range.
        TypeError: If *dataset* does not list raster images.

    Warns:
        UserWarning: If scenes smaller than a patch are left out.

    .. versionadded:: 0.1
    """
    if modality not in task.keys:
        raise RasterError(
            f'the task has no modality {modality!r}: use one of {", ".join(task.keys)}'
        )
    if batch_size < 1:
        raise RasterError(f'batch_size is {batch_size}: give 1 or more')
    if not 0 <= min_valid <= 1:
        raise RasterError(f'min_valid is {min_valid}: give a share between 0 and 1')
    dataset = catalogue_of(dataset)
    plan = plan_scenes(
        scenes(dataset),
        modality,
        size,
        stride,
        root=root,
        in_channels=task.in_channels.get(modality),
        spec=task.specs.get(modality),
        transformed=dataset.transforms is not None,
    )
    options = {
        'batch_size': batch_size,
        'min_valid': min_valid,
        'transforms': dataset.transforms,
    }
    with _evaluating(task, device) as where:
        return _work(task, plan, out, where, overwrite, progress, options)


def _work(
    task: Encoder,
    plan: Plan,
    out: str | os.PathLike[str] | None,
    device: torch.device,
    overwrite: bool,
    progress: bool,
    options: dict[str, Any],
) -> EmbeddingTable:
    """Embed what is missing and return the whole."""
    space = task.space
    dim = _dim(task, plan, device, options['transforms'])
    sink, done = None, set()
    if out is not None:
        if overwrite:
            _remove(Path(out))
        sink = ParquetSink(out, header_of(plan, space, dim, options))
        done = sink.done()
    todo = [item for item in plan.items if item.key not in done]
    if len(todo) < len(plan.items):
        _LOG.info(
            '%d of %d scenes are in %s already, %d to do',
            len(plan.items) - len(todo),
            len(plan.items),
            out,
            len(todo),
        )
    tables: list[EmbeddingTable] = []
    finished = len(plan.items) - len(todo)
    try:
        for item, table in _tables(task, todo, device, progress, options, space, dim):
            if sink is None:
                tables.append(table)
            else:
                sink.commit(item.key, table)
            finished += 1
    except KeyboardInterrupt:
        if sink is not None:
            _LOG.warning(
                'stopped: %d of %d scenes are in %s, run the same again to go on',
                finished,
                len(plan.items),
                out,
            )
        raise
    table = EmbeddingTable.concat(tables) if out is None else EmbeddingTable.load(out)
    planned = sum(len(item.windows) for item in plan.items)
    if len(table) == 0:
        raise RasterError(
            f'none of the {planned} patches holds a share of {options["min_valid"]} valid '
            'pixels: lower min_valid, or check the nodata value of the files'
        )
    _LOG.info(
        '%d patches of %d scenes%s; left out: %d patches with too few valid pixels, %d '
        'scenes smaller than a patch',
        len(table),
        len(plan.items),
        '' if out is None else f' in {out}',
        planned - len(table),
        len(plan.too_small),
    )
    return table


def _tables(
    task: Encoder,
    todo: Sequence[WorkItem],
    device: torch.device,
    progress: bool,
    options: dict[str, Any],
    space: str,
    dim: int,
) -> Iterator[tuple[WorkItem, EmbeddingTable]]:
    """Embed one scene after the other, reading ahead in one thread."""
    total = sum(len(item.windows) for item in todo)
    with (
        ThreadPoolExecutor(1, thread_name_prefix='torchgeo_cmr-read') as pool,
        tqdm(
            total=total, unit='patch', disable=not (progress and todo), file=sys.stderr
        ) as bar,
    ):
        streams = (_ahead(read_item(item, **options), pool) for item in todo)
        following = next(streams, None)
        for item in todo:
            # While this scene is encoded, the first patches of the next are read.
            batches, following = following, next(streams, None)
            table = embed_item(
                item,
                task,
                batches=_counted(batches or (), bar.update),
                batch_size=options['batch_size'],
                min_valid=options['min_valid'],
                device=device,
                space=space,
                dim=dim,
            )
            bar.update(len(item.windows) - len(table))
            yield item, table


def _dim(
    task: Encoder,
    plan: Plan,
    device: torch.device,
    transforms: Callable[..., Any] | None,
) -> int:
    """Length of a vector, asked of the encoder with one empty patch."""
    item = plan.items[0]
    image = torch.zeros(len(item.scene.bands), item.size, item.size)
    if transforms is not None:
        image = transforms({'image': image})['image']
    sample = {task.keys[item.modality]: image[None].to(device)}
    with torch.inference_mode():
        return task.embed(sample, item.modality).shape[-1]


def _ahead(batches: Iterator[Batch], pool: ThreadPoolExecutor) -> Iterator[Batch]:
    """Start reading now, and stay one batch ahead of whoever asks."""

    def step() -> Batch | None:
        return next(batches, None)

    def steps(coming: Future[Batch | None]) -> Iterator[Batch]:
        while (batch := coming.result()) is not None:
            coming = pool.submit(step)
            yield batch

    return steps(pool.submit(step))


def _counted(batches: Iterable[Batch], count: Callable[[int], Any]) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        count(len(batch.windows))


def _remove(out: Path) -> None:
    """Remove an archive, and nothing that could be anything else."""
    if not out.exists():
        return
    if not out.is_dir() or not all(_ARCHIVE.fullmatch(p.name) for p in out.iterdir()):
        raise OutputExistsError(
            f'{out} holds more than an archive, so it is not replaced: give another folder'
        )
    shutil.rmtree(out)


@contextmanager
def _evaluating(
    task: Any, device: torch.device | str | None
) -> Generator[torch.device]:
    """Put a task on a device and into evaluation mode; undo both afterwards."""
    modes = [(part, part.training) for part in task.modules()]
    weights = next(iter([*task.parameters(), *task.buffers()]), None)
    home = torch.device('cpu') if weights is None else weights.device
    where = home if device is None else _device(device)
    try:
        task.eval().to(where)
        yield where
    finally:
        task.to(home)
        for part, training in modes:
            part.training = training


def _device(device: torch.device | str) -> torch.device:
    if device == 'auto':
        if torch.cuda.is_available():
            return torch.device('cuda')
        return torch.device('mps' if torch.backends.mps.is_available() else 'cpu')
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, RuntimeError) as error:
        raise CMRError(
            f"cannot run on {device} ({str(error).splitlines()[0]}): use 'cpu' or 'auto'"
        ) from error
