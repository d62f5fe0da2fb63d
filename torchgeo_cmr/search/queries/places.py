"""Queries from places drawn on a map: each the mean of the patches on its ground.

What all places touch is found together and read some thousand rows at a time, so that a layer of
many places costs little per place.
"""

import logging
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.where.area import Drawn, read_drawn
from torchgeo_cmr.search.where.columns import Columns
from torchgeo_cmr.search.where.drawing import AreaLike, is_written
from torchgeo_cmr.search.where.near import closest
from torchgeo_cmr.search.where.predicates import in_degrees, only_edges, shrunk
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import WGS84
from torchgeo_cmr.vectors.singles import singles
from torchgeo_cmr.vectors.vector_file import read_frame

from .contact import touching
from .examples import check_length, shared_facts, unit_mean
from .lookup import Archive, OutsideError, columns_of, rows_of

_LOG = logging.getLogger(__name__)
#: Columns that may name a feature, the best first.
_NAMES = ('name', 'id', 'fid')
#: Rows whose vectors and footprints are read for several places together.
_BLOCK = 16_384
#: Places whose distance to the nearest patch is measured, which takes a look at all of them.
_MEASURED = 16
#: Metres within which a place and a patch share an edge.
_FLUSH = 0.1
#: Numbers of the types of polygons and multipolygons, and of collections.
_AREAL, _COLLECTION = (3, 6), 7

type _Rows = NDArray[np.int64]
#: A place in EPSG:4326, and as it was drawn; None where it is empty.
type _Place = tuple[Geometry, Drawn] | None


def from_places(
    table: EmbeddingTable | Archive,
    places: AreaLike,
    crs: Any = None,
    *,
    layer: str | None = None,
    name: str | None = None,
) -> EmbeddingTable:
    """Make queries from places drawn on a map: one per feature, the mean of what is there.

    Args:
        table: Where the patches are; often the archive that is searched.
        places: GeoDataFrame or GeoSeries with a CRS, or the path of a vector file; each
            feature is a query of its own. Anything else that an area may be, such as a shapely
            geometry, WKT, GeoJSON or a box, is one feature.
        crs: CRS of a geometry that brings none.
        layer: Layer of a file that has several.
        name: Column of the places that names the queries; without it ``name``, ``id`` or
            ``fid``, in capitals too, if it is there and tells them apart; else they are called
            ``place0``, ``place1``, and so on.

    Returns:
        One row for each place that touches a patch, a polygon by more than a centimetre of its edge;
        the log names those that do not, or are empty. Its footprint is the place, or for a point or a
        line the ground of all patches that touch it; its vector the mean of their unit vectors, its time the
        span of theirs.

    Raises:
        QueryError: If no place touches a patch, or the names are missing or not unique.

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> places = gpd.GeoDataFrame({'name': ['lake']}, geometry=frame.geometry[:1])
        >>> from_places(table, places).frame['patch_id'].tolist()
        ['lake']
    """
    features, names = _features(places, crs, layer, name)
    living = rows_of(table, Where())
    if not len(living):
        raise QueryError('the archive is empty; embed some scenes first')
    columns = columns_of(table)
    shapes = [None if place is None else place[0] for place in features]
    areas = np.array([*shapes, None], dtype=object)[:-1]
    owner, rows = touching(columns, _inner(areas), living)
    kept = _on_ground(columns, features, owner, rows)
    owner, rows = owner[kept], rows[kept]
    found = np.unique(owner)
    faults = []
    for i in np.setdiff1d(np.arange(len(areas)), found):
        if areas[i] is None:
            faults.append(f'{names[i]} is empty')
        elif len(faults) < _MEASURED:
            metres = closest(columns, living, areas[i])
            faults.append(
                f'{names[i]} touches no patch: the nearest is {metres / 1000:,.1f} km away'
                if metres > _FLUSH
                else f'{names[i]} shares no more than an edge with a patch'
            )
        else:
            faults.append(f'{names[i]} touches no patch')
    if not len(found):
        raise OutsideError(f'{faults[0]}; draw it inside the archive')
    for fault in faults:
        _LOG.warning('%s: that place is skipped', fault)
    facts = _facts(table, np.searchsorted(found, owner), rows)
    rows_of_places = np.split(rows, np.flatnonzero(np.diff(owner)) + 1)
    made = list(_means(table, [names[i] for i in found], areas[found], rows_of_places))
    vectors, ground = (list(values) for values in zip(*made, strict=True))
    frame = gpd.GeoDataFrame(
        {'patch_id': [names[i] for i in found], **facts}, geometry=ground, crs=WGS84
    )
    return EmbeddingTable.from_frame(frame, np.array(vectors), placeless=True)


def _inner(areas: NDArray[np.object_]) -> NDArray[np.object_]:
    """Leave out a centimetre at the edge of polygons: whether flush patches touch is decided by rounding."""
    inner = areas.copy()
    drawn = np.flatnonzero(np.isin(shapely.get_type_id(areas), _AREAL))
    inner[drawn] = shrunk(areas[drawn], WGS84.srs)
    thin = drawn[shapely.is_empty(inner[drawn])]
    inner[thin] = areas[thin]
    for i in np.flatnonzero(shapely.get_type_id(areas) == _COLLECTION):
        parts = np.array(singles(areas[i]), dtype=object)
        inner[i] = shapely.geometrycollections(_inner(parts))
    return inner


def _on_ground(
    columns: Columns, places: Sequence[_Place], owner: _Rows, rows: _Rows
) -> NDArray[np.bool_]:
    """Mark the pairs, sorted by place, of more than an edge in the CRS in which polygons were drawn."""
    kept = np.ones(len(rows), dtype=bool)
    found, first = np.unique(owner, return_index=True)
    ends = np.searchsorted(owner, found, side='right')
    for i, start, end in zip(found, first, ends, strict=True):
        place = places[int(i)]
        assert place is not None  # it touches a row
        area, drawn = place
        if area.geom_type not in ('Polygon', 'MultiPolygon') or in_degrees(drawn):
            continue
        shapely.prepare(area)
        boxes = shapely.box(*columns.boxes[rows[start:end]].T)
        doubt = start + np.flatnonzero(~shapely.contains(area, boxes))
        once, which = np.unique(rows[doubt], return_inverse=True)
        kept[doubt] = ~only_edges(columns.footprints(once)[which], drawn)
    return kept


def _facts(
    archive: EmbeddingTable | Archive, place: _Rows, rows: _Rows
) -> dict[str, Any]:
    """Give modality, space and times of each place from the rows (m,) that touch it.

    Raises:
        QueryError: If the vectors of one cannot be added.
    """
    once, which = np.unique(rows, return_inverse=True)
    names = ['modality', 'space', 'time_start', 'time_end']
    known = columns_of(archive).attributes(once, names).iloc[which]
    mixed = known['space'].groupby(place).nunique() > 1
    if archive.metric != 'cosine' or mixed.any():
        unit_mean(archive.select(rows[place == mixed.argmax()]))  # says why
    return shared_facts(known, place)


def _means(
    archive: EmbeddingTable | Archive,
    names: Sequence[str],
    areas: NDArray[np.object_],
    rows: Sequence[_Rows],
) -> Iterator[tuple[NDArray[np.float64], Geometry]]:
    """Give the vector and the ground of each place, from the rows that touch it."""
    first = np.cumsum([0, *map(len, rows)])[:-1]
    bare = shapely.get_dimensions(areas) < 2  # points and lines have no ground
    cuts = np.flatnonzero(np.diff(first // _BLOCK)) + 1
    for numbers in np.split(np.arange(len(rows)), cuts):
        block = numbers.tolist()
        once = np.unique(np.concatenate([rows[i] for i in block]))
        vectors = (
            archive.vectors[once]
            if isinstance(archive, EmbeddingTable)
            else archive.vectors(once)
        )
        shown = np.unique(
            np.concatenate([once[:0], *(rows[i] for i in block if bare[i])])
        )
        shapes = columns_of(archive).footprints(shown)
        for i in block:
            vector = vectors[np.searchsorted(once, rows[i])].astype(np.float64).mean(0)
            check_length(names[i], vector)
            ground = areas[i]
            if bare[i]:
                ground = shapely.union_all(shapes[np.searchsorted(shown, rows[i])])
            yield vector, ground


def _features(
    places: AreaLike, crs: Any, layer: str | None, name: str | None
) -> tuple[list[_Place], list[str]]:
    """Give the places one by one, None where empty, and their names."""
    if isinstance(places, PathLike) or (
        isinstance(places, str) and not is_written(places)
    ):
        places = read_frame(places, 'file of places', layer=layer)
    elif layer is not None:
        raise QueryError(f'layer={layer!r} was given without a file; drop it')
    if not isinstance(places, gpd.GeoDataFrame | gpd.GeoSeries):
        shapes: list[_Place] = [read_drawn(places, crs)]
        names = ['place0']
    else:
        shapes = _areas(places.geometry, crs)
        names = _own_names(places) or [f'place{i}' for i in range(len(shapes))]
    if not shapes:
        raise QueryError('there is no place to search with; draw at least one')
    if name is None:
        return shapes, names
    if not isinstance(places, gpd.GeoDataFrame) or name not in places:
        raise QueryError(f'the places have no column {name!r} to be named by')
    names = places[name].astype(str).tolist()
    known = places[name].notna().tolist()
    blank = sum(
        not (filled and word.strip()) for filled, word in zip(known, names, strict=True)
    )
    if blank:
        raise QueryError(
            f'{blank} of {len(names)} places have no {name!r}; fill it, or name them by another '
            'column or by none'
        )
    if len(set(names)) < len(names):
        raise QueryError(
            f'two places have the same {name!r}; name them by another column or by none'
        )
    return shapes, names


def _areas(places: gpd.GeoSeries, crs: Any) -> list[_Place]:
    """Read features one by one; None where they are empty."""
    shapes = places.to_numpy()
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    first = np.flatnonzero(~empty)[:1]
    # The first says whether the CRS will do; a series for each would take longer than the rest.
    areas = {i: read_drawn(places.iloc[[i]], crs) for i in first.tolist()}
    known = crs if places.crs is None else places.crs
    for i in np.flatnonzero(~empty)[1:].tolist():
        areas[i] = read_drawn(shapes[i], known)
    return [areas.get(i) for i in range(len(shapes))]


def _own_names(places: gpd.GeoDataFrame | gpd.GeoSeries) -> list[str]:
    """Give what a layer calls its features; nothing if that does not tell them apart."""
    if not isinstance(places, gpd.GeoDataFrame):
        return []
    for wanted in _NAMES:
        for column in places.columns:
            values = places[column]
            if str(column).lower() != wanted or values.isna().any():
                continue
            if pd.api.types.is_float_dtype(values) and (values % 1 == 0).all():
                values = values.astype(np.int64)
            if (names := values.astype(str)).is_unique and names.str.strip().all():
                return names.tolist()
    return []
