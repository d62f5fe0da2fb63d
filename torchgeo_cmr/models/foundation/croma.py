"""CROMA: an encoder of Sentinel-1 and one of Sentinel-2, trained on pairs of both."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from torchgeo.models import croma_base, croma_large
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models.weights import band_key

from .adapter import Adapter
from .band_statistics import of_sensor
from .spectrum import SENTINEL2

__all__ = ('CROMAAdapter',)

_SAR = ('VV', 'VH')
_OPTICAL = tuple(band for band in SENTINEL2 if band != 'B10')


class CROMAAdapter(Adapter):
    """CROMA (https://arxiv.org/abs/2311.00566), 12 bands of Sentinel-2 or VV and VH of Sentinel-1.

    Values two standard deviations about the mean are scaled to 0 to 1, and the rest is cut, as its
    authors do with the statistics of a batch; here they are those of SSL4EO-S12, so that a patch
    has the same vector in any batch. The vectors are those before the projections with which the
    contrastive loss was computed, which the published file does not have.
    """

    builders: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {
        'croma_base': croma_base,
        'croma_large': croma_large,
    }
    size = 120

    def __init__(self, network: Any, bands: Sequence[str]) -> None:
        """Initialize a new CROMAAdapter instance.

        Args:
            network: CROMA of both modalities.
            bands: ``VV, VH``, or the twelve bands of Sentinel-2 without B10, in this order.

        Raises:
            RasterError: If they are others.
        """
        super().__init__(network, bands)
        names = tuple(map(band_key, bands))
        if names not in (_SAR, _OPTICAL):
            raise RasterError(
                f'CROMA takes {", ".join(_SAR)} or {", ".join(_OPTICAL)}, in this order, found '
                f'{", ".join(bands)}'
            )
        self.radar = names == _SAR
        self.num_features = int(network.encoder_dim)

    @classmethod
    def build(cls, model: str, weights: WeightsEnum | str | Path | None) -> Any:
        """Build the model, without the part that needs both sensors at once."""
        network = super().build(model, weights)
        del network.joint_encoder
        return network

    def statistics(self) -> tuple[list[float], list[float]]:
        """Give the numbers that bring two standard deviations about the mean to 0 to 1."""
        mean, std = of_sensor(self.bands, 'CROMA')
        least = [m - 2 * s for m, s in zip(mean, std, strict=True)]
        return least, [4 * s for s in std]

    def encode(self, x: Tensor) -> Tensor:
        """Encode patches with the half of the model that is of their sensor."""
        network, x = self.network, x.clamp(0, 1)
        half, last = (
            (network.s1_encoder, network.s1_GAP_FFN)
            if self.radar
            else (network.s2_encoder, network.s2_GAP_FFN)
        )
        return last(half(imgs=x, attn_bias=network.attn_bias).mean(dim=1))
