"""Cubes: NetCDF and Zarr, one scene a date, read through xarray.

Variables are bands; so are the labels of a further dimension, if there is one. Values are
those that xarray decodes: scale, offset, sign and fill value are applied. Cubes whose rows
go from south to north are turned over, so that every image has north at the top.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import shapely
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from rioxarray.exceptions import MissingSpatialDimensionError

from torchgeo_cmr.datasets.cache import Cache
from torchgeo_cmr.datasets.names import find_bands, mask_name
from torchgeo_cmr.datasets.outlines import project
from torchgeo_cmr.datasets.reader import SceneReader
from torchgeo_cmr.datasets.resampling import interpolate, nearest
from torchgeo_cmr.datasets.scales import Scale, Scales
from torchgeo_cmr.datasets.scene import Layer, Scene, apply
from torchgeo_cmr.datasets.units import stated_unit, unit_of
from torchgeo_cmr.errors import RasterError

#: Part of a pixel by which GDAL may miss the place of a pixel while warping.
_TOLERANCE = 0.01

#: Attributes of stored numbers that xarray applies.
_SCALED = {'scale_factor', 'add_offset'}

#: Part of a pixel by which coordinates may leave an even grid.
_UNEVEN = 0.01

#: Metres in the units in which coordinates may count; angles have none.
_METRES = {
    'm': 1.0,
    'metre': 1.0,
    'meter': 1.0,
    'km': 1000.0,
    'kilometre': 1000.0,
    'kilometer': 1000.0,
    'rad': None,
    'radian': None,
    'degree': None,
    'degrees_east': None,
    'degrees_north': None,
}


def cube_scenes(
    path: str, bands: Sequence[str] = (), crs: CRS | None = None
) -> list[Scene]:
    """Read the catalogue of a cube: one scene a time step.

    Args:
        path: NetCDF file or Zarr store with variables on one regular grid and a CRS that
            rioxarray finds.
        bands: Bands to pick, by the names of the variables or by what their names end in;
            empty, or names that are not all there, for every variable.
        crs: CRS of a cube that states none.

    Returns:
        Scenes in the order of time, or one without date if the cube has no time. Steps at
        midnight stand for the whole day.

    Raises:
        RasterError: If it cannot be read, has no CRS or no regular grid, or no variable is
            an image.
    """
    with open_cube(path) as cube:
        x, y = _axes(cube, path)
        if crs is None or cube.rio.crs is not None:
            crs = _crs(cube, path)
        _check_coordinates(cube, (x, y), crs, path)
        images = {
            str(name): variable
            for name, variable in cube.data_vars.items()
            if {x, y} <= set(variable.dims) and np.issubdtype(variable.dtype, np.number)
        }
        dims = {dim for variable in images.values() for dim in variable.dims} - {x, y}
        time = next(
            (
                d
                for d in sorted(map(str, dims))
                if d in cube and cube[d].dtype.kind == 'M'
            ),
            None,
        )
        _check_calendar(cube, dims, path)
        layers = {
            name: layer
            for variable in images
            for name, layer in _layers(images[variable], variable, {x, y, time})
        }
        if not layers:
            raise RasterError(
                f'{path} has no variable over {y} and {x}: give a cube of images'
            )
        transform, shape = _grid(cube, x, y, path)
        scene = Scene(
            path=path,
            sources=((path, 1),) * len(layers),
            bands=tuple(layers),
            crs=crs,
            transform=transform,
            shape=shape,
            gsd=(0.0,) * len(layers),
            sensor=_sensor(cube),
            layers=tuple(layers.values()),
        )
        scene = replace(scene, gsd=(scene.grid_gsd,) * len(layers))
        order = find_bands(bands, scene.bands, scene.sensor) if bands else None
        if order is not None:
            masks = [i for i, b in enumerate(scene.bands) if mask_name(b)]
            masks = [i for i in masks if i not in order]
            scene = scene.pick([*order, *masks])
        scene = replace(
            scene, units=_units(scene, images), scales=_scales(scene, images)
        )
        if time is None:
            return [scene]
        return [_at(scene, time, i, t) for i, t in enumerate(_times(cube[time], path))]


def open_cube(path: str) -> xr.Dataset:
    """Open a cube without reading it, or say in one sentence that it is none."""
    zarr = path.rstrip('/\\').lower().endswith('.zarr')
    try:
        cube = xr.open_dataset(
            path, engine='zarr' if zarr else None, decode_coords='all', cache=False
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        told = ' '.join(str(error).split())[:120]
        raise RasterError(
            f'{path} cannot be read as a cube ({told}): check the file, and that '
            f'{"zarr" if zarr else "netcdf4"} is installed'
        ) from error
    # The usual short names, which rioxarray knows by their attributes alone.
    short = {'lon': 'x', 'lat': 'y'}
    free = not {'x', 'y', 'longitude', 'latitude'} & {*cube.variables, *cube.dims}
    return cube.rename(short) if free and {*short} <= {*cube.dims} else cube


def _axes(cube: xr.Dataset, path: str) -> tuple[str, str]:
    try:
        return str(cube.rio.x_dim), str(cube.rio.y_dim)
    except MissingSpatialDimensionError as error:
        raise RasterError(
            f'{path} has no dimensions x and y (it has {", ".join(map(str, cube.dims))}): '
            'rename its spatial dimensions'
        ) from error


def _crs(cube: xr.Dataset, path: str) -> CRS:
    if cube.rio.crs is None:
        raise RasterError(
            f'{path} has no CRS: declare it with `rio.write_crs` of rioxarray and write it '
            'again, because no place is ever guessed'
        )
    with rasterio.Env(OSR_WKT_FORMAT='WKT2_2018'):
        return CRS.from_user_input(cube.rio.crs)


def _check_coordinates(
    cube: xr.Dataset, axes: tuple[str, str], crs: CRS, path: str
) -> None:
    """Refuse coordinates that state another unit than their CRS, such as kilometres."""
    if not crs.is_projected or not crs.axis_info:
        return
    metres = crs.axis_info[0].unit_conversion_factor
    for axis in axes:
        unit = str(cube[axis].attrs.get('units') if axis in cube else '').strip()
        known = unit if unit in _METRES else unit.lower().removesuffix('s')
        if known in _METRES and _METRES[known] != metres:
            raise RasterError(
                f'{path} counts {axis} in {unit}, and its CRS {crs.name} in '
                f'{crs.axis_info[0].unit_name}: convert the coordinates and write it again'
            )


def _grid(
    cube: xr.Dataset, x: str, y: str, path: str
) -> tuple[Affine, tuple[int, int]]:
    """Grid with north up, from the centres of pixels."""
    steps, starts = [], []
    for axis in (x, y):
        centres = np.asarray(cube[axis].values, np.float64) if axis in cube else None
        if centres is None or len(centres) < 2:
            raise RasterError(
                f'{path} has no coordinates along {axis}: a grid needs two or more'
            )
        step = (centres[-1] - centres[0]) / (len(centres) - 1)
        even = centres[0] + step * np.arange(len(centres))
        slack = _UNEVEN * abs(step)
        if cube[axis].dtype == np.float32:
            # Rounded, so that the line through all of them is closer to the grid.
            places = np.arange(len(centres)) - (len(centres) - 1) / 2
            step = (places * centres).sum() / (places**2).sum()
            even = centres.mean() + step * places
            rounded = float(np.spacing(np.float32(np.abs(centres).max())))
            slack = max(slack, min(rounded, abs(step) / 4))
        if step == 0 or np.abs(centres - even).max() > slack:
            raise RasterError(
                f'{path} has no even steps along {axis}: put it on a regular grid first'
            )
        steps.append(abs(step))
        starts.append(even.min() if axis == x else even.max())
    across, down = steps
    transform = Affine(
        across, 0, starts[0] - across / 2, 0, -down, starts[1] + down / 2
    )
    return transform, (cube.sizes[y], cube.sizes[x])


def _layers(
    image: xr.DataArray, name: str, known: set[str | None]
) -> list[tuple[str, Layer]]:
    """Name the bands of a variable: itself, or the labels of its other dimensions."""
    others = [str(dim) for dim in image.dims if dim not in known]
    if not others:
        return [(name, (name, ()))]
    layers = []
    for places in product(*(range(image.sizes[dim]) for dim in others)):
        labels = [
            str(image[dim].values[i]) if dim in image.coords else f'{dim}_{i + 1}'
            for dim, i in zip(others, places, strict=True)
        ]
        at = tuple(zip(others, places, strict=True))
        layers.append(('_'.join(labels), (name, at)))
    return layers


def _units(scene: Scene, images: dict[str, xr.DataArray]) -> str | None:
    layers = {
        band: layer
        for layer, band in zip(scene.layers or (), scene.bands, strict=True)
        if mask_name(band) is None
    }
    chosen = [images[variable] for variable, _ in layers.values()]
    stated = stated_unit([image.attrs.get('units') for image in chosen])
    if stated is not None or not chosen:
        return stated
    kinds = [
        # What has a scale is a physical value, however it is stored.
        np.dtype(np.float32)
        if _SCALED & set(image.encoding)
        else np.dtype(image.encoding.get('dtype', image.dtype))
        for image in chosen
    ]
    return unit_of(list(layers), np.result_type(*kinds))


def _scales(scene: Scene, images: dict[str, xr.DataArray]) -> Scales:
    """What has a scale is decoded to physical values; of others nothing is known."""
    found = tuple(
        Scale(1.0) if _SCALED & set(images[variable].encoding) else Scale()
        for variable, _ in scene.layers or ()
    )
    return found if any(scale.step for scale in found) else None


def _sensor(cube: xr.Dataset) -> str | None:
    """Platform or sensor as the attributes of CF and ACDD name it."""
    named = cube.attrs.get('platform') or cube.attrs.get('sensor')
    return str(named).strip().lower() or None if named else None


def _check_calendar(cube: xr.Dataset, dims: set[Any], path: str) -> None:
    """Refuse dates that no other scene has, such as those of years of 360 days."""
    for dim in dims:
        first = cube[dim].values[:1] if dim in cube else np.zeros(0)
        calendar = getattr(first[0], 'calendar', None) if len(first) else None
        if calendar:
            raise RasterError(
                f'{path} counts its days by the calendar {calendar}, so that they are not '
                'those of other scenes: convert it with `convert_calendar` of xarray'
            )


def _times(axis: xr.DataArray, path: str) -> pd.DatetimeIndex:
    moments = pd.DatetimeIndex(axis.values)
    if moments.isna().any() or moments.has_duplicates:
        raise RasterError(
            f'{path} has two steps of one time along {axis.name}, or one without: give '
            'each date once'
        )
    return moments


def _at(scene: Scene, dim: str, step: int, moment: pd.Timestamp) -> Scene:
    """Give the scene of one date."""
    assert scene.layers is not None
    day = moment == moment.normalize()
    last = pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
    return replace(
        scene,
        sources=tuple((path, step + 1) for path, _ in scene.sources),
        layers=tuple((name, ((dim, step), *at)) for name, at in scene.layers),
        part=moment.strftime('%Y-%m-%d' if day else '%Y-%m-%dT%H%M%S.%f'),
        time_start=moment.tz_localize('UTC'),
        time_end=(moment + last if day else moment).tz_localize('UTC'),
    )


def _valid_range(image: xr.DataArray) -> tuple[float, float]:
    """Range outside of which values are missing by CF, as they are decoded.

    What is stated in the type of packed numbers speaks of those, decimals of physical values.
    """
    told, how = image.attrs, image.encoding
    ends = told.get('valid_range', (told.get('valid_min'), told.get('valid_max')))
    try:
        low, high = (
            none if end is None else float(end)
            for end, none in zip(ends, (-np.inf, np.inf), strict=True)
        )
    except (TypeError, ValueError):
        return -np.inf, np.inf  # no two numbers: nothing is stated
    packed = np.dtype(how.get('dtype', image.dtype)).kind in 'iu'
    decimals = any(np.asarray(end).dtype.kind == 'f' for end in ends)
    if _SCALED & {*how} and not (packed and decimals):
        scale, offset = (
            float(how.get(key, none))
            for key, none in (('scale_factor', 1), ('add_offset', 0))
        )
        low, high = sorted((low * scale + offset, high * scale + offset))
        # Half a step on either side, for decoding rounds.
        low, high = low - abs(scale) / 2, high + abs(scale) / 2
    # Bounds of bytes that are stored with another sign are in the wrong order.
    signed = str(how.get('_Unsigned', '')).lower() in ('true', 'false')
    return (-np.inf, np.inf) if signed or low > high else (low, high)


class CubeReader(SceneReader):
    """Reads windows of one date of a cube, as :class:`SceneReader` does of files.

    On another grid than the cube's own, pixels are resampled bilinearly.

    Args:
        scene: What to read, from :func:`cube_scenes`.

    .. versionadded:: 0.1
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
        own = cube.sizes[y], cube.sizes[x]
        chosen = range(len(scene.bands)) if bands is None else bands
        shape = out_shape or (int(window.height), int(window.width))
        if scene.warped:
            return self._warp(cube, chosen, window, shape)
        # Rows and columns of the cube's own grid that are needed, with a margin for the
        # kernel if pixels are resampled.
        spans = []
        for start, size, count, asked in zip(
            (window.row_off, window.col_off),
            (window.height, window.width),
            own,
            scene.shape,
            strict=True,
        ):
            ratio = count / asked
            margin = 0 if count == asked else int(np.ceil(2 * max(ratio, 1))) + 1
            low = max(0, int(np.floor(start * ratio)) - margin)
            high = min(count, int(np.ceil((start + size) * ratio)) + margin)
            spans.append(slice(low, max(low, high)))
        stored = np.stack(
            [self._layer(cube, scene.layers[i], x, y, spans) for i in chosen]
        )
        down, across = (n / asked for n, asked in zip(own, scene.shape, strict=True))
        area = (
            window.row_off * down,
            window.col_off * across,
            window.height * down,
            window.width * across,
        )
        corner = spans[0].start, spans[1].start
        if own != scene.shape and out_shape is None:
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
        except (OSError, RuntimeError, ValueError) as error:
            raise RasterError(
                f'{self.scene.path} is damaged or truncated in {variable}: fetch the file '
                'again'
            ) from error
        pixels = values.astype(np.float32)
        low, high = _valid_range(cube[variable])
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
        grid, own = _grid(cube, x, y, scene.path)
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
        spans = []
        # As many pixels beyond the window as the kernel may reach.
        for low, high, pixels, count in (
            ((grid.f - top) / -grid.e, (grid.f - bottom) / -grid.e, shape[0], own[0]),
            ((left - grid.c) / grid.a, (right - grid.c) / grid.a, shape[1], own[1]),
        ):
            margin = 2 * max(1, (high - low) / pixels) + 2
            first = min(max(0, int(np.floor(low - margin))), count)
            spans.append(slice(first, max(first, min(count, int(high + margin) + 1))))
        stored = np.stack(
            [self._layer(cube, scene.layers[i], x, y, spans) for i in chosen]
        )
        if not stored.size:
            return out
        # Not rasterio's `reproject`, which changes the filters of warnings.
        with MemoryFile() as memory:
            with memory.open(
                driver='GTiff',
                count=len(stored),
                height=stored.shape[1],
                width=stored.shape[2],
                dtype='float32',
                crs=source.to_wkt(),
                transform=grid @ Affine.translation(spans[1].start, spans[0].start),
                nodata=np.nan,
            ) as file:
                file.write(stored)
            with (
                memory.open() as file,
                WarpedVRT(
                    file,
                    crs=scene.crs.to_wkt(),
                    transform=target
                    @ Affine.scale(window.width / shape[1], window.height / shape[0]),
                    height=shape[0],
                    width=shape[1],
                    resampling=Resampling[scene.resampling],
                    tolerance=_TOLERANCE,
                    UNIFIED_SRC_NODATA='NO',
                ) as moved,
            ):
                return moved.read()
