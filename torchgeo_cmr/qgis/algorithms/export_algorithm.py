"""The algorithm export: an archive or a saved search as layers."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingException

from .command_algorithm import given_files, place
from .layer_output import LayerAlgorithm
from .parameters import file, folder, switch


class ExportAlgorithm(LayerAlgorithm):
    """Runs ``torchgeo-cmr export``."""

    COMMAND = 'export'
    TITLE = 'Export an archive or a saved search'
    OUTPUT_LABEL = 'Layers'
    HELP = (
        'Writes the footprints of an archive with their attributes, or a '
        'saved search in another format, and loads them.'
    )

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters.

        Args:
            configuration: Not used.
        """
        self.add('', folder('ARCHIVE', 'Archive folder'))
        self.add('', file('SOURCE', 'Or a saved search'))
        for flag, parameter in (
            (
                '--clips',
                folder('CLIPS', 'Folder to cut the pixels of hits into'),
            ),
            ('--html', switch('HTML', 'Also a page for the browser')),
            ('--heatmap', switch('HEATMAP', 'Raster of the best score')),
            (
                '--overwrite',
                switch('OVERWRITE', 'Replace files that are there'),
            ),
        ):
            self.add(flag, parameter, advanced=True)
        self.add_output()

    def processAlgorithm(
        self, parameters: dict[str, Any], context: Any, feedback: Any
    ) -> dict[str, Any]:
        """Export, and load what was written.

        Args:
            parameters: Parameters of the run.
            context: Its context.
            feedback: Takes progress and messages.

        Returns:
            Address of the layer of results.
        """
        sources = given_files(self, parameters, context, 'ARCHIVE', 'SOURCE')
        if len(sources) != 1:
            raise QgsProcessingException(
                'give an archive folder or a saved search, one of both'
            )
        options = self.words(self.values(parameters, context))
        words = [place(sources[0]), *options]
        return self.write_layers(words, parameters, context, feedback)
