"""One modality as pairs see it: its ground in the common CRS, read on one lattice."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from shapely.geometry.base import BaseGeometry
from torch import Tensor
from torchgeo.datasets import GeoDataset, RasterDataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.listing import Listing
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.cache import Cache
from torchgeo_cmr.reading.converting import open_reader
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.reading.validity import Validity
from torchgeo_cmr.reading.windows import sizes
from torchgeo_cmr.scenes.outlines import project, project_near, same_crs
from torchgeo_cmr.scenes.scene import Scene, apply
from torchgeo_cmr.scenes.units import unit_of

#: ``(xmin, ymin, xmax, ymax)`` in the CRS of the pairs.
type Bounds = tuple[float, float, float, float]

_MICROSECOND = pd.Timedelta(microseconds=1)

#: Whole numbers from here on are not all numbers of float32, in which pixels are read.
_LAST_WHOLE = 2**24


class Member:
    """One modality of a paired dataset.

    Scenes are laid on one lattice, so that patches of one modality always have one shape:
    those that lie on it are read as they are, others are warped.

    Args:
        listing: What the dataset lists.
        crs: CRS of the pairs.
        res: Width and height of a pixel in units of *crs*.
        origin: A corner of the lattice for scenes that must be warped; None for a corner of
            the first scene.
        cache: Open files and decoded blocks.
        region: Ground of the pairs in *crs*, outside of which nothing is read; None for
            everything.
    """

    def __init__(
        self,
        listing: Listing,
        crs: CRS,
        res: tuple[float, float],
        origin: tuple[float, float] | None,
        cache: Cache,
        region: BaseGeometry | None,
    ) -> None:
        """Initialize a new Member instance."""
        self.listing = listing
        self.name = listing.name
        self.dataset = listing.dataset
        self.crs = crs
        self.res = res
        self.cache = cache
        self.region = region
        self.readers: dict[int, SceneReader] = {}
        self.valid: dict[int, Validity] = {}
        if listing.scenes:
            first = listing.scenes[0]
            self.bands = first.bands
            self.units = first.read_as or first.units
            self.nodata = first.stated_nodata
            self.scale = next((s.scale for s in listing.scenes if s.scale), None)
        else:
            self.bands = tuple(getattr(self.dataset, 'data_vars', ()) or ())
            self.units = unit_of(self.bands, np.dtype(np.float32))
            self.nodata = getattr(self.dataset, 'nodata', None)
            self.scale = None
        self.corner = self._corner() if origin is None else origin
        if self.resampling is Resampling.gauss:
            raise RasterError(
                f'{self.name} is resampled by gauss, which GDAL cannot while it warps: '
                'choose another `resampling`, such as average'
            )

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what can be read again."""
        state = self.__dict__ | {'readers': {}, 'valid': {}}
        state.pop('view', None)
        return state

    @property
    def resampling(self) -> Resampling:
        """How pixels are moved, as the dataset wants it."""
        return getattr(self.dataset, 'resampling', Resampling.bilinear)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the pixels that leave, as the dataset wants it."""
        return getattr(self.dataset, 'dtype', torch.float32)

    def _corner(self) -> tuple[float, float]:
        """A corner of the lattice: that of the first scene that lies on it."""
        for scene in self.listing.scenes:
            t = scene.transform
            if same_crs(scene.crs, self.crs) and t.b == t.d == 0:
                return t.c, t.f
        left, _, _, top = self.outlines[0].bounds
        return left, top

    @cached_property
    def outlines(self) -> NDArray[np.object_]:
        """Ground of each entry in the CRS of the pairs; empty far from the region."""
        scenes = self.listing.scenes
        if not scenes:
            geometries = np.array(self.dataset.index.geometry, object)
            return project(
                geometries[self.listing.rows], self.listing.dataset.crs, self.crs
            )
        found = np.array([scene.outline for scene in scenes], object)
        groups: dict[int, list[int]] = {}
        for i, scene in enumerate(scenes):
            groups.setdefault(id(scene.crs), []).append(i)
        for rows in groups.values():
            crs = scenes[rows[0]].crs
            found[rows] = project_near(found[rows], crs, self.crs, self.region)
        return found

    @property
    def place(self) -> str:
        """Longitude and latitude of the middle of its first entry."""
        scenes = self.listing.scenes
        crs, ground = (
            (scenes[0].crs, scenes[0].outline)
            if scenes
            else (self.listing.dataset.crs, self.dataset.index.geometry.iloc[0])
        )
        west, south, east, north = ground.bounds
        lon, lat = Transformer.from_crs(crs, 'EPSG:4326', always_xy=True).transform(
            (west + east) / 2, (south + north) / 2
        )
        return f'longitude {lon:.2f}, latitude {lat:.2f}'

    def reader(self, number: int) -> SceneReader:
        """Return what reads an entry on the lattice."""
        reader = self.readers.get(number)
        if reader is None:
            scene = replace(
                self.listing.scenes[number], resampling=self.resampling.name
            ).on_lattice(self.crs, self.res, self.corner, within=self.region)
            reader = self.readers.setdefault(number, open_reader(scene, self.cache))
        return reader

    def scene(self, number: int) -> Scene | None:
        """Return the scene of an entry as it is read; None for other data than files."""
        return self.reader(number).scene if self.listing.scenes else None

    def share(self, cache: Cache) -> None:
        """Use the open files and decoded blocks of another member."""
        self.cache = cache
        self.readers.clear()
        self.valid.clear()

    def origin(self, number: int) -> tuple[float, float]:
        """Return a corner of the pixels of an entry."""
        if not self.listing.scenes:
            left, _, _, top = self.outlines[number].bounds
            return left, top
        t = self.reader(number).scene.transform
        return t.c, t.f

    def valid_share(self, number: int, bounds: Bounds, *, nan: bool = True) -> float:
        """Share of valid pixels of one entry in some bounds."""
        if not self.listing.scenes:
            return 1.0
        if number not in self.valid:
            self.valid[number] = Validity(self.reader(number))
        valid = self.valid[number]
        if valid.is_whole(bounds, nan=nan):
            return 1.0
        row, column, *_ = self.reader(number).place(bounds)
        return valid.share((row, column, *_across(bounds, self.res)), nan=nan)

    def start(
        self, numbers: Sequence[int], bounds: Sequence[Bounds]
    ) -> Callable[[], list[Sample]]:
        """Begin to read patches.

        Args:
            numbers: Entry of each patch.
            bounds: Bounds of each, in the CRS of the pairs.

        Returns:
            What waits for the samples, as TorchGeo's dataset would give them, and gives
            them.
        """
        if not self.listing.own:
            return lambda: [
                self._index(*each) for each in zip(numbers, bounds, strict=True)
            ]
        chosen = np.asarray(numbers)
        requested = np.empty((len(chosen), 4), np.int64)
        places = np.empty((len(chosen), 9), np.float32)
        coming = []
        for number in np.unique(chosen).tolist():
            inside, reader = np.flatnonzero(chosen == number), self.reader(number)
            sides = [bounds[i] for i in inside.tolist()]
            requested[inside] = reader.windows(sides)
            # Of the lattice, not of the scene: one ground has one number of pixels.
            requested[inside, 2:] = pixels_across(sides, self.res)
            places[inside] = _transforms(reader.scene, requested[inside])
            # Patches of one scene and one size share their blocks.
            for size in sizes(requested[inside]):
                members = inside[(requested[inside, 2:] == size).all(axis=1)]
                read = reader.start(requested[members])
                coming.append((members.tolist(), reader.scene, read))

        def finish() -> list[Sample]:
            images: dict[int, Tensor] = {}
            for members, scene, read in coming:
                images |= zip(members, self._typed(read(), scene), strict=True)
            return [
                self._sample(images[i], place, int(chosen[i]), bounds[i])
                for i, place in enumerate(torch.from_numpy(places))
            ]

        return finish

    def _typed(self, images: NDArray[np.float32], scene: Scene) -> Tensor:
        """Pixels of several patches in the type and shape that TorchGeo gives."""
        kind = self.dtype
        if kind.is_floating_point or kind.is_complex:
            pixels = torch.from_numpy(images).to(kind)
        else:
            missing = ~np.isfinite(images)
            images[missing] = 0
            if np.abs(images).max(initial=0) >= _LAST_WHOLE:
                raise RasterError(
                    f'{self.name} has whole numbers of {_LAST_WHOLE:,} or more, which cannot '
                    'be distinguished when they are read: number its classes or objects from 0'
                )
            pixels = torch.from_numpy(images).to(kind)
            # What has no NaN keeps the value of missing pixels, or 0 as TorchGeo does.
            nodata = scene.stated_nodata
            if nodata is not None and np.isfinite(nodata):
                pixels[torch.from_numpy(missing)] = int(nodata)
        return pixels if getattr(self.dataset, 'is_image', True) else pixels.squeeze(-3)

    def _sample(
        self, pixels: Tensor, place: Tensor, number: int, bounds: Bounds
    ) -> Sample:
        """One sample, as the dataset's own transforms leave it."""
        key = 'image' if getattr(self.dataset, 'is_image', True) else 'mask'
        transforms = getattr(self.dataset, 'transforms', None)
        if transforms is None:
            return {key: pixels, 'transform': place}
        xmin, ymin, xmax, ymax = bounds
        time = self.listing.times[number]
        first, last = time.left.timestamp(), time.right.timestamp()
        xres, yres = self.res
        corners = [xmin, xmax, xres, ymin, ymax, yres, first, last, 1]
        return transforms(
            {'bounds': torch.tensor(corners), key: pixels, 'transform': place}
        )

    def _index(self, number: int, bounds: Bounds) -> Sample:
        """Read one entry with a dataset that reads in its own way."""
        xmin, ymin, xmax, ymax = bounds
        xres, yres = self.res
        times = self.listing.times[number]
        # TorchGeo compares with half-open intervals: one moment alone would be empty. By no
        # more than its days lie apart, or those that follow one another would be joined.
        start = max(times.left, pd.Timestamp.min + _MICROSECOND) - _MICROSECOND
        view = self.view
        if self.listing.scenes or _of_pairs(view):
            # Other files of that date are other entries.
            view = copy.copy(view)
            view.index = view.index.iloc[[self.listing.rows[number]]]
        sample = view[
            slice(xmin, xmax, xres),
            slice(ymin, ymax, yres),
            slice(start, times.right, 1),
        ]
        sample.setdefault(
            'transform', torch.tensor(Affine(xres, 0, xmin, 0, -yres, ymax))
        )
        return sample

    @cached_property
    def view(self) -> GeoDataset:
        """The dataset in the CRS and resolution of the lattice; it is not changed itself."""
        return _view(self.dataset, self.crs, self.res)


def _view(dataset: GeoDataset, crs: CRS, res: tuple[float, float]) -> GeoDataset:
    # TorchGeo's setters work in place, so a copy is given what they would set.
    view = copy.copy(dataset)
    if _of_pairs(view):
        # Their setters change nothing that copies share.
        view.crs, view.res = crs, res
        return view
    if hasattr(view, 'datasets'):
        parts = [_view(part, crs, res) for part in cast(Any, view).datasets]
        cast(Any, view).datasets = parts
    index = dataset.index.copy()
    if not same_crs(dataset.crs, crs):
        index = index.to_crs(crs)
    if 'filepath' not in index and isinstance(dataset, RasterDataset):
        index = index.rename(columns={index.columns[0]: 'filepath'})
    view.index = index
    view._res = res
    return view


def _of_pairs(dataset: GeoDataset) -> bool:
    """Say whether a dataset is made of pairs, without an import of what imports this."""
    return isinstance(getattr(dataset, 'datasets', None), Mapping)


def pixels_across(
    bounds: Sequence[Bounds] | NDArray[np.float64], res: tuple[float, float]
) -> NDArray[np.int64]:
    """Return how many pixels some bounds have.

    Args:
        bounds: ``(xmin, ymin, xmax, ymax)`` of each, of shape ``(n, 4)``.
        res: Width and height of a pixel.

    Returns:
        Rows and columns, int64 of shape ``(n, 2)``, at least 1.
    """
    xmin, ymin, xmax, ymax = np.asarray(bounds, np.float64).reshape(-1, 4).T
    across = np.stack([(ymax - ymin) / res[1], (xmax - xmin) / res[0]], axis=1)
    # Halves are rounded up, whatever the last digits of the bounds are.
    return np.maximum(1, np.floor(across + 0.5 + 1e-6)).astype(np.int64)


def _across(bounds: Bounds, res: tuple[float, float]) -> tuple[int, int]:
    """What :func:`pixels_across` gives for one, in plain numbers."""
    xmin, ymin, xmax, ymax = bounds
    rows, columns = (ymax - ymin) / res[1], (xmax - xmin) / res[0]
    return (
        max(1, math.floor(rows + 0.5 + 1e-6)),
        max(1, math.floor(columns + 0.5 + 1e-6)),
    )


def _transforms(scene: Scene, windows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Affine transforms of windows, float64 of shape ``(n, 9)``."""
    rows, columns = windows[:, 0].astype(float), windows[:, 1].astype(float)
    found = np.tile(np.array(scene.transform), (len(windows), 1))
    found[:, 2], found[:, 5] = apply(scene.transform, columns, rows)
    return found
