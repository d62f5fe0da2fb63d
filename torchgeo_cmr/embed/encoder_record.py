"""The encoder as embedding needs it, and what an archive records of it."""

from functools import cache
from importlib.metadata import version
from typing import Any, Protocol

from torch import Tensor

import torchgeo_cmr


class Encoder(Protocol):
    """The part of a task that embedding needs.

    Every :class:`~torchgeo_cmr.tasks.CrossModalTask` has it; losses, metrics and optimisers
    are not needed.
    """

    @property
    def keys(self) -> dict[str, str]:
        """Modality name -> key of its pixels in a batch."""
        ...

    @property
    def in_channels(self) -> dict[str, int]:
        """Modality name -> number of bands."""
        ...

    @property
    def specs(self) -> dict[str, dict[str, Any]]:
        """Modality name -> its training data: ``bands``, ``mean``, ``std``, ``units``."""
        ...

    @property
    def space(self) -> str:
        """Fingerprint of the trained weights."""
        ...

    def embed(self, batch: dict[str, Tensor], modality: str) -> Tensor:
        """Map pixels ``(batch, bands, height, width)`` to unit rows ``(batch, dim)``.

        Pixels are raw, in the units of the training data, with NaN where there is none.
        """
        ...


def statistics_of(task: Encoder, modality: str) -> dict[str, Any] | None:
    """Give ``mean`` and ``std`` of the training data per band; None if unknown.

    Args:
        task: The encoder.
        modality: Modality name.
    """
    spec = task.specs.get(modality) or {}
    return {name: spec[name] for name in ('mean', 'std') if spec.get(name)} or None


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ('torchgeo', 'torch', 'rasterio')}


def encoder_versions() -> dict[str, str]:
    """Give the versions of the software that reads pixels and encodes them, this package first."""
    return {'torchgeo_cmr': torchgeo_cmr.__version__, **_versions()}
