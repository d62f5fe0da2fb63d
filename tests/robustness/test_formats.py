"""Files of every version of our formats are read, by what they hold and not only by name.

`tests/data/formats/make.py` wrote them with the version of that day.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.export import read_manifest, read_search, verify_search
from torchgeo_cmr.search import RetrievalIndex, verify_index
from torchgeo_cmr.table import EmbeddingTable, verify_archive
from torchgeo_cmr.tasks import load_task, verify_checkpoint

FORMATS = Path(__file__).parents[1] / 'data' / 'formats'
VERSIONS = sorted(p.name for p in FORMATS.iterdir() if p.is_dir() and p.name[0] == '2')

pytestmark = pytest.mark.parametrize('version', VERSIONS)


@pytest.fixture
def home(version: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(FORMATS / version, tmp_path / version))


def neighbours(index: RetrievalIndex, rows: EmbeddingTable) -> list[str]:
    return index.search(rows.select([0]), 3)['patch_id'].tolist()


def test_archives(home: Path) -> None:
    rows = EmbeddingTable.load(home / 'archive')
    assert rows.frame['patch_id'].tolist() == [f'p{i}' for i in range(8)]
    assert rows.frame['cloud'].tolist() == [float(i) for i in range(8)]
    assert list(rows.frame['labels'].iloc[1]) == ['water', 'field']
    assert rows.frame['time_start'].notna().tolist() == [True] * 7 + [False]
    assert rows.frame.geometry.iloc[3].bounds == pytest.approx((9.03, 46, 9.04, 46.01))
    assert neighbours(RetrievalIndex(rows), rows) == ['p1', 'p2', 'p3']
    assert not any(f.fault for f in verify_archive(home / 'archive'))


@pytest.mark.parametrize('kind', ['float32', 'int8'])
def test_indexes(home: Path, kind: str) -> None:
    folder = home / f'index-{kind}'
    rows = EmbeddingTable.load(home / 'archive')
    assert not any(f.fault for f in verify_index(folder))
    index = RetrievalIndex.open(folder)
    assert neighbours(index, rows) == ['p1', 'p2', 'p4']
    # A change brings it up to date.
    index.delete(['p2'])
    index.append(rows.select([3]))
    assert neighbours(RetrievalIndex.open(folder), rows) == ['p1', 'p3', 'p4']
    assert not any(f.fault for f in verify_index(folder))


def test_saved_searches(home: Path) -> None:
    saved = read_search(home / 'hits.gpkg')
    facts = json.loads((home / 'facts.json').read_text())
    assert saved.results['patch_id'].tolist() == facts['hits']
    assert saved.record['k'] == read_manifest(home / 'hits.json')['k'] == 3
    assert not any(f.fault for f in verify_search(home / 'hits.gpkg'))


def test_checkpoints(home: Path) -> None:
    facts = json.loads((home / 'facts.json').read_text())
    task = load_task(home / 'task.ckpt')
    assert task.space == facts['space']
    found = task.embed({'image_ms': torch.ones(1, 4)}, 'ms')[0]
    np.testing.assert_allclose(found.tolist(), facts['embedding'], atol=1e-6)
    assert not any(f.fault for f in verify_checkpoint(home / 'task.ckpt'))


@pytest.mark.parametrize(
    ('name', 'read'),
    [
        ('archive/_archive.json', lambda home: EmbeddingTable.load(home / 'archive')),
        ('archive/archive.json', lambda home: EmbeddingTable.load(home / 'archive')),
        (
            'index-int8/index.json',
            lambda home: RetrievalIndex.open(home / 'index-int8'),
        ),
        ('hits.json', lambda home: read_manifest(home / 'hits.json')),
    ],
)
def test_versions_to_come_are_refused(
    home: Path, name: str, read: Callable[[Path], object]
) -> None:
    file = home / name
    if not file.exists():
        return  # the header had another name
    content = json.loads(file.read_text())
    content['version'] += 1
    content.pop('checksum', None)
    file.write_text(json.dumps(content))
    with pytest.raises(CMRError, match='newer torchgeo_cmr'):
        read(home)
