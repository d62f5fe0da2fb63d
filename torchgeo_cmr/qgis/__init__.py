"""Cross-modal retrieval in QGIS: a plugin that runs ``torchgeo-cmr``.

QGIS brings its own Python, which need not have torch, so nothing of the
library is imported here: a process does the work, and this plugin writes its
arguments, shows its progress and loads what it wrote. The code runs on Python
3.9 and newer, with Qt 5 and Qt 6.
"""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:
    """Make the plugin, as QGIS asks for it.

    Args:
        iface: Interface to the QGIS window.
    """
    from .plugin import Plugin

    return Plugin(iface)
