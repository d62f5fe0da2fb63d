"""Alpha bands that GDAL flags, but does not take for a mask.

GDAL derives a mask from the last of two or four bands alone. A mosaic of five spectral bands
has its alpha band too, and pixels that it masks are missing there as well.
"""

import os
from typing import Any
from xml.sax.saxutils import escape

from rasterio.enums import ColorInterp, MaskFlags


def unused_alpha(file: Any) -> int | None:
    """Give the band (from 1) that is flagged alpha while no mask is made of it; None if none.

    Args:
        file: An open raster.
    """
    if file.count in (1, 2, 4) or ColorInterp.alpha not in file.colorinterp:
        return None
    if any(MaskFlags.all_valid not in flags for flags in file.mask_flag_enums):
        return None
    return file.colorinterp.index(ColorInterp.alpha) + 1


def with_mask(file: Any, path: str, alpha: int) -> str:
    """Describe a raster as a virtual one whose mask is its alpha band.

    Args:
        file: The open raster.
        path: Its name.
        alpha: Its alpha band, from 1.

    Returns:
        A name that GDAL opens; it has the pixels, the grid and the mask, no metadata.
    """
    name = escape(os.path.abspath(path) if os.path.exists(path) else path)

    def band(kind: str, source: int, number: str = '') -> str:
        return (
            f'<VRTRasterBand dataType="{kind}"{number}><SimpleSource>'
            f'<SourceFilename relativeToVRT="0">{name}</SourceFilename>'
            f'<SourceBand>{source}</SourceBand></SimpleSource></VRTRasterBand>'
        )

    t = file.transform
    bands = ''.join(
        band(_TYPES[kind], i, f' band="{i}"') for i, kind in enumerate(file.dtypes, 1)
    )
    return (
        f'<VRTDataset rasterXSize="{file.width}" rasterYSize="{file.height}">'
        f'<SRS>{escape(file.crs.to_wkt() if file.crs else "")}</SRS><GeoTransform>'
        f'{", ".join(repr(n) for n in (t.c, t.a, t.b, t.f, t.d, t.e))}</GeoTransform>'
        f'{bands}<MaskBand>{band("Byte", alpha)}</MaskBand></VRTDataset>'
    )


#: NumPy type -> GDAL's name of it.
_TYPES = {
    'uint8': 'Byte',
    'int8': 'Int8',
    'uint16': 'UInt16',
    'int16': 'Int16',
    'uint32': 'UInt32',
    'int32': 'Int32',
    'uint64': 'UInt64',
    'int64': 'Int64',
    'float32': 'Float32',
    'float64': 'Float64',
}
