"""Where ``torchgeo-cmr`` is: a setting, or what is found on this computer."""

from __future__ import annotations

import configparser
import os
import subprocess  # nosec B404
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from qgis.core import QgsSettings

#: Where QGIS keeps the path that the user chose.
SETTING = 'torchgeo_cmr/program'
#: Variables of QGIS that would lead another Python to the wrong libraries.
_OF_QGIS = ('PYTHON', 'GDAL_', 'PROJ_', 'QT_', 'VIRTUAL_ENV')
#: Folders of conda and its relatives, below the home folder.
_CONDA = (
    *('miniconda3', 'anaconda3', 'miniforge3', 'mambaforge', 'micromamba'),
    *('.conda', '.local/share/mamba'),
)
#: Folders in which people keep virtual environments, below the home folder.
_VENVS = ('.virtualenvs', '.venvs', 'venvs', 'envs')
#: Names of one virtual environment.
_VENV = ('.venv', 'venv', 'env')
#: On Windows a process would open a console.
NO_WINDOW: int = getattr(subprocess, 'CREATE_NO_WINDOW', 0)
#: Seconds that a program may take to name its version.
_PATIENCE = 60


def chosen_program() -> str:
    """Give the program to run: the one of the setting, else the first found.

    Returns:
        Its path; empty if there is none.
    """
    return named_program() or next(found_programs(), '')


def named_program() -> str:
    """Give the program of the setting; empty if none is named."""
    return str(QgsSettings().value(SETTING, '') or '').strip()


def choose_program(path: str) -> None:
    """Keep a program in the settings of QGIS.

    Args:
        path: The program; empty to look for one each time.
    """
    QgsSettings().setValue(SETTING, path.strip())


def found_programs() -> Iterator[str]:
    """Find programs: on PATH, in the home folder, in conda and venv folders.

    Folders of projects are not looked through, because a project may come
    from somebody else.

    Yields:
        Path of each program, the likeliest first.
    """
    seen = set()
    for folder in _folders(Path.home()):
        path = folder / _file_name()
        if str(path) in seen or not path.is_file():
            continue
        seen.add(str(path))
        if os.access(path, os.X_OK):
            yield str(path)


def read_version(program: str) -> str:
    """Ask a program for its version.

    Args:
        program: Path of ``torchgeo-cmr``.

    Returns:
        The version.

    Raises:
        ValueError: If it is not that program, or does not start.
    """
    cure = 'name the file torchgeo-cmr of the environment it is installed in'
    if not Path(program).is_file():
        raise ValueError(f'{program} is not a file: {cure}')
    try:
        done = subprocess.run(  # nosec B603
            [program, '--version'],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            env=environment(),
            creationflags=NO_WINDOW,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ValueError(
            f'{program} does not start ({error}): {cure}'
        ) from error
    words = done.stdout.decode('utf-8', 'replace').split()
    if (
        done.returncode != 0
        or words[:1] != ['torchgeo-cmr']
        or len(words) != 2
    ):
        raise ValueError(f'{program} is another program: {cure}')
    return words[1]


def plugin_version() -> str:
    """Give the version of this plugin."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(Path(__file__).with_name('metadata.txt'), encoding='utf-8')
    return parser['general']['version']


def other_version(version: str) -> str:
    """Say that a program does not belong to this plugin, and what to do.

    Args:
        version: Version of the program.

    Returns:
        A sentence without its full stop; empty if the versions are equal.
    """
    ours = plugin_version()
    if version == ours:
        return ''
    return (
        f'torchgeo-cmr is of version {version} and the plugin of {ours}: run '
        'torchgeo-cmr qgis-plugin --install and start QGIS anew, or choose '
        'another program'
    )


def environment() -> dict[str, str]:
    """Give the variables of a process without those of QGIS' own libraries."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OF_QGIS)
    }
    # What is read from a pipe is UTF-8 everywhere.
    return {**kept, 'PYTHONUTF8': '1', 'PYTHONUNBUFFERED': '1'}


def _file_name() -> str:
    return 'torchgeo-cmr.exe' if sys.platform == 'win32' else 'torchgeo-cmr'


def _folders(home: Path) -> Iterator[Path]:
    """Name folders with programs, the likeliest first."""
    # A relative entry of PATH means another folder each time.
    for word in os.get_exec_path():
        if os.path.isabs(word):
            yield Path(word)
    yield home / '.local' / 'bin'
    for environment_folder in _environments(home):
        for name in ('bin', 'Scripts'):
            yield environment_folder / name


def _environments(home: Path) -> Iterator[Path]:
    """Name folders of environments of Python."""
    for variable in ('VIRTUAL_ENV', 'CONDA_PREFIX'):
        if os.environ.get(variable):
            yield Path(os.environ[variable])
    for name in _VENV:
        yield home / name
    for name in _VENVS:
        yield from _inside(home / name)
    for name in _CONDA:
        yield home / name
        yield from _inside(home / name / 'envs')
    with suppress(OSError):
        listed = home / '.conda' / 'environments.txt'
        for line in listed.read_text(encoding='utf-8').splitlines():
            if os.path.isabs(line.strip()):
                yield Path(line.strip())
    for folder in _inside(home):
        for name in _VENV:
            yield folder / name


def _inside(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(p for p in folder.iterdir() if p.is_dir())
    return []
