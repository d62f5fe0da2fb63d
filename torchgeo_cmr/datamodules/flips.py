"""Flips of training batches: pictures and masks of one sample alike."""

import torch
from torch import nn
from torchgeo.datasets.utils import Sample


class Flips(nn.Module):
    """Flip the pictures and masks of a batch, of any size and type, those of one sample alike.

    A seed flips the samples that Kornia's random flips would, which take masks of a picture's size alone.
    """

    def forward(self, batch: Sample) -> Sample:
        """Flip half of the samples each way.

        Args:
            batch: Samples as a data loader stacks them: ``image_<modality>`` of shape
                (batch, channels, height, width) and ``mask_<modality>`` of shape
                (batch, height, width), each of any size and type.

        Returns:
            A new batch; what is neither picture nor mask as it was.
        """
        names = [key for key in batch if key.startswith(('image', 'mask'))]
        flipped = {**batch, **{key: batch[key].clone() for key in names}}
        half = torch.full((len(batch[names[0]]),), 0.5)
        for side in (-1, -2):
            drawn = torch.bernoulli(half) > 0
            for key in names:
                rows = drawn.to(batch[key].device)
                flipped[key][rows] = flipped[key][rows].flip(side)
        return flipped
