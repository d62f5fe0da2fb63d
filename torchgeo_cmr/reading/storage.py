"""How a file stores its pixels, as far as reading them depends on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from torchgeo_cmr.rasters.orientation import north_up
from torchgeo_cmr.reading.cache import unit
from torchgeo_cmr.reading.nodata import COMPARED, Marks, marks_of
from torchgeo_cmr.scenes.header import Header
from torchgeo_cmr.scenes.scene import Scene


@dataclass(frozen=True)
class Storage:
    """How a file stores its pixels.

    Attributes:
        shape: Rows and columns, with north at the top.
        unit: Rows and columns of what is decoded together.
        types: Type of each band.
        whole: Whether pixels are taken as they are stored: not moved, no mask next to them.
        masks: Of each band, whether its mask must be read to know what is missing.
        marks: Of each band, values of missing pixels besides.
        alike: Whether GDAL, when it resamples, excludes the pixels that are missing here.
    """

    shape: tuple[int, int]
    unit: tuple[int, int]
    types: tuple[str, ...]
    whole: bool
    masks: tuple[bool, ...]
    marks: tuple[Marks, ...]
    alike: bool

    @classmethod
    def of(cls, header: Header, scene: Scene) -> Self:
        """Look at a file.

        Args:
            header: The file.
            scene: The scene that it belongs to.

        Returns:
            What there is to know.
        """
        alpha = alpha_taken(header, scene)
        masks, marks = [], []
        for kind, flags, value in zip(
            header.dtypes, header.masks, header.nodata, strict=True
        ):
            beside = 'per_dataset' in flags and not ('alpha' in flags and alpha)
            stated = 'nodata' in flags and not beside
            masks.append(beside or (stated and kind not in COMPARED))
            stated_marks = marks_of(value, kind) if stated and kind in COMPARED else ()
            extra_marks = marks_of(scene.nodata, kind)
            marks.append(tuple(dict.fromkeys((*stated_marks, *extra_marks))))
        turn, _, shape = north_up(header.transform, header.shape)
        height, width = turn.shape(header.blocks[0])
        own_grid = shape == scene.shape and not scene.warped
        return cls(
            shape=shape,
            unit=unit((height, width)),
            types=header.dtypes,
            whole=own_grid and not any(masks) and len({*header.blocks}) == 1,
            masks=tuple(masks),
            marks=tuple(marks),
            alike=not alpha and scene.nodata is None,
        )

    def may_miss(self, index: int) -> bool:
        """Say whether pixels of a band (from 1) can be missing."""
        floats = not np.issubdtype(np.dtype(self.types[index - 1]), np.integer)
        return floats or self.masks[index - 1] or bool(self.marks[index - 1])

    def size(self, indexes: Sequence[int]) -> int | None:
        """Bytes of a block of some bands (from 1); None if not decoded together."""
        types = {self.types[i - 1] for i in indexes}
        if not self.whole or len(types) > 1:
            return None
        (kind,) = types
        return self.unit[0] * self.unit[1] * len(indexes) * np.dtype(kind).itemsize


def alpha_taken(header: Header, scene: Scene) -> bool:
    """Say whether a scene takes an alpha band of a file as a band: no mask then."""
    return any(
        path == header.path and header.colours[index - 1] == 'alpha'
        for path, index in scene.sources
    )
