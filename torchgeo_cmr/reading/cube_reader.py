"""Windows of one date of a cube, read through xarray; of other grids, warped in memory."""

from collections.abc import Sequence
from threading import Lock

import numpy as np
import shapely
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.cache import Cache
from torchgeo_cmr.reading.longitudes import as_named, readable
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.reading.resampling import in_memory, interpolate, nearest
from torchgeo_cmr.scenes.outlines import project
from torchgeo_cmr.scenes.scene import Layer, Scene, apply
from torchgeo_cmr.scenes.sources.cubes import grid_of, open_cube, valid_range

#: Part of a pixel by which GDAL may miss the place of a pixel while warping.
_TOLERANCE = 0.01


class CubeReader(SceneReader):
    """Reads windows of one date of a cube, as :class:`SceneReader` does of files.

    On another grid than the cube's own, pixels are resampled bilinearly.

    Args:
        scene: What to read, from :func:`cube_scenes`.
    """

    # Several variables are read at once: not by blocks of a file.
    _tasks = SceneReader._strips

    def __init__(self, scene: Scene, cache: Cache | None = None) -> None:
        """Initialize a new CubeReader instance."""
        super().__init__(scene, cache)
        self._cube: xr.Dataset | None = None
        self._lock = Lock()

    def read(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> NDArray[np.float32]:
        """Read pixels, as :meth:`SceneReader.read` does."""
        with self._lock:
            pixels = self._read(window, bands, out_shape)
        return self._scaled(pixels, bands)

    def _read(
        self,
        window: Window,
        bands: Sequence[int] | None,
        out_shape: tuple[int, int] | None,
    ) -> NDArray[np.float32]:
        scene = self.scene
        assert scene.layers is not None
        if self._cube is None:
            self._cube = open_cube(scene.path)
        cube = self._cube
        x, y = str(cube.rio.x_dim), str(cube.rio.y_dim)
        cube_shape = cube.sizes[y], cube.sizes[x]
        chosen = range(len(scene.bands)) if bands is None else bands
        shape = out_shape or (int(window.height), int(window.width))
        if scene.warped:
            return self._warp(cube, chosen, window, shape)
        # Rows and columns of the cube's own grid that are needed, with a margin for the
        # kernel if pixels are resampled.
        spans = []
        for start, size, count, wanted in zip(
            (window.row_off, window.col_off),
            (window.height, window.width),
            cube_shape,
            scene.shape,
            strict=True,
        ):
            ratio = count / wanted
            margin = 0 if count == wanted else int(np.ceil(2 * max(ratio, 1))) + 1
            low = max(0, int(np.floor(start * ratio)) - margin)
            high = min(count, int(np.ceil((start + size) * ratio)) + margin)
            spans.append(slice(low, max(low, high)))
        stored = np.stack(
            [self._layer(cube, scene.layers[i], x, y, spans) for i in chosen]
        )
        down, across = (
            n / wanted for n, wanted in zip(cube_shape, scene.shape, strict=True)
        )
        area = (
            window.row_off * down,
            window.col_off * across,
            window.height * down,
            window.width * across,
        )
        corner = spans[0].start, spans[1].start
        if cube_shape != scene.shape and out_shape is None:
            return interpolate(stored, corner, area, shape)
        out = np.full((len(chosen), *shape), np.nan, np.float32)
        places = [
            nearest(start, size, n) - first
            for start, size, n, first in zip(
                area[:2], area[2:], shape, corner, strict=True
            )
        ]
        inside = [
            (p >= 0) & (p < n) for p, n in zip(places, stored.shape[1:], strict=True)
        ]
        out[:, inside[0][:, None] & inside[1][None]] = stored[
            :, places[0][inside[0]][:, None], places[1][inside[1]][None]
        ].reshape(len(chosen), -1)
        return out

    def _layer(
        self, cube: xr.Dataset, layer: Layer, x: str, y: str, spans: list[slice]
    ) -> NDArray[np.float32]:
        """Read a piece of one band, north up, on the cube's own grid."""
        variable, at = layer
        image = cube[variable].isel(dict(at))
        for axis, span in zip((y, x), spans, strict=True):
            count = cube.sizes[axis]
            ends = cube[axis].values[[0, -1]]
            if (ends[0] < ends[1]) == (axis == y):
                back = slice(count - span.stop, count - span.start)
                image = image.isel({axis: back}).isel({axis: slice(None, None, -1)})
            else:
                image = image.isel({axis: span})
        try:
            values = image.transpose(y, x).values
        except Exception as error:  # each codec raises a kind of its own
            if isinstance(error, MemoryError):
                raise
            raise RasterError(
                f'{self.scene.path} is damaged or truncated in {variable}: fetch the file '
                'again'
            ) from error
        with np.errstate(over='ignore'):  # what float32 cannot hold is missing
            pixels = values.astype(np.float32)
        low, high = valid_range(cube[variable])
        if np.isfinite([low, high]).any():
            pixels[(values < low) | (values > high)] = np.nan
        if self.scene.nodata is not None:
            # Compared before the cast: float32 cannot hold every value.
            pixels[values == self.scene.nodata] = np.nan
        return pixels

    def _warp(
        self,
        cube: xr.Dataset,
        chosen: Sequence[int],
        window: Window,
        shape: tuple[int, int],
    ) -> NDArray[np.float32]:
        """Bring a piece of the cube's own grid onto a grid of another CRS or pixel size."""
        scene = self.scene
        assert scene.layers is not None
        x, y = str(cube.rio.x_dim), str(cube.rio.y_dim)
        grid, native = grid_of(cube, x, y, scene.path)
        source = scene.source_crs or scene.crs
        target = scene.transform @ Affine.translation(window.col_off, window.row_off)
        corners = [
            apply(target, float(column), float(row))
            for column in (0, window.width)
            for row in (0, window.height)
        ]
        box = np.array([shapely.MultiPoint(corners).envelope], object)
        left, bottom, right, top = project(box, scene.crs, source)[0].bounds
        out = np.full((len(chosen), *shape), np.nan, np.float32)
        if not np.isfinite([left, bottom, right, top]).all():
            return out
        ends = grid.c, grid.c + grid.a * native[1]
        left, right = as_named((left, right), ends, source)
        spans = []
        # As many pixels beyond the window as the kernel may reach.
        for low, high, pixels, count in (
            (
                (grid.f - top) / -grid.e,
                (grid.f - bottom) / -grid.e,
                shape[0],
                native[0],
            ),
            ((left - grid.c) / grid.a, (right - grid.c) / grid.a, shape[1], native[1]),
        ):
            margin = 2 * max(1, (high - low) / pixels) + 2
            first = min(max(0, int(np.floor(low - margin))), count)
            spans.append(slice(first, max(first, min(count, int(high + margin) + 1))))
        stored = np.stack(
            [self._layer(cube, scene.layers[i], x, y, spans) for i in chosen]
        )
        if not stored.size:
            return out
        origin = Affine.translation(spans[1].start, spans[0].start)
        pixel = Affine.scale(window.width / shape[1], window.height / shape[0])
        return _resampled(stored, source, grid @ origin, scene, target @ pixel, shape)


def _resampled(
    stored: NDArray[np.float32],
    crs: CRS,
    transform: Affine,
    scene: Scene,
    target: Affine,
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """Warp pixels in memory onto a grid in the scene's CRS, NaN where none are."""
    # Not rasterio's `reproject`, which changes the filters of warnings.
    with (
        in_memory(stored, transform, np.nan, crs) as file,
        WarpedVRT(
            file,
            crs=scene.crs.to_wkt(),
            transform=target,
            height=shape[0],
            width=shape[1],
            resampling=Resampling[scene.resampling],
            tolerance=_TOLERANCE,
            UNIFIED_SRC_NODATA='NO',
            **readable(crs, transform, stored.shape[1:]),
        ) as moved,
    ):
        return moved.read()
