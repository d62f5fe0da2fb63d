"""MMEarth64 on a small scale: its HDF5 file and lists, 8 pixels wide.

Sentinel-1 has eight channels (ascending VV, VH, HH, HV, then descending), Sentinel-2 thirteen;
channel ``c`` of either holds ``c`` in its own units, which are stored as ``10 * c + 5``, with
a mean of 5 and a deviation of 10.
"""

import json
from pathlib import Path

import h5py
import numpy as np

NAME = 'data_1M_v001_64'


def write(root: Path, count: int = 4) -> None:
    """Write the dataset; the last tile is not of the training split."""
    folder = root / NAME
    folder.mkdir(parents=True)
    names = [str(1000 + i) for i in range(count + 1)]
    channels = {'sentinel1': 8, 'sentinel2': 13}
    with h5py.File(folder / f'{NAME}.h5', 'w') as file:
        for sensor, number in channels.items():
            level = 10 * np.arange(number).reshape(1, -1, 1, 1) + 5.0
            file[sensor] = level * np.ones((len(names), 1, 8, 8))
        file['metadata'] = np.array([[name] for name in names], 'S8')
    statistics = {'mean': [5.0] * 13, 'std': [10.0] * 13}
    told = {
        'splits': {'train': list(range(count)), 'val': [], 'test': []},
        'band_stats': {
            'sentinel1': {k: v[:8] for k, v in statistics.items()},
            'sentinel2_l1c': statistics,
            'sentinel2_l2a': statistics,
        },
        'tile_info': {
            name: {'S2_DATE': '2020-07-01', 'S2_type': 'l2a', 'lat': 45.0, 'lon': 9.0}
            for name in names
        },
    }
    for name, content in told.items():
        (folder / f'{NAME}_{name}.json').write_text(json.dumps(content))
