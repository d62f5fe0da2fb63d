"""BigEarthNet on a small scale: the folders, names and metadata of v1 and v2, known pixels.

Pixels of patch ``k``: VV -12.7 - k/8 dB, VH -19.3 - k/8 dB, and band number ``b`` of
Sentinel-2 is ``100 * k + b`` everywhere but for a ramp of one a pixel to the right.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from affine import Affine

PIXELS = {
    **dict.fromkeys(('B02', 'B03', 'B04', 'B08'), 120),
    **dict.fromkeys(('B05', 'B06', 'B07', 'B8A', 'B11', 'B12'), 60),
    **dict.fromkeys(('B01', 'B09'), 20),
}
S2 = sorted(PIXELS)
LABELS = (
    ['Non-irrigated arable land', 'Pastures'],
    ['Water bodies'],
    ['Coniferous forest', 'Peatbogs', 'Water bodies'],
    ['Airports'],  # no class among the 19
)
#: What `LABELS` are among the 19, as numbers.
NUMBERS = ([2, 4], [17], [9, 15, 17], [])


def _write(
    path: Path, data: np.ndarray, k: int, crs: str | None, lattice: float
) -> None:
    size = data.shape[-1]
    # A quarter of a metre: float32 could not hold this northing.
    place = Affine(
        lattice / size, 0, 400_000 + 1200 * k, 0, -lattice / size, 5_000_000.25
    )
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        height=size,
        width=size,
        count=1,
        dtype=data.dtype,
        crs=crs,
        transform=place,
    ) as file:
        file.write(data, 1)


def write_patch(s1: Path, s2: Path, k: int, *, crs: str | None = 'EPSG:32634') -> None:
    """Write both folders of patch ``k``."""
    for folder in (s1, s2):
        folder.mkdir(parents=True)
    for band, level in (('VV', -12.7), ('VH', -19.3)):
        data = np.full((120, 120), level - k / 8, np.float32)
        _write(s1 / f'{s1.name}_{band}.tif', data, k, crs, 1200)
    for b, band in enumerate(S2):
        size = PIXELS[band]
        data = np.tile(100 * k + b + np.arange(size), (size, 1)).astype(np.uint16)
        _write(s2 / f'{s2.name}_{band}.tif', data, k, crs, 1200)
    told = {'labels': LABELS[k % len(LABELS)]}
    (s2 / f'{s2.name}_labels_metadata.json').write_text(json.dumps(told))
    also = {**told, 'corresponding_s2_patch': s2.name}
    (s1 / f'{s1.name}_labels_metadata.json').write_text(json.dumps(also))


def write_v1(
    root: Path,
    pairs: Mapping[str, Sequence[tuple[str, str, int]]],
    *,
    crs: str | None = 'EPSG:32634',
) -> None:
    """Write v1: split -> (acquisition, tile, how many patches) of it."""
    k = 0
    root.mkdir(parents=True, exist_ok=True)
    for split, groups in pairs.items():
        lines = []
        for acquisition, tile, count in groups:
            day = acquisition.split('_')[-1]
            for _ in range(count):
                s2 = f'{acquisition}_{k // 90}_{k % 90}'
                s1 = f'S1A_IW_GRDH_1SDV_{day}_{tile}_{k // 90}_{k % 90}'
                write_patch(
                    root / 'BigEarthNet-S1-v1.0' / s1,
                    root / 'BigEarthNet-v1.0' / s2,
                    k,
                    crs=crs,
                )
                lines.append(f'{s2},{s1}\n')
                k += 1
        (root / f'bigearthnet-{split}.csv').write_text(''.join(lines))


def write_v2(root: Path) -> None:
    """Write v2: one patch for each of the three splits, and a second for training."""
    rows = []
    names = ['Arable land', 'Pastures'], ['Inland waters'], ['Mixed forest'], []
    for k, split in enumerate(('train', 'validation', 'test', 'train')):
        scene2 = 'S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP'
        scene1 = 'S1A_IW_GRDH_1SDV_20170613T165043'
        s2, s1 = f'{scene2}_26_{k}', f'{scene1}_33UUP_26_{k}'
        write_patch(
            root / 'BigEarthNet-S1' / scene1 / s1,
            root / 'BigEarthNet-S2' / scene2 / s2,
            k,
            crs='EPSG:32633',
        )
        rows.append({'patch_id': s2, 's1_name': s1, 'split': split, 'labels': names[k]})
    (root / 'Reference_Maps').mkdir()
    pd.DataFrame(rows).to_parquet(root / 'metadata.parquet')
