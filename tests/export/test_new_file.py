"""New files appear whole or not at all."""

from pathlib import Path

import pytest

from torchgeo_cmr.errors import OutputExistsError
from torchgeo_cmr.export.new_file import new_file


def test_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / 'deep' / 'x.txt'
    for text in ('one', 'two'):
        with new_file(target, overwrite=text == 'two') as temporary:
            assert temporary.suffix == '.txt'
            temporary.write_text(text)
    assert target.read_text() == 'two'
    assert [p.name for p in target.parent.iterdir()] == ['x.txt']


def test_refuses(tmp_path: Path) -> None:
    (tmp_path / 'x.txt').write_text('mine')
    with (
        pytest.raises(OutputExistsError, match=r'x\.txt is there already'),
        new_file(tmp_path / 'x.txt'),
    ):
        pass
    with (
        pytest.raises(OutputExistsError, match='is a folder'),
        new_file(tmp_path, overwrite=True),
    ):
        pass
    assert (tmp_path / 'x.txt').read_text() == 'mine'


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / 'x.txt').write_text('mine')

    def fail() -> None:
        with new_file(tmp_path / 'x.txt', overwrite=True) as temporary:
            temporary.write_text('half')
            raise RuntimeError('no')

    with pytest.raises(RuntimeError, match='no'):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ['x.txt']
    assert (tmp_path / 'x.txt').read_text() == 'mine'
