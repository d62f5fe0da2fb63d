"""Numbers that stand for missing pixels in many files, whether they say so or not."""

import numpy as np
from numpy.typing import NDArray

#: Below and above what is measured on the ground; the last ones are those of NetCDF and of models.
_USUAL = np.array(
    [-9999, -99999, -32768, -32767, np.finfo(np.float32).min, 9.96921e36, 1e20]
)
#: Between these no number is one of them.
_LOW, _HIGH = -9999, 1e20
#: Share of the pixels of a band from which such a number is no accident.
_SHARE = 0.01


class FillValues:
    """Counts such numbers among pixels that nothing calls missing."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self._met = np.zeros((len(_USUAL), 0))
        self._count = np.zeros(0)

    def add(self, pixels: NDArray[np.floating]) -> None:
        """Count pixels (bands, n); those that are not finite are ignored."""
        if not len(self._count):
            self._met = np.zeros((len(_USUAL), len(pixels)))
            self._count = np.zeros(len(pixels))
        valid = np.isfinite(pixels)
        self._count += valid.sum(axis=1)
        odd = valid & ((pixels <= _LOW) | (pixels >= _HIGH))
        if odd.any():
            # Numbers of float32 are close to those that are written.
            self._met += [
                (odd & np.isclose(pixels, value, rtol=1e-6)).sum(axis=1)
                for value in _USUAL
            ]

    def doubt(self) -> str | None:
        """Say which number fills a hundredth of a band or more, such as ``-9999 in 12 %``.

        Returns:
            The words; None if there is none.
        """
        shares = self._met / np.maximum(self._count, 1)
        if not shares.size or shares.max() < _SHARE:
            return None
        value, band = np.unravel_index(shares.argmax(), shares.shape)
        return (
            f'{_USUAL[value]:.6g} in {shares[value, band]:.0%} of the pixels of a band'
        )
