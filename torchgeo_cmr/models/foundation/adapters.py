"""Which adapter goes with the name of a model."""

from collections.abc import Sequence

from torchgeo_cmr.errors import RasterError

from .adapter import Adapter
from .copernicus_fm import CopernicusFMAdapter
from .croma import CROMAAdapter
from .dofa import DOFAAdapter
from .olmoearth import OlmoEarthAdapter
from .panopticon import PanopticonAdapter
from .presto import PrestoAdapter

__all__ = ('ADAPTERS', 'adapter_of')

#: Name of a model of TorchGeo -> its adapter.
ADAPTERS: dict[str, type[Adapter]] = {
    name: adapter
    for adapter in (
        CopernicusFMAdapter,
        CROMAAdapter,
        DOFAAdapter,
        OlmoEarthAdapter,
        PanopticonAdapter,
        PrestoAdapter,
    )
    for name in adapter.builders
}


def adapter_of(model: str, bands: Sequence[str] | None, who: str = '') -> type[Adapter]:
    """Find the adapter of a model, which needs to know the bands.

    Args:
        model: Name of a model in :data:`ADAPTERS`.
        bands: Names of the channels.
        who: For messages, such as ``' for s1'``.

    Raises:
        RasterError: If the bands are not known.
    """
    if bands is None:
        raise RasterError(
            f'{model}{who} needs to know which bands it sees: name them with bands=, such as '
            "bands={'s1': ['VV', 'VH']}"
        )
    return ADAPTERS[model]
