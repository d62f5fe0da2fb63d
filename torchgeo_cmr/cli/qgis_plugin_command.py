"""The command qgis-plugin: the plugin for QGIS as a package, or put where QGIS finds it."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from torchgeo_cmr.doctor.qgis_folders import BELOW, FOLDER, data_folder, profile_homes

_SOURCE = Path(__file__).parents[1] / 'qgis'
#: Files of the plugin, below its source.
_FILES = ('*.py', 'algorithms/*.py', 'icons/*.svg', 'metadata.txt', 'LICENSE')
#: The same content gives the same package: the first date that a zip can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


def qgis_plugin(
    *,
    out: str | None = None,
    install: bool = False,
    profile: str | None = None,
    overwrite: bool = False,
) -> None:
    """Make the plugin for QGIS, or install it.

    The plugin puts search, embed, index, changes, evaluate and export into the toolbox of QGIS
    (3.22 or newer) and runs this program as a process. QGIS needs no other package.

    A package, for Plugins > Manage and Install Plugins > Install from ZIP:

        torchgeo-cmr qgis-plugin --out plugin.zip

    Or straight into the profile of QGIS on this computer; start QGIS anew and enable it there:

        torchgeo-cmr qgis-plugin --install

    Args:
        out: Zip file to write.
        install: Put the plugin into the default profile of each QGIS of this user, in place of
            an older version.
        profile: Profile folder of QGIS to install it to, which Settings > User Profiles > Open
            Active Profile Folder shows.
        overwrite: Replace an existing file, or a plugin folder that is not ours.
    """
    from torchgeo_cmr.drafts import check_new
    from torchgeo_cmr.errors import QueryError

    if out is None and not install:
        raise QueryError('nothing to do: give --out plugin.zip, or --install')
    if profile is not None and not install:
        raise QueryError('--profile is where --install puts it: add that')
    if out is not None:
        if Path(out).suffix.lower() != '.zip':
            raise QueryError(f'{out} is not a zip file: name one, such as plugin.zip')
        check_new(out, overwrite=overwrite)
    targets = [*_targets(profile)] if install else []
    for target in targets:
        _check_ours(target, overwrite=overwrite)
    if out is not None:
        _pack(Path(out), overwrite=overwrite)
        sys.stdout.write(f'{out}: plugin for QGIS\n')
    for target in targets:
        _install(target)
        sys.stdout.write(
            f'{target}: installed; start QGIS anew and enable Cross-modal retrieval in '
            'Plugins > Manage and Install Plugins\n'
        )


def files() -> list[tuple[Path, str]]:
    """List the files of the plugin.

    Returns:
        Each file and its name below the plugin's folder, in the order of names.
    """
    found = (path for pattern in _FILES for path in _SOURCE.glob(pattern))
    return sorted(
        ((path, path.relative_to(_SOURCE).as_posix()) for path in found),
        key=lambda pair: pair[1],
    )


def _pack(out: Path, *, overwrite: bool) -> None:
    """Write the package under a temporary name, then under its own."""
    import zipfile

    from torchgeo_cmr.drafts import new_draft

    with (
        new_draft(out, overwrite=overwrite) as draft,
        zipfile.ZipFile(draft, 'w', zipfile.ZIP_DEFLATED) as package,
    ):
        for path, name in files():
            entry = zipfile.ZipInfo(f'{FOLDER}/{name}', _DATE)
            entry.external_attr = 0o644 << 16
            package.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def _targets(profile: str | None) -> Iterator[Path]:
    """Name the plugin's folder in each profile that it is installed to."""
    from torchgeo_cmr.errors import QueryError

    if profile is not None:
        if not Path(profile).is_dir():
            raise QueryError(
                f'{profile} is not a folder: name the profile folder of QGIS'
            )
        yield Path(profile) / BELOW
        return
    homes = profile_homes()
    profiles = [p for home in homes for p in sorted(home.glob('profiles/default'))]
    if not profiles:
        places = ' or '.join(map(str, homes)) or str(data_folder())
        raise QueryError(
            f'there is no profile of QGIS in {places}: start QGIS once, or name its profile '
            'folder with --profile'
        )
    yield from (folder / BELOW for folder in profiles)


def _check_ours(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace what is not an older version of the plugin."""
    from torchgeo_cmr.errors import OutputExistsError

    if target.is_symlink():
        raise OutputExistsError(f'{target} is a link: remove it first')
    if overwrite or not target.exists():
        return
    if _name_of(target) != _name_of(_SOURCE):
        raise OutputExistsError(
            f'{target} is not our plugin; look what it is, or use --overwrite'
        )


def _name_of(folder: Path) -> str | None:
    """Read the name of a plugin; None if it says none."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(folder / 'metadata.txt', encoding='utf-8')
        return parser['general']['name']
    except (configparser.Error, KeyError, OSError, ValueError):
        return None


def _install(target: Path) -> None:
    """Copy the plugin under a temporary name, then put it in the place of the older one."""
    from torchgeo_cmr.drafts import disk_faults, draft_folder, sweep
    from torchgeo_cmr.durable import replace_folder

    building = draft_folder(target)
    with disk_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, target.name)
        try:
            for path, name in files():
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, building / name)
            replace_folder(building, target, draft_folder(target))
        finally:
            shutil.rmtree(building, ignore_errors=True)
