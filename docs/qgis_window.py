"""Opens a project in the widgets of the QGIS desktop, and keeps a picture of the window.

Runs in the Python that QGIS brings, not in the project's environment: layer panel with its
legend, map, attribute table of the results, as the desktop puts them side by side::

    /usr/bin/python3 docs/qgis_window.py hits.qgz window.png
"""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests' / 'export'))
import qgis_start

qgis_start.begin()

from qgis.core import QgsApplication, QgsLayerTreeModel, QgsProject, QgsVectorLayerCache
from qgis.gui import (
    QgsAttributeTableFilterModel,
    QgsAttributeTableModel,
    QgsAttributeTableView,
    QgsGui,
    QgsLayerTreeMapCanvasBridge,
    QgsLayerTreeView,
    QgsMapCanvas,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QDockWidget, QMainWindow

#: Width and height of the window in pixels.
SIZE = 900, 620


def dock(window: Any, title: str, widget: Any, side: Any, size: int) -> None:
    """Put a panel at a side of the window.

    Args:
        window: The window.
        title: Title of the panel.
        widget: What the panel shows.
        side: Side of the window.
        size: Width or height in pixels.
    """
    panel = QDockWidget(title)
    panel.setWidget(widget)
    window.addDockWidget(side, panel)
    level = Qt.Vertical if side == Qt.BottomDockWidgetArea else Qt.Horizontal
    window.resizeDocks([panel], [size], level)


def main() -> None:
    """Open, arrange, wait for the map, keep the picture."""
    path, picture = (os.path.abspath(word) for word in sys.argv[1:])
    app = QgsApplication([], True)
    app.initQgis()
    QgsGui.editorWidgetRegistry().initEditors()
    project, window, canvas = QgsProject.instance(), QMainWindow(), QgsMapCanvas()
    window.resize(*SIZE)
    window.setWindowTitle('QGIS')
    canvas.setCanvasColor(Qt.white)
    window.setCentralWidget(canvas)
    root = project.layerTreeRoot()
    bridge = QgsLayerTreeMapCanvasBridge(root, canvas)
    # The project says which CRS the map has.
    bridge.setAutoSetupOnFirstLayer(False)
    assert project.read(path)
    model = QgsLayerTreeModel(root)
    model.setFlag(QgsLayerTreeModel.AllowNodeChangeVisibility)
    tree = QgsLayerTreeView()
    tree.setModel(model)
    (results,) = project.mapLayersByName('results')
    cache = QgsVectorLayerCache(results, results.featureCount())
    rows = QgsAttributeTableModel(cache)
    rows.loadLayer()
    shown = QgsAttributeTableFilterModel(canvas, rows)
    table = QgsAttributeTableView()
    table.setModel(shown)
    table.horizontalHeader().setDefaultSectionSize(71)
    shown.sort(results.fields().indexOf('rank'), Qt.AscendingOrder)
    window.show()
    dock(window, 'Layers', tree, Qt.LeftDockWidgetArea, 220)
    dock(window, 'results', table, Qt.BottomDockWidgetArea, 170)
    app.processEvents()
    bridge.setCanvasLayers()
    canvas.setDestinationCrs(project.crs())
    canvas.setReferencedExtent(project.viewSettings().defaultViewExtent())
    canvas.refresh()
    canvas.waitWhileRendering()
    app.processEvents()
    assert window.grab().save(picture)
    qgis_start.end()
    os._exit(0)


if __name__ == '__main__':
    main()
