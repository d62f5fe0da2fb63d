"""So2Sat on a small scale: the HDF5 files of version 2, two patches each, 32 pixels wide.

Channel ``c`` of the 8 of radar holds ``c``, and of the 10 of Sentinel-2 ``100 + c``; patch
``i`` is of class ``i``.
"""

from pathlib import Path

import h5py
import numpy as np


def write(root: Path, count: int = 2) -> None:
    """Write the three splits."""
    root.mkdir(parents=True, exist_ok=True)
    pixels = np.ones((count, 32, 32, 1))
    for name in ('training', 'validation', 'testing'):
        with h5py.File(root / f'{name}.h5', 'w') as file:
            file['sen1'] = pixels * np.arange(8.0)
            file['sen2'] = pixels * (100 + np.arange(10.0))
            file['label'] = np.eye(17)[np.arange(count)]
