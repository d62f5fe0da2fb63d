"""Which patches are used: area, dates, condition and sensor."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsReferencedRectangle,
)
from qgis.PyQt.QtCore import QDate

from ..feature_file import write_features
from .command_algorithm import CommandAlgorithm, is_empty
from .parameters import choice, text

_PREDICATES = ['intersects', 'within', 'contains', 'centroid']


def add_filters(algorithm: CommandAlgorithm) -> None:
    """Add the parameters of a filter.

    Args:
        algorithm: Whose they are.
    """
    algorithm.add(
        '', QgsProcessingParameterExtent('EXTENT', 'Area: extent', None, True)
    )
    area = QgsProcessingParameterFeatureSource(
        'AREA',
        'Area: layer, or its selected features',
        [QgsProcessing.SourceType.TypeVectorAnyGeometry],
        None,
        True,
    )
    area.setHelp('Only patches in this area are used; the rest is ranked.')
    algorithm.add('', area)
    for name, label in (('START', 'From day'), ('END', 'To day, included')):
        kind = QgsProcessingParameterDateTime.Type.Date
        day = QgsProcessingParameterDateTime(name, label, kind, None, True)
        algorithm.add('', day)
    algorithm.add(
        '--where',
        text(
            'WHERE',
            'Condition on columns of the archive',
            "Such as cloud < 10 and source = 'x'.",
        ),
    )
    algorithm.add(
        '--modality',
        text('MODALITY', 'Only this sensor', 'Such as s2, or s1,s2.'),
    )


def add_more_filters(algorithm: CommandAlgorithm) -> None:
    """Add those parameters of a filter that few need.

    Args:
        algorithm: Whose they are.
    """
    relation = 'How a patch must relate to the area'
    algorithm.add(
        '--predicate',
        choice('PREDICATE', relation, _PREDICATES),
        advanced=True,
    )
    months = text('MONTHS', 'Months of any year', 'Such as 6-8, or 11-2.')
    algorithm.add('--months', months, advanced=True)


def read_filters(
    algorithm: CommandAlgorithm, parameters: dict[str, Any], context: Any
) -> tuple[list[str], dict[str, Any]]:
    """Write the area and the dates as words of a command.

    Args:
        algorithm: Whose parameters they are.
        parameters: Parameters of the run.
        context: Its context.

    Returns:
        The words, and parameters that mean the same for another run.

    Raises:
        QgsProcessingException: If both an extent and a layer are given.
    """
    words, again = _read_area(algorithm, parameters, context)
    days = {
        name: _read_day(algorithm, parameters, name, context)
        for name in ('START', 'END')
    }
    if days['START'] or days['END']:
        start, end = days['START'], days['END']
        # The end of a time window is outside of it.
        after = end.addDays(1) if end else None
        words.append(f'--during={_written(start)}/{_written(after)}')
        again.update({n: _written(day) for n, day in days.items() if day})
    return words, again


def _read_area(
    algorithm: CommandAlgorithm, parameters: dict[str, Any], context: Any
) -> tuple[list[str], dict[str, Any]]:
    has_layer = not is_empty(parameters.get('AREA'))
    box = algorithm.parameterAsExtent(parameters, 'EXTENT', context)
    if box.isNull():
        if not has_layer:
            return [], {}
        source = algorithm.parameterAsSource(parameters, 'AREA', context)
        if source is None:
            raise QgsProcessingException('Area: the layer cannot be read')
        path = write_features(source, 'Area', context)
        return [f'--within={path}'], {'AREA': path}
    if has_layer:
        raise QgsProcessingException(
            'Area: give an extent or a layer, not both'
        )
    crs = algorithm.parameterAsExtentCrs(parameters, 'EXTENT', context)
    # A user's own CRS has a number that others do not know.
    known = crs.authid() and not crs.authid().startswith('USER:')
    code = crs.authid() if known else crs.toWkt()
    corners = box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()
    numbers = ','.join(map(repr, corners))
    words = [f'--within={numbers}', f'--crs={code}']
    return words, {'EXTENT': QgsReferencedRectangle(box, crs)}


def _read_day(
    algorithm: CommandAlgorithm, parameters: Any, name: str, context: Any
) -> QDate | None:
    if is_empty(parameters.get(name)):
        return None
    moment = algorithm.parameterAsDateTime(parameters, name, context)
    if not moment.isValid():
        raise QgsProcessingException(
            f'{parameters[name]} is not a day: write it as 2024-06-30'
        )
    return moment.date()


def _written(day: QDate | None) -> str:
    """Write a day as ISO 8601; an open end is empty."""
    return day.toString('yyyy-MM-dd') if day else ''
