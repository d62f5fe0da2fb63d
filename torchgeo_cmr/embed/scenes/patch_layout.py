"""How patches lie on a scene: their size in pixels or metres, their step, the edges.

Every scene keeps its own CRS and grid. What differs between scenes is how many pixels a
patch has if its size is given in metres, and whether a scene whose pixels are not those of
the training is resampled.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.embed.run_report import PACKAGE
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.scene import Scene

#: What happens at the right and lower edge of a scene.
Edges = Literal['drop', 'pad']

#: What happens to scenes whose pixels are not as wide as those of the training.
Gsd = Literal['warn', 'resample', 'error', 'ignore']

#: Share by which the pixel size may differ from the training's before it counts.
TOLERANCE = 0.1

#: Patches of one scene. The largest mosaics in use have a few million.
_MOST = 10**7


@dataclass(frozen=True)
class Layout:
    """Size and step of patches, the same for all scenes of a plan.

    Args:
        size: Patch height and width in pixels of each scene's grid; None for *size_metres*.
        stride: Step in pixels; None for *overlap*.
        size_metres: Patch height and width in metres; None for *size*.
        overlap: Share of a patch that the next one shows again, 0 to below 1.
        edges: ``'drop'`` what is left at the right and lower edge, or ``'pad'`` it to whole
            patches.
        gsd: What happens if pixels are more than a tenth wider or narrower than those of
            the training: ``'warn'``, ``'resample'`` to it, ``'error'`` or ``'ignore'``.

    Raises:
        RasterError: If a setting is out of range, or two contradict each other.
    """

    size: int | None
    stride: int | None = None
    size_metres: float | None = None
    overlap: float = 0
    edges: Edges = 'drop'
    gsd: Gsd = 'warn'

    def __post_init__(self) -> None:
        """Refuse settings that make no grid."""
        if (self.size is None) == (self.size_metres is None):
            raise RasterError(
                f'size is {self.size} and size_metres {self.size_metres}: give one of them'
            )
        for name, value in (('size', self.size), ('stride', self.stride)):
            if value is not None and value < 1:
                raise RasterError(
                    f'{name} is {value}: give a number of pixels, 1 or more'
                )
        if self.size_metres is not None and not 0 < self.size_metres < float('inf'):
            raise RasterError(
                f'size_metres is {self.size_metres}: give a length above 0'
            )
        if not 0 <= self.overlap < 1:
            raise RasterError(
                f'overlap is {self.overlap}: give a share of a patch from 0 to below 1'
            )
        if self.overlap and self.stride is not None:
            raise RasterError(
                f'stride is {self.stride} and overlap {self.overlap}: give one of them'
            )
        for name, value, known in (
            ('edges', self.edges, get_args(Edges)),
            ('gsd', self.gsd, get_args(Gsd)),
        ):
            if value not in known:
                raise RasterError(
                    f'{name} is {value!r}: give one of {", ".join(known)}'
                )

    def pixels(self, scene: Scene) -> tuple[int, int]:
        """Size and step of patches on a scene, in pixels of its grid, 1 or more."""
        size = self.size
        if size is None:
            assert self.size_metres is not None
            size = max(1, round(self.size_metres / scene.grid_gsd))
        if self.stride is not None:
            return size, self.stride
        return size, max(1, round(size * (1 - self.overlap)))

    def fit(
        self,
        catalogue: Sequence[Scene],
        modality: str,
        trained: float | None,
        trying: Callable[[Scene], AbstractContextManager[object]] = nullcontext,
    ) -> list[Scene]:
        """Compare pixel sizes with the training, and do what the settings say.

        Args:
            catalogue: Scenes.
            modality: Modality name, for messages.
            trained: Ground sample distance of the training in metres; None if unknown.
            trying: Context in which each scene is refused.

        Returns:
            The scenes in the same order; with ``'resample'``, those that differ on a grid
            of the training's pixel size, over the same ground; with ``'error'``, without
            those whose refusal the context swallows.

        Raises:
            RasterError: If a scene differs and the settings call that an error.

        Warns:
            UserWarning: If scenes differ and ``gsd`` is ``'warn'``.
        """
        if trained is None or self.gsd == 'ignore':
            return list(catalogue)
        off = [abs(s.grid_gsd / trained - 1) > TOLERANCE for s in catalogue]
        if not any(off):
            return list(catalogue)
        if self.gsd == 'resample':
            return [
                scene.at_gsd(trained) if differs else scene
                for scene, differs in zip(catalogue, off, strict=True)
            ]
        if self.gsd == 'error':
            kept = []
            for scene, differs in zip(catalogue, off, strict=True):
                with trying(scene):
                    if differs:
                        raise RasterError(
                            f'{scene.path} has pixels of {scene.grid_gsd:g} m, and {modality} '
                            f"was trained on {trained:g} m: resample with gsd='resample', or "
                            "say gsd='ignore'"
                        )
                    kept.append(scene)
            return kept
        first = catalogue[off.index(True)]
        warnings.warn(
            f'{sum(off)} of {len(off)} scenes have other pixels than the {trained:g} m that '
            f'{modality} was trained on, for example {first.path} ({first.grid_gsd:g} m): '
            f"scores may suffer; gsd='resample' brings them to {trained:g} m",
            UserWarning,
            skip_file_prefixes=(PACKAGE,),
        )
        return list(catalogue)

    @property
    def settings(self) -> dict[str, Any]:
        """What a header and a record say of it, JSON-able."""
        return {
            'size': self.size,
            'size_metres': self.size_metres,
            'stride': self.stride,
            'overlap': self.overlap,
            'edges': self.edges,
            'gsd': self.gsd,
        }


def check_count(path: str, shape: tuple[int, int], stride: int) -> None:
    """Refuse a grid of more patches than a plan can hold, as damaged headers claim.

    Raises:
        RasterError: If there are more than ten million.
    """
    count = (shape[0] // stride) * (shape[1] // stride)
    if count > _MOST:
        raise RasterError(
            f'{path} claims {shape[0]} x {shape[1]} pixels, which are {count} patches: fetch '
            'the file again if it is damaged, or choose a larger stride'
        )


def windows_of(
    shape: tuple[int, int], size: int, stride: int, edges: str
) -> NDArray[np.int64]:
    """Lay windows over a grid, row by row from the upper left corner.

    Args:
        shape: Rows and columns of the grid.
        size: Height and width of a window in pixels.
        stride: Step in pixels.
        edges: ``'drop'`` keeps whole windows only; ``'pad'`` lets the last ones hang over
            the edge, so that every pixel is in one unless *stride* leaves gaps.

    Returns:
        Rows of ``(row, column, height, width)``, int64 of shape ``(n, 4)``.
    """
    starts = []
    for length in shape:
        end = length - size + (stride if edges == 'pad' else 1)
        axis = np.arange(0, max(end, 1 if edges == 'pad' else 0), stride)
        starts.append(axis[axis < length])
    grid = np.stack(np.meshgrid(*starts, indexing='ij'), axis=-1).reshape(-1, 2)
    return np.c_[grid, np.full_like(grid, size)].astype(np.int64)
