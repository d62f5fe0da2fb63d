"""Opens a file as the QGIS desktop does, says what it sees, and draws it.

Runs in the Python that QGIS brings (``/usr/bin/python3``), not in the project's environment::

    /usr/bin/python3 qgis_render.py '{"path": "hits.gpkg", "picture": "hits.png"}'

Keys of the job: ``path`` (vector layer, raster or project); ``picture`` (PNG to draw),
``size`` (its width and height), ``time`` (two ISO moments: only features of that time are
drawn), ``below`` (rasters to draw under the layers), ``only`` (names of the layers to draw),
``relevant`` (patch_id -> true, false or null, written into the layer ``results``), ``meanwhile``
(a command that is run before the layers are read once more, which ``later`` describes).
A path that begins with ``dbname=`` is a table of PostgreSQL.
Prints one JSON document. QGIS starts with a profile and a runtime folder of its own, and with
nothing of the caller's environment that would lead it to other libraries.
"""

import json
import os
import subprocess
import sys
from typing import Any

import qgis_start

qgis_start.begin()

from qgis.core import (
    QgsApplication,
    QgsCoordinateTransform,
    QgsDateTimeRange,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRectangle,
    QgsRenderContext,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QDateTime, QSize, Qt
from qgis.PyQt.QtGui import QColor


def open_layers(path: str) -> list[Any]:
    """Load every layer of a file with its default style, as the desktop does."""
    layers = []
    if path.startswith('dbname='):
        options = QgsVectorLayer.LayerOptions()
        options.loadDefaultStyle = False
        layers = [QgsVectorLayer(path, 'table', 'postgres', options)]
        layers[0].loadDefaultStyle()
        return layers
    for found in QgsProviderRegistry.instance().querySublayers(path):
        if found.providerKey() == 'gdal':
            layer = QgsRasterLayer(found.uri(), found.name(), 'gdal')
        else:
            options = QgsVectorLayer.LayerOptions()
            # Within the constructor the temporal settings would get lost.
            options.loadDefaultStyle = False
            layer = QgsVectorLayer(found.uri(), found.name(), 'ogr', options)
        layer.loadDefaultStyle()
        layers.append(layer)
    return layers


def moment(word: str) -> Any:
    return QDateTime.fromString(word, Qt.ISODate)


def describe(layer: Any) -> dict[str, Any]:
    """Say what QGIS made of a layer."""
    told: dict[str, Any] = {
        'name': layer.name(),
        'valid': layer.isValid(),
        'crs': layer.crs().authid(),
        'temporal': layer.temporalProperties().isActive(),
        'metadata': layer.metadata().abstract(),
    }
    renderer = layer.renderer()
    told['renderer'] = renderer.type() if renderer else None
    if isinstance(layer, QgsRasterLayer):
        told['bands'] = [layer.bandName(i + 1) for i in range(layer.bandCount())]
        return told
    told['count'] = layer.featureCount()
    told['fields'] = {f.name(): f.displayType() for f in layer.fields()}
    told['types'] = {f.name(): f.typeName() for f in layer.fields()}
    told['widgets'] = {
        f.name(): layer.editorWidgetSetup(i).type()
        for i, f in enumerate(layer.fields())
        if layer.editorWidgetSetup(i).type()
    }
    told['geometry'] = layer.geometryType()
    told['labels'] = layer.labelsEnabled()
    told['label'] = (
        layer.labeling().settings().fieldName if layer.labelsEnabled() else None
    )
    if layer.labelsEnabled():
        settings = layer.labeling().settings()
        told['label_scales'] = [
            settings.scaleVisibility,
            settings.maximumScale,
            settings.minimumScale,
        ]
    told['tip'] = layer.mapTipTemplate()
    times = layer.temporalProperties()
    told['time_fields'] = [times.startField(), times.endField()]
    if renderer.type() == 'graduatedSymbol':
        told['attribute'] = renderer.classAttribute()
        told['classes'] = [
            [r.lowerValue(), r.upperValue(), r.label()] for r in renderer.ranges()
        ]
    context = QgsRenderContext()
    renderer.startRender(context, layer.fields())
    told['not_drawn'] = sum(
        not renderer.willRenderFeature(f, context) for f in layer.getFeatures()
    )
    renderer.stopRender(context)
    first = next(layer.getFeatures(), None)
    told['first'] = (
        None
        if first is None
        else {
            f.name(): value.toString(Qt.ISODateWithMs)
            if isinstance(value, QDateTime)
            else None
            if value is None or (hasattr(value, 'isNull') and value.isNull())
            else value
            for f, value in zip(layer.fields(), first.attributes(), strict=True)
        }
    )
    return told


def judge(layer: Any, words: dict[str, bool | None]) -> None:
    """Fill the field relevant, as a user does in the attribute table."""
    i = layer.fields().indexOf('relevant')
    assert layer.startEditing()
    for feature in layer.getFeatures():
        if feature['patch_id'] in words:
            value = words[feature['patch_id']]
            assert layer.changeAttributeValue(feature.id(), i, value)
    assert layer.commitChanges(), layer.commitErrors()


def united(layers: list[Any], crs: Any) -> Any:
    """Give the extent of layers in a CRS."""
    box = QgsRectangle()
    box.setMinimal()
    for layer in layers:
        change = QgsCoordinateTransform(layer.crs(), crs, QgsProject.instance())
        box.combineExtentWith(change.transformBoundingBox(layer.extent()))
    box.grow(0.05 * max(box.width(), box.height(), 1e-6))
    return box


def draw(
    layers: list[Any], crs: Any, extent: Any, job: dict[str, Any]
) -> dict[str, Any]:
    """Draw layers, first on top, and count what is not white."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(crs)
    settings.setExtent(extent)
    settings.setOutputSize(QSize(*job.get('size', (400, 300))))
    settings.setBackgroundColor(QColor('white'))
    settings.setTransformContext(QgsProject.instance().transformContext())
    if 'time' in job:
        settings.setIsTemporal(True)
        settings.setTemporalRange(QgsDateTimeRange(*map(moment, job['time'])))
    task = QgsMapRendererParallelJob(settings)
    task.start()
    task.waitForFinished()
    picture = task.renderedImage()
    picture.save(job['picture'])
    pixels = [
        picture.pixel(x, y)
        for y in range(picture.height())
        for x in range(picture.width())
    ]
    drawn = sum(p != 0xFFFFFFFF for p in pixels) / len(pixels)
    return {
        'drawn': drawn,
        'colours': len(set(pixels)),
        'errors': [e.message for e in task.errors()],
    }


def main() -> None:
    job = json.loads(sys.argv[1])
    app = QgsApplication([], False)
    app.initQgis()
    project = QgsProject.instance()
    told: dict[str, Any] = {}
    if job['path'].endswith(('.qgz', '.qgs')):
        told['read'] = project.read(os.path.abspath(job['path']))
        tree = project.layerTreeRoot()
        told['nodes_without_layer'] = [
            n.layerId() for n in tree.findLayers() if n.layer() is None
        ]
        layers = [n.layer() for n in tree.findLayers() if n.layer() is not None]
        crs, view = project.crs(), project.viewSettings().defaultViewExtent()
        told['crs'] = crs.authid()
        told['view_crs'] = view.crs().authid()
        told['extent'] = [
            view.xMinimum(),
            view.yMinimum(),
            view.xMaximum(),
            view.yMaximum(),
        ]
        times = project.timeSettings().temporalRange()
        told['times'] = [
            times.begin().toString(Qt.ISODate),
            times.end().toString(Qt.ISODate),
        ]
        extent = QgsRectangle(view)
    else:
        table = job['path'].startswith('dbname=')
        layers = open_layers(job['path'] if table else os.path.abspath(job['path']))
        extent = None
    if 'relevant' in job:
        (results,) = [layer for layer in layers if layer.name() == 'results']
        judge(results, job['relevant'])
    told['layers'] = [describe(layer) for layer in layers]
    if 'meanwhile' in job:
        subprocess.run(job['meanwhile'], check=True, timeout=60)
        for layer in layers:
            layer.reload()
        told['later'] = [describe(layer) for layer in layers]
    if 'picture' in job:
        names = job.get('only')
        drawn = [
            layer
            for layer in layers
            if layer.isValid() and (names is None or layer.name() in names)
        ]
        if extent is None:
            crs = drawn[0].crs()
            extent = united(drawn, crs)
        for path in job.get('below', ()):
            drawn += open_layers(os.path.abspath(path))
        told['picture'] = draw(drawn, crs, extent, job)
    print(json.dumps(told), flush=True)
    qgis_start.end()
    # QGIS may crash while it is taken down; what was asked is answered.
    os._exit(0)


if __name__ == '__main__':
    main()
