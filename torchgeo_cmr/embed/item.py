"""One work item and one encoder in, rows of a table out; no engine is known here."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol

import geopandas as gpd
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

import torchgeo_cmr
from torchgeo_cmr.datasets.reader import SceneReader, threads
from torchgeo_cmr.embed.plan import WorkItem, patch_ids, places
from torchgeo_cmr.embed.scene import RESAMPLING
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.table import EmbeddingTable

#: What a TorchGeo dataset's ``transforms`` is: one sample in, one sample out.
Transforms = Callable[[dict[str, Any]], dict[str, Any]]


class Encoder(Protocol):
    """What is asked of a task: every :class:`~torchgeo_cmr.tasks.CrossModalTask` has it.

    Relations: a task is more (losses, metrics, optimisers); embedding needs only this.

    .. versionadded:: 0.1
    """

    @property
    def keys(self) -> dict[str, str]:
        """Modality name -> key of its pixels in a batch."""
        ...

    @property
    def in_channels(self) -> dict[str, int]:
        """Modality name -> number of bands."""
        ...

    @property
    def specs(self) -> dict[str, dict[str, Any]]:
        """Modality name -> its training data: ``bands``, ``mean``, ``std``, ``units``."""
        ...

    @property
    def space(self) -> str:
        """Fingerprint of the trained weights."""
        ...

    def embed(self, batch: dict[str, Tensor], modality: str) -> Tensor:
        """Map pixels ``(batch, bands, height, width)`` to unit rows ``(batch, dim)``.

        Pixels are raw, in the units of the training data, with NaN where there is none.
        """
        ...


@dataclass(frozen=True)
class Batch:
    """Patches of one scene, ready for the encoder.

    .. versionadded:: 0.1
    """

    #: Windows ``(row, column, height, width)``, int64 of shape ``(n, 4)``.
    windows: NDArray[np.int64]
    #: Share of pixels valid in every band, float64 of shape ``(n,)``, above 0 to 1.
    valid: NDArray[np.float64]
    #: Pixels, float32 of shape ``(n, bands, height, width)``, NaN where missing.
    images: Tensor


def read_item(
    item: WorkItem,
    *,
    batch_size: int = 64,
    min_valid: float = 0.5,
    transforms: Transforms | None = None,
) -> Iterator[Batch]:
    """Read the patches of a scene, each strip of rows once.

    Patches that share their rows are cut out of one strip as wide as the scene, so no
    block is decoded twice for them. Memory holds a strip and a batch, never the scene.

    Args:
        item: What to read.
        batch_size: Patches in a batch; the last may hold fewer.
        min_valid: Patches with a smaller share of valid pixels are left out, and those
            without any always.
        transforms: Applied to each sample ``{'image': (bands, height, width)}``, as the
            dataset would have done.

    Yields:
        Batches in the order of the plan. Which patches share one depends only on the item
        and these settings.

    Raises:
        RasterError: If a file is damaged.

    .. versionadded:: 0.1
    """
    reader = SceneReader(item.scene)
    pending: list[tuple[NDArray[np.int64], float, Tensor]] = []
    windows = item.windows
    _, starts = np.unique(windows[:, 0], return_index=True)
    for strip in np.split(windows, starts[1:]):
        top, height = int(strip[0, 0]), int(strip[0, 2])
        right = int((strip[:, 1] + strip[:, 3]).max())
        area = Window(0, top, right, height)  # ty: ignore[too-many-positional-arguments]
        with threads():
            pixels = reader.read(area)
        finite = np.isfinite(pixels)
        pixels[~finite] = np.nan
        valid = finite.all(axis=0)
        for window in strip:
            columns = slice(int(window[1]), int(window[1] + window[3]))
            share = float(valid[:, columns].mean())
            if share == 0 or share < min_valid:
                continue
            image = torch.from_numpy(pixels[:, :, columns].copy())
            if transforms is not None:
                image = transforms({'image': image})['image']
            pending.append((window, share, image))
            if len(pending) == batch_size:
                yield _batch(pending)
                pending = []
    if pending:
        yield _batch(pending)


def embed_item(
    item: WorkItem,
    task: Encoder,
    *,
    batches: Iterable[Batch] | None = None,
    batch_size: int = 64,
    min_valid: float = 0.5,
    transforms: Transforms | None = None,
    device: torch.device | str = 'cpu',
    space: str | None = None,
    dim: int | None = None,
) -> EmbeddingTable:
    """Embed the patches of one scene.

    The encoder is used as it is: the caller puts it on the device and into evaluation
    mode. Footprints come from the windows of the plan, in float64.

    Args:
        item: The scene and its windows.
        task: The encoder.
        batches: What :func:`read_item` yields for this item, if something else reads ahead.
        batch_size: As in :func:`read_item`.
        min_valid: As in :func:`read_item`.
        transforms: As in :func:`read_item`.
        device: Where the encoder is.
        space: Fingerprint of the weights, if it is known already.
        dim: Length of a vector, for a scene without any patch left.

    Returns:
        One row a patch, in the order of the plan; none if no patch holds enough pixels.

    Raises:
        RasterError: If a file is damaged or the pixels are not what the encoder expects.

    .. versionadded:: 0.1
    """
    if batches is None:
        batches = read_item(
            item, batch_size=batch_size, min_valid=min_valid, transforms=transforms
        )
    windows, valid, vectors = [], [], []
    for batch in batches:
        expected = task.in_channels.get(item.modality, batch.images.shape[1])
        if batch.images.shape[1] != expected:
            raise RasterError(
                f'{item.modality} expects {expected} bands, {item.id} gives '
                f'{batch.images.shape[1]} after its transforms: use those of the training'
            )
        sample = {task.keys[item.modality]: batch.images.to(device)}
        with torch.inference_mode():
            rows = task.embed(sample, item.modality)
        vectors.append(rows.float().cpu().numpy())
        windows.append(batch.windows)
        valid.append(batch.valid)
    if not windows:
        windows, valid = [np.empty((0, 4), np.int64)], [np.empty(0)]
        vectors = [np.empty((0, dim or 0), np.float32)]
    record = record_of(item, task, batch_size=batch_size, min_valid=min_valid)
    frame = rows_of(item, np.concatenate(windows), np.concatenate(valid))
    return EmbeddingTable.from_frame(
        frame,
        np.concatenate(vectors),
        space=task.space if space is None else space,
        modality=item.modality,
        # A scene without rows is no source of any.
        record=record if len(frame) else {**record, 'sources': {}},
    )


def rows_of(
    item: WorkItem, windows: NDArray[np.int64], valid: NDArray[np.float64]
) -> gpd.GeoDataFrame:
    """Write what is known about windows of a scene, without looking at their pixels.

    Args:
        item: The scene.
        windows: ``(row, column, height, width)``, int64 of shape ``(n, 4)``.
        valid: Share of valid pixels, float64 of shape ``(n,)``.

    Returns:
        A frame in EPSG:4326 with the standard columns of an embedding table but ``space``
        and ``modality``; times are UTC, null where unknown.
    """
    code, corners, polygons = places(item, windows)
    native = np.empty(len(windows), dtype=object)
    native[:] = list(corners)
    times = {
        name: pd.Series([moment] * len(windows), dtype='datetime64[us, UTC]')
        for name, moment in (
            ('time_start', item.scene.time_start),
            ('time_end', item.scene.time_end),
        )
    }
    columns = {
        'patch_id': patch_ids(item, windows),
        'source': item.id,
        **times,
        'src_crs': code,
        'native_corners': native,
        'valid_fraction': valid,
    }
    index = pd.RangeIndex(len(windows))
    return gpd.GeoDataFrame(columns, index=index, geometry=polygons, crs='EPSG:4326')


def record_of(
    item: WorkItem, task: Encoder, *, batch_size: int, min_valid: float
) -> dict[str, Any]:
    """Say how the rows of an item were made, for the archive.

    Args:
        item: The scene.
        task: The encoder.
        batch_size: Patches in a batch.
        min_valid: Smallest share of valid pixels.

    Returns:
        JSON-able: ``model``, ``bands``, ``normalisation`` (mean and std a band, or null),
        ``resampling``, ``size``, ``stride`` and the other settings, ``versions``,
        ``sources`` of this scene and ``root``.
    """
    spec = task.specs.get(item.modality) or {}
    statistics = {name: spec[name] for name in ('mean', 'std') if spec.get(name)}
    return {
        'model': type(task).__name__,
        'bands': list(item.scene.bands),
        'normalisation': statistics or None,
        'resampling': RESAMPLING,
        'size': item.size,
        'stride': item.stride,
        'batch_size': batch_size,
        'min_valid': min_valid,
        'versions': {'torchgeo_cmr': torchgeo_cmr.__version__, **_versions()},
        'sources': {item.id: item.sources},
        'root': item.root,
    }


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ('torchgeo', 'torch', 'rasterio')}


def _batch(pending: list[tuple[NDArray[np.int64], float, Tensor]]) -> Batch:
    windows, valid, images = zip(*pending, strict=True)
    return Batch(np.stack(windows), np.array(valid), torch.stack(images))
