"""A search again, with another query: more like this hit, or by its marks."""

from __future__ import annotations

import html
import json
import os
import sqlite3
from contextlib import closing, suppress
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsProviderRegistry,
)
from qgis.gui import QgsMapToolIdentify

from .result_layers import SEARCHES, is_result

_ALGORITHM = 'torchgeo_cmr:search'
_TITLE = 'Cross-modal retrieval'
#: What the record of a search in a GeoPackage names as its standard.
_RECORD = 'torchgeo_cmr.search'


class MistakeError(Exception):
    """What the user can put right, in one sentence."""


class Keeper(QgsProcessingFeedback):
    """Feedback that keeps the sentence of a run that failed."""

    def __init__(self) -> None:
        """Begin without a sentence."""
        super().__init__()
        self.sentence = ''

    def reportError(self, error: str, fatalError: bool = False) -> None:
        """Keep a sentence.

        Args:
            error: The sentence.
            fatalError: Whether the run ends with it.
        """
        self.sentence = error
        super().reportError(error, fatalError)


class MoreLikeThis(QgsMapToolIdentify):
    """A click on a hit searches for what looks like it.

    Args:
        repeater: Runs the search.
        canvas: The map.
    """

    def __init__(self, repeater: Repeater, canvas: Any) -> None:
        """Make the tool; the canvas is told later to use it."""
        super().__init__(canvas)
        self.repeater = repeater

    def canvasReleaseEvent(self, event: Any) -> None:
        """Search with the uppermost patch under the mouse.

        Args:
            event: Where the mouse was released.
        """
        layers = [
            layer for layer in self.canvas().layers() if is_result(layer)
        ]
        position = event.pixelPoint()
        mode = QgsMapToolIdentify.IdentifyMode.TopDownStopAtFirst
        found = self.identify(position.x(), position.y(), layers, mode)
        self.repeater.more_like(
            [(hit.mLayer, hit.mFeature['patch_id']) for hit in found]
        )


class Repeater:
    """Searches again with the settings of the search that found a layer.

    Args:
        iface: Interface to the QGIS window.
    """

    def __init__(self, iface: Any) -> None:
        """Begin without runs."""
        self.iface = iface
        #: Runs that are not at their end, which QGIS does not keep alive.
        self.runs: list[Any] = []

    def more_like(self, hits: list[tuple[Any, str]]) -> None:
        """Search with a patch that was clicked on.

        Args:
            hits: Layer and ``patch_id`` of what was under the mouse.
        """
        if not hits:
            self.tell('there is no patch at this place: click on a hit')
            return
        layer, patch = hits[0]
        self._search(layer, {'QUERY_PATCH': str(patch)})

    def again(self, layer: Any) -> None:
        """Search with the marks in the column ``relevant`` of a layer.

        Args:
            layer: The active layer; edits of it are saved first.
        """
        try:
            path = _marked_file(layer)
        except MistakeError as mistake:
            self.tell(str(mistake))
            return
        self._search(layer, {'REFINE': path})

    def tell(self, sentence: str) -> None:
        """Show a sentence above the map."""
        # The bar shows HTML, and a sentence quotes names of files.
        self.iface.messageBar().pushWarning(_TITLE, html.escape(sentence))

    def _search(self, layer: Any, query: dict[str, Any]) -> None:
        """Search at once, or in a dialog if the archive is not known."""
        settings = SEARCHES.get(layer.id())
        if settings is None:
            # A file of somebody else names the archive: the user looks at it.
            import processing

            settings = recorded_settings(_file_of(layer))
            processing.execAlgorithmDialog(_ALGORITHM, {**settings, **query})
            return
        self._start({**settings, **query})

    def _start(self, parameters: dict[str, Any]) -> None:
        """Run in the background, as a task that can be cancelled."""
        registry = QgsApplication.processingRegistry()
        algorithm = registry.createAlgorithmById(_ALGORITHM)
        context, feedback = QgsProcessingContext(), Keeper()
        project = QgsProject.instance()
        context.setProject(project)
        context.setTransformContext(project.transformContext())
        output = QgsProcessingOutputLayerDefinition(
            'TEMPORARY_OUTPUT', project
        )
        task = QgsProcessingAlgRunnerTask(
            algorithm, {**parameters, 'OUTPUT': output}, context, feedback
        )
        run = (algorithm, context, feedback, task)
        self.runs.append(run)
        task.executed.connect(lambda done, _: self._end(run, done))
        QgsApplication.taskManager().addTask(task)

    def _end(self, run: tuple[Any, ...], done: bool) -> None:
        """Load what was found, or say why nothing was."""
        from processing.gui.Postprocessing import handleAlgorithmResults

        algorithm, context, feedback, _ = run
        self.runs.remove(run)
        if done:
            handleAlgorithmResults(algorithm, context, feedback)
        else:
            self.tell(feedback.sentence or 'the search was cancelled')


def recorded_settings(path: str) -> dict[str, Any]:
    """Read from a saved search which archive it searched, and for how many.

    Args:
        path: A GeoPackage, or any other file, which says nothing.

    Returns:
        Parameters of the search; empty if nothing is recorded.
    """
    if not path.lower().endswith('.gpkg') or not os.path.isfile(path):
        return {}
    query = 'SELECT metadata FROM gpkg_metadata WHERE md_standard_uri = ?'
    record: Any = {}
    with suppress(sqlite3.Error, ValueError):
        with closing(sqlite3.connect(path)) as connection:
            row = connection.execute(query, [_RECORD]).fetchone()
        record = json.loads(row[0]) if row else {}
    settings: dict[str, Any] = {}
    with suppress(AttributeError, KeyError, IndexError, TypeError):
        if isinstance(record.get('k'), int):
            settings['K'] = record['k']
        name = record['archives'][0]['name']
        if isinstance(name, str):
            settings['ARCHIVE'] = name
    return settings


def _file_of(layer: Any) -> str:
    """Give the file of a layer; empty if it has none."""
    parts = QgsProviderRegistry.instance().decodeUri(
        layer.providerType(), layer.source()
    )
    return str(parts.get('path') or '')


def _marked_file(layer: Any) -> str:
    """Give the file of a result with marks, after saving them."""
    if not is_result(layer) or layer.fields().indexOf('relevant') < 0:
        raise MistakeError(
            'choose the layer of results in the layer panel, and mark hits in '
            'its column relevant first'
        )
    if layer.isModified() and not layer.commitChanges(False):
        raise MistakeError('; '.join(layer.commitErrors()))
    path = _file_of(layer)
    if not os.path.isfile(path):
        raise MistakeError(f'{layer.name()} has no file: save it first')
    return path
