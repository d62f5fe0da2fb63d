"""Starts the Python of QGIS with a profile and a runtime folder of its own.

Nothing of the caller's environment stays that would lead QGIS to other libraries. For scripts that
``/usr/bin/python3`` runs; imports nothing but the standard library.
"""

import os
import shutil
import sys
import tempfile

_HOME = 'QGIS_START_HOME'
#: Variables that lead to libraries of the project's environment.
_THEIRS = ('PYTHON', 'GDAL_', 'PROJ_', 'VIRTUAL_ENV')


def begin() -> None:
    """Start this script once more, without a screen; the second time nothing happens."""
    if _HOME in os.environ:
        return
    home = tempfile.mkdtemp(prefix='qgis')
    os.mkdir(os.path.join(home, 'run'), mode=0o700)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(_THEIRS)}
    clean |= {
        _HOME: home,
        'QT_QPA_PLATFORM': 'offscreen',
        'QGIS_CUSTOM_CONFIG_PATH': os.path.join(home, 'config'),
        'XDG_RUNTIME_DIR': os.path.join(home, 'run'),
        'PYTHONDONTWRITEBYTECODE': '1',
    }
    os.execve(sys.executable, [sys.executable, *sys.argv], clean)


def end() -> None:
    """Remove the profile."""
    shutil.rmtree(os.environ[_HOME], ignore_errors=True)
