"""Embeddings that others have published, through TorchGeo's datasets, as a table."""

import copy
import os
from typing import Any, cast

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchgeo.datasets import EmbeddedSeamlessData, RasterDataset

from torchgeo_cmr.embed.run import embed
from torchgeo_cmr.embed.scenes.inputs import list_scenes
from torchgeo_cmr.errors import ArchiveError, RasterError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.others.squares import squares
from torchgeo_cmr.table.others.time_columns import all_midnight, read_times
from torchgeo_cmr.table.schema import RESERVED, STANDARD

#: Width of a patch in metres, where the dataset's documentation states it.
_METRES = {'EarthIndexEmbeddings': 320.0}
#: Columns that may say when, the best first.
_DATES = ('date', 'datetime', 'timestamp')


def from_dataset(
    dataset: Any,
    modality: str | None = None,
    size: int = 1,
    stride: int | None = None,
    *,
    space: str | None = None,
    metres: float | None = None,
    placeless: bool = False,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    **options: Any,
) -> EmbeddingTable:
    """Turn an embedding dataset of TorchGeo into a table or an archive.

    Two layouts are known. **One vector per row** (``ClayEmbeddings``, ``EarthEmbeddings``,
    ``EarthIndexEmbeddings``, ``MajorTOMEmbeddings``): each row of the dataset's table becomes a
    row with its own footprint, date and plain columns. Where the dataset has only the centre
    of a patch, the footprint is a square round it, or a point if its width is unknown.
    **One vector per pixel** (``CopernicusEmbed``, ``EmbeddedSeamlessData``,
    ``GoogleSatelliteEmbedding``, ``PrestoEmbeddings``, ``TesseraEmbeddings``): windows of *size*
    pixels become rows, on the native grid of each file, as :func:`embed` does; a vector is the
    mean of those of the window's pixels, each scaled to length 1 first, so that none
    outweighs another. Pixels that are missing in a band or zero in all count for nothing.

    Values are taken as the files have them, with the dataset's ``transforms`` applied where
    vectors come from pixels: give ``transforms`` to a dataset whose files are quantised.
    ``EmbeddedSeamlessData`` is decoded as TorchGeo does, all months of a pixel as one vector.

    Args:
        dataset: An embedding dataset of TorchGeo, or one of your own in either layout: a
            ``RasterDataset``, or anything with a table ``data`` that has a column
            ``embedding`` (or ``embeddings``).
        modality: Name of the modality (default: the name of the class).
        size: Window height and width in pixels; for vectors of pixels.
        stride: Step between windows in pixels (default: *size*).
        space: What the vectors may be compared with (default: class and length, such as
            ``'TesseraEmbeddings-128'``).
        metres: Width of a patch round its centre, for datasets of centres (default: 320 for
            ``EarthIndexEmbeddings``, else points).
        placeless: Whether rows of a table may have no place: of one without a geometry, or
            with nulls in it. No place is invented; such rows are searched by all but area.
        out: Archive folder to write; one of pixels can be completed after an interruption.
        overwrite: Replace an archive at *out*.
        **options: Others of :func:`embed`, for vectors of pixels.

    Returns:
        The table.

    Raises:
        ArchiveError: If vectors and footprints do not form a table.
        OutputExistsError: If *out* is there and is not to be replaced.
        RasterError: If the dataset is of neither layout, or files cannot be read.
    """
    kind = type(dataset).__name__
    modality = kind if modality is None else modality
    if isinstance(dataset, RasterDataset):
        if placeless:
            raise RasterError(f'{kind} has rasters, which have a place: drop placeless')
        if isinstance(dataset, EmbeddedSeamlessData):
            dataset = _decoded(dataset)
        pixel = torch.zeros(len(list_scenes(dataset)[0].bands), 1, 1)
        if dataset.transforms is not None:
            pixel = dataset.transforms({'image': pixel})['image']
        pixels = _Pixels(modality, len(pixel), space or f'{kind}-{len(pixel)}')
        options = {'progress': True, **options, 'out': out, 'overwrite': overwrite}
        return embed(pixels, dataset, modality, size, stride, **options)
    if not isinstance(getattr(dataset, 'data', None), pd.DataFrame):
        raise RasterError(
            f'{kind} holds neither rasters nor a table of vectors: give an embedding '
            'dataset of TorchGeo'
        )
    if size != 1 or stride is not None or options:
        raise RasterError(
            f'{kind} has one vector per row: size, stride and options of embed are for '
            'vectors of pixels'
        )
    width = _METRES.get(kind) if metres is None else metres
    frame, vectors = _rows(dataset.data, modality, width, placeless)
    table = EmbeddingTable.from_frame(
        frame,
        vectors,
        space=space or f'{kind}-{vectors.shape[1]}',
        modality=modality,
        record={'dataset': kind, 'metres': width},
        placeless=placeless,
    )
    if out is not None:
        table.save(out, overwrite=overwrite)
    return table


class _Pixels(nn.Module):
    """An encoder for pixels that are vectors already: it takes their mean."""

    def __init__(self, modality: str, length: int, space: str) -> None:
        super().__init__()
        self.keys = {modality: 'image'}
        self.in_channels = {modality: length}
        self.specs: dict[str, dict[str, Any]] = {}
        self.space = space

    def embed(self, batch: dict[str, Tensor], modality: str) -> Tensor:
        """Give the mean of the unit vectors of all pixels, scaled to length 1."""
        images = batch['image'].float()
        missing = ~images.isfinite().all(dim=1, keepdim=True)
        images = torch.where(missing, torch.zeros_like(images), images)
        rows = nn.functional.normalize(images, dim=1).sum(dim=(2, 3))
        return nn.functional.normalize(rows, dim=1)


def _decoded(dataset: EmbeddedSeamlessData) -> RasterDataset:
    """Give a view whose transforms turn codes into vectors, months one after the other."""
    view, rest = copy.copy(dataset), dataset.transforms

    def decode(sample: dict[str, Any]) -> dict[str, Any]:
        codes = sample['image']
        missing = ~codes.isfinite()
        vectors = dataset.quantizer.quantize(codes.nan_to_num().int()).float()
        vectors = vectors.masked_fill(missing[:, None], torch.nan).flatten(0, 1)
        sample = {**sample, 'image': vectors}
        return sample if rest is None else rest(sample)

    view.transforms = decode
    return view


def _rows(
    data: pd.DataFrame, modality: str, metres: float | None, placeless: bool
) -> tuple[gpd.GeoDataFrame, NDArray[np.floating]]:
    """Read footprints, dates and vectors of a table with one vector per row."""
    key = next((k for k in ('embedding', 'embeddings') if k in data), None)
    if key is None or not len(data):
        raise ArchiveError(
            f'the dataset has {len(data)} rows and the columns {", ".join(map(str, data))}: '
            'it needs rows with a column embedding'
        )
    try:
        vectors = np.stack([np.asarray(v, np.float32) for v in data[key]])
    except ValueError as error:
        raise ArchiveError(
            f'the column {key} holds vectors of different lengths: give those of one model'
        ) from error
    shapes = _outlines(data, metres, placeless)
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{modality}:{n}' for n in range(len(data))]},
        geometry=shapes.to_numpy(),
        crs=shapes.crs,
    )
    if (dated := next((n for n in _DATES if n in data), None)) is not None:
        try:
            times = pa.chunked_array([pa.array(data[dated], from_pandas=True)])
        except pa.ArrowException as error:
            raise ArchiveError(
                f'the column {dated} holds values of several kinds ({error}); give times of one, '
                'rename it, or drop it'
            ) from error
        frame['time_start'], frame['time_end'] = read_times(
            [times], dated, [all_midnight([times])], 'rename it, or drop it'
        )
    for name in data:
        plain = data[name].map(np.isscalar).all() or data[name].dtype.kind in 'iufbM'
        if (
            isinstance(name, str)
            and plain
            and name not in {*STANDARD, *RESERVED, 'geometry'}
        ):
            frame[name] = data[name].to_numpy()
    return frame, vectors


def _outlines(
    data: pd.DataFrame, metres: float | None, placeless: bool
) -> gpd.GeoSeries:
    """Give the footprints: those of the table, or squares round its centres."""
    if isinstance(data, gpd.GeoDataFrame):
        shapes = cast(gpd.GeoSeries, data.geometry.reset_index(drop=True))
    elif {'centre_lon', 'centre_lat'} <= set(data):
        points = gpd.points_from_xy(data['centre_lon'], data['centre_lat'])
        shapes = gpd.GeoSeries(points, crs='EPSG:4326')
    elif placeless:
        shapes = gpd.GeoSeries([None] * len(data), crs='EPSG:4326')
    else:
        raise ArchiveError(
            'the dataset does not locate its vectors: it needs a geometry, or the '
            'columns centre_lon and centre_lat, or give placeless=True'
        )
    if metres is None or not (shapes.geom_type == 'Point').all():
        return shapes
    return squares(shapes, metres)
