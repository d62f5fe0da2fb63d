"""Where QGIS is on this computer: its programs, the profiles of this user, our plugin in them."""

import os
import shutil
import sys
from pathlib import Path

#: Name of the plugin's folder: the one folder of the package, and its name in QGIS.
FOLDER = 'cross_modal_retrieval'
#: The plugin's folder below that of a profile.
BELOW = Path('python', 'plugins', FOLDER)
_NAMES = ('qgis', 'qgis-ltr', 'qgis-bin', 'qgis-ltr-bin')


def programs() -> list[str]:
    """Find QGIS on PATH and where its installers put it."""
    found = [path for name in _NAMES if (path := shutil.which(name))]
    if sys.platform == 'darwin':
        found += map(str, sorted(Path('/Applications').glob('QGIS*.app')))
    if sys.platform == 'win32':
        base = Path(os.environ.get('PROGRAMFILES', 'C:/Program Files'))
        found += map(str, sorted(base.glob('QGIS */bin/qgis*-bin.exe')))
    return found


def data_folder() -> Path:
    """Name the folder of QGIS among those of the user's programs."""
    if sys.platform == 'win32':
        base = Path(os.environ.get('APPDATA') or Path.home() / 'AppData' / 'Roaming')
    elif sys.platform == 'darwin':
        base = Path.home() / 'Library' / 'Application Support'
    else:
        base = Path(os.environ.get('XDG_DATA_HOME') or Path.home() / '.local' / 'share')
    return base / 'QGIS'


def profile_homes() -> list[Path]:
    """Name the folders in which versions of QGIS keep their profiles."""
    custom = os.environ.get('QGIS_CUSTOM_CONFIG_PATH')
    return [Path(custom)] if custom else sorted(data_folder().glob('QGIS[3-9]'))


def installed_plugins() -> list[Path]:
    """Find our plugin in all profiles of this user."""
    return [
        folder
        for home in profile_homes()
        for folder in sorted(home.glob(f'profiles/*/{BELOW.as_posix()}'))
    ]
