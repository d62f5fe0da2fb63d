"""The command qgis-plugin: a package, or an installed folder, complete or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr.cli import qgis_plugin_command
from torchgeo_cmr.cli.qgis_plugin_command import FOLDER, files

type Run = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has started QGIS 3 and QGIS 4."""
    monkeypatch.delenv('QGIS_CUSTOM_CONFIG_PATH', raising=False)
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path))
    monkeypatch.setattr(qgis_plugin_command.sys, 'platform', 'linux')
    for version in ('QGIS3', 'QGIS4'):
        (tmp_path / 'QGIS' / version / 'profiles' / 'default').mkdir(parents=True)
    return tmp_path


def plugin(home: Path, version: str = 'QGIS3') -> Path:
    return home / 'QGIS' / version / 'profiles/default/python/plugins' / FOLDER


def listed(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_the_same_package_each_time(run: Run, tmp_path: Path) -> None:
    one, two = tmp_path / 'one.zip', tmp_path / 'two.zip'
    for path in (one, two):
        assert run('qgis-plugin', '--out', path) == (
            0,
            f'{path}: plugin for QGIS\n',
            '',
        )
    assert one.read_bytes() == two.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {'one.zip', 'two.zip'}


def test_install_into_each_qgis(run: Run, home: Path) -> None:
    ran = run('qgis-plugin', '--install')
    assert ran.code == 0
    assert ran.out.count('installed; start QGIS anew') == 2
    for version in ('QGIS3', 'QGIS4'):
        assert listed(plugin(home, version)) == {name for _, name in files()}


def test_an_older_version_is_replaced_whole(run: Run, home: Path) -> None:
    folder = plugin(home)
    run('qgis-plugin', '--install')
    (folder / 'gone_since.py').write_text('')
    (folder / 'plugin.py').write_text('older')
    assert run('qgis-plugin', '--install').code == 0
    assert listed(folder) == {name for _, name in files()}
    assert 'older' not in (folder / 'plugin.py').read_text()
    assert [p.name for p in folder.parent.iterdir()] == [FOLDER]


def test_what_is_not_ours_stays(
    run: Run, refused: Callable[..., str], home: Path
) -> None:
    folder = plugin(home)
    folder.mkdir(parents=True)
    (folder / 'metadata.txt').write_text('[general]\nname=Another plugin\n')
    assert 'is not our plugin' in refused('qgis-plugin', '--install')
    assert listed(folder) == {'metadata.txt'}
    # Nothing was installed elsewhere either.
    assert not plugin(home, 'QGIS4').exists()
    assert run('qgis-plugin', '--install', '--overwrite').code == 0
    assert 'plugin.py' in listed(folder)


def test_a_link_of_a_developer_stays(
    refused: Callable[..., str], home: Path, tmp_path: Path
) -> None:
    mine = tmp_path / 'mine'
    mine.mkdir()
    plugin(home).parent.mkdir(parents=True)
    plugin(home).symlink_to(mine)
    for words in ((), ('--overwrite',)):
        assert 'is a link' in refused('qgis-plugin', '--install', *words)
    assert plugin(home).is_symlink()
    assert not any(mine.iterdir())


def test_a_disk_that_fails_leaves_the_older_version(
    run: Run, refused: Callable[..., str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run('qgis-plugin', '--install')
    (plugin(home) / 'plugin.py').write_text('older')

    def full(*_: object, **__: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(qgis_plugin_command.shutil, 'copyfile', full)
    assert 'could not be written' in refused('qgis-plugin', '--install')
    monkeypatch.undo()
    assert (plugin(home) / 'plugin.py').read_text() == 'older'
    assert [p.name for p in plugin(home).parent.iterdir()] == [FOLDER]


def test_a_profile_that_is_named(
    run: Run, refused: Callable[..., str], tmp_path: Path
) -> None:
    assert run('qgis-plugin', '--install', '--profile', tmp_path).code == 0
    assert 'plugin.py' in listed(tmp_path / 'python' / 'plugins' / FOLDER)
    line = refused('qgis-plugin', '--install', '--profile', tmp_path / 'no')
    assert 'name the profile folder' in line


def test_a_profile_of_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'profiles' / 'default').mkdir(parents=True)
    monkeypatch.setenv('QGIS_CUSTOM_CONFIG_PATH', str(tmp_path))
    assert run('qgis-plugin', '--install').code == 0
    below = tmp_path / 'profiles' / 'default' / 'python' / 'plugins' / FOLDER
    assert 'plugin.py' in listed(below)


def test_mistakes(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('QGIS_CUSTOM_CONFIG_PATH', raising=False)
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path / 'none'))
    monkeypatch.setattr(qgis_plugin_command.sys, 'platform', 'linux')
    kept = tmp_path / 'kept.zip'
    kept.write_text('mine')
    assert 'give --out plugin.zip' in refused('qgis-plugin')
    assert 'is not a zip file' in refused('qgis-plugin', '--out', tmp_path / 'a.tar')
    assert 'is there already' in refused('qgis-plugin', '--out', kept)
    assert '--install' in refused('qgis-plugin', '--out', 'a.zip', '--profile', 'x')
    assert 'start QGIS once' in refused('qgis-plugin', '--install')
    assert kept.read_text() == 'mine'
