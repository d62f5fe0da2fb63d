"""Listings: what a TorchGeo dataset lists, read once for all pairs that need it."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.warp import calculate_default_transform
from torchgeo.datasets import GeoDataset, RasterDataset, XarrayDataset

from torchgeo_cmr.errors import PairingError, RasterError
from torchgeo_cmr.rasters.orientation import AS_STORED
from torchgeo_cmr.scenes.band_order import alike
from torchgeo_cmr.scenes.bands import mask_name
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.mask_files import mask_of_file
from torchgeo_cmr.scenes.outlines import pixel_in, project, same_crs
from torchgeo_cmr.scenes.scene import Scene, clipped, index_paths, scenes
from torchgeo_cmr.scenes.sources.cubes import cube_scenes

#: Methods with which TorchGeo reads: a class that overrides one reads in its own way.
_READING = (
    '__getitem__',
    '_merge_or_stack',
    '_load_warp_file',
    '_cached_load_warp_file',
    '_merge_files',
)


@dataclass(eq=False)
class Listing:
    """The scenes of one member, each on its own grid, and the pixels it is read with.

    A dataset that is not made of files has one entry for each row of its index, and no
    scenes.
    """

    name: str
    dataset: GeoDataset
    #: Scenes on their own grids; empty if the dataset is not made of files.
    scenes: list[Scene]
    #: Row of the index of each entry.
    rows: NDArray[np.int64]
    #: First and last moment of each entry, UTC, as TorchGeo writes them.
    times: pd.IntervalIndex
    #: CRS in which the dataset states its pixels.
    crs: CRS
    #: Width and height of a pixel, in units of *crs*.
    res: tuple[float, float]
    #: Where those pixels lie, in *crs*.
    point: tuple[float, float]
    #: Entries that serve only where no other does; all alike if None.
    foreign: NDArray[np.bool_] | None = field(default=None)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.rows)

    @cached_property
    def own(self) -> bool:
        """Whether pixels are read here; otherwise the dataset is indexed, as by TorchGeo."""
        return bool(self.scenes) and not overridden(self.dataset)

    @cached_property
    def starts(self) -> NDArray[np.datetime64]:
        """First moment of each entry, datetime64[us]."""
        return moments(self.times.left)

    @cached_property
    def ends(self) -> NDArray[np.datetime64]:
        """Last moment of each entry, datetime64[us]."""
        return moments(self.times.right)

    @cached_property
    def undated(self) -> NDArray[np.bool_]:
        """Which entries have no date."""
        left, right = self.times.left, self.times.right
        return np.array((left == pd.Timestamp.min) | (right == pd.Timestamp.max))

    def pixel(self, crs: CRS) -> tuple[float, float]:
        """Return the one pixel size of this member in a CRS."""
        return pixel_in(self.res, self.crs, crs, self.point)

    def select(self, kept: NDArray[Any]) -> 'Listing':
        """Return the listing with some of its entries."""
        numbers = np.arange(len(self))[kept]
        return replace(
            self,
            scenes=[self.scenes[i] for i in numbers] if self.scenes else [],
            rows=self.rows[numbers],
            times=self.times[numbers],
            foreign=None if self.foreign is None else self.foreign[numbers],
        )


def read_listing(name: str, dataset: GeoDataset) -> Listing:
    """Read what a dataset lists, with one look at each file.

    Args:
        name: Name of the modality, for messages.
        dataset: Any GeoDataset.

    Returns:
        The listing; cubes have one entry for each date.

    Raises:
        PairingError: If it is not a GeoDataset, lists nothing, or stacks dates.
        RasterError: If it has no CRS, or a file cannot be read.
    """
    if not isinstance(dataset, GeoDataset):
        raise PairingError(
            f'{name} is {type(dataset).__name__}, but pairs are made of datasets with places, '
            "TorchGeo's GeoDataset: open files with RasterDataset, join several with |"
        )
    if dataset.crs is None:
        raise RasterError(f'{name} has no CRS: declare it when opening the dataset')
    if not len(dataset.index):
        raise PairingError(
            f'{name} lists nothing: its index is empty, perhaps after a split; give it '
            'files, or another region'
        )
    if getattr(dataset, 'time_series', False):
        raise PairingError(
            f'{name} was opened with time_series=True, but a pair shows one date of each '
            'modality: open it without'
        )
    if isinstance(dataset, XarrayDataset) and not overridden(dataset):
        found, rows = _cubes(dataset)
        if not found:
            raise PairingError(f'{name} lists no date of its cubes: check its index')
        left, right = (
            [_naive(getattr(s, f'time_{end}'), end) for s in found]
            for end in ('start', 'end')
        )
    else:
        rows = _image_rows(dataset)
        listing = copy.copy(dataset)
        listing.index = dataset.index.iloc[rows]
        found = scenes(listing) if isinstance(listing, RasterDataset) else []
        if found and getattr(dataset, 'is_image', True) and not overridden(dataset):
            found = alike(found, name)
        listed = cast(pd.IntervalIndex, listing.index.index)
        left, right = listed.left, listed.right
    times = pd.IntervalIndex.from_arrays(left, right, closed='both', name='datetime')
    return Listing(name, dataset, found, rows, times, *_pixels(dataset, found))


def _image_rows(dataset: GeoDataset) -> NDArray[np.int64]:
    """Rows of the index that are not quality masks; all, if there is nothing else."""
    rows = np.arange(len(dataset.index))
    if not isinstance(dataset, RasterDataset) or not dataset.is_image:
        return rows
    images = [mask_of_file(path) is None for path in index_paths(dataset)]
    return rows[images] if any(images) else rows


def overridden(dataset: GeoDataset) -> bool:
    """Say whether the class of a dataset reads in its own way, not as TorchGeo's bases."""
    base = XarrayDataset if isinstance(dataset, XarrayDataset) else RasterDataset
    return not isinstance(dataset, base) or any(
        getattr(type(dataset), method, None) is not getattr(base, method, None)
        for method in _READING
    )


def moments(times: Iterable[Any]) -> NDArray[np.datetime64]:
    """Return times as datetime64[us], which holds more years than nanoseconds do."""
    return pd.DatetimeIndex(times).as_unit('us').to_numpy()


def row_scenes(dataset: RasterDataset | XarrayDataset, row: int) -> list[Scene]:
    """Read the scenes of one row of an index: one of a raster, one for each date of a cube.

    Args:
        dataset: A dataset of files.
        row: Number of the row, from 0.

    Returns:
        The scenes, cut to what the index lists of their ground and dates.

    Raises:
        RasterError: If a file cannot be read.
    """
    single = copy.copy(dataset)
    single.index = dataset.index.iloc[[row]]
    if isinstance(single, XarrayDataset):
        return _cubes(single, masks=True)[0]
    return scenes(single)


def _cubes(
    dataset: XarrayDataset, masks: bool = False
) -> tuple[list[Scene], NDArray[np.int64]]:
    """Scenes of cubes, one for each date that the index lists, and the row of each.

    They have the variables of the dataset, and their quality masks if wanted.
    """
    wanted = [str(name) for name in getattr(dataset, 'data_vars', ())]
    found: list[Scene] = []
    rows: list[int] = []
    times = dataset.index.index
    for row, (path, time) in enumerate(zip(index_paths(dataset), times, strict=True)):
        for scene in cube_scenes(path, wanted, dataset.crs):
            layers = scene.layers or ()
            order = [
                i for name in wanted for i, each in enumerate(layers) if each[0] == name
            ]
            if masks:
                named = [i for i, b in enumerate(scene.bands) if mask_name(b)]
                order += [i for i in named if i not in order]
            if len(order) not in (0, len(layers)):
                scene = scene.pick(order)
            if dataset.nodata is not None:
                scene = replace(scene, nodata=float(dataset.nodata))
            start = scene.time_start
            # A date belongs to the split in which it begins.
            if start is None or time.left <= _naive(start) <= time.right:
                found.append(scene)
                rows.append(row)
    listed = copy.copy(dataset)
    listed.index = dataset.index.iloc[rows]
    return clipped(listed, found), np.array(rows, np.int64)


def _naive(moment: pd.Timestamp | None, end: str = 'start') -> pd.Timestamp:
    if moment is None:
        return pd.Timestamp.min if end == 'start' else pd.Timestamp.max
    return moment.tz_localize(None)


def _pixels(
    dataset: GeoDataset, found: list[Scene]
) -> tuple[CRS, tuple[float, float], tuple[float, float]]:
    """CRS, size and place of the pixels that a dataset states.

    TorchGeo takes over the pixel size of its first file, as GDAL warps it: that of a file
    that is rotated, or in another CRS, was not stated by anybody, and its own is better.
    """
    stated = abs(float(dataset.res[0])), abs(float(dataset.res[1]))
    seen: set[Any] = set()
    for scene in found:
        key = (
            id(scene.crs),
            tuple(scene.transform)[:2],
            tuple(scene.transform)[3:5],
            scene.shape,
        )
        if key in seen:
            continue
        seen.add(key)
        if _derives(scene, dataset.crs, stated):
            return scene.crs, scene.res, _centre(scene)
    if found:
        point = _centre(found[0], dataset.crs)
        return dataset.crs, stated, point
    left, bottom, right, top = dataset.index.total_bounds
    return dataset.crs, stated, ((left + right) / 2, (bottom + top) / 2)


def _derives(scene: Scene, crs: CRS, stated: tuple[float, float]) -> bool:
    """Whether a pixel size is what TorchGeo finds for a file when none is stated."""
    rows, columns = scene.shape
    t = scene.transform
    sizes = [(columns, rows)]
    if scene.turn != AS_STORED:
        sizes.append((rows, columns))
    elif same_crs(scene.crs, crs) and t.b == t.d == 0:
        return _alike(scene.res, stated)
    source, target, bounds = scene.crs.to_wkt(), crs.to_wkt(), scene.footprint.bounds
    grids = [calculate_default_transform(source, target, *n, *bounds)[0] for n in sizes]
    return any(_alike((grid.a, -grid.e), stated) for grid in grids)


def _alike(left: tuple[float, float], right: tuple[float, float]) -> bool:
    return np.allclose(left, right, rtol=1e-6, atol=0)


def stated_crs(dataset: GeoDataset, found: list[Scene]) -> bool:
    """Say whether a dataset whose files have several CRSs was opened with a CRS.

    Without, TorchGeo takes that of the first file that it finds.
    """
    if not any(same_crs(scene.crs, dataset.crs) for scene in found):
        return True
    try:
        return not same_crs(read_header(dataset.files[0]).crs, dataset.crs)
    except (RasterError, IndexError):
        return False


def _centre(scene: Scene, crs: CRS | None = None) -> tuple[float, float]:
    """Centre of a scene, in its own CRS or another."""
    outline = np.array([scene.footprint], object)
    (moved,) = outline if crs is None else project(outline, scene.crs, crs)
    left, bottom, right, top = moved.bounds
    return (left + right) / 2, (bottom + top) / 2
