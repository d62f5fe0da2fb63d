"""SSL4EO-S12 on a small scale: places with four seasons, 8 pixels wide.

Pixels hold the season, 0 to 3 in order of date, plus 100 times the place, plus 10 in radar's
case. Folders are named so that no sensor's names sort by date of the other.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

S1 = 'VV', 'VH'
S2 = ('B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B9', 'B11', 'B12')
#: Date of each season; radar comes two days later, by two satellites in turn.
DATES = '20200901', '20201203', '20210302', '20210604'
RADAR = 'S1B', 'S1A', 'S1B', 'S1A'


def write(root: Path, places: dict[str, Sequence[str]]) -> None:
    """Write sensor ('s1', 's2a') -> names of its places."""
    for sensor, names in places.items():
        for name in names:
            for season, date in enumerate(DATES):
                later = f'{date[:6]}{int(date[6:]) + 2:02}'
                folder = {
                    's1': f'{RADAR[season]}_IW_GRDH_1SDV_{later}T165043_x',
                    's2a': f'{date}T101031_{date}T101032_T33UUP',
                }[sensor]
                path = root / sensor / name / folder
                path.mkdir(parents=True)
                for band in S1 if sensor == 's1' else S2:
                    size = 4 if band in ('B1', 'B5') else 8
                    level = season + 100 * int(name) + (10 if sensor == 's1' else 0)
                    with rasterio.open(
                        path / f'{band}.tif',
                        'w',
                        driver='GTiff',
                        height=size,
                        width=size,
                        count=1,
                        dtype='float32',
                        crs='EPSG:32633',
                        transform=Affine(80 / size, 0, 3e5, 0, -80 / size, 5e6),
                    ) as file:
                        file.write(np.full((1, size, size), level, np.float32))
