"""Chips of which nothing says where they lie: rows, and no invented place."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from torch import Tensor, nn
from torchgeo.datasets import MMEarth, NonGeoDataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr import tasks
from torchgeo_cmr.datamodules import ChipDataModule
from torchgeo_cmr.datasets import BigEarthNetPairs, NonGeoPairs
from torchgeo_cmr.datasets.benchmarks.chips import ChipPairs
from torchgeo_cmr.embed import embed_pairs
from torchgeo_cmr.errors import PairingError, QueryError, RasterError
from torchgeo_cmr.main import main
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import CrossModalTask

DATA = Path(__file__).parents[1] / 'data'
BANDS = {'s1': ['S1_B1', 'S1_B2'], 's2': ['B02', 'B03', 'B04']}
YAML = """
data:
  class_path: ChipDataModule
  init_args:
"""


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        h = nn.functional.pad(x.mean(dim=(2, 3)), (0, 6 - x.shape[1]), value=1)
        return self.one * h, h


class Tiny(CrossModalTask):
    """A task without training: the mean of each band."""

    def configure_models(self) -> None:
        self.model = Pooled()

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        raise NotImplementedError


@pytest.fixture
def task() -> Tiny:
    return Tiny(
        {'s1': 2, 's2': 3},
        mean={'s1': [0.0] * 2, 's2': [0.0] * 3},
        std={'s1': [1.0] * 2, 's2': [1.0] * 3},
    )


def nowhere(table: EmbeddingTable) -> None:
    """No row has a place of any kind."""
    assert not table.placed.any()
    assert table.frame['src_crs'].isna().all()
    assert table.frame['native_corners'].isna().all()


@pytest.mark.slow
def test_so2sat_by_the_command(
    task: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(DATA / 'so2sat' / 'data.py'))['write'](tmp_path / 'so2sat', 2)
    monkeypatch.setattr(tasks, 'load_task', lambda ckpt, task_class: task)
    monkeypatch.setattr('torchgeo_cmr.regular_files.check_checkpoint', str)
    told = YAML
    for split, name in (('train', 'train'), ('val', 'validation'), ('test', 'test')):
        dataset = {
            'class_path': 'torchgeo.datasets.So2Sat',
            'init_args': {
                'root': str(tmp_path / 'so2sat'),
                'split': name,
                'checksum': False,
            },
        }
        pairs = {
            'class_path': 'NonGeoPairs',
            'init_args': {'dataset': dataset, 'bands': BANDS},
        }
        told += f'    {split}: {json.dumps(pairs)}\n'
    config, out = tmp_path / 'run.yaml', tmp_path / 'out'
    config.write_text(told)
    words = ['embed', str(config), '--ckpt', 'x', '--out', str(out), '--quiet']
    assert main(words) == 0
    assert '12 rows have no place' in capsys.readouterr().err
    table = EmbeddingTable.load(out)
    nowhere(table)
    assert table.frame['patch_id'][0] == 's1:So2Sat:train:0'
    assert table.frame['split'].value_counts().to_dict() == {
        'train': 4,
        'val': 4,
        'test': 4,
    }
    # Goes on: nothing to do, and the same rows.
    assert main(words) == 0
    assert len(EmbeddingTable.load(out)) == 12
    capsys.readouterr()
    assert main(['info', str(out), '--json']) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told['placeless'], told['bounds']) == (12, None)
    ask = ['search', str(out), '--query', 's2:So2Sat:test:0', '-k', '2']
    assert main(ask) == 0
    assert 's2:So2Sat:' in capsys.readouterr().out
    assert main([*ask, '--within', '9,45,10,46']) == 2
    assert 'has a place, so it cannot be searched' in capsys.readouterr().err


def test_mmearth(task: Tiny, tmp_path: Path) -> None:
    runpy.run_path(str(DATA / 'mmearth' / 'data.py'))['write'](tmp_path)
    theirs = MMEarth(
        tmp_path,
        subset='MMEarth64',
        modalities=('sentinel1_asc', 'sentinel2'),
        normalization_mode='z-score',
    )
    bands = {'s1': ['VV', 'VH'], 's2': ['B02', 'B03', 'B04']}
    pairs = NonGeoPairs(theirs, bands=bands)
    table = embed_pairs(task, ChipDataModule(pairs), progress=False)
    nowhere(table)
    assert table.frame['pair'].nunique() == len(pairs)
    index = RetrievalIndex(table)
    query = table.select(np.flatnonzero(table.frame['modality'] == 's1')[:1])
    assert len(index.search(query, k=3)) == 3
    with pytest.raises(QueryError, match='has a place, so it cannot be searched'):
        index.search(query, where=Where((9, 45, 10, 46)))


@pytest.mark.parametrize('crs', [None, 'EPSG:32634'])
def test_plain_chips_have_the_place_that_their_files_have(
    crs: str | None, task: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write = runpy.run_path(str(DATA / 'bigearthnet' / 'data.py'))['write_v1']
    groups = {'train': [('S2A_MSIL2A_20170613T101031', '34TEQ', 2)]}
    write(tmp_path, groups, crs=crs)
    bands = {'s1': ['VV', 'VH'], 's2': ['B02', 'B03', 'B04']}
    train = BigEarthNetPairs(tmp_path, 'train', bands=bands)
    with caplog.at_level('INFO', 'torchgeo_cmr'):
        table = embed_pairs(
            task, ChipDataModule(train), out=tmp_path / 'out', progress=False
        )
    assert len(table) == 4
    assert ('4 rows have no place' in caplog.text) == (crs is None)
    if crs is None:
        nowhere(table)
    else:
        assert table.placed.all()
    # What else is known of a chip does not depend on its place.
    assert table.frame['source'].notna().all()


class Plain(NonGeoDataset):
    """Samples in the right layout, of a class that nobody knows."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        return {
            'image_s1': torch.full((2, 4, 4), index + 1.0),
            'image_s2': torch.ones(3, 4, 4),
        }


def test_a_dataset_that_knows_no_place(task: Tiny) -> None:
    data = ChipDataModule(Plain(), test=Plain())
    table = embed_pairs(task, data, progress=False)
    nowhere(table)
    names = ['train:0', 'train:1', 'test:0', 'test:1']
    assert table.frame['pair'].unique().tolist() == names


def test_pairs_of_one_name_are_told(
    task: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def same(self: Any, split: str, keys: Any) -> list[str]:
        return ['one'] * len(keys)

    monkeypatch.setattr('torchgeo_cmr.embed.pairs.chip_pairs._Chips.names', same)
    with pytest.raises(PairingError, match='two pairs of the data are called one'):
        embed_pairs(task, ChipDataModule(Plain()), progress=False)


def test_a_chip_without_a_grid_has_no_place(
    write_raster: Callable[..., Path], tmp_path: Path
) -> None:
    class Two(ChipPairs):
        def __init__(self) -> None:
            self.bands = {'s1': ('VV',), 's2': ('B02',)}

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Sample:
            return {'image_s1': torch.ones(1, 4, 4), 'image_s2': torch.ones(1, 4, 4)}

        def patch_id(self, index: int) -> str:
            return f'chip{index}'

        def georeference(self, index: int) -> Path:
            return tmp_path / f'{index}.tif'

    write_raster('0.tif', shape=(4, 4))
    with pytest.warns(NotGeoreferencedWarning):
        write_raster('1.tif', shape=(4, 4), transform=Affine.identity())
    with pytest.raises(RasterError, match='has no geotransform, so chip1 has no place'):
        Two().footprints()
    frame = Two().footprints(placeless=True)
    assert frame.geometry.isna().tolist() == [False, True]
    assert frame['src_crs'].isna().tolist() == [False, True]
