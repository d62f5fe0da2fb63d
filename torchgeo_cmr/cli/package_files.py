"""What zip files of ours are: the plugin for QGIS, and projects of QGIS."""

import html
import re
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from torchgeo_cmr.doctor.qgis_folders import FOLDER
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.regular_files import check_regular

#: Bytes that a member may have; ours are far below.
_LARGEST = 1 << 24
_LAYER = re.compile(r'<layername>([^<]*)</layername>')


def describe_package(path: Path) -> dict[str, Any] | None:
    """Say what a zip file is.

    Args:
        path: The file.

    Returns:
        JSON-able, with ``kind``; None if it is neither the plugin nor a project of QGIS.

    Raises:
        ArchiveError: If it is not a zip file, or the part that says what it is is damaged.
    """
    check_regular(path, ArchiveError)
    facts: dict[str, Any] = {'path': str(path), 'bytes': path.stat().st_size}
    try:
        with ZipFile(path) as file:
            names = file.namelist()
            projects = [name for name in names if name.endswith('.qgs')]
            if f'{FOLDER}/metadata.txt' in names:
                text = _member(file, f'{FOLDER}/metadata.txt')
                parser = ConfigParser(interpolation=None)
                parser.read_string(text)
                general = dict(parser['general'])
                return {
                    'kind': 'plugin for QGIS',
                    'name': general.get('name'),
                    'version': general.get('version'),
                    'needs QGIS': general.get('qgisminimumversion'),
                    'files': len(names),
                } | facts
            if len(projects) == 1:
                found = _LAYER.findall(_member(file, projects[0]))
                layers = list(dict.fromkeys(map(html.unescape, found)))
                return {'kind': 'QGIS project', 'layers': layers} | facts
    except (BadZipFile, ConfigError, KeyError, ValueError, EOFError) as error:
        raise ArchiveError(
            f'{path} is not a whole zip file ({" ".join(str(error).split())}); write it again'
        ) from error
    return None


def _member(file: ZipFile, name: str) -> str:
    """Read a text of a sensible size."""
    if file.getinfo(name).file_size > _LARGEST:
        raise ValueError(f'{name} has more than {_LARGEST} bytes')
    return file.read(name).decode('utf-8')
