import runpy
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr.datasets import BEN14K
from torchgeo_cmr.errors import RasterError

FAKE = runpy.run_path(
    str(Path(__file__).parents[2] / 'data' / 'bigearthnet' / 'data.py')
)
SERBIA = ('S2B_MSIL2A_20170825T093029', '34TEQ')
OTHER = ('S2A_MSIL2A_20170613T101031', '33UUP')


@pytest.fixture(scope='module')
def v1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('ben14k')
    FAKE['write_v1'](root, {'train': [(*OTHER, 1), (*SERBIA, 3)]})
    return root


def test_counts_are_the_published_ones() -> None:
    counts = [counts for _, counts in BEN14K.acquisitions.values()]
    totals = {s: sum(c[s] for c in counts) for s in ('train', 'val', 'test')}
    assert totals == {'train': 7761, 'val': 3508, 'test': 3563}
    assert sum(totals.values()) == 14832


def test_only_the_five_acquisitions_are_kept(v1: Path) -> None:
    data = BEN14K(v1, check_counts=False)
    assert len(data) == 3
    assert all(data.patch_id(i).startswith(SERBIA[0]) for i in range(3))
    # the images are those of the same patches, not of the same row numbers
    assert data[0]['image_s1'][0, 0, 0] == pytest.approx(-12.825)


def test_other_counts_are_refused(v1: Path) -> None:
    with pytest.raises(RasterError, match=r'2789 train pairs of S2B_.*found 3'):
        BEN14K(v1)


def test_right_counts_pass_and_wrong_tiles_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {'train': 2, 'val': 1, 'test': 1}
    monkeypatch.setattr(BEN14K, 'acquisitions', {SERBIA[0]: (SERBIA[1], counts)})
    FAKE['write_v1'](tmp_path / 'a', {'train': [(*SERBIA, 2), (*OTHER, 1)]})
    assert len(BEN14K(tmp_path / 'a')) == 2
    FAKE['write_v1'](tmp_path / 'b', {'train': [(SERBIA[0], '34TCR', 2)]})
    with pytest.raises(RasterError, match='found 2 of which 0 in that tile'):
        BEN14K(tmp_path / 'b')


def test_split_is_needed(v1: Path) -> None:
    split: Any = None
    with pytest.raises(RasterError, match='needs a split'):
        BEN14K(v1, split)


def test_a_tile_is_held_out_of_training_and_tested_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = ('S2B_MSIL2A_20170719T094029', '34TCS')
    counts = {
        'train': {SERBIA: 4, held: 2},
        'val': {SERBIA: 2, held: 1},
        'test': {SERBIA: 1, held: 3},
    }
    FAKE['write_v1'](
        tmp_path, {s: [(*a, n) for a, n in c.items()] for s, c in counts.items()}
    )
    monkeypatch.setattr(
        BEN14K,
        'acquisitions',
        {a[0]: (a[1], {s: c[a] for s, c in counts.items()}) for a in (SERBIA, held)},
    )
    parts = {s: BEN14K(tmp_path, s, held_out_tile='34TCS') for s in counts}  # ty: ignore
    assert {s: len(part) for s, part in parts.items()} == {
        'train': 4,
        'val': 2,
        'test': 6,
    }
    for split, part in parts.items():
        tiles = {part.attributes(i)['tile'] for i in range(len(part))}
        assert tiles == {'34TCS' if split == 'test' else '34TEQ'}
    whole = BEN14K(tmp_path, 'test')
    assert [whole.attributes(i)['tile'] for i in range(4)] == ['34TEQ'] + ['34TCS'] * 3
    with pytest.raises(RasterError, match="tiles 34TEQ, 34TCS, found '34TFQ' to hold"):
        BEN14K(tmp_path, held_out_tile='34TFQ')
