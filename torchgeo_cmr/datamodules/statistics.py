"""Statistics of training pixels, gathered patch by patch."""

import numpy as np


class Moments:
    """Mean and deviation of each band over valid pixels, one patch at a time."""

    def __init__(self) -> None:
        """Initialize a new Moments instance."""
        self.count = self.total = self.squares = np.zeros(0)

    def add(self, image: np.ndarray) -> None:
        """Add a patch of shape ``(bands, ...)``; what is not finite counts for nothing."""
        pixels = image.reshape(len(image), -1).astype(np.float64)
        if len(self.count) == 0:
            self.count, self.total, self.squares = np.zeros((3, len(pixels)))
        valid = np.isfinite(pixels)
        pixels = np.where(valid, pixels, 0)
        self.count = self.count + valid.sum(1)
        self.total = self.total + pixels.sum(1)
        self.squares = self.squares + (pixels**2).sum(1)

    def mean(self) -> list[float]:
        """Return the mean of each band."""
        return (self.total / np.maximum(self.count, 1)).tolist()

    def std(self) -> list[float]:
        """Return the standard deviation of each band; 1 for one that is constant."""
        mean = self.total / np.maximum(self.count, 1)
        variance = self.squares / np.maximum(self.count, 1) - mean**2
        # A constant band carries nothing: 1 keeps it at zero instead of at infinity.
        return np.where(
            variance > 1e-12, np.sqrt(np.maximum(variance, 0)), 1.0
        ).tolist()
