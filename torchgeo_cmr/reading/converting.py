"""Which reader a scene needs, and in which units its pixels come."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.cache import Cache
from torchgeo_cmr.reading.cube_reader import CubeReader
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.bands import is_radar
from torchgeo_cmr.scenes.scene import Scene
from torchgeo_cmr.scenes.units import are_decibels, convert


def open_reader(scene: Scene, cache: Cache | None = None) -> SceneReader:
    """Give the reader of a scene: of rasters or of a cube, in the units it is read as.

    Args:
        scene: What to read.
        cache: Open files, blocks and threads of readers that belong together (default: its
            own).

    Returns:
        A reader whose pixels are those of the files, or converted backscatter if the scene
        has :attr:`~torchgeo_cmr.scenes.scene.Scene.read_as`.
    """
    if scene.read_as not in (None, scene.units):
        return ConvertingReader(scene, cache)
    return (SceneReader if scene.layers is None else CubeReader)(scene, cache)


class ConvertingReader(SceneReader):
    """Reads a scene with its backscatter in another unit.

    Bands with the name of a polarisation are converted; if none has one, all are.

    Args:
        scene: What to read, with ``units`` and ``read_as`` both of backscatter.
    """

    _tasks = SceneReader._strips

    def __init__(self, scene: Scene, cache: Cache | None = None) -> None:
        """Initialize a new ConvertingReader instance."""
        super().__init__(scene, cache)
        kind = SceneReader if scene.layers is None else CubeReader
        self._stored = kind(scene, cache)
        radar = [is_radar(band) for band in scene.bands]
        self._radar = np.array(radar) if any(radar) else np.ones(len(radar), bool)

    def read(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> NDArray[np.float32]:
        """Read pixels, as any reader does, and convert them.

        Raises:
            RasterError: As any reader, and if what is stated to be power or amplitude is decibels.
        """
        pixels = self._stored.read(window, bands, out_shape)
        scene = self.scene
        assert scene.units is not None
        assert scene.read_as is not None
        radar = self._radar if bands is None else self._radar[list(bands)]
        stored = pixels[radar]
        pixels[radar] = convert(stored, scene.units, scene.read_as)
        if scene.units != 'db' and are_decibels(stored):
            raise RasterError(
                f'{scene.path} holds backscatter from {np.nanmin(stored):.3g} to {np.nanmax(stored):.3g}, '
                f'and {scene.units} is never below 0: state `units` as db, if it is in decibels'
            )
        return pixels
