"""The algorithm search: the patches that look most like a query."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterPoint,
    QgsProcessingParameterRasterLayer,
    QgsProviderRegistry,
)

from ..feature_file import write_features
from .command_algorithm import is_empty, more_archives, place
from .filter_parameters import add_filters, add_more_filters, read_filters
from .layer_output import LayerAlgorithm
from .parameters import (
    choice,
    file,
    folder,
    number,
    other_archives,
    switch,
    text,
)

#: Parameters that say what to look for; another search has others.
_QUERY = (
    *('QUERY_PATCH', 'QUERY_ARCHIVE', 'REFINE', 'UNLIKE', 'EXAMPLES', 'AND'),
    *('CHECKPOINT', 'MODEL', 'QUERY_MODALITY', 'BANDS', 'SIZE', 'UNITS'),
)


class SearchAlgorithm(LayerAlgorithm):
    """Runs ``torchgeo-cmr search``."""

    COMMAND = 'search'
    TITLE = 'Search an archive'
    OUTPUT_LABEL = 'Hits'
    HELP = (
        'Finds the patches of an archive that look most like a query, in '
        'another sensor too. Area, dates and condition are applied first, '
        'then the rest is ranked.\n\n'
        'A query is each feature of a layer, what covers a point, a raster '
        'that a checkpoint turns into vectors, or all patches of another '
        'archive. Several kinds may be given together.\n\n'
        'Mark hits as right or wrong in the column relevant, save, and give '
        'the file as earlier result, to search again.'
    )

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters.

        Args:
            configuration: Not used.
        """
        archive = folder(
            'ARCHIVE',
            'Archive or index folder, or a postgresql:// address',
            needed=True,
        )
        self.add('', archive)
        self._add_queries()
        add_filters(self)
        k = number('K', 'Hits per query', whole=True, default=10)
        self.add('-k', k)
        far = 'Only hits farther than this from the query'
        self.add('--exclude-own', number('EXCLUDE_OWN', f'{far}, in metres'))
        self._add_model()
        add_more_filters(self)
        self._add_more()
        self._add_ranking()
        self.add_output()

    def processAlgorithm(
        self, parameters: dict[str, Any], context: Any, feedback: Any
    ) -> dict[str, Any]:
        """Search, and load what was found.

        Args:
            parameters: Parameters of the run.
            context: Its context.
            feedback: Takes progress and messages.

        Returns:
            Address of the layer of hits.
        """
        values = self.values(parameters, context)
        archive = self.parameterAsFile(parameters, 'ARCHIVE', context)
        others = more_archives(self, parameters, context)
        filters, again = read_filters(self, parameters, context)
        queries = self._queries(parameters, context)
        named = {'QUERY_PATCH', 'QUERY_ARCHIVE', 'REFINE'}
        if not queries and not named.intersection(values):
            raise QgsProcessingException(
                'nothing to look for: give a layer, a point, a raster or an '
                'archive as query'
            )
        plain = {n: v for n, v in values.items() if n not in _QUERY}
        kept = {'ARCHIVE': archive, 'OTHERS': '\n'.join(others)}
        again.update({**plain, **kept})
        words = [*map(place, [archive, *others]), *queries, *filters]
        words += self.words(values)
        return self.write_layers(words, parameters, context, feedback, again)

    def _add_queries(self) -> None:
        layer = QgsProcessingParameterFeatureSource(
            'QUERY_LAYER',
            'Query: layer, or its selected features',
            [QgsProcessing.SourceType.TypeVectorAnyGeometry],
            None,
            True,
        )
        layer.setHelp('Each feature is the mean of the patches it touches.')
        self.add('', layer)
        point = QgsProcessingParameterPoint(
            'QUERY_POINT', 'Query: point on the map', None, True
        )
        self.add('', point)
        raster = QgsProcessingParameterRasterLayer(
            'QUERY_RASTER',
            'Query: raster layer, with a checkpoint',
            None,
            True,
        )
        self.add('', raster)
        other = folder('QUERY_ARCHIVE', 'Query: all patches of an archive')
        self.add('--query', other)

    def _add_model(self) -> None:
        checkpoint = 'Checkpoint, for a raster as query'
        self.add('--ckpt', file('CHECKPOINT', checkpoint))
        sensor = text('QUERY_MODALITY', 'Sensor of the raster', 'Such as s1.')
        self.add('--query-modality', sensor)
        for flag, parameter in (
            (
                '--model',
                text('MODEL', 'Model:weights, in place of a checkpoint'),
            ),
            ('--bands', text('BANDS', 'Bands of the raster, with a model')),
            ('--size', number('SIZE', 'Patch width in pixels', whole=True)),
            (
                '--units',
                choice(
                    'UNITS',
                    'Units of radar pixels',
                    ['db', 'power', 'amplitude'],
                ),
            ),
        ):
            self.add(flag, parameter, advanced=True)

    def _add_more(self) -> None:
        lines = 'One on each line.'
        days = 'Only this many days around the date of the query'
        for flag, parameter in (
            (
                '--query',
                text('QUERY_PATCH', 'Query: patch_id', lines, many=True),
            ),
            (
                '--refine',
                file('REFINE', 'Earlier result with marks, as query'),
            ),
            ('--unlike', text('UNLIKE', 'Unlike: patch_id', lines, many=True)),
            (
                '--examples',
                choice(
                    'EXAMPLES',
                    'All queries become one',
                    ['mean', 'rocchio', 'logistic'],
                ),
            ),
            (
                '--and',
                folder('AND', 'Combine with an archive of another sensor'),
            ),
            ('', other_archives()),
            (
                '--min-overlap',
                number('MIN_OVERLAP', 'Least share in the area', most=1),
            ),
            ('--near', text('NEAR', 'Near a place', 'LON,LAT,METRES')),
            ('--days', number('DAYS', days)),
            (
                '--exclude-days',
                number('EXCLUDE_DAYS', 'Exclude days around it'),
            ),
            ('--undated', switch('UNDATED', 'Also patches without a date')),
            (
                '--include-self',
                switch('INCLUDE_SELF', 'Also the query itself'),
            ),
        ):
            self.add(flag, parameter, advanced=True)

    def _add_ranking(self) -> None:
        hubs = 'Archive of the sensor of the queries, against hubs'
        for flag, parameter in (
            (
                '--min-score',
                number('MIN_SCORE', 'Lowest score', least=-1, most=1),
            ),
            ('--spacing', number('SPACING', 'Metres between two hits')),
            (
                '--max-overlap',
                number('MAX_OVERLAP', 'Largest overlap of hits', most=1),
            ),
            (
                '--distinct',
                number('DISTINCT', 'Drop hits as alike as', most=1),
            ),
            ('--one-per', text('ONE_PER', 'One hit per value of a column')),
            ('--diversity', number('DIVERSITY', 'Diversity of hits', most=1)),
            ('--hubs', folder('HUBS', hubs)),
            (
                '--calibrated',
                switch('CALIBRATED', 'Compare sensors by one measure'),
            ),
            (
                '--approximate',
                switch('APPROXIMATE', 'Allow approximate answers'),
            ),
            ('--links', switch('LINKS', 'Lines from queries to hits')),
            ('--heatmap', switch('HEATMAP', 'Raster of the best score')),
            ('--explain', switch('EXPLAIN', 'Say what each filter left')),
            (
                '--overwrite',
                switch('OVERWRITE', 'Replace files that are there'),
            ),
        ):
            self.add(flag, parameter, advanced=True)

    def _queries(self, parameters: dict[str, Any], context: Any) -> list[str]:
        """Write what to look for as words."""
        words = []
        if not is_empty(parameters.get('QUERY_LAYER')):
            source = self.parameterAsSource(parameters, 'QUERY_LAYER', context)
            if source is None:
                raise QgsProcessingException('Query: the layer cannot be read')
            words.append(write_features(source, 'Query', context))
        if not is_empty(parameters.get('QUERY_POINT')):
            degrees = QgsCoordinateReferenceSystem('EPSG:4326')
            point = self.parameterAsPoint(
                parameters, 'QUERY_POINT', context, degrees
            )
            words.append(f'{point.x()!r},{point.y()!r}')
        if not is_empty(parameters.get('QUERY_RASTER')):
            layer = self.parameterAsRasterLayer(
                parameters, 'QUERY_RASTER', context
            )
            words.append(raster_file(layer, 'Query'))
        return [f'--query={word}' for word in words]


def raster_file(layer: Any, label: str) -> str:
    """Give the file of a raster layer.

    Args:
        layer: The layer; None if it could not be opened.
        label: What it is used as, for the message.

    Raises:
        QgsProcessingException: If it has no file, such as a web map.
    """
    if layer is None:
        raise QgsProcessingException(f'{label}: the raster cannot be read')
    provider, source = layer.providerType(), layer.source()
    parts = QgsProviderRegistry.instance().decodeUri(provider, source)
    if provider != 'gdal' or not parts.get('path'):
        raise QgsProcessingException(
            f'{label}: {layer.name()} is not a file, save it as a raster first'
        )
    return str(parts['path'])
