"""The verb align: maps fitted, scored on ground held out, kept and used again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.evaluate import held_out
from torchgeo_cmr.table import EmbeddingTable

N, DIM = 400, 8


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, DIM))
    y = (x + 0.1 * rng.normal(size=x.shape)) @ np.linalg.qr(
        rng.normal(size=(DIM, DIM))
    )[0]
    i = np.arange(N)
    lon, lat = 9 + i % 20 * 0.01, 45 + i // 20 * 0.01
    made = []
    for sensor, vectors in (('s1', x), ('s2', y)):
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'{sensor}{j}' for j in i]},
            geometry=shapely.box(lon, lat, lon + 0.01, lat + 0.01),
            crs=4326,
        )
        rows = EmbeddingTable.from_frame(frame, vectors, modality=sensor, space='x')
        made.append(rows.save(tmp_path / sensor))
    return made


def test_fitted_kept_and_used_again(
    run: Callable[..., Any], pair: list[Path], tmp_path: Path
) -> None:
    maps, out = tmp_path / 'maps.npz', tmp_path / 'aligned'
    ran = run('align', *pair, '--out', out, '--using', maps, '--method', 'procrustes')
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    for line, name in zip(lines[1:3], ('s1->s2', 's2->s1'), strict=True):
        found, before, after, chance, *_ = line.split()
        assert found == name
        assert float(before) < 0.3
        assert float(after) > 0.95
        assert float(chance) < 0.2
    assert lines[3].startswith(f'{maps}: procrustes-')
    assert lines[4] == f'{out}: {2 * N} rows'
    ran = run('align', pair[0], '--out', tmp_path / 'again', '--using', maps)
    assert ran.code == 0, ran.err
    whole, again = (EmbeddingTable.load(tmp_path / n) for n in ('aligned', 'again'))
    np.testing.assert_array_equal(again.vectors, whole.vectors[:N])
    assert again.spaces == whole.spaces


def test_many_held_out_patches_are_asked_for_by_a_draw(
    run: Callable[..., Any],
    pair: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held_out, '_QUERIES', 20)
    maps, out = tmp_path / 'maps.npz', tmp_path / 'aligned'
    ran = run('align', *pair, '--out', out, '--using', maps, '--method', 'procrustes')
    for line in ran.out.splitlines()[1:3]:
        _, _, after, chance, *rest = line.split()
        assert rest == ['of', '20', 'queries']
        assert float(after) > 0.9
        # All that is held out is still searched.
        assert float(chance) < 0.2


@pytest.mark.slow
def test_the_same_again_after_a_stop(
    run: Callable[..., Any],
    refused: Callable[..., str],
    pair: list[Path],
    tmp_path: Path,
) -> None:
    """Stopped when it had written the maps and not yet the archive."""
    maps, out = tmp_path / 'maps.npz', tmp_path / 'aligned'
    words = ('align', *pair, '--out', out, '--using', maps, '--method')
    assert run(*words, 'procrustes').code == 0
    before = maps.read_bytes()
    assert f'{maps} is there already: drop --method' in refused(*words, 'procrustes')
    shutil.rmtree(out)
    assert f'{maps} is there already: drop --method' in refused(*words, 'center')
    assert run(*words, 'procrustes').code == 0
    assert out.is_dir()
    assert maps.read_bytes() == before


def test_centred_alone(
    run: Callable[..., Any], pair: list[Path], tmp_path: Path
) -> None:
    for sensor in pair:
        words = ('--using', f'{sensor}.npz', '--method', 'center')
        assert run('align', sensor, '--out', f'{sensor}-c', *words).code == 0
    assert run('search', f'{pair[0]}-c', '--query', f'{pair[1]}-c').code == 0


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--using', 'nope.npz'), 'is not there: name maps'),
        (('--using', 'a.npz', '--method', 'magic'), '--method magic is not known'),
        (
            ('--using', 'a.npz', '--method', 'ridge'),
            'found s1: give the archives of both',
        ),
    ],
)
def test_mistakes(
    refused: Callable[..., str],
    pair: list[Path],
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
) -> None:
    assert message in refused('align', pair[0], '--out', tmp_path / 'out', *words)
    assert not (tmp_path / 'out').exists()


def test_archives_that_cannot_be_joined_leave_no_maps(
    refused: Callable[..., str], pair: list[Path], tmp_path: Path
) -> None:
    """Two sensors whose files have the same names, each embedded from its own folder."""
    made = []
    for folder in pair:
        table = EmbeddingTable.load(folder)
        files = {'sources': {'a.tif': [[f'{folder.name}.tif', 1, 'B', 10.0]]}}
        renamed = EmbeddingTable(table.frame, table.vectors, table.metric, files)
        made.append(renamed.save(tmp_path / f'{folder.name}-again'))
    words = ('--using', tmp_path / 'maps.npz', '--method', 'center')
    error = refused('align', *made, '--out', tmp_path / 'aligned', *words)
    assert 'embed both again with one root (--root), a folder above both' in error
    assert not (tmp_path / 'maps.npz').exists()


def test_a_negative_seed(
    refused: Callable[..., str], pair: list[Path], tmp_path: Path
) -> None:
    for method in ('center', 'contrastive'):
        words = ['--out', tmp_path / 'out', '--using', tmp_path / 'maps.npz']
        line = refused('align', *pair, *words, '--method', method, '--seed', -1)
        assert 'seed is -1: give a whole number of at least 0' in line
