"""Queries taken from rows of an existing table, by name or by position."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.where.columns import Columns, as_columns, check_placed
from torchgeo_cmr.search.where.near import closest
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable

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

    @property
    def metric(self) -> str:
        """What vectors are compared by."""
        ...

    def vectors(self, rows: ArrayLike) -> NDArray[Any]:
        """Give the vectors of some rows, in the given order."""
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
    rows = rows_of(table, Where())
    every = isinstance(table, EmbeddingTable)
    names = columns_of(table).attributes(None if every else rows, ['patch_id'])
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
    columns, every = columns_of(table), rows_of(table, Where())
    if not len(every):
        raise QueryError('the archive is empty; embed some scenes first')
    check_placed(columns)
    place = shapely.Point(lon, lat)
    rows = rows_of(table, Where(place, 'EPSG:4326'))
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
    rows = None if isinstance(archive, EmbeddingTable) else rows_of(archive, Where())
    names = columns_of(archive).attributes(rows, ['patch_id'])['patch_id']
    return names.to_numpy(dtype=object)


def columns_of(archive: EmbeddingTable | Archive) -> Columns:
    """Give the rows as a filter reads them."""
    if isinstance(archive, EmbeddingTable):
        return as_columns(archive)
    return archive.columns


def rows_of(archive: EmbeddingTable | Archive, where: Where) -> NDArray[np.int64]:
    """Give the rows that match; those that were deleted from an index do not."""
    if isinstance(archive, EmbeddingTable):
        return where.rows(archive)
    return archive.rows(where)
