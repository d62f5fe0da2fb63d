"""Flips of training batches: pictures and masks of one sample alike."""

from typing import Any

import kornia.augmentation as K
import torch
from torch import nn
from torchgeo.datasets.utils import Sample


class Flips(nn.Module):
    """Flip the pictures and masks of a batch, those of one sample alike.

    Kornia draws which; all pixels of a batch are moved once, of any size and type.
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
        across, down = (each.data['batch_prob'] > 0.5 for each in drawn)
        flipped = {**batch, **{key: batch[key].clone() for key in names}}
        for sides in ((-1,), (-2,), (-1, -2)):
            rows = torch.nonzero((across == (-1 in sides)) & (down == (-2 in sides)))
            for key in names:
                chosen = rows[:, 0].to(batch[key].device)
                flipped[key][chosen] = batch[key][chosen].flip(sides)
        return flipped
