"""Features of a layer as a file that ``torchgeo-cmr`` reads."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsFeature,
    QgsFeatureRequest,
    QgsFields,
    QgsGeometry,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingUtils,
    QgsVectorFileWriter,
    QgsWkbTypes,
)

#: Fields that name a place.
_NAMES = ('name', 'id')


def write_features(source: Any, label: str, context: Any) -> str:
    """Write the features of a source, or those of them that are selected.

    Args:
        source: A ``QgsProcessingFeatureSource``.
        label: What the features are used as, for the messages.
        context: Context of the algorithm.

    Returns:
        Path of a GeoPackage in the CRS of the layer, which QGIS removes when
        it is closed.

    Raises:
        QgsProcessingException: If there is no feature, geometry or CRS.
    """
    layer = source.sourceName()
    if source.wkbType() == QgsWkbTypes.Type.NoGeometry:
        raise QgsProcessingException(
            f'{label}: {layer} is a table without geometry, choose a layer'
        )
    if not source.sourceCrs().isValid():
        raise QgsProcessingException(
            f'{label}: {layer} has no CRS, set it in the layer properties'
        )
    if not source.featureCount():
        raise QgsProcessingException(
            f'{label}: {layer} has no features to use, select some of them or '
            'use all'
        )
    path = QgsProcessingUtils.generateTempFilename('features.gpkg')
    writer = _open(source, path, context)
    request = QgsFeatureRequest()
    # torchgeo-cmr repairs what is not valid.
    unchecked = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks
    for feature in source.getFeatures(request, unchecked):
        if not writer.addFeature(_plain(feature, _naming_fields(source))):
            raise QgsProcessingException(f'{label}: {writer.errorMessage()}')
    # Only now everything is in the file.
    del writer
    return path


def _naming_fields(source: Any) -> QgsFields:
    """Give the fields of a source that name its features."""
    fields = QgsFields()
    for field in source.fields():
        if field.name().lower() in _NAMES:
            fields.append(field)
    return fields


def _open(source: Any, path: str, context: Any) -> Any:
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = 'GPKG'
    options.layerName = 'features'
    return QgsVectorFileWriter.create(
        path,
        _naming_fields(source),
        QgsWkbTypes.linearType(source.wkbType()),
        source.sourceCrs(),
        context.transformContext(),
        options,
    )


def _plain(feature: Any, fields: QgsFields) -> QgsFeature:
    """Take over the fields that are kept, and turn curves into lines."""
    plain = QgsFeature(fields)
    for field in fields:
        plain[field.name()] = feature[field.name()]
    geometry = feature.geometry()
    if QgsWkbTypes.isCurvedType(geometry.wkbType()):
        geometry = QgsGeometry(geometry.constGet().segmentize())
    plain.setGeometry(geometry)
    return plain
