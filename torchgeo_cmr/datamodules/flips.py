"""Flips of training batches: pictures and masks of one sample alike."""

import kornia.augmentation as K
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample


class Flips(nn.Module):
    """Flip the pictures and masks of a batch, those of one sample alike.

    Each has its own pixel size. Kornia flips images of any size together, but masks only if
    they have the size of an image, so masks are passed to it as images.
    """

    def __init__(self) -> None:
        """Initialize a new Flips instance."""
        super().__init__()
        self.flips = K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5),
            K.RandomVerticalFlip(p=0.5),
            data_keys=None,
            keepdim=True,
        )

    def forward(self, batch: Sample) -> Sample:
        """Flip half of the samples each way.

        Args:
            batch: Samples as a data loader stacks them: ``image_<modality>`` of shape
                (batch, channels, height, width) and ``mask_<modality>`` of shape
                (batch, height, width), each of any size and type.

        Returns:
            The batch; what is neither picture nor mask as it was.
        """
        masks: dict[str, Tensor] = {
            key: batch[key] for key in batch if key.startswith('mask')
        }
        shown = {key: value for key, value in batch.items() if key not in masks}
        # Double holds every class exactly.
        shown |= {f'image_{k}': v.double().unsqueeze(1) for k, v in masks.items()}
        flipped = self.flips(shown)
        for key, mask in masks.items():
            flipped[key] = flipped.pop(f'image_{key}').squeeze(1).to(mask.dtype)
        return flipped
