"""What tests do with the plugin inside QGIS, one function each.

Runs in the Python that QGIS brings (``/usr/bin/python3``), not in the project's environment::

    /usr/bin/python3 in_qgis.py FUNCTION '{"plugins": "...", "program": "...", "folder": "..."}'

Prints one JSON document. QGIS starts with a profile and a runtime folder of its own, and with
nothing of the caller's environment that would lead it to other libraries.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / 'export'))
import qgis_start

qgis_start.begin()

JOB = json.loads(sys.argv[2])
FOLDER = Path(JOB['folder'])
sys.path[:0] = [JOB['plugins'], '/usr/share/qgis/python/plugins']

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

APP = QgsApplication([], True)
APP.initQgis()

import processing
from cross_modal_retrieval import process
from cross_modal_retrieval.found_program import choose_program, chosen_program
from cross_modal_retrieval.plugin import Plugin
from processing.core.Processing import Processing

#: What QGIS does not keep alive.
KEPT: list[Any] = []
DEGREES = QgsCoordinateReferenceSystem('EPSG:4326')


class Feedback(QgsProcessingFeedback):
    """Keeps what an algorithm says."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, list[Any]] = {}

    def note(self, kind: str, words: Any) -> None:
        self.told.setdefault(kind, []).append(words)

    def pushInfo(self, words: str) -> None:
        self.note('info', words)

    def pushCommandInfo(self, words: str) -> None:
        self.note('command', words)

    def pushWarning(self, words: str) -> None:
        self.note('warning', words)

    def reportError(self, words: str, fatal: bool = False) -> None:
        self.note('error', words)

    def setProgressText(self, words: str) -> None:
        self.note('progress', words)


def start() -> None:
    """Load the plugin without a window, as ``qgis_process`` does."""
    Processing.initialize()
    choose_program(JOB['program'])
    KEPT.append(Plugin(None))
    KEPT[0].initProcessing()


def attempt(name: str, parameters: dict[str, Any], load: bool = False) -> Any:
    """Run an algorithm; give its results and what it said, or its sentence."""
    feedback = Feedback()
    function = processing.runAndLoadResults if load else processing.run
    try:
        results = function(f'torchgeo_cmr:{name}', parameters, feedback=feedback)
    except QgsProcessingException as error:
        return {'sentence': str(error), 'told': feedback.told}
    return {'results': results, 'told': feedback.told}


def describe(layer: Any) -> dict[str, Any]:
    """Say how a layer was loaded."""
    told = {
        'name': layer.name(),
        'renderer': layer.renderer().type(),
        'temporal': layer.temporalProperties().isActive(),
    }
    if isinstance(layer, QgsRasterLayer):
        return told
    fields = layer.fields().names()
    told['count'] = layer.featureCount()
    if 'patch_id' in fields and 'query_id' in fields:
        told['hits'] = [[f['query_id'], f['patch_id']] for f in layer.getFeatures()]
    return told


def tree(node: Any = None) -> list[Any]:
    """List the layers of the project, groups as pairs."""
    node = node or QgsProject.instance().layerTreeRoot()
    return [
        describe(child.layer())
        if hasattr(child, 'layer')
        else [child.name(), tree(child)]
        for child in node.children()
    ]


def drawn(corners: list[list[float]], crs: str, names: list[str]) -> Any:
    """Add a layer of rectangles, given in degrees, to the project."""
    layer = QgsVectorLayer(f'Polygon?crs={crs}&field=name:string', 'drawn', 'memory')
    change = QgsCoordinateTransform(DEGREES, layer.crs(), QgsProject.instance())
    for box, name in zip(corners, names, strict=True):
        shape = QgsGeometry.fromRect(QgsRectangle(*box))
        shape.transform(change)
        feature = QgsFeature(layer.fields())
        feature['name'] = name
        feature.setGeometry(shape)
        layer.dataProvider().addFeatures([feature])
    QgsProject.instance().addMapLayer(layer)
    return layer


def search_by_layer() -> Any:
    """Search with the selected feature of a layer, in another layer, with dates."""
    start()
    layer = drawn(JOB['places'], 'EPSG:3857', ['left', 'right'])
    layer.selectByExpression("name = 'right'")
    area = drawn([JOB['area']], 'EPSG:32632', ['area'])
    ran = attempt(
        'search',
        {
            'ARCHIVE': JOB['archive'],
            'QUERY_LAYER': QgsProcessingFeatureSourceDefinition(layer.id(), True),
            'AREA': area,
            'START': '2024-01-01',
            'END': JOB['end'],
            'K': 50,
            'HEATMAP': True,
            'OUTPUT': JOB['out'],
        },
        load=True,
    )
    QgsProject.instance().removeMapLayers([layer.id(), area.id()])
    return {**ran, 'tree': tree()}


def grouped() -> Any:
    """Let a group take layers that QGIS has put above it, or into it above the others."""
    from cross_modal_retrieval.result_layers import RunGroup

    project, group = QgsProject.instance(), RunGroup('run')
    root = project.layerTreeRoot()
    for name in JOB['names']:
        layer = QgsVectorLayer('Polygon?crs=EPSG:4326', name, 'memory')
        project.addMapLayer(layer, False)
        group.take((group.node or root).insertLayer(0, layer))
    other = QgsVectorLayer('Polygon?crs=EPSG:4326', 'results', 'memory')
    project.addMapLayer(other, False)
    RunGroup('later').take(group.node.insertLayer(0, other))
    return {
        'tree': [[c.name(), [x.name() for x in c.children()]] for c in root.children()]
    }


def search_by_point() -> Any:
    """Search with a point in an extent, both in their own CRS, without loading."""
    start()
    runs = [attempt('search', parameters) for parameters in JOB['runs']]
    layers = [QgsVectorLayer(r['results']['OUTPUT'], 'x', 'ogr') for r in runs]
    return {'runs': runs, 'layers': [describe(x) for x in layers], 'tree': tree()}


def sentences() -> Any:
    """Run what cannot be run."""
    start()
    bare = QgsVectorLayer('NoGeometry?field=name:string', 'bare', 'memory')
    lost = QgsVectorLayer('Polygon?field=name:string', 'lost', 'memory')
    lost.setCrs(QgsCoordinateReferenceSystem())
    empty = drawn([], 'EPSG:4326', [])
    picked = drawn([[8.9, 45.1, 9.1, 45.2]], 'EPSG:4326', ['x'])
    web = QgsRasterLayer('type=xyz&url=file:///nowhere/{z}', 'web', 'wms')
    QgsProject.instance().addMapLayers([bare, lost, web])
    layers = {
        'bare': bare,
        'lost': lost,
        'empty': empty,
        'web': web,
        'none selected': QgsProcessingFeatureSourceDefinition(picked.id(), True),
    }
    given = []
    for name, parameters in JOB['runs']:
        known = {
            n: layers.get(v, v) if isinstance(v, str) else v
            for n, v in parameters.items()
        }
        given.append(attempt(name, known).get('sentence'))
    choose_program(str(FOLDER / 'nowhere'))
    run = {
        'ARCHIVE': JOB['archive'],
        'QUERY_POINT': '9,45',
        'OUTPUT': 'TEMPORARY_OUTPUT',
    }
    given.append(attempt('search', run).get('sentence'))
    return {'sentences': given}


def cancelled() -> Any:
    """Cancel a program that has shown a bar, and see what is left of it."""
    start()
    process._STOPS = JOB.get('stops', process._STOPS)
    feedback = Feedback()
    seen: dict[str, Any] = {}

    def press() -> None:
        while not feedback.progress():
            time.sleep(0.05)
        seen['progress'] = feedback.progress()
        feedback.cancel()

    threading.Thread(target=press).start()
    begun = time.monotonic()
    try:
        processing.run(
            'torchgeo_cmr:search',
            {
                'ARCHIVE': str(FOLDER),
                'QUERY_POINT': '9,45',
                'OUTPUT': 'TEMPORARY_OUTPUT',
            },
            feedback=feedback,
        )
    except QgsProcessingException as error:
        seen['sentence'] = str(error)
    seen['seconds'] = time.monotonic() - begun
    time.sleep(0.5)
    pids = (FOLDER / 'pids').read_text().split()
    seen['alive'] = [pid for pid in pids if runs(pid)]
    return {**seen, 'told': feedback.told}


def runs(pid: str) -> bool:
    """Say whether a process runs; one that has ended may wait for its parent."""
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state not in 'ZX'


def others() -> Any:
    """Run algorithms one after the other, and load what they write."""
    start()
    return {'runs': [attempt(n, p, load=True) for n, p in JOB['runs']], 'tree': tree()}


def model() -> Any:
    """Search in a model, whose next step takes the hits."""
    from qgis.core import (
        QgsProcessingModelAlgorithm,
        QgsProcessingModelChildAlgorithm,
        QgsProcessingModelChildParameterSource,
        QgsProcessingModelOutput,
    )

    start()
    made = QgsProcessingModelAlgorithm('model', 'group')
    source = QgsProcessingModelChildParameterSource
    first = QgsProcessingModelChildAlgorithm('torchgeo_cmr:search')
    first.setChildId('search')
    for name, value in JOB['search'].items():
        first.addParameterSources(name, [source.fromStaticValue(value)])
    made.addChildAlgorithm(first)
    second = QgsProcessingModelChildAlgorithm('native:centroids')
    second.setChildId('centroids')
    hits = source.fromChildOutput('search', 'OUTPUT')
    second.addParameterSources('INPUT', [hits])
    output = QgsProcessingModelOutput('points')
    output.setChildId('centroids')
    output.setChildOutputName('OUTPUT')
    second.setModelOutputs({'points': output})
    made.addChildAlgorithm(second)
    results = processing.run(made, {'centroids:points': 'memory:'})
    layer = results['centroids:points']
    return {'hits': describe(layer)['hits'], 'tree': tree()}


def flags() -> Any:
    """List the words that each algorithm can write."""
    start()
    provider = QgsApplication.processingRegistry().providerById('torchgeo_cmr')
    return {
        algorithm.name(): {
            'flags': algorithm.create().flags_of,
            'names': [p.name() for p in algorithm.parameterDefinitions()],
            'help': algorithm.shortHelpString(),
            'icon': not algorithm.icon().isNull(),
        }
        for algorithm in provider.algorithms()
    }


def program_page() -> Any:
    """Press the buttons of the page in the options."""
    from cross_modal_retrieval.program_page import ProgramPage, ProgramPageFactory

    Processing.initialize()
    answers = {}
    os.environ['PATH'] = str(FOLDER / 'nothing')
    os.environ['HOME'] = JOB['home']
    page = ProgramPage()
    page.find.click()
    answers['found'] = [page.file.filePath(), page.answer.text()]
    page.find.click()
    answers['next'] = page.file.filePath()
    for name in ('nowhere', 'other', 'broken', 'older'):
        page.file.setFilePath(str(FOLDER / name))
        page.test.click()
        answers[name] = page.answer.text()
    page.file.setFilePath(JOB['program'])
    page.test.click()
    answers['program'] = page.answer.text()
    page.apply()
    answers['kept'] = chosen_program()
    page = ProgramPageFactory().createWidget(None)
    answers['page'] = page.file.filePath()
    return answers


def window() -> Any:
    """Click on a hit in a window, mark hits, search again."""
    from qgis.gui import QgsMapCanvas, QgsMapMouseEvent, QgsMessageBar
    from qgis.PyQt.QtCore import QEvent, QPoint, Qt
    from qgis.PyQt.QtGui import QMouseEvent
    from qgis.PyQt.QtWidgets import QMainWindow, QToolBar

    class Iface:
        """What the plugin uses of the interface to the window."""

        def __init__(self) -> None:
            self.main, self.canvas = QMainWindow(), QgsMapCanvas()
            self.main.setCentralWidget(self.canvas)
            self.bar = QgsMessageBar()
            self.pages: list[Any] = []
            self.menu: list[Any] = []
            self.active: Any = None

        def mapCanvas(self) -> Any:
            return self.canvas

        def mainWindow(self) -> Any:
            return self.main

        def messageBar(self) -> Any:
            return self.bar

        def activeLayer(self) -> Any:
            return self.active

        def addToolBar(self, name: str) -> Any:
            self.toolbar = QToolBar(name)
            self.main.addToolBar(self.toolbar)
            return self.toolbar

        def addPluginToMenu(self, menu: str, action: Any) -> None:
            self.menu.append(action)

        def removePluginMenu(self, menu: str, action: Any) -> None:
            self.menu.remove(action)

        def registerOptionsWidgetFactory(self, page: Any) -> None:
            self.pages.append(page)

        def unregisterOptionsWidgetFactory(self, page: Any) -> None:
            self.pages.remove(page)

    Processing.initialize()
    choose_program(JOB['program'])
    iface, project = Iface(), QgsProject.instance()
    plugin = Plugin(iface)
    plugin.initGui()
    told: dict[str, Any] = {'actions': [a.text() for a in iface.menu]}
    search = {
        'ARCHIVE': JOB['archive'],
        'QUERY_POINT': JOB['point'],
        'EXTENT': JOB['extent'],
        'K': 3,
        'OUTPUT': str(FOLDER / 'hits.gpkg'),
    }
    attempt('search', search, load=True)
    (results,) = project.mapLayersByName('results')
    iface.main.resize(500, 400)
    iface.canvas.setDestinationCrs(DEGREES)
    iface.canvas.setLayers([results])
    iface.canvas.setExtent(results.extent())
    iface.main.show()
    APP.processEvents()

    def wait(count: int) -> list[Any]:
        """Let a task end; give the layers of results, the newest first."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            APP.processEvents()
            if len(project.mapLayersByName('results')) == count:
                break
        return [g for g in tree() if isinstance(g, list)]

    def message() -> str:
        item = iface.bar.currentItem()
        words = item.text() if item else ''
        iface.bar.clearWidgets()
        return words

    def click(x: float, y: float) -> None:
        place = iface.canvas.getCoordinateTransform().transform(QgsPointXY(x, y))
        at = QPoint(round(place.x()), round(place.y()))
        event = QMouseEvent(
            QEvent.Type.MouseButtonRelease,
            at,
            Qt.MouseButton.LeftButton,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
        plugin.tool.canvasReleaseEvent(QgsMapMouseEvent(iface.canvas, event))

    iface.menu[1].trigger()
    told['tool'] = iface.canvas.mapTool() is plugin.tool
    second = next(f for f in results.getFeatures() if f['rank'] == 2)
    told['clicked'] = second['patch_id']
    centre = second.geometry().centroid().asPoint()
    click(centre.x(), centre.y())
    told['more'] = wait(2)
    told['message'] = message()
    box = results.extent()
    iface.canvas.setExtent(QgsRectangle(box.xMinimum() - 1, 0, box.xMaximum() + 1, 1))
    click(box.xMinimum() - 0.9, 0.5)
    told['beside'] = message()

    iface.active = None
    iface.menu[2].trigger()
    told['no layer'] = message()
    iface.active = results
    iface.menu[2].trigger()
    wait(2)
    end = time.monotonic() + 60
    while not iface.bar.currentItem() and time.monotonic() < end:
        APP.processEvents()
    told['no marks'] = message()
    results.startEditing()
    row = results.fields().indexOf('relevant')
    for feature in results.getFeatures():
        results.changeAttributeValue(feature.id(), row, feature['rank'] == 2)
    told['unsaved'] = results.isModified()
    iface.menu[2].trigger()
    told['again'] = wait(3)
    told['saved'] = not results.isModified()
    told['message again'] = message()

    from cross_modal_retrieval.repeated_search import recorded_settings
    from cross_modal_retrieval.result_layers import SEARCHES

    # As if the project had come from somebody else: a dialog, and no search.
    SEARCHES.clear()
    dialogs: list[Any] = []
    processing.execAlgorithmDialog = lambda *words: dialogs.append(words)
    iface.canvas.setExtent(results.extent())
    click(centre.x(), centre.y())
    iface.menu[2].trigger()
    told['dialogs'] = dialogs
    told['running'] = QgsApplication.taskManager().countActiveTasks()
    told['recorded'] = recorded_settings(str(FOLDER / 'hits.gpkg'))
    told['nothing recorded'] = recorded_settings(str(FOLDER / 'no.gpkg'))
    plugin.unload()
    told['left'] = [len(iface.pages), len(iface.menu), iface.canvas.mapTool() is None]
    ids = [p.id() for p in QgsApplication.processingRegistry().providers()]
    told['provider'] = 'torchgeo_cmr' in ids
    return told


if __name__ == '__main__':
    answer = globals()[sys.argv[1]]()
    sys.stdout.write('\n' + json.dumps(answer, default=str) + '\n')
    sys.stdout.flush()
    qgis_start.end()
    os._exit(0)
