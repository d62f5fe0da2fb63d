"""DOFA: one network whose first layer is generated from the wavelengths of the bands."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from torchgeo.models import dofa_base_patch16_224, dofa_large_patch16_224
from torchvision.models._api import WeightsEnum

from .adapter import Adapter
from .band_statistics import of_sensor
from .spectrum import is_radar, wavelengths

__all__ = ('DOFAAdapter',)

#: What the published weights take as the wavelength of Sentinel-1, in micrometres.
_RADAR = 3.75


class DOFAAdapter(Adapter):
    """DOFA (https://arxiv.org/abs/2403.15356), any bands whose wavelengths are known.

    Bands are standardised by their sensor. The published file lacks the last norm, which starts as
    the identity.
    """

    builders: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {
        'dofa_base_patch16_224': dofa_base_patch16_224,
        'dofa_large_patch16_224': dofa_large_patch16_224,
    }
    size = 224

    def __init__(self, network: Any, bands: Sequence[str]) -> None:
        """Initialize a new DOFAAdapter instance.

        Args:
            network: DOFA.
            bands: Names of Sentinel-1 or Sentinel-2, or wavelengths in nanometres.

        Raises:
            RasterError: If a wavelength is not known.
        """
        super().__init__(network, bands)
        self.register_load_state_dict_pre_hook(_without_head)
        if is_radar(bands):
            self.wavelengths = [_RADAR] * len(bands)
        else:
            self.wavelengths = [x / 1000 for x in wavelengths(bands, 'DOFA')]
        self.num_features = int(network.embed_dim)

    @classmethod
    def build(cls, model: str, weights: WeightsEnum | str | Path | None) -> Any:
        """Build the model without its classifier, which the file lacks and which starts at random."""
        network = super().build(model, weights)
        network.head = nn.Identity()
        return network

    def statistics(self) -> tuple[list[float], list[float]]:
        """Give the statistics of the sensor."""
        return of_sensor(self.bands, 'DOFA')

    def encode(self, x: Tensor) -> Tensor:
        """Average the tokens of each patch."""
        return self.network.forward_features(x, self.wavelengths)


def _without_head(
    module: nn.Module, state: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Drop the classifier that checkpoints of earlier versions hold, which no vector depends on."""
    for name in [name for name in state if name.startswith(f'{prefix}network.head.')]:
        del state[name]
