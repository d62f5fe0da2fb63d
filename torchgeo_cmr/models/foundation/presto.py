"""Presto: a network for the time series of single pixels of Sentinel-1 and Sentinel-2."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchgeo.models import presto

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models.weights import band_key

from .adapter import Adapter
from .spectrum import is_radar

__all__ = ('PrestoAdapter',)

#: Channels of the model in order; the last five are weather, terrain and NDVI.
_CHANNELS = (
    *('VV', 'VH', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B11', 'B12'),
    *('temperature', 'precipitation', 'elevation', 'slope', 'NDVI'),
)
#: Bands that share a token, of which none is seen unless all are there.
_TOGETHER = (('VV', 'VH'), ('B2', 'B3', 'B4'), ('B5', 'B6', 'B7'), ('B11', 'B12'))
#: Land cover that is not known, among the classes of Dynamic World.
_UNKNOWN = 9
#: Cells along each side of a patch that are encoded as if they were pixels.
_CELLS = 8


class PrestoAdapter(Adapter):
    """Presto (https://arxiv.org/abs/2304.14065), VV and VH, or the bands of Sentinel-2 it knows.

    A patch is averaged to 8 by 8 cells; each is a series of one date for the model, and the vector
    of the patch is the mean of theirs. Place and month are the same for all, and weather and
    terrain are masked.
    """

    builders: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {'presto': presto}

    def __init__(self, network: Any, bands: Sequence[str]) -> None:
        """Initialize a new PrestoAdapter instance.

        Args:
            network: Presto.
            bands: ``VV, VH``, or some of the bands B2 to B8A, B11 and B12, in any order.

        Raises:
            RasterError: If one is unknown to the model, or lacks others that it is seen with.
        """
        super().__init__(network, bands)
        names = [band_key(band) for band in bands]
        strange = [name for name in names if name not in _CHANNELS[:12]]
        if strange:
            raise RasterError(
                f'Presto does not know {", ".join(strange)}: select from '
                f'{", ".join(_CHANNELS[:12])}'
            )
        for group in _TOGETHER:
            absent = [name for name in group if name not in names]
            if 0 < len(absent) < len(group):
                raise RasterError(
                    f'Presto sees {", ".join(group)} together and {", ".join(absent)} is not there: '
                    'add it, or select none of them'
                )
        self.positions = [_CHANNELS.index(name) for name in names]
        known = {*self.positions}
        self.red_and_nir = (
            (names.index('B4'), names.index('B8')) if {4, 8} <= known else None
        )
        if self.red_and_nir is not None:
            known.add(_CHANNELS.index('NDVI'))
        masked = [float(i not in known) for i in range(len(_CHANNELS))]
        self.masked: Tensor
        self.register_buffer('masked', torch.tensor(masked), persistent=False)
        self.num_features = int(network.encoder.embedding_size)

    def statistics(self) -> tuple[list[float], list[float]]:
        """Give the shifts and divisors of the model: decibels, and reflectance times 10,000."""
        shift, divisor = (-25.0, 25.0) if is_radar(self.bands) else (0.0, 10_000.0)
        return [shift] * len(self.bands), [divisor] * len(self.bands)

    def encode(self, x: Tensor) -> Tensor:
        """Average the vectors of the cells of each patch."""
        cells = F.adaptive_avg_pool2d(x, _CELLS).flatten(2).transpose(1, 2)
        pixels = cells.reshape(-1, 1, len(self.bands))
        series = pixels.new_zeros((len(pixels), 1, len(_CHANNELS)))
        series[:, :, self.positions] = pixels
        if self.red_and_nir is not None:
            red, nir = (pixels[..., i] for i in self.red_and_nir)
            total = red + nir
            series[..., -1] = torch.where(
                total > 0, (nir - red) / total.clamp(min=1e-6), 0
            )
        tokens, *_ = self.network.encoder(
            x=series,
            dynamic_world=torch.full((len(series), 1), _UNKNOWN, device=x.device),
            latlons=series.new_zeros((len(series), 2)),
            mask=self.masked.expand_as(series),
            month=0,
        )
        return tokens.mean(dim=1).reshape(len(x), -1, self.num_features).mean(dim=1)
