"""Our own pictures, by name."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtGui import QIcon


def icon(name: str) -> QIcon:
    """Give one of our pictures.

    Args:
        name: Name of a file in the folder of icons, without its suffix.
    """
    return QIcon(str(Path(__file__).parent / 'icons' / f'{name}.svg'))
