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
from torchgeo_cmr.embed.inference import Encoding
from torchgeo_cmr.embed.scenes.archive_plan import (
    WorkItem,
    mask_of,
    patch_ids,
    places,
    scale_of,
)
from torchgeo_cmr.embed.scenes.encoder_scene import RESAMPLING
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.converting import open_reader
from torchgeo_cmr.reading.quality_reader import QualityReader
from torchgeo_cmr.reading.threads import environment, one_early
from torchgeo_cmr.reading.windows import cuts, strips
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.schema import TEXT

#: What a TorchGeo dataset's ``transforms`` is: one sample in, one sample out.
Transforms = Callable[[dict[str, Any]], dict[str, Any]]


class Encoder(Protocol):
    """What is asked of a task: every :class:`~torchgeo_cmr.tasks.CrossModalTask` has it.

    Relations: a task is more (losses, metrics, optimisers); embedding needs only this.
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
        min_valid: Patches with a smaller share of valid pixels are left out, and those
            without any always. Pixels that a quality mask calls missing are not valid.
        max_cloud: Patches of whose valid pixels a larger percentage is cloud are left out;
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
    runs = (
        planned[first : first + batch_size]
        for first in range(0, len(planned), batch_size)
    )
    started = ((run, reader.start(run)) for run in runs)
    for windows, finish in one_early(started) if early else started:
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


def _masks(
    quality: QualityReader, windows: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which pixels of windows of one size are missing and which are cloud."""
    height, width = windows[0, 2:].tolist()
    missing = np.empty((len(windows), height, width), np.bool_)
    cloudy = np.empty_like(missing)
    areas, inside = zip(*strips(windows), strict=True)
    for (top, left, rows, columns), found in zip(
        areas, cuts(windows, areas, inside), strict=True
    ):
        with environment():
            masks = quality.read(Window(left, top, columns, rows))  # ty: ignore[too-many-positional-arguments]
        for i, there, here in found:
            missing[i][there], cloudy[i][there] = (mask[here] for mask in masks)
    return missing, cloudy


def embed_item(
    item: WorkItem,
    task: Encoder,
    *,
    batches: Iterable[Batch] | None = None,
    batch_size: int = 64,
    min_valid: float = 0.5,
    max_cloud: float = 100,
    transforms: Transforms | None = None,
    device: torch.device | str = 'cpu',
    space: str | None = None,
    dim: int | None = None,
    encoding: Encoding | None = None,
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
        max_cloud: As in :func:`read_item`.
        transforms: As in :func:`read_item`.
        device: Where the encoder is.
        space: Fingerprint of the weights, if it is known already.
        dim: Length of a vector, for a scene without any patch left.
        encoding: Number format and flips (default: float32, none).

    Returns:
        One row a patch, in the order of the plan; none if no patch holds enough pixels.
        Patches whose vector is only zeros are left out.

    Raises:
        RasterError: If a file is damaged or the pixels are not what the encoder expects.
    """
    if batches is None:
        batches = read_item(
            item,
            batch_size=batch_size,
            min_valid=min_valid,
            max_cloud=max_cloud,
            transforms=transforms,
        )
    how = Encoding() if encoding is None else encoding

    def embed(images: Tensor) -> Tensor:
        return task.embed({task.keys[item.modality]: images}, item.modality)

    windows, valid, cloud, vectors = [], [], [], []
    for batch in batches:
        expected = task.in_channels.get(item.modality, batch.images.shape[1])
        if batch.images.shape[1] != expected:
            raise RasterError(
                f'{item.modality} expects {expected} bands, {item.id} gives '
                f'{batch.images.shape[1]} after its transforms: use those of the training'
            )
        rows = how(embed, batch.images, torch.device(device)).cpu().numpy()
        # Only zeros, which a ReLU can give, point nowhere.
        kept = rows.any(axis=1)
        vectors.append(rows[kept])
        windows.append(batch.windows[kept])
        valid.append(batch.valid[kept])
        unknown = np.full(len(batch.valid), np.nan)
        cloud.append((unknown if batch.cloud is None else batch.cloud)[kept])
    if not windows:
        windows = [np.empty((0, 4), np.int64)]
        valid = cloud = [np.empty(0)]
        vectors = [np.empty((0, dim or 0), np.float32)]
    record = {
        **record_of(
            item, task, batch_size=batch_size, min_valid=min_valid, max_cloud=max_cloud
        ),
        **how.record,
    }
    frame = rows_of(
        item, np.concatenate(windows), np.concatenate(valid), np.concatenate(cloud)
    )
    return EmbeddingTable.from_frame(
        frame,
        np.concatenate(vectors),
        space=task.space if space is None else space,
        modality=item.modality,
        # A scene without rows is no source of any.
        record=record if len(frame) else {**record, 'sources': {}},
    )


def rows_of(
    item: WorkItem,
    windows: NDArray[np.int64],
    valid: NDArray[np.float64],
    cloud: NDArray[np.float64] | None = None,
) -> gpd.GeoDataFrame:
    """Write what is known about windows of a scene, without looking at their pixels.

    Args:
        item: The scene.
        windows: ``(row, column, height, width)``, int64 of shape ``(n, 4)``.
        valid: Share of valid pixels, float64 of shape ``(n,)``.
        cloud: Percent of them that shows cloud, float64 of shape ``(n,)``; None if unknown.

    Returns:
        A frame in EPSG:4326 with the standard columns of an embedding table but ``space``
        and ``modality``, and with ``cloud`` and ``sensor``; times are UTC. What is unknown
        is null.
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
        'cloud': np.full(len(windows), np.nan) if cloud is None else cloud,
        'sensor': pd.array([item.scene.sensor] * len(windows), dtype=TEXT),
    }
    index = pd.RangeIndex(len(windows))
    return gpd.GeoDataFrame(columns, index=index, geometry=polygons, crs='EPSG:4326')


def record_of(
    item: WorkItem,
    task: Encoder,
    *,
    batch_size: int,
    min_valid: float,
    max_cloud: float = 100,
) -> dict[str, Any]:
    """Say how the rows of an item were made, for the archive.

    Args:
        item: The scene.
        task: The encoder.
        batch_size: Patches in a batch.
        min_valid: Smallest share of valid pixels.
        max_cloud: Largest percentage of cloud.

    Returns:
        JSON-able: ``model``, ``bands``, ``normalisation`` (mean and std a band, or null),
        ``resampling``, ``min_valid`` and the other settings, ``versions``, ``root``, and by
        scene id ``sources`` and, where they apply, ``grids`` (shape and transform of a scene
        that was resampled), ``units`` (``[in the files, as read]`` of converted backscatter),
        ``scales`` (per band the value of one step as read, and what was added to stored
        numbers), ``nodata`` (what was missing besides) and ``masks``. ``size`` and ``stride`` are null if they differ between scenes.
    """
    scene = item.scene
    by_scene: dict[str, Any] = {'sources': item.sources}
    if scene.resampled:
        by_scene['grids'] = {
            'shape': list(scene.shape),
            'transform': list(tuple(scene.transform)[:6]),
        }
    if scene.read_as is not None:
        by_scene['units'] = [scene.units, scene.read_as]
    if scene.scales is not None:
        by_scene['scales'] = scale_of(scene)
    if scene.nodata is not None:
        by_scene['nodata'] = scene.nodata
    if scene.quality is not None:
        by_scene['masks'] = mask_of(item)
    in_pixels = item.metres is None
    spec = task.specs.get(item.modality) or {}
    statistics = {name: spec[name] for name in ('mean', 'std') if spec.get(name)}
    return {
        'model': getattr(task, 'name', type(task).__name__),
        'bands': list(scene.bands),
        'normalisation': statistics or None,
        'resampling': RESAMPLING,
        'size': item.size if in_pixels else None,
        'size_metres': item.metres,
        'stride': item.stride if in_pixels else None,
        'edges': item.edges,
        'batch_size': batch_size,
        'min_valid': min_valid,
        'max_cloud': max_cloud,
        'versions': {'torchgeo_cmr': torchgeo_cmr.__version__, **_versions()},
        **{name: {item.id: fact} for name, fact in by_scene.items()},
        'root': item.root,
    }


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ('torchgeo', 'torch', 'rasterio')}


def _batch(pending: list[tuple[NDArray[np.int64], float, Tensor, float]]) -> Batch:
    windows, valid, images, cloud = zip(*pending, strict=True)
    return Batch(
        np.stack(windows), np.array(valid), torch.stack(images), np.array(cloud)
    )
