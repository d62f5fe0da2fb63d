"""The algorithm index: an archive as an index, which opens in a moment."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingException,
    QgsProcessingParameterFolderDestination,
)

from .command_algorithm import (
    CommandAlgorithm,
    given_files,
    more_archives,
    place,
)
from .parameters import (
    choice,
    file,
    folder,
    number,
    other_archives,
    switch,
    text,
)

_VECTORS = ['float32', 'float16', 'int8', 'binary']


class IndexAlgorithm(CommandAlgorithm):
    """Runs ``torchgeo-cmr index``."""

    COMMAND = 'index'
    TITLE = 'Build an index of an archive'
    HELP = (
        'Builds an index of an archive. A search in a million patches then '
        'begins at once. Search takes an index folder wherever it takes an '
        'archive; the archive stays as it is.\n\n'
        'Embeddings that others have published as Parquet become an index '
        'too; the log names the columns that were taken.'
    )

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters.

        Args:
            configuration: Not used.
        """
        self.add('', folder('ARCHIVE', 'Archive folder'))
        theirs = 'Or a Parquet file of embeddings by others'
        self.add('', file('SOURCE', theirs))
        smaller = choice('VECTORS', 'How a search reads each number', _VECTORS)
        part = choice(
            'APPROXIMATE', 'Approximate part', ['ivf', 'ivf_pq', 'rabitq']
        )
        share = number('RECALL', 'Share of the best that it finds', most=1)
        overwrite = switch('OVERWRITE', 'Replace an index')
        for flag, parameter in (
            ('', other_archives()),
            ('--vectors', smaller),
            ('--approximate', part),
            ('--recall', share),
            (
                '--metres',
                number('METRES', 'Others: width of a point, in metres'),
            ),
            ('--space', text('SPACE', 'Others: name of their model')),
            ('--modality', text('MODALITY', 'Others: name of their sensor')),
            ('--vector-column', text('VECTOR', 'Others: column of vectors')),
            (
                '--geometry-column',
                text('GEOMETRY', 'Others: column of places'),
            ),
            ('--time-column', text('TIME', 'Others: column of times')),
            ('--id-column', text('ID', 'Others: column of ids')),
            ('--crs', text('CRS', 'Others: CRS of places')),
            ('--overwrite', overwrite),
        ):
            self.add(flag, parameter, advanced=True)
        made = QgsProcessingParameterFolderDestination('OUTPUT', 'Index')
        self.addParameter(made)

    def processAlgorithm(
        self, parameters: dict[str, Any], context: Any, feedback: Any
    ) -> dict[str, Any]:
        """Build.

        Args:
            parameters: Parameters of the run.
            context: Its context.
            feedback: Takes progress and messages.

        Returns:
            The index folder.
        """
        archives = [
            *given_files(self, parameters, context, 'ARCHIVE', 'SOURCE'),
            *more_archives(self, parameters, context),
        ]
        if not archives:
            raise QgsProcessingException(
                'nothing to index: give an archive folder or a Parquet file'
            )
        out = self.parameterAsString(parameters, 'OUTPUT', context)
        words = [*map(place, archives), f'--out={out}']
        words += self.words(self.values(parameters, context))
        self.run_command(words, feedback)
        return {'OUTPUT': out}
