"""Which pixels of a raster are missing: GDAL's masks, computed from the pixels.

GDAL compares whole numbers exactly and floats with a tolerance, because nodata values pass
through text. Reading its masks costs as much as reading the pixels; the same answer comes
from the pixels as ranges of values that mean "missing".
"""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.header import Header, reopen
from torchgeo_cmr.scenes.remote_files import RemoteFile

#: Types whose nodata values are compared here; of other types the masks are read.
COMPARED = frozenset(
    ('uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'float64')
)


class Mark(NamedTuple):
    """Values that mean "missing": from *low* to *high*, in the type of the pixels."""

    low: Any
    high: Any


#: Ranges of values of missing pixels, besides NaN.
type Marks = tuple[Mark, ...]


@lru_cache(maxsize=1024)
def marks_of(value: float | None, kind: str) -> Marks:
    """Say which values GDAL takes for a nodata value.

    Args:
        value: Nodata value; None or NaN for none.
        kind: NumPy type of the pixels.

    Returns:
        At most two ranges; none if no pixel of that type can have the value.
    """
    if value is None or np.isnan(value):
        return ()
    dtype = np.dtype(kind)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        # Truncated as GDAL does it: 0.5 means 0.
        inside = limits.min <= value <= limits.max
        return (Mark(int(value), int(value)),) if inside else ()
    with np.errstate(over='ignore'):
        return _float_marks(dtype.type(value), dtype)


def _float_marks(centre: Any, dtype: np.dtype) -> Marks:
    """Ranges in which ``|a - b| < eps * |a + b| * 2``, as GDAL computes it."""
    if np.isinf(centre):
        return (Mark(centre, centre),)
    # Of both kinds of floats it is the precision of the shorter one.
    epsilon = dtype.type(np.finfo(np.float32).eps)

    def near(a: Any) -> bool:
        whole = abs(a + centre)
        return bool(np.isfinite(whole) and abs(a - centre) < epsilon * whole * 2)

    ends = [
        _last(near, centre, dtype.type(centre * dtype.type(factor)))
        for factor in (1 - 1e-5, 1 + 1e-5)
    ]
    found = [Mark(*sorted(ends))]
    size, largest = abs(centre), np.finfo(dtype).max
    if np.isinf(largest + size):
        # Where the sum overflows, GDAL's tolerance is infinite.
        first = _last(lambda a: bool(np.isinf(a + size)), largest, dtype.type(0))
        found.append(Mark(*sorted(np.copysign([first, largest], centre))))
    return tuple(found)


def _last(test: Callable[[Any], bool], inside: Any, outside: Any) -> Any:
    """Go from a value that passes towards one that fails, as far as values pass."""
    while True:
        middle = inside / 2 + outside / 2
        if middle in (inside, outside):
            return inside
        if test(middle):
            inside = middle
        else:
            outside = middle


def missing(pixels: NDArray[Any], marks: Sequence[Marks]) -> NDArray[np.bool_] | None:
    """Find the pixels whose values mean "missing"; NaN is not looked for.

    Args:
        pixels: Array of shape ``(bands, ...)`` in the type of the file.
        marks: Ranges of each band.

    Returns:
        Array of the same shape; None if no pixel is missing.
    """
    first = marks[0] if marks else ()
    if all(each == first for each in marks):
        found = _inside(pixels, first)
    else:
        found = np.stack(
            [_inside(plane, each) for plane, each in zip(pixels, marks, strict=True)]
        )
    return found if found.any() else None


def _inside(pixels: NDArray[Any], marks: Marks) -> NDArray[np.bool_]:
    found = np.zeros(pixels.shape, np.bool_) if len(marks) != 1 else None
    for low, high in marks:
        # Most often one value: one pass over the pixels then.
        part = pixels == low if low == high else (pixels >= low) & (pixels <= high)
        found = part if found is None else found | part
    assert found is not None
    return found


def masked_copy(header: Header, masked: bool, value: float | None) -> str:
    """Describe a raster as a virtual one of float32 with NaN where pixels are missing.

    GDAL's warper takes one nodata value for all bands and mixes it into its neighbours where
    other bands have data; NaN in each band is excluded from every sum.

    Args:
        header: The raster.
        masked: Whether what its masks say is missing; False if its alpha band is a band.
        value: Value of missing pixels besides.

    Returns:
        A name that GDAL opens.
    """
    path = header.path
    if isinstance(path, RemoteFile):
        raise RasterError(
            f'{path} has missing pixels and is in another CRS than it is wanted in: such files '
            'are read from this disk only, download it'
        )
    name = os.path.abspath(path) if os.path.exists(path) else path
    if masked and 'alpha' in header.masks[0]:
        # GDAL itself may have made no mask of it.
        with reopen(path) as file:
            name = file.name
    name = _virtual(header, name, masked)
    # One source cannot exclude both, so the value is excluded from the result.
    return name if value is None else _virtual(header, name, False, value)


def _virtual(
    header: Header, name: str, masked: bool, value: float | None = None
) -> str:
    rows, columns = header.shape
    t = header.transform
    which = '<UseMaskBand>true</UseMaskBand>' if masked else ''
    which += '' if value is None else f'<NODATA>{value!r}</NODATA>'
    bands = ''.join(
        f'<VRTRasterBand dataType="Float32" band="{i}"><NoDataValue>nan</NoDataValue>'
        f'<ComplexSource><SourceFilename relativeToVRT="0">{escape(name)}</SourceFilename>'
        f'<SourceBand>{i}</SourceBand>{which}</ComplexSource></VRTRasterBand>'
        for i in range(1, header.count + 1)
    )
    return (
        f'<VRTDataset rasterXSize="{columns}" rasterYSize="{rows}">'
        f'<SRS>{escape(header.wkt)}</SRS><GeoTransform>'
        f'{", ".join(repr(n) for n in (t.c, t.a, t.b, t.f, t.d, t.e))}</GeoTransform>'
        f'{bands}</VRTDataset>'
    )
