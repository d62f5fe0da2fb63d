"""The algorithm embed: rasters become an archive of vectors and footprints."""

from __future__ import annotations

import os
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
)

from .command_algorithm import CommandAlgorithm, is_empty, place
from .parameters import choice, file, folder, number, switch, text
from .search_algorithm import raster_file


class EmbedAlgorithm(CommandAlgorithm):
    """Runs ``torchgeo-cmr embed``."""

    COMMAND = 'embed'
    TITLE = 'Embed rasters into an archive'
    HELP = (
        'Turns rasters into an archive: one vector and one exact footprint '
        'per patch. Each raster is read in its own CRS and on its own grid.'
        '\n\nIf it is cancelled, the same run goes on where it stopped. What '
        'was done with each raster is written next to the archive.'
    )

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters.

        Args:
            configuration: Not used.
        """
        rasters = QgsProcessing.SourceType.TypeRaster
        layers = QgsProcessingParameterMultipleLayers(
            'RASTERS', 'Raster layers', rasters, None, True
        )
        self.add('', layers)
        scenes = 'Such as .SAFE folders, or many rasters.'
        self.add('', folder('SCENES', 'Folder of rasters or products', scenes))
        self.add('--ckpt', file('CHECKPOINT', 'Checkpoint'))
        sensor = text('MODALITY', 'Sensor of the rasters', 'Such as s2.')
        self.add('--modality', sensor)
        archive = QgsProcessingParameterFolderDestination('OUTPUT', 'Archive')
        self._add_more()
        self.addParameter(archive)

    def processAlgorithm(
        self, parameters: dict[str, Any], context: Any, feedback: Any
    ) -> dict[str, Any]:
        """Embed.

        Args:
            parameters: Parameters of the run.
            context: Its context.
            feedback: Takes progress and messages.

        Returns:
            The archive folder.
        """
        scenes = [
            raster_file(layer, 'Raster layers')
            for layer in self.parameterAsLayerList(
                parameters, 'RASTERS', context
            )
        ]
        if not is_empty(parameters.get('SCENES')):
            scenes.append(self.parameterAsFile(parameters, 'SCENES', context))
        if not scenes:
            raise QgsProcessingException(
                'nothing to embed: give raster layers or a folder'
            )
        out = self.parameterAsString(parameters, 'OUTPUT', context)
        words = [*map(place, scenes), f'--out={out}']
        words += self.words(self.values(parameters, context))
        # 1: done, but for rasters that were refused, of which the log tells.
        self.run_command(words, feedback, (0, 1))
        if not os.path.isdir(out):
            raise QgsProcessingException(
                'no archive was written: the log says why'
            )
        return {'OUTPUT': out}

    def _add_more(self) -> None:
        measured = 'data for pixels of any kind, such as 8-bit pictures.'
        for flag, parameter in (
            (
                '--model',
                text('MODEL', 'Model:weights, in place of a checkpoint'),
            ),
            ('--bands', text('BANDS', 'Bands, with a model')),
            (
                '--normalize',
                choice(
                    'NORMALIZE',
                    'Statistics, with a model',
                    ['weights', 'data'],
                    measured,
                ),
            ),
            ('--size', number('SIZE', 'Patch width in pixels', whole=True)),
            ('--size-metres', number('SIZE_METRES', 'Patch width in metres')),
            ('--overlap', number('OVERLAP', 'Overlap of patches', most=0.99)),
            ('--edges', choice('EDGES', 'At edges', ['drop', 'pad'])),
            (
                '--gsd',
                choice(
                    'GSD',
                    'If pixels are of another width than in training',
                    ['warn', 'resample', 'error', 'ignore'],
                ),
            ),
            (
                '--min-valid',
                number('MIN_VALID', 'Least share of pixels', most=1),
            ),
            ('--max-cloud', number('MAX_CLOUD', 'Most cloud in %', most=100)),
            (
                '--units',
                choice(
                    'UNITS',
                    'Units of radar pixels',
                    ['db', 'power', 'amplitude', 'dn'],
                ),
            ),
            ('--device', text('DEVICE', 'Device', 'Such as cpu or cuda.')),
            ('--batch-size', text('BATCH_SIZE', 'Patches at once')),
            ('--update', switch('UPDATE', 'Add and renew rasters')),
            ('--prune', switch('PRUNE', 'Drop rasters that are gone')),
            ('--center', switch('CENTER', 'Also an archive without the mean')),
            ('--overwrite', switch('OVERWRITE', 'Replace an archive')),
        ):
            self.add(flag, parameter, advanced=True)
