"""Batches in which no two patches share ground."""

import warnings
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import shapely
import torch.distributed
from pyproj import Transformer
from torch.utils.data import BatchSampler, Sampler

from torchgeo_cmr.errors import PairingError
from torchgeo_cmr.samplers.area import Area, Bounds, PatchKey

#: Draws before a patch is given up. Random squares jam when about half the ground is
#: covered, so more patience buys little.
_DRAWS = 200


class DisjointBatchSampler(BatchSampler):
    """Random patches, none of which overlaps another one of its batch on the ground.

    In a contrastive batch every other patch is a negative; one that shows the same ground
    is a false negative. Patches are drawn uniformly over all areas, whatever their date;
    areas that hold exactly one patch (pre-cut chips) give it once an epoch.

    Under distributed training every process draws the same global batch of ``batch_size``
    times the number of processes and takes its share, so that negatives gathered across
    processes are disjoint as well. A batch that finds no more room is shortened, with one
    warning. Patches of different zones are compared by their boxes in longitude and
    latitude, which is slightly too strict.

    With *gather* above 1, patches are drawn in small groups: the first anywhere, the others
    near it. Files then decode fewer blocks for a batch, at the price of patches that are
    more alike: a batch tells less about the whole ground than its size says.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        areas: Sequence[Area],
        batch_size: int,
        *,
        length: int | None = None,
        drop_last: bool = True,
        gather: int = 1,
        seed: int = 0,
        sampler: Sampler | None = None,
    ) -> None:
        """Initialize a new DisjointBatchSampler instance.

        Args:
            areas: Ground to draw from.
            batch_size: Patches a batch (for each process).
            length: Random patches an epoch, besides chips (default: as many as would
                cover the areas once).
            drop_last: Whether to leave out the last, smaller batch of an epoch.
            gather: Patches in a group that is drawn from one neighbourhood, a square with
                room for four times as many; 1 draws every patch from the whole ground.
            seed: Seed of the draws; the epoch is mixed in.
            sampler: Only for Lightning, which hands in its own sampler when it restarts
                loaders for distributed training; nothing but its epoch is used.

        Raises:
            PairingError: If no patch fits into any area.
            ValueError: If *batch_size* or *gather* is below 1.
        """
        for name, value in (('batch_size', batch_size), ('gather', gather)):
            if value < 1:
                raise ValueError(f'{name} is {value}: it must be at least 1')
        self.areas = list(areas)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.gather = gather
        self.seed = seed
        self.epoch = 0
        self._sampler = sampler
        self.chips = [i for i, area in enumerate(self.areas) if area.is_chip]
        self.open = [i for i, area in enumerate(self.areas) if not area.is_chip]
        sizes = np.array([self.areas[i].polygon.area for i in self.open])
        patches = sum(
            self.areas[i].polygon.area / np.prod(self.areas[i].extent)
            for i in self.open
        )
        if not self.open:
            length = 0
        elif length is None:
            length = max(1, int(patches))
        self.length = length
        self.shares = sizes / sizes.sum() if len(sizes) else sizes
        if self.length + len(self.chips) == 0:
            raise PairingError(
                'no patch fits into the training ground: choose a smaller patch_size, '
                'block or margin'
            )
        self._crs = {area.crs for area in self.areas}
        self._warned = False

    @property
    def sampler(self) -> Sampler:
        """What Lightning sets the epoch on.

        So a run that is resumed in its tenth epoch draws what an undisturbed run would have
        drawn. Not an attribute: one that is this sampler itself would keep the areas, and
        the data set with all its decoded blocks, until Python looks for cycles.
        """
        return self if self._sampler is None else self._sampler

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is mixed into the seed."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches of each process in an epoch."""
        total = (self.length + len(self.chips)) / self._global_batch()
        return max(1, int(total)) if self.drop_last else int(np.ceil(total))

    def __iter__(self) -> Iterator[list[PatchKey]]:  # ty: ignore[incompatible-method-override]
        """Draw the batches of one epoch.

        Yields:
            Keys of patches that do not overlap.

        Raises:
            PairingError: If not even one patch a process could be placed.
        """
        epoch = int(getattr(self.sampler, 'epoch', self.epoch))
        generator = np.random.default_rng([self.seed, epoch])
        chips = deque(generator.permutation(self.chips).tolist())
        left = self.length + len(chips)
        rank, world = _rank_and_world()
        for _ in range(len(self)):
            wanted = min(left, self._global_batch())
            batch = self._batch(wanted, chips, left, generator)
            left -= len(batch)
            if len(batch) < wanted:
                self._warn(len(batch), wanted)
            share = batch[: len(batch) // world * world][rank::world]
            if not share:
                raise PairingError(
                    f'no patch could be placed on the training ground after {_DRAWS} draws: '
                    'lower min_valid, or choose a smaller patch_size or margin'
                )
            yield share
        self.epoch = epoch + 1

    def _global_batch(self) -> int:
        return self.batch_size * _rank_and_world()[1]

    def _batch(
        self, wanted: int, chips: deque[int], left: int, generator: np.random.Generator
    ) -> list[PatchKey]:
        taken = _Taken(lonlat=len(self._crs) > 1)
        batch: list[PatchKey] = []
        for _ in range(wanted):
            from_chips = len(chips) > 0 and (
                not self.open
                or generator.random() < len(chips) / max(1, left - len(batch))
            )
            pick = self._next_chip if from_chips else self._next_draw
            key = pick(chips, generator, taken)
            if key is None and chips and not from_chips:
                key = self._next_chip(chips, generator, taken)
            if key is None:
                break
            batch.append(key)
        return batch

    def _next_chip(
        self, chips: deque[int], _: np.random.Generator, taken: '_Taken'
    ) -> PatchKey | None:
        for _turn in range(len(chips)):
            i = chips.popleft()
            area = self.areas[i]
            bounds = area.chip()
            if bounds is None:
                continue
            if taken.add(bounds, area):
                return area.key(bounds)
            chips.append(i)
        return None

    def _next_draw(
        self, _: deque[int], generator: np.random.Generator, taken: '_Taken'
    ) -> PatchKey | None:
        for turn in range(_DRAWS):
            if taken.company % self.gather == 0 or turn > _DRAWS // 4:
                # A new group, or no room left in the neighbourhood of the last.
                taken.company = 0
                choice = generator.choice(len(self.open), p=self.shares)
                taken.area, within = self.areas[self.open[choice]], None
            else:
                within = taken.around
            area = taken.area
            assert area is not None
            bounds = area.draw(generator, within)
            if bounds is not None and taken.add(bounds, area):
                if taken.company == 0:
                    taken.around = _neighbourhood(bounds, self.gather)
                taken.company += 1
                return area.key(bounds)
        return None

    def _warn(self, placed: int, wanted: int) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f'only {placed} of {wanted} patches fit side by side on the training '
                'ground; batches are shortened (choose a smaller batch_size or patch_size)',
                UserWarning,
            )


def _neighbourhood(bounds: Bounds, gather: int) -> Bounds:
    """Square round a patch with room for four groups, so that groups do not jam."""
    xmin, ymin, xmax, ymax = bounds
    spare = gather**0.5 - 0.5
    x, y = spare * (xmax - xmin), spare * (ymax - ymin)
    return xmin - x, ymin - y, xmax + x, ymax + y


class _Taken:
    """The ground that a batch has used so far, and the group that is being drawn."""

    def __init__(self, *, lonlat: bool) -> None:
        self.lonlat = lonlat
        #: Area and neighbourhood of the group, and how many patches it has.
        self.area: Area | None = None
        self.around: Bounds | None = None
        self.company = 0
        self.boxes: list[tuple[float, float, float, float]] = []
        self.transformers: dict[str, Transformer] = {}

    def add(self, bounds: Bounds, area: Area) -> bool:
        """Take some ground; False, and nothing changes, if part of it is taken."""
        xmin, ymin, xmax, ymax = self._common(bounds, area)
        if self.boxes:
            boxes = np.array(self.boxes)
            dx = np.abs(boxes[:, 0] - (xmin + xmax) / 2)
            if self.lonlat:
                dx = np.minimum(dx, 360 - dx)
            dy = np.abs(boxes[:, 1] - (ymin + ymax) / 2)
            # Touching edges are no overlap; the factor absorbs rounding.
            near_x = dx < (boxes[:, 2] + (xmax - xmin) / 2) * (1 - 1e-9)
            near_y = dy < (boxes[:, 3] + (ymax - ymin) / 2) * (1 - 1e-9)
            if (near_x & near_y).any():
                return False
        centre = (xmin + xmax) / 2, (ymin + ymax) / 2
        self.boxes.append((*centre, (xmax - xmin) / 2, (ymax - ymin) / 2))
        return True

    def _common(self, bounds: Bounds, area: Area) -> Bounds:
        if not self.lonlat:
            return bounds
        name = area.crs.to_wkt()
        if name not in self.transformers:
            self.transformers[name] = Transformer.from_crs(
                area.crs, 'EPSG:4326', always_xy=True
            )
        corners = shapely.get_coordinates(shapely.box(*bounds))
        lon, lat = self.transformers[name].transform(corners[:, 0], corners[:, 1])
        # Keep a box that crosses the antimeridian in one piece.
        lon = lon[0] + (lon - lon[0] + 180) % 360 - 180
        return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def _rank_and_world() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
