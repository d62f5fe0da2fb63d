"""Stored numbers of pixel embeddings as the vectors that their owner means.

AlphaEarth Foundations stores the signed square root of each number in steps of 1/127.5, with
-128 where a pixel is masked: ``((v / 127.5) ** 2) * sign(v)`` (Google, "AlphaEarth Foundations GCS
data", Earth Engine guides, read in November 2026). Tessera stores int8 times one float32 scale
per pixel, which is infinite or NaN where there is no data (geo-embeddings Zarr convention v1).
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import RasterError

#: How stored numbers become vectors; ``'auto'`` decides by type and names of the bands.
type Dequantise = Literal['auto', 'linear', 'alphaearth']

#: What AlphaEarth's bytes mean, by their bits; NaN for -128.
_CODES = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64)
_ALPHAEARTH = ((_CODES / 127.5) ** 2 * np.sign(_CODES)).astype(np.float32)
_ALPHAEARTH[_CODES == -128] = np.nan
_AXES = tuple(f'A{n:02}' for n in range(64))


def method_of(
    dequantise: Dequantise, dtype: Any, names: Sequence[str | None], path: str
) -> str:
    """Decide how stored numbers become vectors.

    Args:
        dequantise: What was given.
        dtype: Type of the stored numbers.
        names: Names of the bands.
        path: The raster, for messages.

    Returns:
        ``'linear'`` or ``'alphaearth'``.

    Raises:
        RasterError: If the type does not fit, or bytes may be meant in two ways.
    """
    kind = np.dtype(dtype)
    if dequantise not in get_args(Dequantise.__value__):
        raise RasterError(
            f'dequantise is {dequantise!r}: give one of {", ".join(get_args(Dequantise.__value__))}'
        )
    if kind.kind not in 'fiu':
        raise RasterError(f'{path} holds {kind}, which are not vectors: give numbers')
    if dequantise == 'alphaearth' and kind != np.int8:
        raise RasterError(
            f'{path} holds {kind}, and AlphaEarth stores int8: drop dequantise=, the numbers are '
            'decoded already'
        )
    if dequantise != 'auto':
        return dequantise
    if kind == np.int8 and tuple(names) == _AXES:
        return 'alphaearth'
    if kind == np.int8 and len(names) == len(_AXES):
        raise RasterError(
            f'{path} holds 64 bands of int8 that are not called A00 to A63: give '
            "dequantise='alphaearth' if they are of AlphaEarth, else 'linear'"
        )
    if kind.kind == 'u':
        raise RasterError(
            f'{path} holds {kind}, whose 0 is not known: decode it first, or give '
            "dequantise='linear' if 0 means 0"
        )
    return 'linear'


def unit_vectors(
    stored: NDArray[Any],
    method: str,
    *,
    nodata: float | None = None,
    scale: NDArray[Any] | None = None,
    scales: Sequence[float] = (),
    offsets: Sequence[float] = (),
) -> NDArray[np.float32]:
    """Decode a block of pixels and scale each vector to length 1.

    Args:
        stored: Numbers (dim, height, width).
        method: ``'linear'`` or ``'alphaearth'``.
        nodata: Number of what is missing; a pixel with it in any band is missing.
        scale: Scale of each pixel (height, width).
        scales: What the numbers of each band are multiplied by.
        offsets: What is added to that.

    Returns:
        float32 (height, width, dim), NaN where a pixel is missing, is not finite, or has only zeros.

    Examples:
        >>> stored = np.array([[[102, -128]], [[0, -128]], [[-102, -128]]], np.int8)
        >>> unit_vectors(stored, 'alphaearth').round(3).tolist()
        [[[0.7070000171661377, 0.0, -0.7070000171661377], [nan, nan, nan]]]
    """
    if method == 'alphaearth':
        numbers = _ALPHAEARTH[stored.view(np.uint8)]
    else:
        numbers = stored.astype(np.float32)
        if nodata is not None and not np.isnan(nodata):
            numbers[stored == stored.dtype.type(nodata)] = np.nan
    for values, apply in ((scales, np.multiply), (offsets, np.add)):
        if len(values):
            apply(numbers, np.asarray(values, np.float32)[:, None, None], out=numbers)
    if scale is not None:
        known = np.isfinite(scale) & (scale != 0)
        numbers *= np.where(known, scale, np.nan).astype(np.float32)
    vectors = np.ascontiguousarray(np.moveaxis(numbers, 0, -1))
    with np.errstate(invalid='ignore', over='ignore', divide='ignore'):
        lengths = np.sqrt(np.einsum('...i,...i', vectors, vectors, dtype=np.float64))
        vectors /= lengths.astype(np.float32)[..., None]
    vectors[~(np.isfinite(lengths) & (lengths > 0))] = np.nan
    return vectors
