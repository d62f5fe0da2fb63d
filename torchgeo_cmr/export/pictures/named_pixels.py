"""What names say of pixels: the window in a ``patch_id``, the bands that make a picture."""

import re
from collections.abc import Sequence
from typing import Any

#: Windows that hang over an edge may start before the first row or column.
_WINDOW = re.compile(r':(-?\d{1,9})_(-?\d{1,9})_(\d{1,9})x(\d{1,9})$')
_RED_GREEN_BLUE = (('b04', 'b03', 'b02'), ('red', 'green', 'blue'), ('r', 'g', 'b'))

#: One band of a scene: relative path, band number from 1, band name, ground sample distance.
type Band = Sequence[Any]


def is_cube(bands: Sequence[Band]) -> bool:
    """Say whether a scene is a date of a cube, which is not read as a raster file."""
    return any(str(band[0]).lower().endswith(('.nc', '.zarr')) for band in bands)


def parse_window(patch_id: str) -> tuple[int, int, int, int] | None:
    """Read the window at the end of a ``patch_id``.

    Args:
        patch_id: Such as ``'s2:scene.tif:0_32_32x32'``.

    Returns:
        Row, column, height and width in pixels of the scene's finest band; None if the id
        does not end so.
    """
    found = _WINDOW.search(patch_id)
    if found is None:
        return None
    row, col, height, width = (int(g) for g in found.groups())
    return row, col, height, width


def shown_bands(bands: Sequence[Band]) -> list[Band]:
    """Choose the bands to show: red, green, blue by name; VV and VH; else the first ones.

    Args:
        bands: Bands of a scene.

    Returns:
        One band, two (a radar pair) or three (red, green, blue).
    """
    named = {str(band[2]).lower(): band for band in bands}
    for wanted in _RED_GREEN_BLUE:
        if all(name in named for name in wanted):
            return [named[name] for name in wanted]
    if len(bands) == 2:
        for wanted in (('vv', 'vh'), ('hh', 'hv')):
            if all(name in named for name in wanted):
                return [named[name] for name in wanted]
        return list(bands)
    return list(bands[:3]) if len(bands) >= 3 else [bands[0]]
