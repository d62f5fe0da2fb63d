"""Real files of five origins: one command each, and hits cut back out of their sources."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from lightning.pytorch import Trainer
from rasterio.enums import Resampling
from rasterio.windows import Window
from torch import Tensor

from torchgeo_cmr.main import main
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import SSCMRSIR

SHARED = Path(__file__).parents[3] / 'shared' / 'data'
S2 = (
    'B01',
    'B02',
    'B03',
    'B04',
    'B05',
    'B06',
    'B07',
    'B08',
    'B8A',
    'B09',
    'B11',
    'B12',
)
CUBE = 'worldcereal_belgium/worldcereal_preprocessed_inputs.nc'

#: Case -> path, bands, gsd, patch size, unit of the training, words, scenes, patches a scene.
CASES: dict[str, tuple[Any, ...]] = {
    'pan': (
        'panms_landsat_navarra/pan*',
        ['band_1'],
        15,
        120,
        None,
        # 120 pixels of 15 m.
        ['--size-metres', '1800', '--gsd', 'error'],
        1,
        30,
    ),
    'ms': (
        'panms_landsat_navarra/ms*',
        [f'band_{i}' for i in (1, 2, 3, 4)],
        30,
        120,
        None,
        ['--edges', 'pad', '--min-valid', '0.01'],
        1,
        12,
    ),
    'terramesh_s1': (
        'terramesh_samples/S1RTC',
        ['VV', 'VH'],
        10,
        112,
        'db',
        ['--units', 'db'],
        2,
        4,
    ),
    'terramesh_s2': ('terramesh_samples/S2L2A', S2, 10, 112, 'dn', [], 2, 4),
    'bigearthnet_s1': (
        'bigearthnet_samples/S1',
        ['VV', 'VH'],
        10,
        40,
        'db',
        ['--units', 'db'],
        3,
        9,
    ),
    'bigearthnet_s2': ('bigearthnet_samples/S2', S2, 10, 40, 'dn', [], 3, 9),
    'worldcereal_s2': (
        CUBE,
        ['B02', 'B03', 'B04', 'B08'],
        10,
        50,
        'dn',
        # Two of the twelve months hold no data.
        ['--nodata', '65535'],
        10,
        4,
    ),
    'worldcereal_s1': (CUBE, ['VH', 'VV'], 10, 50, 'dn', ['--overlap', '0.5'], 12, 9),
    'san_antonio_s1': ('s1s2_san_antonio/S1/*_26*', ['VH'], 10, 512, 'dn', [], 3, 4),
    'san_antonio_s2': (
        's1s2_san_antonio/S2/*_26*',
        ['B02', 'B03', 'B04'],
        10,
        512,
        'dn',
        [],
        3,
        4,
    ),
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Pixels in the order in which any task embeds them."""
    pixels: list[Tensor] = []
    embed = SSCMRSIR.embed

    def watched(self: SSCMRSIR, batch: dict[str, Tensor], modality: str) -> Tensor:
        pixels.extend(batch[self.keys[modality]].clone())
        return embed(self, batch, modality)

    monkeypatch.setattr(SSCMRSIR, 'embed', watched)
    return pixels


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., str]:
    """Write random weights that know bands, gsd, patch size and unit."""

    def write(bands: list[str], gsd: float, size: int, units: str | None) -> str:
        torch.manual_seed(0)
        channels = len(bands)
        # A task has two modalities; only the first is asked.
        task = SSCMRSIR(
            {'a': channels, 'b': 1},
            'test_resnet',
            output_dim=8,
            mean={'a': [0.0] * channels, 'b': [0.0]},
            std={'a': [1000.0] * channels, 'b': [1.0]},
            bands={'a': list(bands), 'b': ['x']},
        )
        task.set_specs({'a': {'gsd': gsd, 'patch_size': size, 'units': units}})
        trainer = Trainer(accelerator='cpu', logger=False, default_root_dir=tmp_path)
        trainer.strategy.connect(task)
        path = tmp_path / 'random.ckpt'
        trainer.save_checkpoint(path)
        return str(path)

    return write


#: One of each kind of file; the others are slow.
QUICK = ('ms', 'terramesh_s2', 'bigearthnet_s1', 'worldcereal_s2')


@pytest.mark.slow
@pytest.mark.parametrize(
    'case',
    [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES],
)
def test_real_files_embed_with_one_command_and_come_back(
    case: str, checkpoint: Callable[..., str], seen: list[Tensor], tmp_path: Path
) -> None:
    path, bands, gsd, size, units, words, scenes, patches = CASES[case]
    if not SHARED.is_dir():
        pytest.skip('the shared samples are not here')
    out = tmp_path / 'out'
    command = [
        'embed',
        str(SHARED / path),
        '--ckpt',
        checkpoint(bands, gsd, size, units),
    ]
    command += ['--modality', 'a', '--out', str(out), '--device', 'cpu', '--quiet']
    assert main([*command, *words]) == 0
    table = EmbeddingTable.load(out)
    assert table.frame['source'].nunique() == scenes
    assert len(table) == scenes * patches
    images = seen[-len(table) :]
    root = Path(table.record['root'])
    for row, image in zip(table.frame.to_dict('records'), images, strict=True):
        sources = table.record['sources'][row['source']]
        finest = min(source[3] for source in sources)
        again = np.stack([cut(root, source, row, finest) for source in sources])
        if dict(zip(words[::2], words[1::2], strict=True)).get('--nodata') == 65535:
            again[again == 65535] = np.nan
        valid = np.isfinite(again).all(axis=0).mean()
        assert row['valid_fraction'] == pytest.approx(valid)
        np.testing.assert_array_equal(image.numpy(), again)


def cut(
    root: Path, source: list[Any], row: dict[str, Any], finest: float
) -> np.ndarray:
    """Read one band of a hit out of its source, with what the archive says alone."""
    found = re.search(r':(\d+)_(\d+)_(\d+)x(\d+)$', row['patch_id'])
    assert found is not None
    top, left, height, width = map(int, found.groups())
    path, index, name, gsd = source
    if path.endswith('.nc'):
        with xr.open_dataset(root / path, decode_coords='all') as cube:
            date = row['time_start'].tz_localize(None)
            pixels = cube[name].sel(t=date).values
            np.testing.assert_array_equal(pixels, cube[name].isel(t=index - 1).values)
        return pixels[top : top + height, left : left + width].astype(np.float32)
    ratio = finest / gsd
    with rasterio.open(root / path) as file:
        x, y = row['native_corners'][:2]
        assert ~file.transform @ (x, y) == pytest.approx((left * ratio, top * ratio))
        pixels = file.read(
            index,
            window=Window(left * ratio, top * ratio, width * ratio, height * ratio),  # ty: ignore[too-many-positional-arguments]
            out_shape=(height, width),
            resampling=Resampling.bilinear if ratio < 1 else Resampling.nearest,
            boundless=True,
            masked=True,
        )
    return np.ma.filled(pixels.astype(np.float32), np.nan)
