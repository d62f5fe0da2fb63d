"""Pairs: the same ground seen by two or more sensors, each on its own grid."""

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import pandas as pd
import shapely
import torch
from affine import Affine
from geopandas import GeoDataFrame
from pyproj import CRS
from rasterio.warp import calculate_default_transform
from shapely import STRtree
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset, RasterDataset
from torchgeo.datasets.utils import GeoSlice, Sample

from torchgeo_cmr.datasets.cache import Cache
from torchgeo_cmr.datasets.panels import panels
from torchgeo_cmr.datasets.reader import SceneReader
from torchgeo_cmr.datasets.scene import Scene, scenes
from torchgeo_cmr.datasets.units import SAR_BANDS
from torchgeo_cmr.datasets.validity import Validity
from torchgeo_cmr.errors import PairingError, RasterError

#: ``(xmin, ymin, xmax, ymax)`` in the CRS of the pairs.
type Bounds = tuple[float, float, float, float]

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: How TorchGeo writes "no date": the widest interval pandas can hold.
_UNDATED = pd.Interval(pd.Timestamp.min, pd.Timestamp.max, closed='both')

_SECOND_EVER = pd.Timestamp.min + pd.Timedelta(seconds=1)

#: Mean radius of the Earth in metres: one radian of latitude.
_EARTH_RADIUS = 6371008.8

#: A patch is this many cells across when its valid pixels are counted.
_CELLS = 8


class PairSlice(tuple[slice, slice, slice]):
    """Ground to read from one pair of scenes, where several pairs may cover it.

    It is an ordinary slice ``(x, y, t)`` that also names its pair, so it unpacks and
    indexes as any other.

    Args:
        row: Number of the pair, counted from 0 in the order of the index.
        x: Ground from west to east, in the CRS of the pairs.
        y: Ground from south to north.
        t: Dates, as TorchGeo slices them.

    .. versionadded:: 0.1
    """

    row: int

    def __new__(cls, row: int, x: slice, y: slice, t: slice) -> Self:
        """Make a new PairSlice."""
        made = super().__new__(cls, (x, y, t))
        made.row = row
        return made

    def __getnewargs__(self) -> tuple[int, slice, slice, slice]:
        """Keep the row when it goes to a worker process."""
        return self.row, *self

    def __eq__(self, other: object) -> bool:
        """Compare ground and dates, and rows if both have one."""
        return super().__eq__(other) and self.row == getattr(other, 'row', self.row)

    def __ne__(self, other: object) -> bool:
        """Negate equality, for tuples compare without it."""
        return not self == other

    def __hash__(self) -> int:
        """Agree with plain slices of the same ground and dates."""
        return super().__hash__()


class PairedDataset(GeoDataset):
    """Patches of the same ground from two or more datasets, never resampled together.

    The index holds one row a pair: a scene of the first modality and, of every other, the
    scene nearest in time among those that overlap it. Each place of a first scene belongs
    to exactly one row, so nothing is paired twice. The CRS of index and slices is that of
    the first modality. A modality in that CRS is read on its own pixels; one in another
    CRS is warped in memory, at its own resolution.

    Raster datasets are read by :class:`~torchgeo_cmr.datasets.reader.SceneReader` from
    their files, so other subclasses of ``__getitem__`` are not called; any other
    :class:`~torchgeo.datasets.GeoDataset` (xarray, for instance) is indexed with the slice
    and date of the pair. Members are never changed.

    Samples hold ``image_<modality>`` of shape ``(bands, height, width)``, float32 in the
    units of the files with NaN where nodata; ``transform_<modality>``, the nine numbers of
    its affine transform; ``bounds``, as TorchGeo writes them (float32: never rebuild a
    footprint from them); and ``days_apart``, the days between the acquisitions of the pair
    (the most of several, NaN if one has no date), which the index has as a column too.

    Pairing compares footprints of files, not of valid pixels, and is planar in the CRS of
    the first modality.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        datasets: Mapping[str, GeoDataset],
        *,
        tolerance: str | timedelta | None = None,
    ) -> None:
        """Initialize a new PairedDataset instance.

        Args:
            datasets: Modality name (lower-case identifier) -> dataset; the first gives the
                CRS and the reference grid.
            tolerance: Largest time between paired acquisitions, such as ``'5D'``; None
                pairs the nearest dates whatever lies between them, and undated data too.

        Raises:
            PairingError: If fewer than two modalities are given, a name is no identifier,
                or nothing overlaps in space, or in time within the tolerance.
            RasterError: If a raster has no CRS or cannot be read.
        """
        if len(datasets) < 2:
            raise PairingError(
                f'pairs need at least two modalities, {len(datasets)} given: name them, '
                "for example {'s1': ..., 's2': ...}"
            )
        for name in datasets:
            if not name.isidentifier() or name != name.lower():
                raise PairingError(
                    f'{name!r} cannot name a modality: use a short lower-case word such as '
                    "'s1'"
                )
        self.datasets = dict(datasets)
        self.modalities = tuple(self.datasets)
        self.tolerance = None if tolerance is None else _span(tolerance)
        if self.tolerance is not None and self.tolerance < timedelta(0):
            raise PairingError(
                f'tolerance is {tolerance}: a time span is never negative'
            )
        self.members = {}
        crs, cache = None, Cache()
        for name, dataset in self.datasets.items():
            self.members[name] = _Member(name, dataset, crs, cache)
            crs = self.members[name].crs
        first = self.members[self.modalities[0]]
        self._res = first.res
        self.paths = first.dataset.paths
        self.index = self._pair()
        # Plain arrays beside the index: a sample costs look-ups, not frames.
        self._outlines = self.index.geometry.to_numpy()
        self._tree = STRtree(self._outlines)
        times = cast(pd.IntervalIndex, self.index.index)
        self._starts = _moments(times.left)
        self._ends = _moments(times.right)
        self._rows = {name: self.index[name].to_numpy() for name in self.modalities}
        self._apart = self.index['days_apart'].to_numpy()

    def _pair(self) -> GeoDataFrame:
        """Lay the nearest-in-time scenes of every other modality over the first's."""
        first, *others = (self.members[name] for name in self.modalities)
        rows: list[dict[str, Any]] = []
        closest: list[timedelta] = []
        for i, (outline, time) in enumerate(
            zip(first.outlines, first.times, strict=True)
        ):
            pieces = [({first.name: i}, outline)]
            for other in others:
                pieces = [
                    ({**chosen, other.name: j}, part)
                    for chosen, piece in pieces
                    for j, part in other.nearest(piece, time, self.tolerance, closest)
                ]
            rows += [
                {
                    **chosen,
                    'days_apart': self._days_between(chosen),
                    'datetime': time,
                    'geometry': part,
                }
                for chosen, part in pieces
            ]
        if not rows:
            raise PairingError(self._why_nothing(closest))
        frame = pd.DataFrame(rows)
        times = pd.IntervalIndex(frame.pop('datetime'), closed='both', name='datetime')
        return GeoDataFrame(frame.set_index(times), geometry='geometry', crs=first.crs)

    def _days_between(self, chosen: Mapping[str, int]) -> float:
        """Days between the first modality and the farthest other; NaN if one is undated."""
        times = [self.members[name].times[row] for name, row in chosen.items()]
        if _UNDATED in times:
            return float('nan')
        return max(_gap(times[0], time) / timedelta(days=1) for time in times[1:])

    def _why_nothing(self, gaps: list[timedelta]) -> str:
        first, *others = (self.members[name] for name in self.modalities)
        if gaps:
            return (
                f'{" and ".join(self.modalities)} share ground but no date: the nearest '
                f'acquisitions are {min(gaps).days} days apart and the tolerance is '
                f'{self.tolerance}; widen it, or give tolerance=None to pair by place alone'
            )
        ground = shapely.union_all(first.outlines)
        gaps_m = {
            m.name: ground.distance(shapely.union_all(m.outlines)) for m in others
        }
        name, distance = max(gaps_m.items(), key=lambda item: item[1])
        unit = first.crs.axis_info[0].unit_name
        return (
            f'{first.name} and {name} have no common ground: their footprints are '
            f'{distance:,.0f} {unit}s apart in {first.crs.name}'
            f'{_days_apart(first, self.members[name])}; check that both cover one place'
        )

    def __getitem__(self, index: GeoSlice | PairSlice) -> Sample:
        """Read one patch of every modality.

        Args:
            index: [xmin:xmax, ymin:ymax, tmin:tmax] in the CRS of the first modality, read
                from the pair that covers most of it; a :class:`PairSlice` is read from the
                pair that it names.

        Returns:
            The sample described above.

        Raises:
            IndexError: If no pair of scenes covers the slice.
            RasterError: If a file cannot be read.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indexes: Sequence[GeoSlice | PairSlice]) -> list[Sample]:
        """Read many patches at once, which a loader does for each batch.

        Blocks of all files are decoded on all cores, each once.

        Args:
            indexes: Slices, as for one patch.

        Returns:
            One sample a slice, in the same order.

        Raises:
            IndexError: If no pair of scenes covers a slice.
            RasterError: If a file cannot be read.
        """
        return self.start(indexes)()

    def start(
        self, indexes: Sequence[GeoSlice | PairSlice]
    ) -> Callable[[], list[Sample]]:
        """Begin to read many patches, and go on with something else.

        Args:
            indexes: Slices, as for one patch.

        Returns:
            What waits for the samples and gives them, as :meth:`__getitems__` does.

        Raises:
            IndexError: If no pair of scenes covers a slice.
            RasterError: If a file cannot be opened.
        """
        if not indexes:
            return list
        places = [self._disambiguate_slice(index) for index in indexes]
        bounds = [(x.start, y.start, x.stop, y.stop) for x, y, _ in places]
        rows = self._find(indexes, places)
        coming = {
            name: member.start(self._rows[name][rows], bounds)
            for name, member in self.members.items()
        }

        def finish() -> list[Sample]:
            # As TorchGeo writes them, for all at once.
            corners = torch.tensor([_corners(*place) for place in places])
            apart = torch.from_numpy(self._apart[rows].astype(np.float32))
            samples: list[Sample] = [
                {'bounds': corner, 'days_apart': days}
                for corner, days in zip(corners, apart, strict=True)
            ]
            for name, read in coming.items():
                for sample, (key, image, place) in zip(samples, read(), strict=True):
                    sample[f'{key}_{name}'] = image
                    sample[f'transform_{name}'] = place
            return samples

        return finish

    def share(self, other: 'PairedDataset') -> None:
        """Keep open files and decoded blocks together with another dataset.

        Args:
            other: Whose to use, so that the two together hold no more than one would.
        """
        for reader in self._readers():
            for theirs in other._readers()[:1]:
                reader.cache = theirs.cache

    def _readers(self) -> list[SceneReader]:
        return [r for member in self.members.values() for r in member.readers]

    @cached_property
    def bounds(self) -> tuple[slice, slice, slice]:
        """Bounds of the index; pairs do not change, so they are looked up once."""
        return super().bounds

    def _find(
        self,
        indexes: Sequence[GeoSlice | PairSlice],
        places: Sequence[tuple[slice, slice, slice]],
    ) -> np.ndarray:
        """Row numbers of the pairs that are named, or cover most of their slices."""
        rows = np.full(len(indexes), -1, np.int64)
        for i, index in enumerate(indexes):
            if isinstance(index, PairSlice):
                rows[i] = index.row
                if not 0 <= index.row < len(self.index):
                    raise IndexError(
                        f'pair {index.row} is not in a dataset of {len(self.index)} pairs'
                    )
        free = np.flatnonzero(rows < 0)
        if len(free):
            rows[free] = self._covering([places[i] for i in free.tolist()])
        return rows

    def _covering(self, places: Sequence[tuple[slice, slice, slice]]) -> np.ndarray:
        """Row numbers of the pairs that cover most of some slices."""
        spans = [(x.start, y.start, x.stop, y.stop) for x, y, _ in places]
        boxes = shapely.box(*np.array(spans).T)
        asked, hits = self._tree.query(boxes, predicate='intersects')
        starts, ends = np.array(
            [(t.start, t.stop) for *_, t in places], 'datetime64[us]'
        ).T
        alive = (self._starts[hits] <= ends[asked]) & (
            self._ends[hits] >= starts[asked]
        )
        asked, hits = asked[alive], hits[alive]
        shares = shapely.area(shapely.intersection(self._outlines[hits], boxes[asked]))
        # For each slice the largest share; among equals, the first row.
        order = np.lexsort((hits, -shares, asked))
        found, first = np.unique(asked[order], return_index=True)
        if len(found) < len(places):
            lost = min({*range(len(places))} - {*found.tolist()})
            raise IndexError(
                f'no pair of scenes covers {spans[lost]} in dataset {self.bounds}'
            )
        return hits[order][first]

    def sizes(self, size: int) -> dict[str, int]:
        """Return how many pixels each modality has across one patch.

        Args:
            size: Patch width in pixels of the first modality.

        Returns:
            Modality -> pixels, on the same ground extent.
        """
        ground = size * self.res[0]
        return {n: max(1, round(ground / m.res[0])) for n, m in self.members.items()}

    def origin(self, row: int) -> tuple[float, float]:
        """Return a corner of the first modality's pixel lattice in a pair of scenes."""
        first = self.members[self.modalities[0]]
        xmin, _, _, ymax = first.outlines[self.index[first.name].iloc[row]].bounds
        return xmin, ymax

    def scenes_at(self, index: GeoSlice | PairSlice) -> dict[str, Scene | None]:
        """Return the scenes from which a patch is read.

        Args:
            index: As for reading a patch.

        Returns:
            Modality -> its scene; None for a dataset that is not raster files.

        Raises:
            IndexError: If no pair of scenes covers the slice.
        """
        (row,) = self._find([index], [self._disambiguate_slice(index)])
        numbers = {name: int(self._rows[name][row]) for name in self.modalities}
        return {
            name: member.readers[numbers[name]].scene if member.readers else None
            for name, member in self.members.items()
        }

    def gsd(self, modality: str) -> float:
        """Return the ground sample distance of a modality in metres.

        In a geographic CRS it is the north-south spacing, which does not shrink with
        latitude; elsewhere the pixel size as the CRS counts it.
        """
        unit = self.crs.axis_info[0].unit_conversion_factor
        res = self.members[modality].res[1]
        return float(
            res * unit * _EARTH_RADIUS if self.crs.is_geographic else res * unit
        )

    def valid_share(
        self, row: int, bounds: tuple[float, float, float, float], *, patch: int
    ) -> float:
        """Return the smallest share of valid pixels that a modality has in some bounds.

        Args:
            row: Number of the pair of scenes.
            bounds: ``(xmin, ymin, xmax, ymax)`` in the CRS of the dataset.
            patch: Patch width in pixels of the first modality; it sets how closely the
                share is known.

        Returns:
            Share from 0 to 1, from the first band of each modality; datasets that are not
            raster files count as wholly valid.
        """
        sizes = self.sizes(patch)
        return min(
            member.valid_share(int(self._rows[name][row]), bounds, sizes[name])
            for name, member in self.members.items()
        )

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> 'Figure':
        """Plot the modalities of a sample side by side.

        Args:
            sample: A sample of this dataset.
            show_titles: Whether to write each modality's name above its panel.
            suptitle: Title of the figure.

        Returns:
            A figure with one panel a modality, stretched to its 2nd and 98th percentile.
        """
        shown = {
            name: (
                sample.get(f'image_{name}', sample.get(f'mask_{name}')),
                member.bands,
            )
            for name, member in self.members.items()
        }
        return panels(shown, show_titles=show_titles, suptitle=suptitle)


def split_by_crs(dataset: GeoDataset) -> list[tuple[CRS, GeoDataset]]:
    """Split a dataset whose files lie in several zones into one dataset a CRS.

    TorchGeo lists every file in the CRS of the first. This gives each zone its own view,
    in its own CRS and with its own resolution; the dataset itself is left as it is.

    Args:
        dataset: Any GeoDataset; only raster datasets can hold more than one CRS.

    Returns:
        CRS and dataset, in order of first appearance.
    """
    if not isinstance(dataset, RasterDataset):
        return [(dataset.crs, dataset)]
    catalogue = scenes(dataset)
    zones: list[CRS] = []
    for scene in catalogue:
        if scene.crs not in zones:
            zones.append(scene.crs)
    return [(crs, _zone(dataset, catalogue, crs)) for crs in zones]


def _zone(dataset: RasterDataset, catalogue: list[Scene], crs: CRS) -> RasterDataset:
    rows = [i for i, scene in enumerate(catalogue) if scene.crs == crs]
    zone = copy.copy(dataset)
    index = cast(GeoDataFrame, dataset.index.iloc[rows].copy())
    outlines = [catalogue[i].footprint for i in rows]
    zone.index = GeoDataFrame(
        index.drop(columns=index.geometry.name), geometry=outlines, crs=crs
    )
    zone._res = catalogue[rows[0]].res
    return zone


class _Member:
    """One modality as the pairs see it: outlines and times in the common CRS."""

    def __init__(
        self, name: str, dataset: GeoDataset, crs: CRS | None, cache: Cache
    ) -> None:
        self.name = name
        self.dataset = dataset
        self.readers: list[SceneReader] = []
        self.outlines: list[BaseGeometry]
        if isinstance(dataset, RasterDataset):
            catalogue = scenes(dataset)
            self.crs = crs or catalogue[0].crs
            catalogue = [scene.to_crs(self.crs) for scene in catalogue]
            self.readers = [SceneReader(scene, cache) for scene in catalogue]
            self.outlines = [scene.footprint for scene in catalogue]
            self.bands = catalogue[0].bands
            self.res = catalogue[0].res
            self.units = catalogue[0].units
            self.nodata = catalogue[0].stated_nodata
        else:
            if dataset.crs is None:
                raise RasterError(
                    f'{name} has no CRS: declare it when opening the dataset'
                )
            self.crs = crs or dataset.crs
            # The member itself must not change: TorchGeo's setters work in place.
            view = copy.copy(dataset)
            view.index = dataset.index.to_crs(self.crs)
            if dataset.crs != self.crs:
                view._res = _res_in(dataset, self.crs)
            self.view = view
            self.outlines = list(view.index.geometry)
            self.bands = tuple(getattr(dataset, 'data_vars', ()) or ())
            # TorchGeo keeps the sign of rioxarray's row spacing.
            self.res = abs(view.res[0]), abs(view.res[1])
            self.units = None if set(self.bands) & SAR_BANDS else 'reflectance'
            self.nodata = getattr(dataset, 'nodata', None)
        self.valid: dict[int, Validity] = {}
        self.times = list(dataset.index.index)

    def nearest(
        self,
        piece: BaseGeometry,
        time: pd.Interval,
        tolerance: timedelta | None,
        gaps: list[timedelta],
    ) -> list[tuple[int, BaseGeometry]]:
        """Cover a piece of ground with this member's scenes, nearest in time first."""
        tree = STRtree(self.outlines)
        hits = [int(i) for i in tree.query(piece, predicate='intersects')]
        hits.sort(key=lambda i: (_gap(time, self.times[i]), i))
        covers = []
        for i in hits:
            part = _polygons(piece & self.outlines[i])
            if part.is_empty:
                continue
            gap = _gap(time, self.times[i])
            gaps.append(gap)
            if tolerance is not None and gap > tolerance:
                break
            covers.append((i, part))
            piece = piece - self.outlines[i]
            if piece.is_empty:
                break
        return covers

    def valid_share(
        self, row: int, bounds: tuple[float, float, float, float], patch: int
    ) -> float:
        """Share of valid pixels of one scene in some bounds."""
        if not self.readers:
            return 1.0
        if row not in self.valid:
            self.valid[row] = Validity(self.readers[row], patch // _CELLS)
        return self.valid[row].share(bounds)

    def start(
        self, rows: Sequence[int], bounds: Sequence[Bounds]
    ) -> Callable[[], list[tuple[str, torch.Tensor, torch.Tensor]]]:
        """Begin to read patches: key without the modality, pixels and transform of each."""
        if not self.readers:
            return lambda: [
                self._index(r, b) for r, b in zip(rows, bounds, strict=True)
            ]
        chosen = np.asarray(rows)
        asked = np.empty((len(rows), 4), np.int64)
        places = np.empty((len(rows), 9), np.float32)
        coming = []
        for row in np.unique(chosen):
            inside, reader = np.flatnonzero(chosen == row), self.readers[row]
            asked[inside] = reader.windows([bounds[i] for i in inside.tolist()])
            places[inside] = _transforms(reader.scene, asked[inside])
            # Patches of one scene and one size share their blocks.
            for size in np.unique(asked[inside, 2:], axis=0):
                members = inside[(asked[inside, 2:] == size).all(axis=1)]
                coming.append((members.tolist(), reader.start(asked[members])))

        def finish() -> list[tuple[str, torch.Tensor, torch.Tensor]]:
            images: dict[int, torch.Tensor] = {}
            for members, read in coming:
                images |= zip(members, torch.from_numpy(read()), strict=True)
            return [
                (*self._sample(images[i]), place)
                for i, place in enumerate(torch.from_numpy(places))
            ]

        return finish

    def _sample(self, image: torch.Tensor) -> tuple[str, torch.Tensor]:
        """Key and pixels of a sample, as the dataset's own transforms leave them."""
        dataset = cast(RasterDataset, self.dataset)
        key = 'image' if dataset.is_image else 'mask'
        sample: Sample = {key: image}
        if dataset.transforms is not None:
            sample = dataset.transforms(sample)
        key = 'image' if 'image' in sample else 'mask'
        return key, sample[key]

    def _index(
        self, row: int, bounds: Bounds
    ) -> tuple[str, torch.Tensor, torch.Tensor]:
        """Ask a dataset that is not made of raster files, as TorchGeo would."""
        xmin, ymin, xmax, ymax = bounds
        time = self.times[row]
        xres, yres = self.res
        # TorchGeo compares with half-open intervals: one moment alone would be empty.
        start = max(time.left, _SECOND_EVER) - pd.Timedelta(seconds=1)
        sample = self.view[
            slice(xmin, xmax, xres),
            slice(ymin, ymax, yres),
            slice(start, time.right, 1),
        ]
        place = Affine(xres, 0, xmin, 0, -yres, ymax)
        key = 'image' if 'image' in sample else 'mask'
        return key, sample[key], torch.tensor(place)


def _corners(x: slice, y: slice, t: slice) -> tuple[float, ...]:
    times = t.start.timestamp(), t.stop.timestamp(), t.step
    return x.start, x.stop, x.step, y.start, y.stop, y.step, *times


def _transforms(scene: Scene, windows: np.ndarray) -> np.ndarray:
    """Affine transforms of windows, float64 of shape ``(n, 9)``."""
    rows, columns = windows[:, 0], windows[:, 1]
    a, b, c, d, e, f, *_ = scene.transform
    found = np.tile(np.array(scene.transform), (len(windows), 1))
    found[:, 2] = columns * a + rows * b + c
    found[:, 5] = columns * d + rows * e + f
    return found


def _span(text: str | timedelta) -> timedelta:
    try:
        span = pd.Timedelta(text)
    except ValueError:
        span = pd.NaT
    if not isinstance(span, pd.Timedelta):
        raise PairingError(
            f"tolerance {text!r} is no time span: write for example '5D'"
        )
    return span.to_pytimedelta()


def _moments(times: pd.Index) -> np.ndarray:
    # Nanoseconds overflow where undated scenes begin and end; microseconds hold all times.
    return pd.DatetimeIndex(times).as_unit('us').to_numpy()


def _gap(a: pd.Interval, b: pd.Interval) -> timedelta:
    """Time between two acquisitions; none if they overlap or one has no date."""
    if _UNDATED in (a, b) or a.overlaps(b):
        return timedelta(0)
    return b.left - a.right if b.left > a.right else a.left - b.right


def _polygons(geometry: BaseGeometry) -> BaseGeometry:
    """Drop the lines and points that an intersection of touching polygons leaves."""
    parts = shapely.get_parts(geometry)
    return shapely.union_all(parts[shapely.area(parts) > 0])


def _days_apart(a: _Member, b: _Member) -> str:
    known_a = [time for time in a.times if time != _UNDATED]
    known_b = [time for time in b.times if time != _UNDATED]
    if not known_a or not known_b:
        return ''
    gap = min(_gap(p, q) for p in known_a for q in known_b)
    return f' and their dates {gap.days} days'


def _res_in(dataset: GeoDataset, crs: CRS) -> tuple[float, float]:
    """Resolution of a dataset in another CRS, at its own number of pixels."""
    x, y, _ = dataset.bounds
    xres, yres = dataset.res
    columns = max(1, round((x.stop - x.start) / xres))
    rows = max(1, round((y.stop - y.start) / yres))
    grid, _, _ = calculate_default_transform(
        dataset.crs.to_wkt(),
        crs.to_wkt(),
        columns,
        rows,
        x.start,
        y.start,
        x.stop,
        y.stop,
    )
    return grid.a, -grid.e
