"""How QGIS draws a layer."""
