"""One foundation model as the encoder of one modality: its channels, its width, its normalisation."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models.plain_tensors import plain_tensors
from torchgeo_cmr.models.weights import load_file

__all__ = ('Adapter', 'LocalWeights', 'resampled')


class LocalWeights:
    """A file of weights that looks like an enum of TorchGeo, whose builders know how to load it.

    Args:
        path: State dict with the names that the published file has.
    """

    meta: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, path: str | Path) -> None:
        """Remember where the file is."""
        self.path = path

    def get_state_dict(self, **_: Any) -> dict[str, Any]:
        """Read the tensors, with ``weights_only=True``.

        Raises:
            ValueError: If the file cannot be read safely, or holds no weights.
        """
        content = load_file(self.path)
        parts = content if isinstance(content, dict) else {}
        nested = parts and all(isinstance(part, dict) for part in parts.values())
        if nested and not {'state_dict', 'model'} & parts.keys():
            # CROMA's file holds a state dict for each of its networks.
            return {
                name: plain_tensors(part, self.path) for name, part in parts.items()
            }
        return plain_tensors(content, self.path)


class Adapter(nn.Module):
    """Encode normalised patches of one modality with a foundation model.

    Attributes:
        network: The model, which adapters of several modalities may share.
        num_features: Width of the vectors.
        size: Width in pixels to which patches are resampled; None if any will do.
    """

    #: What TorchGeo calls the models of this kind -> how one is built from weights or None.
    builders: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {}
    size: int | None = None

    def __init__(self, network: Any, bands: Sequence[str]) -> None:
        """Initialize a new Adapter instance.

        Args:
            network: The model.
            bands: Names of the channels.

        Raises:
            RasterError: If the model cannot take one of them.
        """
        super().__init__()
        self.network: Any = network
        self.bands = tuple(bands)
        self.num_features = 0

    @classmethod
    def build(cls, model: str, weights: WeightsEnum | str | Path | None) -> Any:
        """Build the model, with the loading code of TorchGeo.

        Args:
            model: One of the names in :attr:`builders`.
            weights: Published weights, a file of the same layout, or None for random ones.

        Raises:
            RasterError: If the weights are not of this model.
        """
        given = LocalWeights(weights) if isinstance(weights, str | Path) else weights
        try:
            return cls.builders[model](weights=given)
        except (AssertionError, KeyError, RuntimeError) as error:
            reason = ' '.join(str(error).split())[:200] or type(error).__name__
            raise RasterError(
                f'{weights} does not hold the weights of {model} ({reason}): give the weights that '
                'TorchGeo publishes for it'
            ) from error

    @abstractmethod
    def statistics(self) -> tuple[list[float], list[float]]:
        """Give mean and standard deviation of each band with which pixels are normalised."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Encode normalised patches of the model's own width.

        Args:
            x: Shape (batch, bands, height, width).

        Returns:
            Shape (batch, num_features).
        """

    def forward(self, x: Tensor) -> Tensor:
        """Encode normalised patches of any width.

        Args:
            x: Shape (batch, bands, height, width).

        Returns:
            Shape (batch, num_features).
        """
        return self.encode(resampled(x, self.size))


def resampled(x: Tensor, size: int | None) -> Tensor:
    """Bring patches to a width.

    Args:
        x: Shape (batch, bands, height, width).
        size: Height and width in pixels; None to leave them.

    Returns:
        Shape (batch, bands, size, size).
    """
    if size is None or x.shape[-2:] == (size, size):
        return x
    return F.interpolate(x, (size, size), mode='bilinear', antialias=True)
