"""One work item and one encoder in, rows of a table out; no engine is known here."""

from collections.abc import Iterable, Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchgeo_cmr.embed.device import fetched
from torchgeo_cmr.embed.encoder_record import Encoder, encoder_versions, statistics_of
from torchgeo_cmr.embed.inference import Encoding
from torchgeo_cmr.embed.run_options import Transforms
from torchgeo_cmr.embed.scenes.encoder_scene import RESAMPLING
from torchgeo_cmr.embed.scenes.patch_batches import Batch, read_item
from torchgeo_cmr.embed.scenes.work_item import (
    WorkItem,
    mask_of,
    patch_ids,
    places,
    scale_of,
)
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.schema import TEXT


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
        One row per patch, in the order of the plan; none if no patch holds enough pixels.
        Patches whose vector is only zeros are skipped.

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
    encoded = _encoded(item, task, batches, how, torch.device(device))
    windows, valid, cloud, vectors = [], [], [], []
    for batch, rows in fetched(encoded):
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
        # A scene without rows is not a source.
        record=record if len(frame) else {**record, 'sources': {}},
    )


def _encoded(
    item: WorkItem,
    task: Encoder,
    batches: Iterable[Batch],
    how: Encoding,
    device: torch.device,
) -> Iterator[tuple[Batch, Tensor]]:
    """Give each batch with its rows on the device."""

    def embed(images: Tensor) -> Tensor:
        return task.embed({task.keys[item.modality]: images}, item.modality)

    for batch in batches:
        expected = task.in_channels.get(item.modality, batch.images.shape[1])
        if batch.images.shape[1] != expected:
            raise RasterError(
                f'{item.modality} expects {expected} bands, {item.id} gives '
                f'{batch.images.shape[1]} after its transforms: use those of the training'
            )
        yield batch, how(embed, batch.images, device)


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
        JSON-able: ``model``, ``bands``, ``normalisation`` (mean and std per band, or null),
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
    return {
        'model': getattr(task, 'name', type(task).__name__),
        'bands': list(scene.bands),
        'normalisation': statistics_of(task, item.modality),
        'resampling': RESAMPLING,
        'size': item.size if in_pixels else None,
        'size_metres': item.metres,
        'stride': item.stride if in_pixels else None,
        'edges': item.edges,
        'batch_size': batch_size,
        'min_valid': min_valid,
        'max_cloud': max_cloud,
        'versions': encoder_versions(),
        **{name: {item.id: fact} for name, fact in by_scene.items()},
        'root': item.root,
    }
