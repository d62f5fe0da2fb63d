"""The command pixels: a similarity raster or an archive of a raster of vectors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]
type Writer = Callable[..., Path]


@pytest.fixture
def path(write_raster: Writer) -> Path:
    """Two kinds of ground, west and east."""
    data = np.zeros((64, 32, 48), np.int8)
    data[0, :, :24], data[1, :, 24:] = 100, -100
    names = [f'A{n:02}' for n in range(64)]
    return write_raster('aef.tif', data=data, bands=names, dtype='int8', nodata=-128)


def test_a_similarity_raster(run: Run, path: Path, tmp_path: Path) -> None:
    out = tmp_path / 'similar.tif'
    ran = run('pixels', path, '--like', '9.001,45.153', '--out', out)
    assert (ran.code, ran.err) == (0, '')
    assert ran.out == f'{out}: 48 x 32 pixels, 1 examples\n'
    with rasterio.open(out) as file:
        scores = file.read(1)
    np.testing.assert_allclose(scores[:, :24], 1, atol=1e-6)
    np.testing.assert_allclose(scores[:, 24:], 0, atol=1e-6)
    assert out.with_suffix('.qml').exists()


def test_an_archive_that_is_searched_and_asks(
    run: Run, path: Path, tmp_path: Path
) -> None:
    archive = tmp_path / 'archive'
    words = [
        '--size',
        8,
        '--time',
        2024,
        '--space',
        'aef',
        '--within',
        '9,45.15,9.004,46',
    ]
    ran = run('pixels', path, *words, '--out', archive)
    assert (ran.code, ran.err) == (0, '')
    table = EmbeddingTable.load(archive)
    assert ran.out == f'{archive}: {len(table)} rows\n'
    assert (table.space, table.modality, table.dim) == ('aef', 'pixels', 64)
    hits = run('search', archive, '--query', table.frame['patch_id'][0], '-k', 2)
    assert hits.code == 0
    out = tmp_path / 'similar.tif'
    ran = run('pixels', path, '--like', archive, '--out', out)
    assert f'{len(table)} examples' in ran.out


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        ([], 'say what to make'),
        (['--like', '9,45', '--size', 8], 'say what to make'),
        (['--size', 8], 'name what the vectors may be compared with: --space'),
        (['--size', 8, '--space', 'x', '--how', 'mean'], '--how is for --like'),
        (['--like', '9,45', '--space', 'x'], '--space is for --size'),
        (['--like', '9,45,3'], 'has 3 numbers'),
        (['--like', 'x.gpkg'], 'x.gpkg'),
        (['--like', '9,45', '--how', 'worst'], 'use best or mean'),
        (['--like', '9,45'], 'has no vector; move it'),
        (['--like', '9,45', '--within', '1,2'], 'is not a box'),
        (['--like', '9,45', '--dequantise', 'no'], "dequantise is 'no': give"),
    ],
)
def test_mistakes(
    refused: Refused, path: Path, tmp_path: Path, words: list[Any], told: str
) -> None:
    assert told in refused('pixels', path, *words, '--out', tmp_path / 's.tif')
    assert [p.name for p in tmp_path.iterdir()] == ['aef.tif']
