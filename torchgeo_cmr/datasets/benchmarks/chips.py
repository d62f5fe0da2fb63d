"""Pairs cut into files beforehand: what a benchmark of chips has in common."""

import re
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import torch
from geopandas import GeoDataFrame
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from torch import Tensor
from torchgeo.datasets import NonGeoDataset

from torchgeo_cmr.datasets.plots import panels
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.rasters.orientation import upright
from torchgeo_cmr.rasters.raster_files import open_pixels
from torchgeo_cmr.scenes.header import sidecars_seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torchgeo.datasets.utils import Sample


#: Numbers of one chip: a gigabyte of float32.
_LARGEST = 2**28


class ChipPairs(NonGeoDataset):
    """Chips of one place by two or more sensors, paired by number.

    A sample has, for each modality ``m``, ``image_m`` of shape (bands, height, width),
    float32, raw units, NaN where there is no data; and ``label`` if the benchmark has one.

    Chips need no place to train on or to retrieve from. Where a place is needed,
    :meth:`footprints` takes it from the files, and raises an error if they hold none.

    Relations: :class:`~torchgeo_cmr.datasets.PairedDataset` is for scenes, from which patches
    are drawn; :class:`~torchgeo_cmr.datamodules.ChipDataModule` turns chips into batches.
    """

    #: Modality -> names of its channels, in order.
    bands: Mapping[str, Sequence[str]]
    #: Modality -> 'db', 'power', 'amplitude', 'reflectance' or 'dn'; None if it is unknown.
    units: Mapping[str, str | None]
    #: Modality -> width of a pixel in metres.
    gsd: Mapping[str, float]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self.bands)

    @abstractmethod
    def patch_id(self, index: int) -> str:
        """Return the name of a pair, unique in the benchmark.

        Args:
            index: Number of the pair.
        """

    def georeference(self, index: int) -> Path | None:
        """Return the file that holds the place of a pair; None if the benchmark has none.

        Args:
            index: Number of the pair.
        """
        return None

    def attributes(self, index: int) -> dict[str, object]:
        """Return what else is known of a pair, as columns for :meth:`footprints`.

        Args:
            index: Number of the pair.
        """
        return {}

    def footprints(
        self, indices: Sequence[int] | None = None, *, placeless: bool = False
    ) -> GeoDataFrame:
        """Return where pairs lie, from their files.

        Corners are float64 in the CRS of each file; nothing is rounded or taken from a
        sample. One file is opened for each pair, pixels are not read.

        Args:
            indices: Numbers of the pairs (default: all, in order).
            placeless: Whether a pair may have no place: its ``src_crs``, ``native_corners``
                and outline are null, and none is invented.

        Returns:
            One row per pair, in the requested order: ``index``, ``patch_id``, ``src_crs``
            ('EPSG:32629', or WKT without a code), ``native_corners`` (float64 array of 8:
            upper left, upper right, lower right, lower left x and y in ``src_crs``),
            attributes of the benchmark, and the outline in EPSG:4326.

        Raises:
            RasterError: If a pair has no place: its file has no CRS, or there is no file
                that holds one.
        """
        wanted = range(len(self)) if indices is None else indices
        rows = [self._place(int(index), placeless) for index in wanted]
        if not rows:
            columns = ['index', 'patch_id', 'src_crs', 'native_corners']
            return GeoDataFrame(
                {name: [] for name in columns}, geometry=[], crs='EPSG:4326'
            )
        frame = pd.DataFrame(rows)
        geometry = pd.Series([None] * len(frame), index=frame.index, dtype=object)
        for crs, group in frame.groupby('src_crs', sort=False):
            outlines = [
                shapely.Polygon(corners.reshape(4, 2))
                for corners in group['native_corners']
            ]
            moved = gpd.GeoSeries(outlines, crs=crs).to_crs('EPSG:4326')
            geometry[group.index] = moved.to_numpy()
        return GeoDataFrame(frame, geometry=list(geometry), crs='EPSG:4326')

    def _place(self, index: int, placeless: bool) -> dict[str, object]:
        name, path = self.patch_id(index), self.georeference(index)
        nowhere = {
            'index': index,
            'patch_id': name,
            'src_crs': None,
            'native_corners': None,
            **self.attributes(index),
        }
        excuse = 'images and labels work all the same, but it cannot be found by area'
        if path is None and placeless:
            return nowhere
        if path is None:
            raise RasterError(
                f'{type(self).__name__} does not say where {name} lies: this data comes '
                f'without georeferencing; {excuse}'
            )
        with open_chip(path) as file:
            lost = file.crs is None or file.transform.is_identity
            if lost and placeless:
                return nowhere
            if lost:
                what = 'CRS' if file.crs is None else 'geotransform'
                raise RasterError(
                    f'{path} has no {what}, so {name} has no place on the ground; {excuse}'
                )
            code, t = file.crs.to_epsg(), file.transform
            across, down = file.width, file.height
            ends = [(0, 0), (across, 0), (across, down), (0, down)]
            corners = [
                (t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f) for x, y in ends
            ]
            return {
                **nowhere,
                'src_crs': f'EPSG:{code}' if code else file.crs.to_wkt(),
                'native_corners': np.array(corners, np.float64).ravel(),
            }

    def plot(
        self, sample: 'Sample', show_titles: bool = True, suptitle: str | None = None
    ) -> 'Figure':
        """Plot the modalities of a sample side by side.

        Args:
            sample: A sample of this dataset.
            show_titles: Whether to write each modality's name above its panel.
            suptitle: Title of the figure.

        Returns:
            A figure with one panel a modality, stretched to its 2nd and 98th percentile.
        """
        shown = {m: (sample[f'image_{m}'], self.bands[m]) for m in self.modalities}
        return panels(shown, show_titles=show_titles, suptitle=suptitle)


def open_chip(path: Path) -> Any:
    """Open a raster that may lack georeferencing, with north at the top if it has some.

    Args:
        path: The file.

    Returns:
        The open file.

    Raises:
        RasterError: If it cannot be opened.
    """
    with warnings.catch_warnings():
        # Chips without a place are as good as others until a place is needed.
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        try:
            with sidecars_seen(str(path)):
                return upright(open_pixels(path))
        except RasterioIOError as error:
            raise RasterError(
                f'{path} cannot be read ({error}): check that the download is complete'
            ) from error


def read_chip(path: Path) -> Tensor:
    """Read a raster as it is, without rounding.

    Args:
        path: The file.

    Returns:
        Shape (bands, height, width), float32, NaN where the file has nodata.

    Raises:
        RasterError: If it cannot be read.
    """
    with open_chip(path) as file:
        if file.count * file.height * file.width > _LARGEST:
            raise RasterError(
                f'{path} claims {file.height} x {file.width} pixels in {file.count} bands, '
                'which is not a chip: fetch it again if it is damaged'
            )
        pixels = file.read(out_dtype='float32')
        if file.nodata is not None:
            pixels[pixels == np.float32(file.nodata)] = np.nan
        return torch.from_numpy(pixels)


def channel_numbers(
    modality: str, wanted: Sequence[str], known: Sequence[str]
) -> list[int]:
    """Find channels by name.

    Args:
        modality: Name of the modality, for the message.
        wanted: Requested names.
        known: Names that there are, in order.

    Returns:
        For each requested name, its position among those known.

    Raises:
        RasterError: If a name is unknown or requested twice, or none is requested.
    """
    missing = [band for band in wanted if band not in known]
    if missing or not wanted or len(set(wanted)) < len(wanted):
        raise RasterError(
            f'{modality} cannot have the bands {", ".join(wanted) or "(none)"}: choose '
            f'each at most once from {", ".join(known)}'
        )
    return [list(known).index(band) for band in wanted]


def band_name(name: str) -> str:
    """Name a band as Sentinel-2 files do: B1 and S2_B01 are B01.

    Args:
        name: What a benchmark calls it.

    Returns:
        That name; names of other bands are left alone.
    """
    name = name.removeprefix('S2_')
    return f'B0{name[1:]}' if re.fullmatch(r'B\d', name) else name


__all__ = ('ChipPairs', 'band_name', 'channel_numbers', 'open_chip', 'read_chip')
