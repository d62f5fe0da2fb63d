"""Queries taken from rows of an existing table, by name or by place."""

import logging
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from os import PathLike
from typing import Any, Protocol

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.where.area import read_area
from torchgeo_cmr.search.where.columns import Columns, as_columns, check_placed
from torchgeo_cmr.search.where.drawing import AreaLike, is_written
from torchgeo_cmr.search.where.near import closest
from torchgeo_cmr.search.where.vector_file import read_frame
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable

from .examples import mean_row, unit_mean

_LOG = logging.getLogger(__name__)
#: Columns that may name a feature, the best first.
_NAMES = ('name', 'id', 'fid')
_SHOWN = 3
_COMPARED = 20_000


class Archive(Protocol):
    """What patches can be looked up in: an index, which has no table in memory."""

    @property
    def columns(self) -> Columns:
        """The rows as a filter reads them."""
        ...

    def rows(self, where: Where | None = None) -> NDArray[np.int64]:
        """Give the numbers of the rows that can be found."""
        ...

    def select(self, rows: ArrayLike) -> EmbeddingTable:
        """Give some rows as a table, in the given order."""
        ...


class OutsideError(QueryError):
    """A place that no patch touches."""


def from_ids(
    table: EmbeddingTable | Archive, ids: str | Iterable[str]
) -> EmbeddingTable:
    """Use patches of a table as queries, by their ids.

    Args:
        table: Where the patches are, a table or an index; often the archive that is searched.
        ids: One ``patch_id`` or several; one that is named twice is taken once.

    Returns:
        The table of these patches, in the given order.

    Raises:
        QueryError: If no id is given, or one is not in the table; the message names similar
            ones.

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
        >>> from_ids(table, ['c', 'a']).frame['patch_id'].tolist()
        ['c', 'a']
    """
    if not isinstance(ids, Iterable):
        raise QueryError(f'patch_id is {ids!r:.80}; give text or several texts')
    wanted = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
    if not wanted:
        raise QueryError('no patch_id is given; name at least one')
    rows = _rows(table, Where())
    every = isinstance(table, EmbeddingTable)
    names = _columns(table).attributes(None if every else rows, ['patch_id'])
    positions = np.flatnonzero(names['patch_id'].isin(wanted).to_numpy(dtype=bool))
    places = dict(zip(names['patch_id'].iloc[positions], rows[positions], strict=True))
    for name in wanted:
        if name not in places:
            raise QueryError(
                f'there is no patch_id {name!r}; {similar_ids(table, name)}'
            )
    return table.select([places[name] for name in wanted])


def similar_ids(table: EmbeddingTable | Archive, word: str) -> str:
    """Name the ids of a table that a mistyped one may have meant.

    Args:
        table: Where the ids are.
        word: The ``patch_id`` that was not found.

    Returns:
        Half a sentence: the ids that hold the word, else those spelled alike (looked for
        among the first twenty thousand), else the first of all.

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
        >>> similar_ids(table, 'A')
        'ids of the archive look like a'
    """
    ids = patch_ids(table).tolist()
    if not ids:
        return 'the archive is empty, embed some scenes first'
    near = [name for name in ids if word and word in name][:_SHOWN]
    near = near or get_close_matches(word, ids[:_COMPARED], n=_SHOWN)
    if near:
        return f'similar ones are {", ".join(near)}'
    return f'ids of the archive look like {ids[0]}'


def at(
    table: EmbeddingTable | Archive,
    lon: float | Sequence[float] | shapely.Point,
    lat: float | None = None,
) -> EmbeddingTable:
    """Use the patches of a table that cover a place as queries.

    Limitation: footprints are planar in longitude and latitude, so a place
    close to the edge of a large one may be counted on the other side.

    Args:
        table: Where the patches are; often the archive that is searched.
        lon: Longitude in degrees (EPSG:4326), -180 to 180; or a pair of both, or a point.
        lat: Latitude in degrees, -90 to 90.

    Returns:
        The table of all patches that cover the position, edges included, whatever their
        date or modality, in the order of the table.

    Raises:
        QueryError: If these are not a longitude and a latitude, or no patch covers them; the
            message gives the distance of the nearest one.

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
        >>> at(table, 10.05, 46.05).frame['patch_id'].tolist()
        ['b']
    """
    lon, lat = _position(lon, lat)
    # Written so that NaN is refused too.
    if not (abs(lon) <= 180 and abs(lat) <= 90):
        raise QueryError(
            f'{lon:.8g},{lat:.8g} is not a position; give longitude (-180 to 180), then '
            'latitude (-90 to 90), in degrees'
        )
    columns, every = _columns(table), _rows(table, Where())
    if not len(every):
        raise QueryError('the archive is empty; embed some scenes first')
    check_placed(columns)
    place = shapely.Point(lon, lat)
    rows = _rows(table, Where(place, 'EPSG:4326'))
    if not len(rows):
        west, south = np.nanmin(columns.boxes[every, :2], axis=0)
        east, north = np.nanmax(columns.boxes[every, 2:], axis=0)
        raise OutsideError(
            f'no patch covers {lon:.8g},{lat:.8g}: the nearest is '
            f'{closest(columns, every, place) / 1000:,.1f} km away, and the archive lies within '
            f'longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}'
            + _swapped(lon, lat, (west, south, east, north))
        )
    return table.select(rows)


def _position(lon: Any, lat: Any) -> tuple[float, float]:
    """Read two numbers, a pair of them or a point."""
    pair = (lon, lat) if lat is not None else lon
    if isinstance(pair, shapely.Point) and not pair.is_empty:
        pair = pair.x, pair.y
    try:
        left, right = pair
        return float(left), float(right)
    except (TypeError, ValueError) as error:
        raise QueryError(
            f'{pair!r:.80} is not a position; give longitude, then latitude, in degrees'
        ) from error


def _swapped(lon: float, lat: float, bounds: tuple[float, float, float, float]) -> str:
    """Say that longitude comes first, if it lies where the archive does."""
    west, south, east, north = bounds
    if west <= lat <= east and south <= lon <= north:
        return f'; longitude comes first: {lat:.8g},{lon:.8g}'
    return ''


def from_places(
    table: EmbeddingTable | Archive,
    places: AreaLike,
    crs: Any = None,
    *,
    layer: str | None = None,
    name: str | None = None,
) -> EmbeddingTable:
    """Make queries from places drawn on a map: one per feature, the mean of what touches it.

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
        One row for each place that touches a patch; the log names those that do
        not, or are empty. Its footprint is the place, or for a point or a line the ground of all
        patches that touch it; its vector the mean of their unit vectors, its time the
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
    every = _rows(table, Where())
    if not len(every):
        raise QueryError('the archive is empty; embed some scenes first')
    rows: list[EmbeddingTable] = []
    faults: list[str] = []
    for word, area in zip(names, features, strict=True):
        if area is None:
            faults.append(f'{word} is empty')
            continue
        found = _rows(table, Where(area, 'EPSG:4326'))
        if not len(found):
            faults.append(
                f'{word} touches no patch: the nearest is '
                f'{closest(_columns(table), every, area) / 1000:,.1f} km away'
            )
            continue
        patches = table.select(found)
        ground = (
            area
            if shapely.get_dimensions(area) == 2
            else shapely.union_all(patches.frame.geometry.to_numpy())
        )
        rows.append(mean_row(word, patches, unit_mean(patches), ground))
    if not rows:
        raise OutsideError(f'{faults[0]}; draw it inside the archive')
    for fault in faults:
        _LOG.warning('%s: that place is skipped', fault)
    return EmbeddingTable.concat(rows)


def patch_ids(archive: EmbeddingTable | Archive) -> NDArray[np.object_]:
    """Give the ``patch_id`` of each row that can be found.

    Args:
        archive: A table or an index.

    Returns:
        Text (n,), in the order of the rows.

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
        >>> patch_ids(table).tolist()
        ['a', 'b', 'c']
    """
    rows = None if isinstance(archive, EmbeddingTable) else _rows(archive, Where())
    names = _columns(archive).attributes(rows, ['patch_id'])['patch_id']
    return names.to_numpy(dtype=object)


def _columns(archive: EmbeddingTable | Archive) -> Columns:
    if isinstance(archive, EmbeddingTable):
        return as_columns(archive)
    return archive.columns


def _rows(archive: EmbeddingTable | Archive, where: Where) -> NDArray[np.int64]:
    """Give the rows that match; those that were deleted from an index do not."""
    if isinstance(archive, EmbeddingTable):
        return where.rows(archive)
    return archive.rows(where)


def _features(
    places: AreaLike, crs: Any, layer: str | None, name: str | None
) -> tuple[list[Geometry | None], list[str]]:
    """Give the places one by one in EPSG:4326, None where empty, and their names."""
    if isinstance(places, PathLike) or (
        isinstance(places, str) and not is_written(places)
    ):
        places = read_frame(places, 'file of places', layer=layer)
    elif layer is not None:
        raise QueryError(f'layer={layer!r} was given without a file; drop it')
    if not isinstance(places, gpd.GeoDataFrame | gpd.GeoSeries):
        shapes: list[Geometry | None] = [read_area(places, crs)]
        names = ['place0']
    else:
        nothing = places.geometry.isna() | places.geometry.is_empty
        shapes = [
            None if empty else read_area(places.geometry.iloc[[i]], crs)
            for i, empty in enumerate(nothing)
        ]
        names = _own_names(places) or [f'place{i}' for i in range(len(shapes))]
    if not shapes:
        raise QueryError('there is no place to search with; draw at least one')
    if name is None:
        return shapes, names
    if not isinstance(places, gpd.GeoDataFrame) or name not in places:
        raise QueryError(f'the places have no column {name!r} to be named by')
    names = places[name].astype(str).tolist()
    if len(set(names)) < len(names):
        raise QueryError(
            f'two places have the same {name!r}; name them by another column or by none'
        )
    return shapes, names


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
