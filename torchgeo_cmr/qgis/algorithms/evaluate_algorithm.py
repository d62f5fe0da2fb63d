"""The algorithm evaluate: how well one archive answers another."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingException,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterString,
)

from .command_algorithm import CommandAlgorithm, place
from .parameters import choice, file, folder, number, switch, text

_BREAKDOWNS = ['class', 'region', 'season', 'distance', 'days']


class EvaluateAlgorithm(CommandAlgorithm):
    """Runs ``torchgeo-cmr evaluate``."""

    COMMAND = 'evaluate'
    TITLE = 'Score an archive'
    HELP = (
        'Scores how well one archive answers the patches of another, next to '
        'what a random ranking would reach. You define what counts as '
        'relevant: place, near:WIDTHS, distance:METRES, label:COLUMN, '
        'raster:FILE and others. The report is in the log as well.'
    )

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters.

        Args:
            configuration: Not used.
        """
        queries = 'Archive whose patches are the queries'
        self.add('', folder('QUERIES', queries, needed=True))
        self.add('', folder('ARCHIVE', 'Archive to search', needed=True))
        rule = QgsProcessingParameterString(
            'RELEVANCE', 'What counts as relevant', 'place'
        )
        self.add('--relevance', rule)
        lines = 'One on each line.'
        for flag, parameter in (
            ('--protocol', text('PROTOCOL', 'Published protocol')),
            ('-k', text('K', 'Cut-offs', lines, many=True)),
            ('--metric', text('METRIC', 'Measures', lines, many=True)),
            (
                '--directions',
                text('DIRECTIONS', 'Directions', lines, many=True),
            ),
            ('--labels', text('LABELS', 'Column of labels')),
            ('--bootstrap', number('BOOTSTRAP', 'Resamples', whole=True)),
            ('--seed', number('SEED', 'Seed of the resamples', whole=True)),
            ('--by', choice('BY', 'Breakdown', _BREAKDOWNS)),
            (
                '--regions',
                text('REGIONS', 'Regions: file, or width in metres'),
            ),
            ('--train-area', file('TRAIN_AREA', 'Places seen in training')),
            ('--overwrite', switch('OVERWRITE', 'Replace a report')),
        ):
            self.add(flag, parameter, advanced=True)
        made = QgsProcessingParameterFileDestination(
            'OUTPUT', 'Report', 'Markdown (*.md);;JSON (*.json)'
        )
        self.addParameter(made)

    def processAlgorithm(
        self, parameters: dict[str, Any], context: Any, feedback: Any
    ) -> dict[str, Any]:
        """Score, and show the report.

        Args:
            parameters: Parameters of the run.
            context: Its context.
            feedback: Takes progress and messages.

        Returns:
            The file of the report.
        """
        archives = [
            place(self.parameterAsFile(parameters, name, context))
            for name in ('QUERIES', 'ARCHIVE')
        ]
        out = self.parameterAsFileOutput(parameters, 'OUTPUT', context)
        options = self.words(self.values(parameters, context))
        self.run_command([*archives, *options, f'--out={out}'], feedback)
        try:
            with open(out, encoding='utf-8') as report:
                feedback.pushInfo(report.read())
        except OSError as error:
            raise QgsProcessingException(
                f'{out} cannot be read ({error.strerror})'
            ) from error
        return {'OUTPUT': out}
