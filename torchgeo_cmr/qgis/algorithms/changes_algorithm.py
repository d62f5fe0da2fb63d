"""The algorithm changes: the places of an archive that changed most."""

from __future__ import annotations

from typing import Any

from .command_algorithm import more_archives, place
from .filter_parameters import add_filters, add_more_filters, read_filters
from .layer_output import LayerAlgorithm
from .parameters import choice, folder, number, other_archives, switch


class ChangesAlgorithm(LayerAlgorithm):
    """Runs ``torchgeo-cmr changes``."""

    COMMAND = 'changes'
    TITLE = 'Find changed places'
    OUTPUT_LABEL = 'Changed places'
    HELP = (
        'Finds the places of an archive whose patches of two dates, or of two '
        'sensors, look least alike. The score is their cosine distance, from '
        '0 (alike) to 2.'
    )

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters.

        Args:
            configuration: Not used.
        """
        archive = 'Archive or index folder, or a postgresql:// address'
        self.add('', folder('ARCHIVE', archive, needed=True))
        compared = choice('ACROSS', 'Compare', ['dates', 'modalities'])
        self.add('--across', compared)
        self.add('-k', number('K', 'Places to find', whole=True, default=10))
        add_filters(self)
        add_more_filters(self)
        overlap = 'Least overlap of two patches that are compared'
        for flag, parameter in (
            ('', other_archives()),
            ('--min-overlap', number('MIN_OVERLAP', overlap, most=1)),
            ('--heatmap', switch('HEATMAP', 'Raster of the score')),
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
        """Find the places, and load them.

        Args:
            parameters: Parameters of the run.
            context: Its context.
            feedback: Takes progress and messages.

        Returns:
            Address of the layer of places.
        """
        archive = self.parameterAsFile(parameters, 'ARCHIVE', context)
        archives = [archive, *more_archives(self, parameters, context)]
        filters, _ = read_filters(self, parameters, context)
        options = self.words(self.values(parameters, context))
        words = [*map(place, archives), *filters, *options]
        return self.write_layers(words, parameters, context, feedback)
