"""Flips of training batches: pictures and masks of one sample alike."""

from typing import Any

import kornia.augmentation as K
import torch
from torch import nn
from torchgeo.datasets.utils import Sample


class Flips(nn.Module):
    """Flip the pictures and masks of a batch, those of one sample alike.

    Kornia draws which; only theirs are moved, of any size and type.
    """

    def __init__(self) -> None:
        """Initialize a new Flips instance."""
        super().__init__()
        self.flips = K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5), K.RandomVerticalFlip(p=0.5), data_keys=None
        )

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
        shape = torch.Size([len(batch[names[0]]), 1, 1, 1])
        drawn: Any = self.flips.forward_parameters(shape)
        flipped = {**batch, **{key: batch[key].clone() for key in names}}
        for side, which in zip((-1, -2), drawn, strict=True):
            for key in names:
                rows = which.data['batch_prob'].to(batch[key].device) > 0.5
                flipped[key][rows] = flipped[key][rows].flip(side)
        return flipped
