"""TreeSatAI on a small scale: stands at one place, each sensor with pixels of its own size."""

import json
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

SENSORS = {'aerial': (4, 24), 's1': (3, 6), 's2': (12, 6)}


def write(root: Path, count: int = 1) -> None:
    """Write the dataset; channel ``c`` holds ``c``, and each split all stands."""
    names = [f'Abies_alba_{number + 1}.tif' for number in range(count)]
    for sensor, (bands, size) in SENSORS.items():
        path = root / sensor / '60m'
        path.mkdir(parents=True)
        data = np.arange(bands).reshape(-1, 1, 1) * np.ones((1, size, size))
        for name in names:
            with rasterio.open(
                path / name,
                'w',
                driver='GTiff',
                height=size,
                width=size,
                count=bands,
                dtype='float32',
                crs='EPSG:32632',
                transform=Affine(60 / size, 0, 5e5, 0, -60 / size, 5.8e6),
            ) as file:
                file.write(data.astype(np.float32))
    for split in ('train', 'test'):
        (root / f'{split}_filenames.lst').write_text('\n'.join(names) + '\n')
    (root / 'labels').mkdir()
    (root / 'labels' / 'TreeSatBA_v9_60m_multi_labels.json').write_text(
        json.dumps({name: [['Abies', 0.7], ['Quercus', 0.3]] for name in names})
    )
