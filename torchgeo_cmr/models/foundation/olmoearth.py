"""OlmoEarth: one network for series of Sentinel-1, Sentinel-2 and Landsat, in a package of its own."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchgeo.datasets.errors import DependencyNotFoundError
from torchgeo.models import olmoearth_v1
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import OptionError, RasterError
from torchgeo_cmr.models.weights import band_key

from .adapter import Adapter
from .spectrum import is_radar

__all__ = ('OlmoEarthAdapter',)

#: Bands of the model in order -> mean and deviation with which its authors scale them, decibels
#: and reflectance times 10,000, as their package has them.
_RADAR = {'VV': (-11.649, 10.840), 'VH': (-17.745, 10.216)}
_LIGHT = {
    'B2': (1188.9, 1859.2),
    'B3': (1407.8, 1727.7),
    'B4': (1513.1, 1740.8),
    'B8': (2755.5, 1612.3),
    'B5': (1891.0, 1754.7),
    'B6': (2483.8, 1622.1),
    'B7': (2722.7, 1621.8),
    'B8A': (2885.6, 1611.4),
    'B11': (2562.9, 1441.5),
    'B12': (1914.1, 1328.9),
    'B1': (1115.8, 1955.7),
    'B9': (3269.8, 2651.1),
}
#: Pixels along a side of a token.
_TOKEN = 8
#: Day, month from 0, and year that all pictures have.
_DATE = 1, 0, 2020
_SIZES = 'nano', 'tiny', 'base', 'large'


class OlmoEarthAdapter(Adapter):
    """OlmoEarth v1 (https://arxiv.org/abs/2511.13655), VV and VH, or twelve bands of Sentinel-2.

    Values two standard deviations about the mean are scaled to 0 to 1, as its authors do. A patch
    is a series of one date, the same for all. It needs the package olmoearth-pretrain-minimal.
    """

    builders: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {
        'olmoearth_v1' if size == 'nano' else f'olmoearth_v1_{size}': partial(
            olmoearth_v1, model_size=size
        )
        for size in _SIZES
    }
    size = 64

    def __init__(self, network: Any, bands: Sequence[str]) -> None:
        """Initialize a new OlmoEarthAdapter instance.

        Args:
            network: Encoder of OlmoEarth.
            bands: ``VV, VH``, or the twelve bands of Sentinel-2 without B10, in any order.

        Raises:
            RasterError: If they are others.
        """
        super().__init__(network, bands)
        names = [band_key(band) for band in bands]
        known = tuple(_RADAR if is_radar(bands) else _LIGHT)
        if sorted(names) != sorted(known):
            raise RasterError(
                f'OlmoEarth takes {", ".join(_RADAR)} or {", ".join(_LIGHT)}, found '
                f'{", ".join(bands)}'
            )
        self.series = 'sentinel1' if is_radar(bands) else 'sentinel2_l2a'
        self.order = [names.index(name) for name in known]
        self.num_features = int(network.embedding_size)

    @classmethod
    def build(cls, model: str, weights: WeightsEnum | str | Path | None) -> Any:
        """Build the encoder.

        Raises:
            OptionError: If the package is not installed.
            RasterError: If the weights are of another size or model.
        """
        size = (
            None if weights is None else getattr(weights, 'meta', {}).get('model_size')
        )
        if size is not None and size != (
            model.removeprefix('olmoearth_v1')[1:] or 'nano'
        ):
            raise RasterError(
                f'{weights} are of OlmoEarth {size}, found {model}: take the model '
                f'{"olmoearth_v1" if size == "nano" else f"olmoearth_v1_{size}"}'
            )
        try:
            return super().build(model, weights).model.encoder
        except DependencyNotFoundError as error:
            raise OptionError(
                f'{model} needs the package olmoearth-pretrain-minimal: pip install '
                'olmoearth-pretrain-minimal'
            ) from error

    def statistics(self) -> tuple[list[float], list[float]]:
        """Give the numbers that bring two standard deviations about the mean to 0 to 1."""
        known = _RADAR if is_radar(self.bands) else _LIGHT
        mean, std = zip(*(known[band_key(band)] for band in self.bands), strict=True)
        return [m - 2 * s for m, s in zip(mean, std, strict=True)], [4 * s for s in std]

    def encode(self, x: Tensor) -> Tensor:
        """Average the tokens of each patch."""
        from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.datatypes import (  # ty: ignore[import-not-found]
            MaskedOlmoEarthSample,
        )

        # (batch, height, width, dates, bands); a mask of zeros hides nothing.
        pixels = x[:, self.order].permute(0, 2, 3, 1).unsqueeze(3)
        dates = torch.tensor(_DATE, device=x.device).expand(len(x), 1, 3)
        series = {
            'timestamps': dates,
            self.series: pixels,
            f'{self.series}_mask': torch.zeros_like(pixels),
        }
        sample = MaskedOlmoEarthSample(**series)
        found = self.network(sample, patch_size=_TOKEN, fast_pass=True)
        tokens = getattr(found['tokens_and_masks'], self.series)
        return tokens.flatten(1, -2).mean(dim=1)
