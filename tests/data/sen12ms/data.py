"""SEN12MS on a small scale: two training chips and one to test, 8 pixels wide.

Channel ``c`` of the 15 holds ``c`` in radar's case with a quarter more; land cover is 7 in
most pixels of the first patch.
"""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

FOLDERS = 'ROIs1158_spring', 'ROIs1868_summer', 'ROIs1970_fall', 'ROIs2017_winter'


def write(root: Path) -> None:
    """Write the dataset."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    lists = {'train': ['p1', 'p2'], 'test': ['p3']}
    for split, patches in lists.items():
        names = [f'ROIs1158_spring_lc_1_{patch}.tif' for patch in patches]
        (root / f'{split}_list.txt').write_text(''.join(f'{n}\n' for n in names))
        for number, patch in enumerate(patches):
            cover = np.full((4, 8, 8), 7 + number, np.uint16)
            cover[0, 0] = 1
            optical = np.arange(2, 15).reshape(13, 1, 1) * np.ones((1, 8, 8))
            radar = (np.arange(2) + 0.25).reshape(2, 1, 1) * np.ones((1, 8, 8))
            for source, data in (
                ('lc', cover),
                ('s1', radar.astype(np.float32)),
                ('s2', optical.astype(np.uint16)),
            ):
                path = root / FOLDERS[0] / f'{source}_1'
                path.mkdir(exist_ok=True)
                with rasterio.open(
                    path / f'ROIs1158_spring_{source}_1_{patch}.tif',
                    'w',
                    driver='GTiff',
                    height=8,
                    width=8,
                    count=len(data),
                    dtype=data.dtype,
                    crs='EPSG:32633',
                    transform=Affine(10, 0, 300_000 + 80 * number, 0, -10, 5_000_000.5),
                ) as file:
                    file.write(data)
