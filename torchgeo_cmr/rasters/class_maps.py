"""Classes of a map, without what a mask of it hides."""

from typing import Any

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.windows import Window


def read_classes(file: Any, window: Window) -> np.ma.MaskedArray[Any, Any]:
    """Read the first band of a map, masked where a mask band or alpha hides it.

    Its missing value is not masked but left to be compared as a number: GDAL rounds one that is no
    whole number to a class.

    Args:
        file: An open raster.
        window: Rows and columns to read.

    Returns:
        Classes (height, width).
    """
    hidden = MaskFlags.nodata not in file.mask_flag_enums[0]
    return np.ma.asarray(file.read(1, window=window, masked=hidden))
