"""Statistics of training pixels, collected patch by patch."""

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.rasters.fill_values import FillValues
from torchgeo_cmr.samplers import Area
from torchgeo_cmr.samplers.patch_area import PatchKey
from torchgeo_cmr.scenes.units import BACKSCATTER, UNITS

#: Deviation below which a band is constant, as a share of its largest number: what float32
#: pixels of one value differ by.
_CONSTANT = 1e-7

#: Draws per patch, for areas in which few patches are valid.
_DRAWS = 100


def check_units(units: Mapping[str, str]) -> None:
    """Refuse units of a modality that do not exist."""
    for modality, unit in units.items():
        if unit not in UNITS:
            raise RasterError(
                f'{modality} cannot be in {unit!r}: units are one of {", ".join(UNITS)}'
            )


class Moments:
    """Mean and deviation of each band over valid pixels, one patch at a time.

    Patches are joined by the deviations from their own means (Chan et al., 1979): squares of
    large numbers would drown a small deviation.
    """

    def __init__(self) -> None:
        """Initialize a new Moments instance."""
        self.count = self._mean = self._squares = self._largest = np.zeros(0)
        self._fills = FillValues()

    def add(self, image: np.ndarray) -> None:
        """Add a patch of shape ``(bands, ...)``; pixels that are not finite are ignored."""
        pixels = image.reshape(len(image), -1).astype(np.float64)
        if len(self.count) == 0:
            self.count, self._mean, self._squares, self._largest = np.zeros(
                (4, len(pixels))
            )
        self._fills.add(pixels)
        valid = np.isfinite(pixels)
        pixels = np.where(valid, pixels, 0)
        count = valid.sum(1)
        mean = pixels.sum(1) / np.maximum(count, 1)
        squares = np.where(valid, (pixels - mean[:, None]) ** 2, 0).sum(1)
        total = self.count + count
        share = count / np.maximum(total, 1)
        apart = mean - self._mean
        self._squares = self._squares + squares + apart**2 * self.count * share
        self._mean = self._mean + apart * share
        self._largest = np.maximum(self._largest, np.abs(pixels).max(1, initial=0))
        self.count = total

    def mean(self) -> list[float]:
        """Return the mean of each band."""
        return self._mean.tolist()

    def std(self) -> list[float]:
        """Return the standard deviation of each band; 1 for one that is constant."""
        std = np.sqrt(self._squares / np.maximum(self.count, 1))
        # A constant band carries nothing: divided by 1 it becomes zero instead of infinite.
        return np.where(std > _CONSTANT * self._largest, std, 1.0).tolist()

    def check(self, modality: str, unit: str | None = None) -> None:
        """Refuse statistics of nothing, and of decibels that are stated to be something else.

        Args:
            modality: Whose pixels they are.
            unit: Unit in which they are stated to be.

        Raises:
            RasterError: If no pixel was valid, or the mean is one that the unit cannot have.

        Warns:
            UserWarning: If a number that often stands for missing pixels is among the valid ones.
        """
        if not self.count.any():
            raise RasterError(
                f'the training patches hold no valid pixel of {modality}, so its mean and '
                'deviation are unknown: check its nodata, or choose other splits'
            )
        if unit in BACKSCATTER - {'db'} and min(self.mean()) < -1:
            raise RasterError(
                f'{modality} is stated to be {unit}, which is never below 0, and its training patches have '
                f'a mean of {min(self.mean()):.3g}: state the units of {modality}, {modality}=db, if they are '
                'decibels'
            )
        if found := self._fills.doubt():
            warnings.warn(
                f'{modality} has {found} of its training patches, which nothing calls missing: if these '
                'are, set the nodata value of the files (gdal_edit.py -a_nodata) or of the dataset '
                '(nodata = ... in its class)',
                UserWarning,
                stacklevel=3,
            )


def sample_keys(areas: Sequence[Area], count: int, seed: int) -> Iterator[PatchKey]:
    """Draw patches for statistics, the same in every process.

    Chips and open ground share the patches as they share the ground; no chip comes twice.

    Args:
        areas: Where patches may be.
        count: Largest number of patches.
        seed: Seed of the draws.

    Yields:
        Keys of valid patches.
    """
    generator = np.random.default_rng(seed)
    ground = np.array([area.polygon.area for area in areas])
    is_chip = np.array([area.is_chip for area in areas], dtype=bool)
    chips = generator.permutation(np.flatnonzero(is_chip))
    left = count
    if len(chips):
        chips_left = max(1, round(count * ground[is_chip].sum() / ground.sum()))
        for i in chips.tolist():
            if chips_left == 0:
                break
            bounds = areas[i].chip()
            if bounds is not None:
                chips_left, left = chips_left - 1, left - 1
                yield areas[i].key(bounds)
    spots = np.flatnonzero(~is_chip)
    if not len(spots):
        return
    shares = ground[spots] / ground[spots].sum()
    for _ in range(_DRAWS * count):
        if left <= 0:
            return
        area = areas[int(generator.choice(spots, p=shares))]
        bounds = area.draw(generator)
        if bounds is not None:
            left -= 1
            yield area.key(bounds)
