import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torchgeo.datasets import SSL4EOS12

from torchgeo_cmr.datasets import SSL4EOS12Pairs
from torchgeo_cmr.errors import PairingError, RasterError


def write(*args: Any) -> None:
    path = Path(__file__).parents[2] / 'data' / 'ssl4eo_s12' / 'data.py'
    runpy.run_path(str(path))['write'](*args)


@pytest.fixture(scope='module')
def ssl4eo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('ssl4eo')
    places = ['0000000', '0000001', '0000003']
    write(root, {'s1': places, 's2a': ['0000001', '0000003']})
    return root


@pytest.fixture
def members(
    ssl4eo: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[SSL4EOS12, SSL4EOS12]:
    monkeypatch.setattr(SSL4EOS12, 'size', 8)
    return SSL4EOS12(ssl4eo, 's1'), SSL4EOS12(ssl4eo, 's2a')


def test_seasons_match(members: tuple[SSL4EOS12, SSL4EOS12]) -> None:
    for season in range(4):
        pairs = SSL4EOS12Pairs(*members, season=season)  # ty: ignore[invalid-argument-type]
        assert pairs.places == ['0000001', '0000003']
        for index, place in enumerate((1, 3)):
            sample = pairs[index]
            assert sample['image_s1'].shape == (2, 8, 8)
            assert sample['image_s2'].shape == (12, 8, 8)
            assert (sample['image_s2'] == 100 * place + season).all()
            assert (sample['image_s1'] == 100 * place + season + 10).all()


def test_seasons_are_drawn_together(members: tuple[SSL4EOS12, SSL4EOS12]) -> None:
    pairs = SSL4EOS12Pairs(*members, bands={'s1': ['VV'], 's2': ['B02']})
    torch.manual_seed(0)
    drawn = [pairs[0] for _ in range(30)]
    seasons = {int(s['image_s2'][0, 0, 0]) - 100 for s in drawn}
    assert seasons == {0, 1, 2, 3}
    assert all((s['image_s1'] == s['image_s2'] + 10).all() for s in drawn)


def test_bands_have_one_spelling(members: tuple[SSL4EOS12, SSL4EOS12]) -> None:
    assert SSL4EOS12Pairs(*members).bands['s2'][0] == 'B01'
    with pytest.raises(RasterError, match='choose each at most once from B01, B02'):
        SSL4EOS12Pairs(*members, bands={'s2': ['B1']})
    with pytest.raises(RasterError, match="found 's3' in bands"):
        SSL4EOS12Pairs(*members, bands={'s3': ['B1']})


def test_places(members: tuple[SSL4EOS12, SSL4EOS12]) -> None:
    frame = SSL4EOS12Pairs(*members).footprints()
    assert list(frame['patch_id']) == ['0000001', '0000003']
    assert frame['native_corners'][0][:4].tolist() == [3e5, 5e6, 300_080, 5e6]


def test_refusals(members: tuple[SSL4EOS12, SSL4EOS12], tmp_path: Path) -> None:
    s1, s2 = members
    with pytest.raises(PairingError, match="found 's2a' and 's1'"):
        SSL4EOS12Pairs(s2, s1)
    with pytest.raises(PairingError, match='no season 7'):
        SSL4EOS12Pairs(s1, s2, season=7)[0]  # ty: ignore[invalid-argument-type]
    places = {'s1': ['0000001', '0000002'], 's2a': ['0000003', '0000002']}
    write(tmp_path, places)
    s1, s2 = SSL4EOS12(tmp_path, 's1'), SSL4EOS12(tmp_path, 's2a')
    for path in sorted((tmp_path / 's1' / '0000002').iterdir())[:1]:
        path.rename(tmp_path / 'gone')
    with pytest.raises(PairingError, match='3 acquisitions of s1 and 4 of s2'):
        SSL4EOS12Pairs(s1, s2)[0]
    (tmp_path / 's1' / '0000002').rename(tmp_path / 'too')
    with pytest.raises(PairingError, match='no place in common'):
        SSL4EOS12Pairs(s1, s2)


def test_strange_folder_is_named(
    members: tuple[SSL4EOS12, SSL4EOS12], tmp_path: Path
) -> None:
    write(tmp_path, {'s1': ['0000001'], 's2a': ['0000001']})
    (tmp_path / 's1' / '0000001' / 'notes').mkdir()
    pairs = SSL4EOS12Pairs(SSL4EOS12(tmp_path, 's1'), SSL4EOS12(tmp_path, 's2a'))
    with pytest.raises(PairingError, match='notes does not begin with a date'):
        pairs[0]
