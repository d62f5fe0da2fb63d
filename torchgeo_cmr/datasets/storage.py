"""How a file stores its pixels, as far as reading them depends on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from rasterio.enums import MaskFlags

from torchgeo_cmr.datasets.cache import unit
from torchgeo_cmr.datasets.scene import Scene

#: Values that mark missing pixels, besides NaN.
type Marks = list[float]


@dataclass(frozen=True)
class Storage:
    """How a file stores its pixels.

    Attributes:
        shape: Rows and columns.
        unit: Rows and columns of what is decoded together.
        types: Type of each band.
        whole: Whether pixels are taken as they are stored: not moved, no mask beside.
        masked: Whether it has a mask beside its bands.
        marks: Values of missing pixels, in its own type if they fit it.
    """

    shape: tuple[int, int]
    unit: tuple[int, int]
    types: tuple[str, ...]
    whole: bool
    masked: bool
    marks: Marks

    @classmethod
    def of(cls, source: Any, scene: Scene) -> Self:
        """Look at an open file.

        Args:
            source: The file, warped if the scene is.
            scene: The scene that it belongs to.

        Returns:
            What there is to know.
        """
        masked = MaskFlags.per_dataset in source.mask_flag_enums[0]
        own_grid = source.shape == scene.shape and not scene.warped
        given = {float(m) for m in (scene.nodata, source.nodata) if m is not None}
        marks = [mark for mark in given if not np.isnan(mark)]
        if np.issubdtype(np.dtype(source.dtypes[0]), np.integer):
            # Whole numbers are compared without a detour through float64.
            marks = [int(mark) if mark.is_integer() else mark for mark in marks]
        return cls(
            source.shape,
            unit(source.block_shapes[0]),
            source.dtypes,
            own_grid and not masked and len({*source.block_shapes}) == 1,
            masked,
            marks,
        )

    def size(self, indexes: Sequence[int]) -> int | None:
        """Bytes of a block of some bands (from 1); None if not decoded together."""
        types = {self.types[i - 1] for i in indexes}
        if not self.whole or len(types) > 1:
            return None
        (kind,) = types
        return self.unit[0] * self.unit[1] * len(indexes) * np.dtype(kind).itemsize
