"""CBRSIR_VS on a small scale: optical and radar pictures in folders by modality and class.

Pair ``k`` of class ``c``, both from 0: band ``b`` of the optical picture is ``20 * c + b``, but for
row 3, column 5, which is ``k``; the radar picture is ``100 + c``, and ``k`` in row 2, column 1.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def pictures(c: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB (256, 256, 3) and grey (64, 64), uint8."""
    rgb = np.empty((256, 256, 3), np.uint8)
    rgb[:] = 20 * c + np.arange(3)
    rgb[3, 5] = k
    sar = np.full((64, 64), 100 + c, np.uint8)
    sar[2, 1] = k
    return rgb, sar


def write(
    root: Path,
    classes: Sequence[str] = ('bridge', 'farm', 'port'),
    pairs: int = 10,
    folders: tuple[str, str] = ('rgb', 'sar'),
) -> Path:
    for c, name in enumerate(classes):
        for folder in folders:
            (root / folder / name).mkdir(parents=True)
        for k in range(pairs):
            for folder, pixels in zip(folders, pictures(c, k), strict=True):
                Image.fromarray(pixels).save(root / folder / name / f'{k:03}.png')
    return root
