"""Searches with the plugin in the window of the QGIS desktop, and keeps pictures of it.

Runs inside the desktop, as ``make_pictures.py`` starts it: ``qgis --code qgis_plugin_window.py``.
The variables ``PICTURE`` and ``DIALOG`` name the pictures to write, of the window and of the dialog
of the search, ``SCENE`` a raster and ``ARCHIVE`` the archive to search.
"""

import os
import sys
import traceback

import processing
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QDockWidget, QLineEdit, QToolBar
from qgis.utils import iface

#: Width and height of the window and of the dialog.
SIZE, DIALOG_SIZE = (1240, 760), (800, 640)
#: For a place in the invented world, in a part of it: west, east, south, north.
SEARCH = {
    'ARCHIVE': os.environ['ARCHIVE'],
    'QUERY_POINT': '11.92,42.04 [EPSG:4326]',
    'EXTENT': '11.90,11.945,42.022,42.053 [EPSG:4326]',
    'K': 20,
}


def search() -> None:
    """Search on a scene."""
    scene = QgsRasterLayer(os.environ['SCENE'], 'scene')
    QgsProject.instance().addMapLayer(scene)
    found = os.path.join(os.path.dirname(SEARCH['ARCHIVE']), 'found.gpkg')
    search = {**SEARCH, 'OUTPUT': found}
    processing.runAndLoadResults('torchgeo_cmr:search', search)


def arrange() -> None:
    """Show what belongs to the search, and open its dialog."""
    window = iface.mainWindow()
    window.setGeometry(0, 0, *SIZE)
    for bar in window.findChildren(QToolBar):
        bar.setVisible(bar.objectName() in ('torchgeo_cmr', 'mMapNavToolBar'))
    for dock in window.findChildren(QDockWidget):
        dock.setVisible(dock.objectName() in ('Layers', 'ProcessingToolbox'))
    (scene,) = QgsProject.instance().mapLayersByName('scene')
    QgsProject.instance().setCrs(scene.crs())
    iface.mapCanvas().setExtent(scene.extent())
    toolbox = window.findChild(QDockWidget, 'ProcessingToolbox')
    # What is typed there leaves our provider.
    toolbox.findChild(QLineEdit).setText('cross-modal')


def keep() -> None:
    """Keep the pictures."""
    iface.mapCanvas().waitWhileRendering()
    # A reader's archive lies elsewhere.
    shown = {**SEARCH, 'ARCHIVE': '/data/archive'}
    dialog = processing.createAlgorithmDialog('torchgeo_cmr:search', shown)
    dialog.resize(*DIALOG_SIZE)
    dialog.show()
    QgsApplication.processEvents()
    saved = dialog.grab().save(os.environ['DIALOG'])
    saved = iface.mainWindow().grab().save(os.environ['PICTURE']) and saved
    os._exit(0 if saved else 1)


def attempt(step: object) -> None:
    """Run a step; QGIS would only show what went wrong in it."""
    try:
        step()  # ty: ignore[call-non-callable]
    except Exception:  # noqa: BLE001
        traceback.print_exc(file=sys.stderr)
        os._exit(1)


for seconds, task in ((5, search), (12, arrange), (20, keep)):
    QTimer.singleShot(1000 * seconds, lambda task=task: attempt(task))
