import os
from pathlib import Path

import pytest

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.files import check_words, find_files, readable_folders


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


@pytest.mark.parametrize(
    'name',
    ['b[1].tif', 'what?.tif', 'all*.tif', 'per%20cent.tif', 'a b.tif', '{x}.tif'],
)
def test_a_name_that_exists_is_that_file(folder: Path, name: str) -> None:
    make(f'in/{name}', 'in/b1.tif', 'in/whatx.tif', 'in/allx.tif')
    assert find_files(f'in/{name}') == [f'in/{name}']
    assert f'in/{name}' in find_files('in')


def test_a_folder_may_have_any_name(folder: Path) -> None:
    make('s[2]/a.tif', 's2/b.tif')
    assert find_files('s[2]') == ['s[2]/a.tif']
    assert find_files('s?2?/*.tif') == ['s[2]/a.tif']


def test_links_are_followed_once(folder: Path) -> None:
    make('in/a.tif', 'disk/deep/b.tif')
    Path('in/more').symlink_to('../disk')
    Path('in/again').symlink_to('../disk')
    Path('disk/back').symlink_to('../in')
    Path('in/c.tif').symlink_to('../disk/deep/b.tif')
    assert find_files('in') == ['in/a.tif', 'in/again/deep/b.tif', 'in/c.tif']


def test_real_folders_come_before_links_to_them(folder: Path) -> None:
    make('in/z/a.tif')
    Path('in/b').symlink_to('z')
    assert find_files('in') == ['in/z/a.tif']


def test_each_path_must_match(folder: Path) -> None:
    make('in/a.tif', 'empty/readme.txt')
    with pytest.raises(RasterError, match=r'no raster matches in/typo\.tif: .*mounted'):
        find_files(['in/a.tif', 'in/typo.tif'])
    with pytest.raises(RasterError, match=r'no raster matches in/\*\.jp2: .*quotes'):
        find_files(['in', 'in/*.jp2'])
    with pytest.raises(
        RasterError, match=r'matches empty: nothing in this folder ends in .*\.zarr$'
    ):
        find_files(['in', 'empty'])
    with pytest.raises(RasterError, match='no raster is given'):
        find_files([])


def test_rasters_that_must_be_named_are_mentioned(folder: Path) -> None:
    make('in/a.vrt', 'in/b.PNG', 'in/c.png', 'in/d.txt', 'in/deep/e.img')
    with pytest.raises(
        RasterError, match=r'; name what it holds: in/\*\.PNG in/\*\.png in/\*\.vrt$'
    ):
        find_files(['in'])
    with pytest.raises(RasterError, match=r'ends in \.wav$'):
        find_files(['in'], ('.wav',), 'sound')


def test_what_is_no_file_is_refused(folder: Path) -> None:
    os.mkfifo('pipe.tif')
    Path('lost.tif').symlink_to('nowhere.tif')
    with pytest.raises(RasterError, match=r'pipe\.tif is neither a file nor a folder'):
        find_files('pipe.tif')
    with pytest.raises(RasterError, match=r'lost\.tif is a link to nowhere\.tif'):
        find_files('lost.tif')


def test_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make('home/a.tif')
    monkeypatch.setenv('HOME', str(folder / 'home'))
    assert find_files('~/a.tif') == [str(folder / 'home/a.tif')]


def test_hidden_files_are_skipped(folder: Path) -> None:
    make('in/a.tif', 'in/._a.tif', 'in/.trash/b.tif')
    assert find_files('in') == ['in/a.tif']


def test_folders_that_can_be_listed(folder: Path) -> None:
    make('in/a.tif', 'in/deep/b.tif')
    words = ['in/*.tif', 'in/deep/b.tif', 'in/deep', 'gone/c.tif', 'gone']
    assert readable_folders(words) == [str(folder / 'in'), str(folder / 'in/deep')]


def test_an_address_of_this_machine_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / 'my data'
    folder.mkdir()
    (folder / 'a.tif').touch()
    uri = (folder / 'a.tif').as_uri()
    assert '%20' in uri
    assert find_files(uri) == [str(folder / 'a.tif')]
    assert find_files([folder.as_uri()]) == [str(folder / 'a.tif')]


def test_folders_in_a_pattern_may_be_called_anything(folder: Path) -> None:
    make('of [2020]/x1/a.tif', 'of 2/x1/b.tif')
    for pattern in ('of [2020]/x*/*.tif', 'of [2020]/**/*.tif'):
        assert find_files(pattern) == ['of [2020]/x1/a.tif']
        assert find_files(str(folder / pattern)) == [str(folder / 'of [2020]/x1/a.tif')]


def test_a_file_may_be_called_like_an_address(folder: Path) -> None:
    make('file:a.tif')
    assert find_files('file:a.tif') == ['./file:a.tif']


def test_words_are_checked_without_a_look_into_folders(folder: Path) -> None:
    make('in/a.tif')
    Path('empty').mkdir()
    check_words(['in', 'empty', 'in/*.tif'])
    for word in ('gone.tif', 'in/*.jp2', 'gs://box/a.tif'):
        with pytest.raises(RasterError, match='no raster matches'):
            check_words(['in', word])
