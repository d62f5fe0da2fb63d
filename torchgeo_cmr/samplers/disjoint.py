"""Batches in which no two patches share ground."""

import warnings
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch.distributed
from shapely.geometry.base import BaseGeometry
from torch.utils.data import BatchSampler, Sampler
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import Units

from torchgeo_cmr.errors import PairingError
from torchgeo_cmr.samplers.animation import animate
from torchgeo_cmr.samplers.occupancy import Occupancy
from torchgeo_cmr.samplers.patch_area import Area, Bounds, PatchKey, areas_of, inside

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation

#: What NumPy turns into a generator, or one of torch.
type Seed = (
    int
    | np.random.BitGenerator
    | np.random.Generator
    | np.random.RandomState
    | np.random.SeedSequence
    | torch.Generator
    | None
)

#: Draws before a patch is given up. Random squares jam when about half the ground is
#: covered, so more patience buys little.
_DRAWS = 200


class DisjointBatchSampler(BatchSampler):
    """Random patches, none of which overlaps another one of its batch on the ground.

    In a contrastive batch every other patch is a negative; one that shows the same ground
    is a false negative. Patches are drawn uniformly over the ground of all rows of the
    dataset's index, whatever their date; rows that hold exactly one patch (pre-cut chips)
    give it once per epoch. A patch never leaves its row, so it has one date.

    Give it to a :class:`~torch.utils.data.DataLoader` as ``batch_sampler``.

    Under distributed training every process draws the same global batch of ``batch_size``
    times the number of processes and takes its share, so that negatives gathered across
    processes are disjoint as well. A batch that finds no more room is shortened, with one
    warning. Patches of different CRSs are compared by their boxes in longitude and
    latitude, which is slightly too strict.

    With *gather* above 1, patches are drawn in small groups: the first anywhere, the others
    near it. Files then decode fewer blocks for a batch, at the price of patches that are
    more alike: a batch then represents the ground less well than its size suggests.

    Examples:
        >>> import shapely
        >>> from pyproj import CRS
        >>> day = pd.Interval(pd.Timestamp(2024, 6, 1), pd.Timestamp(2024, 6, 2))
        >>> area = Area(
        ...     zone=0,
        ...     polygon=shapely.box(0, 0, 5120, 5120),
        ...     crs=CRS(32632),
        ...     time=day,
        ...     origin=(0.0, 5120.0),
        ...     res=(10.0, 10.0),
        ...     size=32,
        ... )
        >>> sampler = DisjointBatchSampler(
        ...     [area], batch_size=16, length=32, generator=0
        ... )
        >>> boxes = [
        ...     shapely.box(x.start, y.start, x.stop, y.stop)
        ...     for _, (x, y, _) in next(iter(sampler))
        ... ]
        >>> (
        ...     len(sampler),
        ...     len(boxes),
        ...     shapely.union_all(boxes).area == sum(b.area for b in boxes),
        ... )
        (2, 16, True)
    """

    def __init__(
        self,
        dataset: GeoDataset | Sequence[Area],
        batch_size: int,
        *,
        size: float | tuple[float, float] | None = None,
        length: int | None = None,
        roi: BaseGeometry | None = None,
        toi: pd.Interval | None = None,
        units: Units = Units.PIXELS,
        generator: Seed = None,
        drop_last: bool = True,
        gather: int = 1,
        sampler: Sampler | None = None,
    ) -> None:
        """Initialize a new DisjointBatchSampler instance.

        Args:
            dataset: Any dataset with an index in space and time. Areas instead, such as
                :class:`~torchgeo_cmr.datamodules.PairedDataModule` makes for several
                zones, state the size of their patches; their keys name the zone too.
            batch_size: Patches per batch (for each process).
            size: Patch size: the side of a square, or height and width.
            length: Random patches per epoch, in addition to chips (default: as many as
                would cover the ground once). If there are only chips, the most of them
                that an epoch uses.
            roi: Region that patches must not leave, in the CRS of the dataset.
            toi: Time of interest: other rows of the index are not used. Without a time zone
                it is in that of the index.
            units: Whether *size* is in pixels or in units of the CRS.
            generator: Source of randomness; an integer makes epochs repeatable. The number of
                the epoch is mixed in.
            drop_last: Whether to drop the last, smaller batch of an epoch.
            gather: Patches in a group that is drawn from one neighbourhood, a square with
                room for four times as many; 1 draws every patch from the whole ground.
            sampler: Only for Lightning, which passes its own sampler when it makes loaders anew
                for distributed training; only its epoch is used.

        Raises:
            PairingError: If no patch fits into the ground, or *roi* and *toi* leave none.
            ValueError: If *batch_size*, *gather* or *length* is below 1, or *size* is missing
                or less than a pixel.
        """
        for name, value in (
            ('batch_size', batch_size),
            ('gather', gather),
            ('length', length),
        ):
            if value is not None and value < 1:
                raise ValueError(f'{name} is {value}: it must be at least 1')
        self._with_zone = not isinstance(dataset, GeoDataset)
        if isinstance(dataset, GeoDataset):
            if size is None:
                raise ValueError('size is missing: state the size of a patch')
            areas = areas_of(dataset, size, roi=roi, toi=toi, units=units)
            if not areas and len(dataset.index):
                raise PairingError(
                    'no row of the dataset lies in roi and toi: roi has the CRS of the dataset, '
                    f'whose bounds are {dataset.bounds}'
                )
            dataset = areas
        self.areas = list(dataset)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.gather = gather
        self.epoch = 0
        self._sampler = sampler
        self._is_fixed = isinstance(generator, int)
        self._seed = generator if isinstance(generator, int) else _drawn_seed(generator)
        is_chip = np.array([area.is_chip for area in self.areas], bool)
        self._chips = np.flatnonzero(is_chip).tolist()
        # Where there is no room for a patch, none would be found however often one is drawn.
        others = (self.areas[i] for i in np.flatnonzero(~is_chip).tolist())
        self._open = [area for area in others if area.has_room]
        sizes = np.array([area.polygon.area for area in self._open])
        patches = [area.polygon.area / np.prod(area.extent) for area in self._open]
        if length is None and self._open:
            length = max(1, int(sum(patches)))
        #: Random patches per epoch, in addition to chips.
        self.length = (length or 0) if self._open else 0
        self._most_chips = None if self._open else length
        #: Share of the ground up to and with each open area.
        shares = np.cumsum(sizes)
        self._shares = (shares / shares[-1:]).tolist()
        if not self._chips and not self._open:
            raise PairingError(
                'no patch fits into the training ground: choose a smaller patch_size, '
                'block or margin'
            )
        self._crs = {area.crs for area in self.areas}
        self._warned = False

    @property
    def sampler(self) -> Sampler:
        """The sampler whose epoch Lightning sets.

        So a run that is resumed in its tenth epoch draws what an undisturbed run would have
        drawn. Not an attribute: a reference to itself would keep the areas, and the dataset
        with all its decoded blocks, alive until Python collects cycles.
        """
        return self if self._sampler is None else self._sampler

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is mixed into the seed."""
        self.epoch = epoch

    @cached_property
    def _valid_chips(self) -> list[int]:
        """Numbers of the chips that hold enough valid pixels, each read once."""
        return [i for i in self._chips if self.areas[i].chip() is not None]

    @cached_property
    def _drawn(self) -> int:
        """Random patches per epoch: none next to chips if all that is tried lacks valid pixels."""
        if not self._open or not self._chips:
            return self.length
        occupancy = Occupancy(lonlat=len(self._crs) > 1)
        if self._next_draws(1, np.random.default_rng(0), occupancy):
            return self.length
        warnings.warn(
            f'no patch of the ground that is not chips was found in {_DRAWS} draws: epochs are of '
            'the chips alone (lower min_valid, or check nodata)',
            UserWarning,
        )
        return 0

    def __len__(self) -> int:
        """Return the number of batches of each process in an epoch.

        Chips are read first, so that it is exactly the number of batches that are drawn.
        """
        return self._count()[0]

    def _count(self) -> tuple[int, int]:
        """Batches and patches of an epoch."""
        chips = len(self._valid_chips)
        if self._most_chips is not None:
            chips = min(chips, self._most_chips)
        total, batch = self._drawn + chips, self._global_batch()
        if total == 0:
            raise PairingError(
                f'none of {len(self._chips)} chips has enough valid pixels (and a label, '
                'if labels are given): lower min_valid, or check nodata'
            )
        batches = total // batch
        # Each process needs a patch of a smaller last batch.
        if not self.drop_last and total % batch >= _rank_and_world()[1]:
            batches += 1
        return max(1, batches), total

    def __iter__(self) -> Iterator[list[Any]]:
        """Draw the batches of one epoch.

        Yields:
            Keys of patches that do not overlap: what indexes the dataset, and with areas
            the number of the zone before it.

        Raises:
            PairingError: If not even one patch per process could be placed.
        """
        epoch = int(getattr(self.sampler, 'epoch', self.epoch))
        generator = np.random.default_rng([self._common_seed(), epoch])
        batches, remaining = self._count()
        chips = deque(generator.permutation(self._valid_chips).tolist())
        # An epoch of chips alone may be shorter than their number.
        while len(chips) > remaining - self._drawn:
            chips.pop()
        rank, world = _rank_and_world()
        occupancy = Occupancy(lonlat=len(self._crs) > 1)
        for _ in range(batches):
            size = min(remaining, self._global_batch())
            batch = self._batch(size, chips, remaining, generator, occupancy)
            remaining -= len(batch)
            if len(batch) < size:
                self._warn(len(batch), size)
            # All processes draw the same batch, so that none of their shares overlap, and take
            # equally many patches of it: a gradient waits for that of every other process.
            share = batch[: len(batch) // world * world][rank::world]
            if not share:
                raise PairingError(
                    f'no patch could be placed on the training ground after {_DRAWS} draws: '
                    'lower min_valid, or choose a smaller patch_size or margin'
                )
            yield share if self._with_zone else [key for _, key in share]
        self.epoch = epoch + 1

    def _common_seed(self) -> int:
        if not self._is_fixed and _rank_and_world()[1] > 1:
            seeds = [self._seed]
            torch.distributed.broadcast_object_list(seeds)
            (self._seed,) = seeds
            self._is_fixed = True
        return self._seed

    def _global_batch(self) -> int:
        return self.batch_size * _rank_and_world()[1]

    def _batch(
        self,
        size: int,
        chips: deque[int],
        remaining: int,
        generator: np.random.Generator,
        occupancy: Occupancy,
    ) -> list[PatchKey]:
        occupancy.clear()
        batch: list[PatchKey] = []
        while len(batch) < size:
            # Chips take the share of each batch that they have of what is left of the epoch,
            # so that all of them have come, once each, when it ends.
            from_chips = len(chips) > 0 and (
                not self._open
                or generator.random() < len(chips) / max(1, remaining - len(batch))
            )
            # What comes next depends on what was placed, if both kinds or groups are drawn.
            one_by_one = self.gather > 1 or (len(chips) > 0 and self._open)
            most = 1 if one_by_one else size - len(batch)
            if from_chips:
                keys = self._next_chips(most, chips, occupancy)
            else:
                keys = self._next_draws(most, generator, occupancy)
            if not keys and chips and not from_chips:
                # Open ground is full; chips lie elsewhere.
                keys = self._next_chips(1, chips, occupancy)
            batch += keys
            if len(keys) < most:
                break
        return batch

    def _next_chips(
        self, most: int, chips: deque[int], occupancy: Occupancy
    ) -> list[PatchKey]:
        def attempt(turns: int, _: int) -> list[PatchKey | None]:
            numbers = [chips.popleft() for _ in range(turns)]
            areas = [self.areas[i] for i in numbers]
            bounds = [bounds for area in areas if (bounds := area.chip())]
            placed = set(occupancy.place(bounds, areas))
            # What overlaps this batch waits for a later one, behind the others.
            chips.extend(n for i, n in enumerate(numbers) if i not in placed)
            return [
                area.key(bounds[i]) if i in placed else None
                for i, area in enumerate(areas)
            ]

        return _in_turns(most, lambda: min(len(chips), _DRAWS), attempt)

    def _next_draws(
        self, most: int, generator: np.random.Generator, occupancy: Occupancy
    ) -> list[PatchKey]:
        def attempt(turns: int, failed: int) -> list[PatchKey | None]:
            keys: list[PatchKey | None] = [None] * turns
            spots = [self._spot(generator, occupancy, failed) for _ in range(turns)]
            drawn = [(i, area, at) for i, (area, at) in enumerate(spots) if at]
            fits = inside([area for _, area, _ in drawn], [at for *_, at in drawn])
            drawn = [each for each, ok in zip(drawn, fits, strict=True) if ok]
            for number in occupancy.place(
                [at for *_, at in drawn],
                [area for _, area, _ in drawn],
                lambda n: drawn[n][1].is_valid(drawn[n][2]),
            ):
                i, area, at = drawn[number]
                if occupancy.group_size == 0:
                    occupancy.neighbourhood = _neighbourhood(at, self.gather)
                occupancy.group_size += 1
                keys[i] = area.key(at)
            return keys

        return _in_turns(most, lambda: _DRAWS, attempt)

    def _spot(
        self, generator: np.random.Generator, occupancy: Occupancy, failed: int
    ) -> tuple[Area, Bounds | None]:
        within = occupancy.neighbourhood
        if occupancy.group_size % self.gather == 0 or failed > _DRAWS // 4:
            # A new group, or no room left in the neighbourhood of the last. Areas are
            # drawn by their size, and again for every draw: what an area rejects is not
            # made up for by the same area, so patches stay uniform over the ground.
            occupancy.group_size = 0
            choice = bisect_right(self._shares, generator.random())
            occupancy.area, within = self._open[choice], None
        assert occupancy.area is not None
        return occupancy.area, occupancy.area.spot(generator, within)

    def _warn(self, placed: int, size: int) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f'only {placed} of {size} patches fit side by side on the training '
                'ground; batches are shortened (choose a smaller batch_size or patch_size)',
                UserWarning,
            )

    def plot(self) -> 'FuncAnimation':
        """Plot the ground, and batch after batch the patches that are drawn on it.

        Returns:
            An animation with one frame per batch, in the CRS of the ground, or in degrees
            if it has several.
        """
        crs = {area.zone: area.crs for area in self.areas}
        batches = (
            [
                (key[1], crs[key[0]]) if self._with_zone else (key, crs[0])
                for key in batch
            ]
            for batch in self
        )
        return animate(
            type(self).__name__,
            [(area.polygon, area.crs) for area in self.areas],
            batches,
            len(self),
        )


def _in_turns(
    most: int,
    patience: Callable[[], int],
    attempt: Callable[[int, int], list[PatchKey | None]],
) -> list[PatchKey]:
    """Draw until enough patches are placed, or as many draws in a row as one may take fail.

    Never more draws than patches are missing, so that they are the same however many are
    compared at once.
    """
    keys: list[PatchKey] = []
    failed = 0
    while len(keys) < most and failed < patience():
        turns = min(most - len(keys), patience() - failed)
        for key in attempt(turns, failed):
            failed = 0 if key else failed + 1
            keys += [key] if key else []
    return keys


def _neighbourhood(bounds: Bounds, gather: int) -> Bounds:
    """Square around a patch with room for four groups, so that groups do not jam."""
    xmin, ymin, xmax, ymax = bounds
    margin = gather**0.5 - 0.5
    x, y = margin * (xmax - xmin), margin * (ymax - ymin)
    return xmin - x, ymin - y, xmax + x, ymax + y


def _rank_and_world() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _drawn_seed(generator: Seed) -> int:
    """Draw a seed, so that the same generator gives other epochs each time."""
    if isinstance(generator, torch.Generator):
        return int(torch.randint(2**62, (), generator=generator))
    return int(np.random.default_rng(generator).integers(2**63))
