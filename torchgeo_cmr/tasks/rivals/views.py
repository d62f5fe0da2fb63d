"""Second views of a batch of normalised pictures, for methods that compare views."""

import torch
from torch import Tensor, nn

__all__ = ('Views',)


class Views(nn.Module):
    """Flip pictures, change the gain of their bands and add noise, each picture differently.

    Flips apply to one modality alone: the views are compared within a modality.
    """

    def __init__(self, *, gain: float = 0.1, noise: float = 0.1) -> None:
        """Initialize a new Views instance.

        Args:
            gain: Standard deviation of the factor of a band, at least 0.
            noise: Standard deviation of the noise of a pixel, in standard deviations of its band.

        Raises:
            ValueError: If a number is negative.
        """
        super().__init__()
        if not min(gain, noise) >= 0:
            raise ValueError(f'gain and noise are at least 0, found {gain} and {noise}')
        self.gain, self.noise = gain, noise

    def forward(self, x: Tensor) -> Tensor:
        """Make a view of each picture.

        Args:
            x: Normalised pictures, shape (batch, channels, height, width).

        Returns:
            Pictures of the same shape and type.
        """
        for axis in (-1, -2):
            turned = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            x = torch.where(turned, x.flip(axis), x)
        gain = torch.randn(*x.shape[:2], 1, 1, dtype=x.dtype, device=x.device)
        return x * (1 + self.gain * gain) + self.noise * torch.randn_like(x)
