"""The forms in which an area may be given, and the features in it."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely import Geometry
from shapely.geometry import shape as from_mapping

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.outline import WGS84
from torchgeo_cmr.vectors.arcs import ARCS, CURE, UNREADABLE, has_arcs
from torchgeo_cmr.vectors.vector_file import DRAWN, read_frame


@runtime_checkable
class GeoInterface(Protocol):
    """An object that describes its own geometry, as GeoJSON does."""

    @property
    def __geo_interface__(self) -> Mapping[str, Any]:
        """The geometry, feature or features."""
        ...


#: What an area may be given as.
type AreaLike = (
    Geometry
    | gpd.GeoDataFrame
    | gpd.GeoSeries
    | str
    | PathLike[str]
    | Mapping[str, Any]
    | GeoInterface
    | EmbeddingTable
    | pd.Series
    | Sequence[float]
    | Sequence[Geometry]
)
_FACES = ('TRIANGLE', 'TIN', 'POLYHEDRALSURFACE')
_WKT = re.compile(
    r'\s*(?:SRID\s*=\s*(\d+)\s*;)?\s*((?:MULTI)?(?:POINT|LINESTRING|POLYGON)|LINEARRING'
    rf'|GEOMETRYCOLLECTION|{"|".join((*ARCS, *_FACES))})\s*(?:Z|M|ZM)?\s*(?:\(|EMPTY)',
    re.IGNORECASE,
)


#: What is in a condition and in no name of a file of areas.
_CONDITION = re.compile(r'[<>=!]|\b(?:is|in|like|ilike|between|not)\b', re.IGNORECASE)


class Box(NamedTuple):
    """Sides of a box, in the units of its CRS."""

    west: float
    south: float
    east: float
    north: float


def read_features(
    given: AreaLike, layer: str | None = None
) -> tuple[NDArray[np.object_] | Box, CRS | None, str]:
    """Give the geometries of an area as they are, or the sides of a box.

    Args:
        given: As :func:`~torchgeo_cmr.search.where.area.read_area` takes it.
        layer: Layer of a file that has several.

    Returns:
        Geometries (n,) or a box, the CRS that they bring, and what to call the area.

    Raises:
        QueryError: If it is nothing that an area may be.
    """
    if isinstance(given, str) and (wkt := _WKT.match(given)):
        return _many([_parsed(given, wkt[2].upper())]), _srid(wkt[1]), 'the area'
    if isinstance(given, str) and given.lstrip().startswith('{'):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise QueryError(
                f'the area begins like GeoJSON and is not JSON ({error})'
            ) from error
    if isinstance(given, str) and (sides := _sides(given)):
        given = sides
    if isinstance(given, str) and not is_drawing(given) and _CONDITION.search(given):
        raise QueryError(
            f'{given!r:.80} is not an area; write a condition as Where(where={given!r:.80})'
        )
    if isinstance(given, EmbeddingTable):
        given = given.frame
    if isinstance(given, pd.Series) and isinstance(given.get('geometry'), Geometry):
        given = given['geometry']
    if isinstance(given, str | PathLike):
        frame = read_frame(given, layer=layer, prefer='area_of_interest')
        return frame.geometry.to_numpy(), frame.crs, f'the area file {given}'
    if layer is not None:
        raise QueryError(f'layer={layer!r} was given without a file; drop it')
    if isinstance(given, Geometry):
        return _many([given]), None, 'the area'
    if isinstance(given, gpd.GeoDataFrame | gpd.GeoSeries):
        return given.geometry.to_numpy(), given.crs, 'the area'
    if isinstance(given, Mapping):
        return _geojson(given), _stated(given), 'the area'
    if isinstance(given, GeoInterface):
        mapping = given.__geo_interface__
        stated = getattr(given, 'crs', None)
        crs = _stated(mapping) if stated is None else CRS.from_user_input(stated)
        return _geojson(mapping), crs, 'the area'
    return _several(given)


def is_drawing(text: str) -> bool:
    """Say whether text is an area, or names a file of one, and no condition.

    Args:
        text: Text.
    """
    if is_written(text):
        return True
    path = os.path.expanduser(text.split('|')[0])
    # It may be longer than any name, or hold what no name may.
    return Path(path).suffix.lower() in DRAWN or os.path.exists(path)


def is_written(text: str) -> bool:
    """Say whether text is an area itself: WKT, GeoJSON or the sides of a box.

    Args:
        text: Text.
    """
    begins = text.lstrip().startswith('{')
    return bool(_WKT.match(text)) or begins or _sides(text) is not None


def _sides(text: str) -> list[float] | None:
    """Read the four numbers of a box, such as ``9,45,10,46``."""
    parts = text.strip().strip('[]()').replace(',', ' ').split()
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    return numbers if len(numbers) == 4 else None


def _several(given: Any) -> tuple[NDArray[np.object_] | Box, CRS | None, str]:
    """Read several geometries, or the four numbers of a box."""
    if (
        isinstance(given, Sequence | np.ndarray)
        and len(given)
        and all(isinstance(item, Geometry) for item in given)
    ):
        return _many(given), None, 'the area'
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        raise QueryError(
            f'{short(given)} is not an area; give a shapely geometry or WKT with crs, GeoJSON, a '
            'GeoDataFrame, the path of a vector file, or a box (west, south, east, north)'
        )
    return Box(*numbers.tolist()), None, 'the box'


def short(given: Any) -> str:
    """Show something in one line."""
    return ' '.join(f'{given!r}'.split())[:80]


def _many(shapes: Sequence[Geometry]) -> NDArray[np.object_]:
    array = np.empty(len(shapes), dtype=object)
    array[:] = list(shapes)
    return array


def _parsed(text: str, kind: str) -> Geometry:
    if kind in ARCS:
        raise QueryError(
            f'the area is a {kind}, which has arcs; {CURE}, or name the file that holds it'
        )
    if kind in _FACES:
        raise QueryError(
            f'the area is a {kind}, a surface of faces; write these as a MULTIPOLYGON'
        )
    try:
        shape = shapely.from_wkt(text.split(';', 1)[-1])
    except UNREADABLE as error:
        raise QueryError(
            f'the area begins like WKT and cannot be read ({error})'
        ) from error
    if has_arcs(_many([shape])):
        raise QueryError(f'the area holds arcs in a collection; {CURE}')
    return shape


def _srid(number: str | None) -> CRS | None:
    return None if number is None else _crs(f'EPSG:{number}')


def _stated(mapping: Mapping[str, Any]) -> CRS:
    """Give the CRS of GeoJSON: longitude and latitude, unless an old file names another."""
    crs = mapping.get('crs')
    if not isinstance(crs, Mapping):
        return WGS84 if crs is None else _crs(crs)
    properties = crs.get('properties')
    return _crs(properties.get('name') if isinstance(properties, Mapping) else None)


def _crs(name: Any) -> CRS:
    try:
        return CRS.from_user_input(name)
    except (CRSError, RecursionError, UnicodeEncodeError) as error:
        raise QueryError(
            f'the area is in {name!r:.80}, which is not a known CRS; bring it to EPSG:4326'
        ) from error


def _geojson(mapping: Mapping[str, Any]) -> NDArray[np.object_]:
    """Give the geometries of a GeoJSON geometry, feature or collection of features."""
    try:
        features = [mapping]
        if mapping.get('type') == 'FeatureCollection':
            features = list(mapping.get('features') or ())
        shapes = [
            feature.get('geometry') if 'geometry' in feature else feature
            for feature in features
        ]
        return _many(
            [from_mapping(feature) for feature in shapes if feature is not None]
        )
    # Shapely takes types, depths and lengths for granted.
    except Exception as error:
        raise QueryError(
            f'{short(mapping)} is not GeoJSON; give a geometry, a Feature or a FeatureCollection'
        ) from error
