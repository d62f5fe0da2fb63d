"""QGIS projects."""
