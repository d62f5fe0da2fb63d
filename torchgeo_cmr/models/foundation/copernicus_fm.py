"""Copernicus-FM: one network for all Sentinels, whose first layer is generated from the bands."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchgeo.models import copernicusfm_base

from .adapter import Adapter
from .band_statistics import of_sensor
from .spectrum import bandwidths, is_radar, wavelengths

__all__ = ('CopernicusFMAdapter',)

#: Wavelength and bandwidth of Sentinel-1 in nanometres, as Copernicus-Bench gives them.
_RADAR = 50_000_000.0, 1e9
_KERNEL = 16


class CopernicusFMAdapter(Adapter):
    """Copernicus-FM (https://arxiv.org/abs/2503.11849), any bands whose wavelengths are known.

    Bands are standardised by their sensor. Place, date and area of a patch, which the model can
    take as well, are left unknown: vectors should tell what a picture shows and not where it is.
    """

    builders: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {
        'copernicusfm_base': copernicusfm_base
    }
    size = 224

    def __init__(self, network: Any, bands: Sequence[str]) -> None:
        """Initialize a new CopernicusFMAdapter instance.

        Args:
            network: Copernicus-FM.
            bands: Names of Sentinel-1 or Sentinel-2, or wavelengths in nanometres.

        Raises:
            RasterError: If a wavelength is not known.
        """
        super().__init__(network, bands)
        if is_radar(bands):
            self.wavelengths, self.bandwidths = ([x] * len(bands) for x in _RADAR)
        else:
            self.wavelengths = wavelengths(bands, 'Copernicus-FM')
            self.bandwidths = bandwidths(bands, 'Copernicus-FM')
        self.num_features = int(network.cls_token.shape[-1])

    def statistics(self) -> tuple[list[float], list[float]]:
        """Give the statistics of the sensor."""
        return of_sensor(self.bands, 'Copernicus-FM')

    def encode(self, x: Tensor) -> Tensor:
        """Average the tokens of each patch."""
        unknown = torch.full((len(x), 4), torch.nan, device=x.device, dtype=x.dtype)
        return self.network.forward_features(
            x, unknown, self.wavelengths, self.bandwidths, kernel_size=_KERNEL
        )
