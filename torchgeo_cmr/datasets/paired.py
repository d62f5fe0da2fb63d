"""Pairs: the same ground seen by two or more sensors, each on its own grid."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import pandas as pd
import shapely
import torch
from geopandas import GeoDataFrame
from pyproj import CRS
from shapely import STRtree
from torchgeo.datasets import GeoDataset
from torchgeo.datasets.utils import GeoSlice, Sample

from torchgeo_cmr.datasets.listing import Listing, moments, read_listing
from torchgeo_cmr.datasets.member import Member, pixels_across
from torchgeo_cmr.datasets.pairing import pair_scenes
from torchgeo_cmr.datasets.plots import panels
from torchgeo_cmr.errors import PairingError
from torchgeo_cmr.iso8601 import usual_units
from torchgeo_cmr.reading.cache import Cache
from torchgeo_cmr.scenes.outlines import pixel_in, project
from torchgeo_cmr.scenes.scene import Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Mean radius of the Earth in metres: one radian of latitude.
_EARTH_RADIUS = 6371008.8


class PairSlice(tuple[slice, slice, slice]):
    """Ground to read from one pair of scenes, where several pairs may cover it.

    It is an ordinary slice ``(x, y, t)`` that also names its pair, so it unpacks and
    indexes as any other.

    Args:
        row: Number of the pair, counted from 0 in the order of the index.
        x: Ground from west to east, in the CRS of the pairs.
        y: Ground from south to north.
        t: Dates, as TorchGeo slices them.
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

    The index holds one row per pair: a scene of the first modality and, of every other, the
    scene nearest in time among those that overlap it; scenes without a date come last. Each
    place of a first scene belongs to exactly one row, so nothing is paired twice. The CRS of
    index and slices is that of the first modality.

    Each modality has one pixel size: what its dataset states (``res``), or that of its first
    file. A file in the CRS of the pairs with those pixels is read as it is; others are warped
    in memory, so that patches of one modality have one shape.

    Members are believed and never changed: ground and dates that their index lists (also
    after TorchGeo's splits), ``resampling``, ``dtype``, ``is_image`` and ``transforms``. Raster
    files and cubes are read by :class:`~torchgeo_cmr.reading.reader.SceneReader`; any other
    :class:`~torchgeo.datasets.GeoDataset`, and classes with a ``__getitem__`` of their own, are
    indexed with the slice and date of the pair.

    Samples hold ``image_<modality>`` of shape ``(bands, height, width)``, float32 in the
    units of the files with NaN where nodata; ``transform_<modality>``, the nine numbers of
    its affine transform; whatever else the transforms of a member leave, as
    ``<key>_<modality>`` (class rasters are ``mask_<modality>``); ``bounds``, as TorchGeo
    writes them (float32: never rebuild a footprint from them); and ``days_apart``, the days
    between the acquisitions of the pair (one number: the most of several, NaN if one has no
    date), which the index has as a column too.

    Pairing compares footprints of files, not of valid pixels, and is planar in the CRS of
    the first modality.

    Examples:
        >>> import tempfile
        >>> from torchgeo.datasets import Sentinel1, Sentinel2
        >>> from torchgeo_cmr.datasets.synthetic import SyntheticLandscape
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     world = SyntheticLandscape(folder, size=192, sensors=('s1', 's2'))
        ...     s2 = Sentinel2(world.s2, bands=['B04', 'B08'])
        ...     pairs = PairedDataset(
        ...         {'s1': Sentinel1(world.s1), 's2': s2}, tolerance='5D'
        ...     )
        >>> len(pairs)
        4
    """

    def __init__(
        self,
        datasets: Mapping[str, GeoDataset],
        *,
        tolerance: str | timedelta | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new PairedDataset instance.

        Args:
            datasets: Modality name (lower-case identifier) -> dataset; the first gives the
                CRS and the reference grid.
            tolerance: Largest time between paired acquisitions, such as ``'5D'``, which
                data without a date always fails; None pairs the nearest dates whatever
                lies between them, and data without a date where there is no other.
            transforms: A function that takes a sample of all modalities and returns it
                changed; those of the members act before it, each on its own sample.

        Raises:
            PairingError: If fewer than two modalities are given, a name is not an identifier,
                or nothing overlaps in space, or in time within the tolerance.
            RasterError: If a raster has no CRS or cannot be read.
        """
        check_modalities(datasets)
        self._begin(
            {name: read_listing(name, member) for name, member in datasets.items()},
            None,
            _tolerance(tolerance),
            transforms,
        )

    @classmethod
    def of_zone(
        cls,
        listings: Mapping[str, Listing],
        crs: CRS,
        tolerance: str | timedelta | None = None,
    ) -> Self:
        """Pair listings that were read already, in the CRS of one zone.

        Args:
            listings: Modality name -> what it lists; the first gives the grid.
            crs: CRS of the pairs.
            tolerance: As for a new dataset.

        Returns:
            The pairs.

        Raises:
            PairingError: If nothing overlaps.
        """
        made = cls.__new__(cls)
        made._begin(listings, crs, _tolerance(tolerance), None)
        return made

    def _begin(
        self,
        listings: Mapping[str, Listing],
        crs: CRS | None,
        tolerance: timedelta | None,
        transforms: Callable[[Sample], Sample] | None,
    ) -> None:
        self.listings = dict(listings)
        self.datasets = {name: c.dataset for name, c in self.listings.items()}
        self.modalities = tuple(self.listings)
        self.tolerance = tolerance
        self.transforms = transforms
        self.cache = Cache()
        first = self.listings[self.modalities[0]]
        self.paths = first.dataset.paths
        crs = first.dataset.crs if crs is None else crs
        self._lay(crs, first.pixel(crs))
        self.index = self._pair()

    def _lay(self, crs: CRS, res: tuple[float, float]) -> None:
        """Lay every modality on its lattice."""
        self._res = res
        self._looked_up: _LookUp | None = None
        name, *others = self.modalities
        first = Member(self.listings[name], crs, res, None, self.cache, None)
        left, bottom, right, top = shapely.total_bounds(first.outlines)
        # Slices may hang over the edge of the first modality.
        x, y = right - left, top - bottom
        region = shapely.box(left - x, bottom - y, right + x, top + y)
        self.members = {name: first}
        for other in others:
            listing = self.listings[other]
            # Pixels of one size lie upon one another, whatever has to be warped.
            self.members[other] = Member(
                listing, crs, listing.pixel(crs), first.corner, self.cache, region
            )

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what can be made again: it would be most of what is sent."""
        return self.__dict__ | {'_looked_up': None}

    def _pair(self) -> GeoDataFrame:
        """Lay the nearest-in-time scenes of every other modality over the first's."""
        first, *others = self.members.values()
        found = pair_scenes(first, others, self.tolerance)
        if not len(found.pieces):
            raise PairingError(self._why_nothing())
        columns = dict(zip(self.modalities, found.entries.T, strict=True))
        times = first.listing.times[found.entries[:, 0]]
        return GeoDataFrame(
            columns | {'days_apart': found.days},
            index=times,
            geometry=found.pieces,
            crs=first.crs,
        )

    @property
    def _within(self) -> str:
        """The tolerance in words."""
        return str(self.tolerance).removesuffix(', 0:00:00')

    def _why_nothing(self) -> str:
        first, *others = self.members.values()
        found = pair_scenes(first, others, None)
        if len(found.pieces) and np.isnan(found.days).all():
            undated = [m.name for m in self.members.values() if m.listing.undated.all()]
            return (
                f'{" and ".join(self.modalities)} share ground, but '
                f'{" and ".join(undated) or "what overlaps"} has no date and so fails every '
                f'tolerance (here {self._within}); give tolerance=None to pair by place '
                'alone, or a dataset that takes dates from file names'
            )
        if len(found.pieces):
            nearest = timedelta(days=float(np.nanmin(found.days)))
            return (
                f'{" and ".join(self.modalities)} share ground but no date: the nearest '
                f'acquisitions are {nearest.days} days apart and the tolerance is '
                f'{self._within}; widen it, or give tolerance=None to pair by place alone'
            )
        ground = shapely.union_all(first.outlines)
        gaps = {m: ground.distance(shapely.union_all(m.outlines)) for m in others}
        other, distance = max(gaps.items(), key=lambda item: item[1])
        far = next((m for m, gap in gaps.items() if np.isnan(gap)), None)
        if far is None:
            unit = first.crs.axis_info[0].unit_name
            apart = f'{distance:,.0f} {unit}s apart in {first.crs.name}'
        else:
            other, apart = far, f'at {first.place} and {far.place}'
        return (
            f'{first.name} and {other.name} have no common ground: their footprints are '
            f'{apart}{_days_apart(first, other)}; check that both cover one place'
        )

    @property
    def crs(self) -> CRS:
        """CRS of the pairs; setting it moves the index and warps every modality into it."""
        return super().crs

    @crs.setter
    def crs(self, new_crs: CRS) -> None:
        crs = CRS.from_user_input(new_crs)
        if crs == self.crs:
            return
        ground = project(np.array(self.index.geometry, object), self.crs, crs)
        self._lay(crs, pixel_in(self.res, self.crs, crs, self._centre()))
        self.index = cast(GeoDataFrame, self.index.set_geometry(ground, crs=crs))

    @property
    def res(self) -> tuple[float, float]:
        """Pixel size of the first modality; setting it leaves the others as they are."""
        return self._res

    @res.setter
    def res(self, new_res: float | tuple[float, float]) -> None:
        x, y = np.broadcast_to(np.asarray(new_res, float), 2).tolist()
        if (abs(x), abs(y)) != self._res:
            self._lay(self.crs, (abs(x), abs(y)))

    def _centre(self) -> tuple[float, float]:
        left, bottom, right, top = self.index.total_bounds
        return (left + right) / 2, (bottom + top) / 2

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
        places = [self._place(index) for index in indexes]
        bounds = [(x.start, y.start, x.stop, y.stop) for x, y, _ in places]
        pairs = self._pairs
        rows = self._find(indexes, places)
        coming = {
            name: member.start(pairs.entries[name][rows], bounds)
            for name, member in self.members.items()
        }

        def finish() -> list[Sample]:
            # As TorchGeo writes them, for all at once.
            corners = torch.tensor([_corners(*place) for place in places])
            # Not a scalar: TorchGeo joins what samples hold along an axis.
            apart = torch.from_numpy(pairs.apart[rows])[:, None]
            samples: list[Sample] = [
                {'bounds': corner, 'days_apart': days}
                for corner, days in zip(corners, apart, strict=True)
            ]
            for name, read in coming.items():
                for sample, part in zip(samples, read(), strict=True):
                    # Bounds are those of all modalities.
                    sample |= {f'{k}_{name}': part[k] for k in part if k != 'bounds'}
            if self.transforms is not None:
                samples = [self.transforms(sample) for sample in samples]
            return samples

        return finish

    def share(self, other: 'PairedDataset') -> None:
        """Keep open files and decoded blocks together with another dataset.

        Args:
            other: Whose to use, so that the two together hold no more than one would.
        """
        self.cache = other.cache
        for member in self.members.values():
            member.share(self.cache)

    @property
    def _pairs(self) -> '_LookUp':
        """The index as arrays: a sample costs look-ups, not frames."""
        known = self._looked_up
        # TorchGeo's splits put another index, or other dates, into a copy.
        if known is None or not known.shows(self.index):
            known = self._looked_up = _LookUp(self.index, self.modalities)
        return known

    @property
    def bounds(self) -> tuple[slice, slice, slice]:
        """Bounds of the index, as TorchGeo gives them."""
        pairs = self._pairs
        if pairs.bounds is None:
            pairs.bounds = super().bounds
        return pairs.bounds

    def _place(self, index: GeoSlice | PairSlice) -> tuple[slice, slice, slice]:
        """Ground and dates of a slice, once it is sure that it wants no other pixels."""
        x, y, t = self._disambiguate_slice(index)
        width, height = self.res
        # Plain numbers: this is done for every patch of a batch.
        if not (
            abs(x.step - width) <= 1e-6 * width
            and abs(y.step - height) <= 1e-6 * height
        ):
            raise PairingError(
                f'a slice requests pixels of {x.step} x {y.step}, but every modality of a '
                'pair is read at its own: leave the step out, or set `res` of the dataset'
            )
        return x, y, t

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
        pairs = self._pairs
        queries, hits = pairs.tree.query(boxes, predicate='intersects')
        starts, ends = np.array(
            [(t.start, t.stop) for *_, t in places], 'datetime64[us]'
        ).T
        alive = (pairs.starts[hits] <= ends[queries]) & (
            pairs.ends[hits] >= starts[queries]
        )
        queries, hits = queries[alive], hits[alive]
        shares = shapely.area(
            shapely.intersection(pairs.outlines[hits], boxes[queries])
        )
        # For each slice the largest share; among equals, the first row.
        order = np.lexsort((hits, -shares, queries))
        found, first = np.unique(queries[order], return_index=True)
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
        ground = (0, 0, size * self.res[0], size * self.res[1])
        return {
            name: int(pixels_across([ground], member.res)[0, 1])
            for name, member in self.members.items()
        }

    def origin(self, row: int) -> tuple[float, float]:
        """Return a corner of the first modality's pixel lattice in a pair of scenes."""
        name = self.modalities[0]
        return self.members[name].origin(int(self._pairs.entries[name][row]))

    def scenes_at(self, index: GeoSlice | PairSlice) -> dict[str, Scene | None]:
        """Return the scenes from which a patch is read.

        Args:
            index: As for reading a patch.

        Returns:
            Modality -> its scene; None for a dataset that is not raster files.

        Raises:
            IndexError: If no pair of scenes covers the slice.
        """
        (row,) = self._find([index], [self._place(index)])
        entries = self._pairs.entries
        return {
            name: member.scene(int(entries[name][row]))
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
        self, row: int, bounds: tuple[float, float, float, float], *, nan: bool = True
    ) -> float:
        """Return the smallest share of valid pixels that a modality has in some bounds.

        As in embedding, a pixel is valid if no band misses it and no quality mask calls it
        missing.

        Args:
            row: Number of the pair of scenes.
            bounds: ``(xmin, ymin, xmax, ymax)`` in the CRS of the dataset.
            nan: Whether to look for NaN in files that mark no pixels as missing.

        Returns:
            Share from 0 to 1; datasets that are not files count as wholly valid.
        """
        entries = self._pairs.entries
        return min(
            member.valid_share(int(entries[name][row]), bounds, nan=nan)
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


def check_modalities(names: Collection[str]) -> None:
    """Refuse names of modalities with which no sample can be written.

    Args:
        names: The names.

    Raises:
        PairingError: If there are fewer than two, or one is not a lower-case identifier.
    """
    if len(names) < 2:
        raise PairingError(
            f'pairs need at least two modalities, {len(names)} given: name them, '
            "for example {'s1': ..., 's2': ...}"
        )
    for name in names:
        if not name.isidentifier() or name != name.lower():
            raise PairingError(
                f'{name!r} cannot name a modality: use a short lower-case word such as '
                "'s1'"
            )


class _LookUp:
    """The index of pairs as plain arrays, and a tree of their ground."""

    def __init__(self, index: GeoDataFrame, modalities: Sequence[str]) -> None:
        self.index, self.times = index, index.index
        self.outlines = np.array(index.geometry, object)
        self.tree = STRtree(self.outlines)
        times = cast(pd.IntervalIndex, index.index)
        self.starts, self.ends = moments(times.left), moments(times.right)
        # TorchGeo's assignment of grid cells keeps the order of columns, not their names.
        names = [*modalities, 'days_apart']
        columns = [
            (index[name] if name in index else index.iloc[:, i]).to_numpy()
            for i, name in enumerate(names)
        ]
        self.entries = {
            name: column.astype(np.int64)
            for name, column in zip(modalities, columns, strict=False)
        }
        self.apart = columns[-1].astype(np.float32)
        self.bounds: tuple[slice, slice, slice] | None = None

    def shows(self, index: GeoDataFrame) -> bool:
        """Whether it was made of this index as it is."""
        return index is self.index and index.index is self.times


def _days_apart(a: Member, b: Member) -> str:
    known = [~member.listing.undated for member in (a, b)]
    if not all(dated.any() for dated in known):
        return ''
    first, other = (
        np.c_[m.listing.starts[dated], m.listing.ends[dated]]
        for m, dated in zip((a, b), known, strict=True)
    )
    after = other[:, 0].min() - first[:, 1].max()
    before = first[:, 0].min() - other[:, 1].max()
    gap = max(after, before, np.timedelta64(0, 'us'))
    return f' and their dates {gap // np.timedelta64(1, "D")} days'


def _corners(x: slice, y: slice, t: slice) -> tuple[float, ...]:
    times = t.start.timestamp(), t.stop.timestamp(), t.step
    return x.start, x.stop, x.step, y.start, y.stop, y.step, *times


def _tolerance(text: str | timedelta | None) -> timedelta | None:
    span = None if text is None else _span(text)
    if span is not None and span < timedelta(0):
        raise PairingError(f'tolerance is {text}: a time span is never negative')
    return span


def _span(text: str | timedelta) -> timedelta:
    try:
        # A bare number would be nanoseconds: nobody means them.
        known = usual_units(text) if isinstance(text, str) else text
        span = pd.NaT if _is_number(text) else pd.Timedelta(known)
    except ValueError:
        span = pd.NaT
    if not isinstance(span, pd.Timedelta):
        raise PairingError(
            f"tolerance {text!r} is not a time span: write for example '5D'"
        )
    return span.to_pytimedelta()


def _is_number(text: object) -> bool:
    try:
        return not isinstance(text, timedelta) and float(cast(str, text)) != 0
    except (TypeError, ValueError):
        return False
