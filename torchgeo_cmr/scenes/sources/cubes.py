"""Cubes: NetCDF and Zarr, one scene per date, read through xarray.

Variables are bands; so are the labels of a further dimension, if there is one. Values are
those that xarray decodes: scale, offset, sign and fill value are applied. Cubes whose rows
go from south to north are turned over, so that every image has north at the top.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from affine import Affine
from pyproj import CRS
from rioxarray.exceptions import MissingSpatialDimensionError

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.regular_files import check_regular
from torchgeo_cmr.scenes.bands import find_bands, mask_name
from torchgeo_cmr.scenes.scales import Scale, Scales
from torchgeo_cmr.scenes.scene import Layer, Scene
from torchgeo_cmr.scenes.units import stated_unit, unit_of
from torchgeo_cmr.typed_json import read_json

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
        Scenes in the order of time; one if the cube has no dimension of time, with the date of a
        coordinate that is a single moment, if there is one. Midnight stands for the whole day.

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
            for name, variable in _in_order(cube, path)
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
        transform, shape = grid_of(cube, x, y, path)
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
            return [_dated(scene, _only_time(cube))]
        if not cube.sizes[time]:
            raise RasterError(
                f'{path} holds no date, its {time} is empty: write it again'
            )
        return [_at(scene, time, i, t) for i, t in enumerate(_times(cube[time], path))]


class _Group(TypedDict, total=False):
    """What ``zarr.json`` of a group says of metadata that are in one file."""

    consolidated_metadata: Any


def open_cube(path: str) -> xr.Dataset:
    """Open a cube without reading it, or raise one sentence on why it is not one."""
    zarr = path.rstrip('/\\').lower().endswith('.zarr')
    _check_files(path)
    options: dict[str, Any] = {}
    if zarr and not _is_consolidated(path):
        options['consolidated'] = False
    try:
        cube = xr.open_dataset(
            path,
            engine='zarr' if zarr else None,
            decode_coords='all',
            cache=False,
            **options,
        )
    except Exception as error:  # each library of formats raises kinds of its own
        reason = ' '.join(str(error).split())[:120]
        raise RasterError(
            f'{path} cannot be read as a cube ({reason}): check the file, and that '
            f'{"zarr" if zarr else "netcdf4"} is installed'
        ) from error
    _check_crs_text(cube, path)
    # The usual short names, which rioxarray knows by their attributes alone.
    short = {'lon': 'x', 'lat': 'y'}
    free = not {'x', 'y', 'longitude', 'latitude'} & {*cube.variables, *cube.dims}
    return cube.rename(short) if free and {*short} <= {*cube.dims} else cube


def _in_order(cube: xr.Dataset, path: str) -> list[tuple[Any, xr.DataArray]]:
    """Give the variables as they were written; those of a store that lists its folder, by name.

    A disk lists a folder in any order, and bands would change places from one run to the next.
    """
    found = [*cube.data_vars.items()]
    if os.path.isdir(path) and not _is_consolidated(path):
        # B2 before B10.
        found.sort(
            key=lambda each: re.sub(r'\d+', lambda n: f'{int(n[0]):09}', str(each[0]))
        )
    return found


def _is_consolidated(path: str) -> bool:
    """Whether a store may have all its metadata in one file; xarray warns where it has not."""
    if os.path.exists(os.path.join(path, '.zmetadata')):
        return True
    with suppress(OSError, RasterError):
        group = Path(path, 'zarr.json')
        found = read_json(group, _Group, 'write it again', RasterError)
        return found.get('consolidated_metadata') is not None
    return False


def _check_files(path: str) -> None:
    """Refuse pipes and devices, also among the files of a store."""
    folders = [path]
    while folders and os.path.isdir(folders[-1]):
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.is_file():  # known without another look at the disk
                    check_regular(entry.path, RasterError)
    if folders:
        check_regular(path, RasterError)


def _check_crs_text(cube: xr.Dataset, path: str) -> None:
    """Refuse a CRS that is an address, which GDAL would fetch."""
    for variable in (cube, *cube.variables.values()):
        for name in ('crs_wkt', 'spatial_ref', 'crs'):
            text = str(variable.attrs.get(name, ''))
            if re.match(r'\s*([a-z]+://|/vsi)', text, re.IGNORECASE):
                raise RasterError(
                    f'{path} names its CRS by an address ({text:.80}), which is not '
                    'fetched: write it with `rio.write_crs` of rioxarray'
                )


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


def grid_of(
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


def _only_time(cube: xr.Dataset) -> pd.Timestamp | None:
    """Moment of a cube that was cut out of a longer one; None if unknown or doubtful."""
    single = {
        str(name): variable
        # Not all writers say which of them are coordinates.
        for name, variable in cube.variables.items()
        if variable.ndim == 0
        and variable.dtype.kind == 'M'
        # Others are such as the time at which a forecast was made.
        and variable.attrs.get('standard_name', 'time') == 'time'
    }
    known = single.get('time') if len(single) > 1 else next(iter(single.values()), None)
    if known is None:
        return None
    (moment,) = pd.DatetimeIndex(known.values.reshape(1))
    return None if pd.isna(moment) else moment


def _dated(scene: Scene, moment: pd.Timestamp | None) -> Scene:
    """Give a scene its date; midnight is the whole day."""
    if moment is None:
        return scene
    last = pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
    day = moment == moment.normalize()
    return replace(
        scene,
        time_start=moment.tz_localize('UTC'),
        time_end=(moment + last if day else moment).tz_localize('UTC'),
    )


def _at(scene: Scene, dim: str, step: int, moment: pd.Timestamp) -> Scene:
    """Give the scene of one date."""
    assert scene.layers is not None
    day = moment == moment.normalize()
    return replace(
        _dated(scene, moment),
        sources=tuple((path, step + 1) for path, _ in scene.sources),
        layers=tuple((name, ((dim, step), *at)) for name, at in scene.layers),
        part=moment.strftime('%Y-%m-%d' if day else '%Y-%m-%dT%H%M%S.%f'),
    )


def valid_range(image: xr.DataArray) -> tuple[float, float]:
    """Range outside of which values are missing by CF, as they are decoded.

    What is stated in the type of packed numbers speaks of those, decimals of physical values.
    """
    attributes, how = image.attrs, image.encoding
    ends = attributes.get(
        'valid_range', (attributes.get('valid_min'), attributes.get('valid_max'))
    )
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
