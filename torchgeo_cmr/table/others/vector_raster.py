"""Rasters with one vector per pixel: GeoTIFF with a band for each number, or Zarr.

Blocks are read as they lie in the file, so that a raster of any size takes the memory of one.
"""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.iso8601 import read_period
from torchgeo_cmr.rasters.orientation import upright
from torchgeo_cmr.rasters.raster_files import open_pixels
from torchgeo_cmr.regular_files import check_regular, check_there

from .dequantisation import Dequantise, method_of, unit_vectors
from .place_columns import read_area

#: Bytes of the vectors of one block in float32.
_BLOCK = 2**25
#: Megabytes of stored pixels that GDAL keeps: a few tiles in all bands.
_CACHE = 128
_NUMBERS = ('embedding', 'embeddings', 'vector', 'vectors', 'features')
_BANDS = ('band', 'bands', 'embedding', 'feature', 'dim', 'channel')
_TIMES = ('time', 't', 'year')

#: First and last moment, pandas timestamps in UTC.
type Span = tuple[Any, Any]


class Place(NamedTuple):
    """A window of a raster, in pixels."""

    row: int
    column: int
    height: int
    width: int


class VectorRaster:
    """A raster whose pixels are vectors, read block by block.

    A GeoTIFF, in which every band is one number of the vectors, such as AlphaEarth's and Tessera's;
    rows from south to north, as some copies of AlphaEarth have them, are presented
    with north at the top. Or a group of a Zarr store with an array ``embedding`` or ``embeddings`` over
    ``band``, ``y``, ``x`` and perhaps ``time``, and the scales of its pixels as the array that
    ``geoemb:quantization`` names.

    Args:
        path: The GeoTIFF, or the folder of the Zarr group.
        dequantise: ``'alphaearth'``, ``'linear'`` or ``'auto'``: by type and names of the bands.
        scales: GeoTIFF of one band with the scale of each pixel, if the file has none.
        time: When the vectors are of: a year, month, day or moment of ISO 8601. It picks the step of
            a store with several.
        area: West, south, east, north in EPSG:4326: only the window round it.

    Raises:
        RasterError: If it cannot be read, has no CRS, or its numbers may be meant in two ways.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        dequantise: Dequantise = 'auto',
        scales: str | os.PathLike[str] | None = None,
        time: str | int | None = None,
        area: tuple[float, float, float, float] | None = None,
    ) -> None:
        """Open the raster; no pixel is read."""
        for file in filter(None, (path, scales)):
            check_there(file, RasterError)
        self.path = Path(path)
        self.period = _period(time)
        folder = self.path.is_dir()
        self._source: Any = (
            _Store(self.path, self.period) if folder else _Tiff(self.path)
        )
        self._scales = None if scales is None else _Tiff(Path(scales))
        names = self._source.names
        #: How stored numbers become vectors.
        self.method = method_of(dequantise, self._source.dtype, names, str(path))
        #: Rows and columns of the pieces in which the file is stored.
        self.block: tuple[int, int] = self._source.block
        #: Numbers of a vector.
        self.dim = len(names)
        self.crs: CRS = self._source.crs
        if self.period is None:
            self.period = self._source.period
        self._window = self._cut(area)
        #: Pixel (column, row) to CRS (x, y), of what is read.
        self.transform = self._source.transform @ Affine.translation(
            self._window.column, self._window.row
        )
        #: Rows and columns of what is read.
        self.shape = self._window.height, self._window.width
        if self._scales is not None and self._scales.shape != self._source.shape:
            raise RasterError(
                f'{scales} has {self._scales.shape} pixels and {path} {self._source.shape}: give '
                'the scales of this raster'
            )

    def __enter__(self) -> Self:
        """Open it for a context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        for source in (self._source, self._scales):
            if source is not None:
                source.close()

    def read(self, place: Place) -> NDArray[np.float32]:
        """Read the vectors of a window, each of length 1.

        Args:
            place: Window of what is read, in pixels.

        Returns:
            float32 (height, width, dim), NaN where there is no data.

        Raises:
            RasterError: If the file is broken.
        """
        row, column, height, width = place
        place = Place(
            row + self._window.row, column + self._window.column, height, width
        )
        try:
            with _little_cache():
                stored = self._source.read(place)
                scale = self._source.scale(place)
                if self._scales is not None:
                    scale = self._scales.read(place)[0]
        except RasterError:
            raise
        except Exception as error:  # each library of formats raises kinds of its own
            raise RasterError(
                f'{self.path} cannot be read ({" ".join(str(error).split())[:120]}): it is '
                'truncated or broken'
            ) from error
        return unit_vectors(
            stored,
            self.method,
            nodata=self._source.nodata,
            scale=scale,
            scales=self._source.scales,
            offsets=self._source.offsets,
        )

    def blocks(self) -> Iterator[Place]:
        """Give windows that cover all pixels once, as large as memory allows and as files lie."""
        height, width = self.shape
        most = max(1, _BLOCK // (4 * self.dim))
        tall, wide = self.block
        # Of a block that is too large, pieces side by side are read one after the other.
        while tall * wide > most and wide > 1:
            wide = -(-wide // 2)
        while tall * wide > most and tall > 1:
            tall = -(-tall // 2)
        wide *= max(1, min(-(-width // wide), most // (tall * wide)))
        tall *= max(1, min(-(-height // tall), most // (tall * wide)))
        top, left = self._window.row % tall, self._window.column % wide
        for row, bottom in _steps(height, tall, top):
            for column, right in _steps(width, wide, left):
                yield Place(row, column, bottom - row, right - column)

    def _cut(self, area: tuple[float, float, float, float] | None) -> Place:
        """Find the window round an area."""
        rows, columns = self._source.shape
        box = read_area(area)
        if box is None:
            return Place(0, 0, rows, columns)
        if box[0] > box[2]:
            raise RasterError('the area crosses the antimeridian: give each side alone')
        try:
            left, bottom, right, top = transform_bounds(
                'EPSG:4326', self.crs.to_wkt(), *box, densify_pts=21
            )
        except RasterioError as error:
            raise RasterError(
                f'the area cannot be expressed in the CRS of {self.path} ({error})'
            ) from error
        corners = [
            ~self._source.transform @ (x, y)
            for x in (left, right)
            for y in (top, bottom)
        ]
        x, y = (np.array(side) for side in zip(*corners, strict=True))
        first = np.maximum(np.floor([y.min(), x.min()]), 0).astype(int)
        last = np.minimum(np.ceil([y.max(), x.max()]), [rows, columns]).astype(int)
        if (last <= first).any():
            bounds = array_bounds(rows, columns, self._source.transform)
            degrees = transform_bounds(self.crs.to_wkt(), 'EPSG:4326', *bounds)
            raise RasterError(
                f'the area does not touch {self.path}, which covers '
                f'{",".join(f"{side:.4f}" for side in degrees)} (W,S,E,N in degrees)'
            )
        return Place(*map(int, first), *map(int, last - first))


def _little_cache() -> rasterio.Env:
    """Let GDAL keep few tiles, and not a twentieth of memory; it asks once, at the first read."""
    chosen = 'GDAL_CACHEMAX' in os.environ
    return rasterio.Env(**({} if chosen else {'GDAL_CACHEMAX': _CACHE}))


def _steps(length: int, step: int, before: int) -> Iterator[tuple[int, int]]:
    """Give pieces of a length that begin where blocks of the file do."""
    edges = [0, *range(step - before, length, step), length]
    yield from itertools.pairwise(edges)


def _period(time: str | int | None) -> Span | None:
    """Read when vectors are of."""
    if time is None:
        return None
    try:
        period = read_period(str(time))
    except ValueError as error:
        raise RasterError(f'the time {error}') from error
    last = period.end - 1000 if period.whole else period.start
    return pd.Timestamp(period.start, tz='UTC'), pd.Timestamp(last, tz='UTC')


class _Tiff:
    """A GeoTIFF with a band for each number."""

    period = None

    def __init__(self, path: Path) -> None:
        try:
            self._file = upright(open_pixels(path))
        except RasterioError as error:
            raise RasterError(
                f'{path} is neither a GeoTIFF nor the folder of a Zarr group ({error}): name one'
            ) from error
        if self._file.crs is None or self._file.transform.is_identity:
            raise RasterError(f'{path} has no CRS or no place: write it with both')
        self.crs = CRS.from_wkt(self._file.crs.to_wkt())
        self.transform = self._file.transform
        self.shape: tuple[int, int] = self._file.shape
        self.names: Sequence[str | None] = self._file.descriptions
        self.dtype = self._file.dtypes[0]
        self.nodata = self._file.nodata
        self.block = tuple(map(min, self._file.block_shapes[0], self.shape))
        steps, added = self._file.scales, self._file.offsets
        self.scales = steps if any(step != 1 for step in steps) else ()
        self.offsets = added if any(added) else ()

    def read(self, place: Place) -> NDArray[Any]:
        row, column, height, width = place
        # ty does not know the fields of this class.
        return self._file.read(window=Window(column, row, width, height))  # ty: ignore[too-many-positional-arguments]

    def scale(self, _: Place) -> None:
        return None

    def close(self) -> None:
        self._file.close()


class _Store:
    """A group of a Zarr store."""

    nodata = None
    scales: Sequence[float] = ()
    offsets: Sequence[float] = ()

    def __init__(self, path: Path, period: Any) -> None:
        for file in path.rglob('*'):
            if not file.is_dir():
                check_regular(file, RasterError)
        self._group = group = _opened(path)
        numbers = [name for name in _NUMBERS if name in group.data_vars]
        if len(numbers) != 1:
            raise RasterError(
                f'{path} has the arrays {", ".join(map(str, group.data_vars)) or "none"}: one of '
                f'them must be called {" or ".join(_NUMBERS[:2])}; name the folder of the group'
            )
        array = group[numbers[0]]
        x, y = (_dim(array, names, path) for names in (('x',), ('y',)))
        band = _dim(array, _BANDS, path)
        self.period = None
        if rest := {*array.dims} - {x, y, band}:
            array, self.period = self._at(
                array, {str(dim) for dim in rest}, period, path
            )
        chunks = array.encoding.get('preferred_chunks') or {}
        self.block = tuple(int(chunks.get(dim, array.sizes[dim])) for dim in (y, x))
        self._array = array.transpose(band, y, x)
        self._factors = self._scale_array(array, (y, x), path)
        self.names: Sequence[str | None] = [None] * array.sizes[band]
        if band in group.coords and group[band].dtype.kind in 'UOT':
            self.names = [str(name) for name in group[band].values]
        self.dtype, self.shape = array.dtype, (array.sizes[y], array.sizes[x])
        self.crs, self.transform = _grid(group, x, y, path)
        if self.transform.e > 0:
            raise RasterError(
                f'{path} has its rows from south to north, which is not read from Zarr: sort it by y'
            )

    def _at(
        self, array: Any, dims: set[str], period: Any, path: Path
    ) -> tuple[Any, Any]:
        """Pick one step of time."""
        (time, *others) = sorted(dims, key=lambda dim: dim not in _TIMES)
        if others or time not in _TIMES:
            raise RasterError(
                f'{path} has the dimensions {", ".join(sorted(dims))} besides band, y and x: '
                'pick one step of each first'
            )
        steps = [_step(value) for value in array[time].values]
        found = (
            [i for i, step in enumerate(steps) if period[0] <= step[0] <= period[1]]
            if period is not None
            else [*range(len(steps))]
        )
        if len(found) != 1:
            words = ', '.join(str(step[0].date()) for step in steps[:20])
            raise RasterError(
                f'{path} has {len(found)} of its steps at the time that was given; give '
                f'time= (--time) for one of {words}'
            )
        self._step = {time: found[0]}
        return array.isel(self._step), steps[found[0]]

    def _scale_array(self, array: Any, dims: tuple[str, str], path: Path) -> Any:
        """Find the array of scales that the convention names, or one called scales."""
        stated = self._group.attrs.get('geoemb:quantization') or {}
        scale = stated.get('scale') if isinstance(stated, dict) else None
        name = scale.get('array_name') if isinstance(scale, dict) else None
        if name is not None and name not in self._group.data_vars:
            raise RasterError(
                f'{path} names an array of scales {name}, which is missing'
            )
        name = name or ('scales' if 'scales' in self._group.data_vars else None)
        if name is None:
            return None
        factors = self._group[name]
        step = {
            dim: i
            for dim, i in getattr(self, '_step', {}).items()
            if dim in factors.dims
        }
        factors = factors.isel(step)
        if {*factors.dims} != {*dims}:
            raise RasterError(
                f'{path} has scales over {", ".join(map(str, factors.dims))} in place of y and x'
            )
        return factors.transpose(*dims)

    def read(self, place: Place) -> NDArray[Any]:
        return self._array[(slice(None), *_slices(place))].to_numpy()

    def scale(self, place: Place) -> NDArray[Any] | None:
        return (
            None if self._factors is None else self._factors[_slices(place)].to_numpy()
        )

    def close(self) -> None:
        self._group.close()


def _opened(path: Path) -> Any:
    import xarray as xr

    try:
        # A group of a larger store has no consolidated metadata of its own.
        return xr.open_dataset(
            path, engine='zarr', mask_and_scale=False, cache=False, consolidated=False
        )
    except Exception as error:  # each library of formats raises kinds of its own
        raise RasterError(
            f'{path} cannot be read as a Zarr group ({" ".join(str(error).split())[:120]}): check '
            'the folder, and that zarr is installed (pip install torchgeo-cmr[cubes])'
        ) from error


def _dim(array: Any, names: Sequence[str], path: Path) -> str:
    found = [str(dim) for dim in array.dims if str(dim).lower() in names]
    if len(found) != 1:
        raise RasterError(
            f'{path} has an array over {", ".join(map(str, array.dims))}: it must have one '
            f'dimension called {" or ".join(names)}'
        )
    return found[0]


def _step(value: Any) -> Span:
    """Read a step of time: a year, or a moment, of which midnight is the whole day."""
    if np.issubdtype(type(value), np.datetime64):
        value = str(value).removesuffix('T00:00:00.000000000')
    found = _period(str(value))
    assert found is not None
    return found


def _grid(group: Any, x: str, y: str, path: Path) -> tuple[CRS, Affine]:
    """Give CRS and transform: those of the convention, else those that rioxarray reads."""
    import rioxarray  # noqa: F401  # registers .rio

    _check_addresses(group, path)
    code, numbers = (group.attrs.get(k) for k in ('proj:code', 'spatial:transform'))
    try:
        crs = CRS.from_user_input(code) if code is not None else None
        if crs is None and group.rio.crs is not None:
            crs = CRS.from_wkt(group.rio.crs.to_wkt())
        if numbers is not None:
            return _known(crs, path), Affine(*(float(n) for n in numbers[:6]))
        if x in group.coords and y in group.coords:
            given = group.rio.set_spatial_dims(x_dim=x, y_dim=y)
            return _known(crs, path), given.rio.transform(recalc=True)
    except RasterError:
        raise
    except Exception as error:  # of three libraries
        raise RasterError(f'{path} has no grid that can be read ({error})') from error
    raise RasterError(
        f'{path} does not say where its pixels are: it needs spatial:transform, or coordinates x, y'
    )


def _check_addresses(group: Any, path: Path) -> None:
    """Refuse a CRS that is an address, which GDAL would fetch."""
    for variable in (group, *group.variables.values()):
        for name in ('crs_wkt', 'spatial_ref', 'crs'):
            text = str(variable.attrs.get(name, ''))
            if re.match(r'\s*([a-z]+://|/vsi)', text, re.IGNORECASE):
                raise RasterError(
                    f'{path} names its CRS by an address ({text:.80}), which is not fetched: write '
                    'it out'
                )


def _known(crs: CRS | None, path: Path) -> CRS:
    if crs is None:
        raise RasterError(f'{path} has no CRS: it needs proj:code, or spatial_ref')
    return crs


def _slices(place: Place) -> tuple[slice, slice]:
    row, column, height, width = place
    return slice(row, row + height), slice(column, column + width)
