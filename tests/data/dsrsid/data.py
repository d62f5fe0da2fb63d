"""DSRSID on a small scale: the file of MATLAB, backwards as HDF5 shows it, and its likes.

Pair ``k`` of class ``c``: PAN is ``c`` in its upper left quarter (64 rows, 128 columns), ``k``
elsewhere; band ``b`` of MS is ``20 * b + c``, but for row 5, column 9, which is 200.
"""

from pathlib import Path

import h5py
import numpy as np


def arrays(pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PAN (n, 1, 256, 256), MS (n, 4, 64, 64), labels 1..8 sorted by class."""
    labels = np.repeat(np.arange(1, 9), pairs)
    pan = np.empty((len(labels), 1, 256, 256), np.uint8)
    ms = np.empty((len(labels), 4, 64, 64), np.uint8)
    for k, c in enumerate(labels):
        pan[k] = k
        pan[k, :, :64, :128] = c
        ms[k] = (20 * np.arange(4) + c)[:, None, None]
        ms[k, :, 5, 9] = 200
    return pan, ms, labels


def write(path: Path, pairs: int = 3, order: str = 'matlab') -> Path:
    pan, ms, labels = arrays(pairs)
    move = {
        'matlab': (0, 1, 3, 2),
        'reversed': (2, 3, 1, 0),
        'last': (0, 2, 3, 1),
        'wrong': (1, 0, 2, 3),
    }[order]
    with h5py.File(path, 'w') as file:
        file['PAN_IMAGES'] = pan.transpose(move)
        file['MUL_IMAGES'] = ms.transpose(move)
        file['LAND_COVER_TYPES'] = labels[None].astype(np.float64)
    return path
