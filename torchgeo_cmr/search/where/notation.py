"""The printed form of a filter: the Python that makes it."""

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
from pyproj import CRS

if TYPE_CHECKING:
    from .where import Where

#: How tightly a filter holds together, as Python binds these operators.
_BINDING = {'or': 0, 'and': 1, 'not': 2, '': 3}


def notation(where: 'Where') -> str:
    """Write a filter as Python: ``Where(where='cloud < 10') & ~Where(months=6)``.

    Args:
        where: The filter. A geometry is shortened as shapely does, a frame to its size.
    """
    join, parts = where.joined
    if join == 'not':
        return f'~{_part(parts[0], 2)}'
    if join:
        sign, binding = {'and': (' & ', 1), 'or': (' | ', 0)}[join]
        first, *rest = parts
        # Both group to the left: brackets on the right are the user's own.
        return sign.join(
            [_part(first, binding), *(_part(part, binding + 1) for part in rest)]
        )
    arguments = []
    for field in fields(where):
        value = getattr(where, field.name)
        if not field.init or field.default is MISSING or _usual(value, field.default):
            continue
        named = field.name not in ('geometry', 'crs') or (
            field.name == 'crs' and where.geometry is None
        )
        arguments.append(f'{field.name}=' * named + _value(value))
    return f'Where({", ".join(arguments)})'


def _part(where: 'Where', binding: int) -> str:
    text = notation(where)
    return text if _BINDING[where.joined[0]] >= binding else f'({text})'


def _usual(value: Any, default: Any) -> bool:
    """Say whether an argument need not be written; arrays and frames always are."""
    return value is default or (isinstance(value, str) and value == default)


def _value(value: Any) -> str:
    if isinstance(value, gpd.GeoDataFrame | gpd.GeoSeries):
        return f'<{type(value).__name__} of {len(value)} features>'
    if isinstance(value, CRS):
        return repr(value.to_string())
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        return repr(value.item())
    if isinstance(value, tuple):
        inside = ', '.join(map(_value, value))
        return f'({inside},)' if len(value) == 1 else f'({inside})'
    return repr(value)
