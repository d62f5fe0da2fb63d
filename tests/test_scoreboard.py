"""The program that compares methods: what it pairs, cuts and counts."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from torchgeo_cmr.datasets import BEN14K

PROGRAM = Path(__file__).parent / 'benchmarks' / 'retrieval.py'


@pytest.fixture(scope='module')
def scoreboard() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


def write(path: Path, pixels: NDArray[Any], west: float) -> str:
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=len(pixels),
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype=pixels.dtype,
        crs='EPSG:32614',
        transform=from_origin(west, 3_300_000, 10, 10),
    ) as raster:
        raster.write(pixels)
    return str(path)


@pytest.fixture(scope='module')
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Four places side by side, without nodata, named so that their order tells nothing."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp('places')
    radar, optical = [], []
    for place in range(4):
        pixels = rng.integers(1, 255, (3, 160, 160), dtype=np.uint8)
        west = 500_000 + 1600 * place
        optical.append(write(folder / 'S2' / f'{place}.tif', pixels, west))
        radar.append(write(folder / 'S1' / f'{9 - place}.tif', pixels[:1], west))
    return sorted(radar), sorted(optical)


def test_frames_are_paired_by_place(
    scoreboard: dict[str, Any], places: tuple[list[str], list[str]]
) -> None:
    frames = scoreboard['pair_frames'](*places)
    assert [frame.name for frame in frames] == ['0', '1', '2', '3']
    for frame in frames:
        assert np.array_equal(frame.s1, frame.s2[:1])
    with pytest.raises(SystemExit, match='no two files'):
        scoreboard['pair_frames'](places[0][:1], places[1][:1])


def test_crops_of_a_batch_are_pairs_and_do_not_overlap(
    scoreboard: dict[str, Any], places: tuple[list[str], list[str]]
) -> None:
    frames = scoreboard['pair_frames'](*places)
    crops = iter(scoreboard['Crops'](frames, 4, 0))
    shifted = 0
    for _ in range(5):
        batch = next(crops)
        assert batch['image_s1'].shape == (4, 1, 64, 64)
        radar, optical = batch['image_s1'][:, 0], batch['image_s2'][:, 0]
        # Pixels are noise, so two crops that share some would share values in a line.
        flat = optical.flatten(1)
        assert len(flat.unique(dim=0)) == 4
        for a, b in zip(radar, optical, strict=True):
            shifted += not a.equal(b)
            inner = b[20:44, 20:44]
            seen = a.unfold(0, 24, 1).unfold(1, 24, 1)
            assert (seen == inner).all(dim=(2, 3)).any(), 'not of one place'
    assert shifted > 15


@pytest.mark.slow
def test_the_table_of_a_run(
    scoreboard: dict[str, Any],
    places: tuple[list[str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = Path(places[0][0]).parents[1]
    options = [
        f'--{p}-{s}={home}/{s.upper()}/*.tif'
        for p in ('train', 'test')
        for s in ('s1', 's2')
    ]
    report = tmp_path / 'report.json'
    more = ['--methods', 'untrained', 'best', '--batch-size=4', '--minutes=0']
    monkeypatch.setattr(
        sys, 'argv', ['retrieval.py', *options, *more, '--seeds=3', f'--json={report}']
    )
    scoreboard['main']()
    found = json.loads(report.read_text())
    assert found['seeds'] == [3]
    assert found['counts'] == {'train_frames': 4, 'test_frames': 4, 'test_cells': 16}
    assert set(found['methods']) == {'untrained', 'best'}
    scores = found['methods']['best']
    assert scores['images_per_second'] > 0
    assert set(scores['s1->s2']) == {'recall@1', 'recall@10', 'map'}
    assert scores['s1->s2']['recall@10']['std'] == 0
    assert found['chance']['recall@10'] == 10 / 16
    assert 'R@10' in capsys.readouterr().out


def test_ben14k_has_its_splits(
    scoreboard: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = runpy.run_path(
        str(Path(__file__).parent / 'data' / 'bigearthnet' / 'data.py')
    )
    serbia = ('S2B_MSIL2A_20170825T093029', '34TEQ')
    counts = {'train': 3, 'val': 1, 'test': 2}
    monkeypatch.setattr(BEN14K, 'acquisitions', {serbia[0]: (serbia[1], counts)})
    fake['write_v1'](tmp_path, {s: [(*serbia, n)] for s, n in counts.items()})
    suite = scoreboard['ben14k'](tmp_path, None)
    assert {s: len(getattr(suite, s)) for s in counts} == counts
    assert len(scoreboard['cells'](suite.test, 0)['image_s2']) == 2
