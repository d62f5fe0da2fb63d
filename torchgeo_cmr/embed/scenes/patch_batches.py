"""The patches of a scene in batches: each block of pixels is read once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from torchgeo_cmr.embed.run_options import Transforms
from torchgeo_cmr.embed.scenes.work_item import WorkItem
from torchgeo_cmr.reading.converting import open_reader
from torchgeo_cmr.reading.quality_reader import QualityReader
from torchgeo_cmr.reading.threads import environment, one_early, some_early
from torchgeo_cmr.reading.windows import cuts, strips
from torchgeo_cmr.scenes.remote_files import fetchers

#: Bytes of patches that are being fetched from servers, of one scene and of the scenes after it.
ROOM = 256 * 2**20

#: Which pixels are missing, and which are cloud.
type Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]


@dataclass(frozen=True)
class Batch:
    """Patches of one scene, ready for the encoder."""

    #: Windows ``(row, column, height, width)``, int64 of shape ``(n, 4)``.
    windows: NDArray[np.int64]
    #: Share of pixels valid in every band, float64 of shape ``(n,)``, above 0 to 1.
    valid: NDArray[np.float64]
    #: Pixels, float32 of shape ``(n, bands, height, width)``, NaN where missing.
    images: Tensor
    #: Percent of the valid pixels that show cloud, float64 of shape ``(n,)``, 0 to 100, NaN
    #: if no mask tells; None is all NaN.
    cloud: NDArray[np.float64] | None = None


def read_item(
    item: WorkItem,
    *,
    batch_size: int = 64,
    min_valid: float = 0.5,
    max_cloud: float = 100,
    transforms: Transforms | None = None,
    early: bool = True,
) -> Iterator[Batch]:
    """Read the patches of a scene, each block of pixels once.

    Memory holds the blocks that rows of patches share and some batches, never the scene.

    Args:
        item: What to read.
        batch_size: Patches in a batch; the last may hold fewer.
        min_valid: Patches with a smaller share of valid pixels are skipped, and those
            without any always. Pixels that a quality mask calls missing are not valid.
        max_cloud: Patches of whose valid pixels a larger percentage is cloud are skipped;
            without a mask none is.
        transforms: Applied to each sample ``{'image': (bands, height, width)}``, as the
            dataset would have done.
        early: Whether the next batch is read while this one is used, which gains nothing if
            both need the same cores.

    Yields:
        Batches in the order of the plan. Which patches share one depends only on the item
        and these settings.

    Raises:
        RasterError: If a file is damaged.
    """
    reader = open_reader(item.scene)
    quality = None if item.scene.quality is None else QualityReader(item.scene)
    pending: list[tuple[NDArray[np.int64], float, Tensor, float]] = []
    planned = item.windows
    runs = [
        planned[first : first + batch_size]
        for first in range(0, len(planned), batch_size)
    ]
    started = ((run, reader.start(run)) for run in runs)
    if item.scene.remote:
        started = some_early(started, [len(run) * item.bytes for run in runs], ROOM)
    elif early:
        started = one_early(started)
    for windows, finish in started:
        images = finish()
        shares, cloud = _judge(images, windows, quality)
        kept = (shares > 0) & (shares >= min_valid) & ~(cloud > max_cloud)
        pixels = torch.from_numpy(images)
        if transforms is None and not pending and kept.all():
            # What was read together is not copied.
            yield Batch(windows, shares, pixels, cloud)
            continue
        for i in np.flatnonzero(kept).tolist():
            image = pixels[i]
            if transforms is not None:
                image = transforms({'image': image})['image']
            pending.append((windows[i], shares[i], image, cloud[i]))
            if len(pending) == batch_size:
                yield _batch(pending)
                pending = []
    if pending:
        yield _batch(pending)


def _judge(
    images: NDArray[np.float32],
    windows: NDArray[np.int64],
    quality: QualityReader | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Write NaN where nothing valid is, and say how much of each patch is valid and cloud.

    Args:
        images: Pixels, float32 of shape ``(n, bands, height, width)``; changed in place.
        windows: Where they are, int64 of shape ``(n, 4)``.
        quality: The scene's quality mask.

    Returns:
        Share of valid pixels and percent of them that shows cloud (NaN if no mask tells),
        float64 of shape ``(n,)``.
    """
    cloudy = None
    if quality is not None:
        missing, cloudy = _masks(quality, windows)
        images[np.broadcast_to(missing[:, None], images.shape)] = np.nan
    finite, unknown = np.isfinite(images), np.full(len(images), np.nan)
    if cloudy is None and finite.all():
        return np.ones(len(images)), unknown
    images[~finite] = np.nan
    valid = finite.all(axis=1)
    counts = valid.sum(axis=(1, 2))
    shares = counts / valid[0].size
    if cloudy is None:
        return shares, unknown
    clouds = (cloudy & valid).sum(axis=(1, 2))
    return shares, 100 * np.divide(clouds, counts, out=unknown, where=counts > 0)


def _masks(quality: QualityReader, windows: NDArray[np.int64]) -> Masks:
    """Say which pixels of windows of one size are missing and which are cloud."""
    height, width = windows[0, 2:].tolist()
    missing = np.empty((len(windows), height, width), np.bool_)
    cloudy = np.empty_like(missing)
    areas, inside = zip(*strips(windows), strict=True)

    def read(area: tuple[int, int, int, int]) -> Masks:
        top, left, rows, columns = area
        with environment():
            return quality.read(Window(left, top, columns, rows))  # ty: ignore[too-many-positional-arguments]

    every = fetchers().map(read, areas) if quality.mask.remote else map(read, areas)
    for masks, found in zip(every, cuts(windows, areas, inside), strict=True):
        for i, target, source in found:
            missing[i][target], cloudy[i][target] = (mask[source] for mask in masks)
    return missing, cloudy


def _batch(pending: list[tuple[NDArray[np.int64], float, Tensor, float]]) -> Batch:
    windows, valid, images, cloud = zip(*pending, strict=True)
    return Batch(
        np.stack(windows), np.array(valid), torch.stack(images), np.array(cloud)
    )
