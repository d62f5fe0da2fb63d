"""Panopticon: one network for any sensor, trained with several sensors as views of one place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchgeo.models import panopticon_vitb14

from torchgeo_cmr.models.weights import band_key

from .adapter import Adapter
from .band_statistics import of_sensor
from .spectrum import SENTINEL1, is_radar, wavelengths

__all__ = ('PanopticonAdapter',)


class PanopticonAdapter(Adapter):
    """Panopticon (https://arxiv.org/abs/2503.10845), any bands whose wavelengths are known.

    Bands are standardised by their sensor. Polarisations are those of an unknown orbit.
    """

    builders: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {
        'panopticon_vitb14': panopticon_vitb14
    }
    size = 224

    def __init__(self, network: Any, bands: Sequence[str]) -> None:
        """Initialize a new PanopticonAdapter instance.

        Args:
            network: Panopticon.
            bands: Names of Sentinel-1 or Sentinel-2, or wavelengths in nanometres.

        Raises:
            RasterError: If a wavelength is not known.
        """
        super().__init__(network, bands)
        if is_radar(bands):
            # Of a radar, the model counts polarisations down from -1.
            channels = [-1.0 - SENTINEL1.index(band_key(band)) for band in bands]
        else:
            channels = wavelengths(bands, 'Panopticon')
        self.channels: Tensor
        self.register_buffer('channels', torch.tensor(channels), persistent=False)
        self.num_features = int(network.model.num_features)

    def statistics(self) -> tuple[list[float], list[float]]:
        """Give the statistics of the sensor."""
        return of_sensor(self.bands, 'Panopticon')

    def encode(self, x: Tensor) -> Tensor:
        """Give the class token of each patch."""
        # The model writes into the channels that it is given.
        channels = self.channels.expand(len(x), -1).clone()
        return self.network({'imgs': x, 'chn_ids': channels})
