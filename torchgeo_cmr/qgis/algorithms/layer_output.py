"""Algorithms whose result is a vector file, loaded with all its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProcessing, QgsProcessingParameterVectorDestination

from ..result_layers import load_layers
from .command_algorithm import CommandAlgorithm


class LayerAlgorithm(CommandAlgorithm):
    """An algorithm that writes layers with ``--out``."""

    #: What the dialog calls the output.
    OUTPUT_LABEL = ''

    def add_output(self) -> None:
        """Add the output, as the last parameter."""
        anything = QgsProcessing.SourceType.TypeVectorAnyGeometry
        made = QgsProcessingParameterVectorDestination(
            'OUTPUT', self.OUTPUT_LABEL, anything
        )
        self.addParameter(made)

    def write_layers(
        self,
        words: list[str],
        parameters: dict[str, Any],
        context: Any,
        feedback: Any,
        search: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run the command, and have its layers loaded if the user wants them.

        Args:
            words: Arguments of the command without the output.
            parameters: Parameters of the run.
            context: Its context.
            feedback: Takes progress and messages.
            search: Parameters with which the search is repeated.

        Returns:
            Address of the layer of results.
        """
        path = self.parameterAsOutputLayer(parameters, 'OUTPUT', context)
        project = _take_project(context, path)
        self.run_command([*words, f'--out={path}'], feedback)
        raster = Path(path).with_name(f'{Path(path).stem}_similarity.tif')
        results = load_layers(
            context,
            path,
            project,
            raster=str(raster) if '--heatmap' in words else '',
            search=search,
        )
        return {'OUTPUT': results}


def _take_project(context: Any, path: str) -> Any:
    """Give the project that is to load a file, in place of QGIS.

    QGIS itself would load the first layer of the file only.
    """
    if not context.willLoadLayerOnCompletion(path):
        return None
    project = context.layerToLoadOnCompletionDetails(path).project
    waiting = context.layersToLoadOnCompletion()
    waiting.pop(path)
    context.setLayersToLoadOnCompletion(waiting)
    return project
