"""Which column of somebody else's Parquet file holds the vector, the place, the time and the id."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyproj import CRS
from pyproj.exceptions import CRSError

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table.footprints import WGS84

#: Names of vectors, in lower case.
VECTORS = ('embedding', 'embeddings', 'vector', 'vectors', 'vec', 'emb')
#: What columns of single numbers are called before the number: ``emb_0`` ... or ``A00`` ...
_STEMS = {*VECTORS, 'a', 'b', 'band', 'dim', 'e', 'f', 'feature', 'features', 'tessera'}
#: Columns of numbers, fewer of which are not a vector.
_FEWEST = 4
_GEOMETRIES = ('geometry', 'geom', 'footprint', 'wkb_geometry', 'bbox', 'bounds')
#: Pairs of coordinates; the names of all but the last two say that they are degrees.
_DEGREES = (
    ('lon', 'lat'),
    ('longitude', 'latitude'),
    ('lng', 'lat'),
    ('centre_lon', 'centre_lat'),
    ('center_lon', 'center_lat'),
    ('centroid_lon', 'centroid_lat'),
)
_PAIRS = (*_DEGREES, ('x', 'y'), ('easting', 'northing'))
_SPANS = (
    ('time_start', 'time_end'),
    ('start_datetime', 'end_datetime'),
    ('start_time', 'end_time'),
)
_TIMES = ('datetime', 'timestamp', 'time', 'date', 't', 'year')
_IDS = ('patch_id', 'id', 'unique_id', 'chip_id', 'chips_id', 'item_id', 'uuid', 'fid')


@dataclass(frozen=True)
class Roles:
    """Columns of a file by what they hold.

    Args:
        vector: One column of lists, or one column for each number.
        place: The geometry, or x and y; empty if rows have no place.
        crs: CRS of the place.
        cover: Paths of the columns that hold xmin, ymin, xmax and ymax, for statistics.
        time: One column, or start and end; empty if there is none.
        ids: Columns that may identify a row, the first that does is taken.
        named: Whether the id was named by the user, and must identify rows.
        days: For each column of time, whether its timestamps stand for whole days.
    """

    vector: tuple[str, ...]
    place: tuple[str, ...]
    crs: CRS
    cover: tuple[tuple[str, ...], ...]
    time: tuple[str, ...]
    ids: tuple[str, ...]
    named: bool
    days: tuple[bool, ...] = (False, False)

    def words(self) -> dict[str, str]:
        """Name the columns by role."""
        first, *rest = self.vector
        vector = first if not rest else f'{first} ... {rest[-1]}'
        found = {
            'vector': vector,
            'geometry': ', '.join(self.place),
            'time': ', '.join(self.time),
        }
        return {role: names for role, names in found.items() if names}


def find_roles(
    schema: pa.Schema,
    name: str,
    *,
    vector: str | None,
    geometry: str | None,
    time: str | None,
    id_: str | None,
    crs: Any,
    placeless: bool,
) -> Roles:
    """Find the columns of a file that make a table.

    Args:
        schema: Schema of the file.
        name: Its name, for messages.
        vector: Column of the vectors, or how columns of single numbers begin.
        geometry: Column of the places, or two with a comma between; ``''`` for none.
        time: Column of the times, or two; ``''`` for none.
        id_: Column that identifies rows; ``''`` for none.
        crs: CRS of the places, where the file does not state it.
        placeless: Whether rows may have no place.

    Returns:
        The roles.

    Raises:
        ArchiveError: If a column that is needed is not found, or several could be it; the
            message lists the columns of the file.
    """
    if len({*schema.names}) < len(schema.names):
        twice = next(n for n in schema.names if schema.names.count(n) > 1)
        raise ArchiveError(f'{name} has two columns called {twice}: rename one of them')
    place = _place(schema, name, geometry, placeless)
    return Roles(
        _vector(schema, name, vector),
        place,
        _crs(schema, name, place, crs),
        _cover(schema, place),
        _time(schema, name, time),
        _present(schema, name, id_, 'id') if id_ is not None else _among(schema, _IDS),
        bool(id_),
    )


def columns_of(schema: pa.Schema) -> str:
    """List the columns of a file with their types, for a message."""
    words = [f'{field.name} ({str(field.type)[:40]})' for field in schema]
    rest = f' and {len(words) - 30} others' if len(words) > 30 else ''
    return ', '.join(words[:30]) + rest


def storage(kind: pa.DataType) -> pa.DataType:
    """Give the type that an extension type is stored as."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def without_views(schema: pa.Schema) -> pa.Schema:
    """Give a schema with plain text and bytes for views of them, which few functions take."""
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    fields = [
        field.with_type(plain[field.type]) if field.type in plain else field
        for field in schema
    ]
    return pa.schema(fields, schema.metadata)


def is_list(kind: pa.DataType) -> bool:
    """Decide whether a column holds lists of numbers."""
    kind = storage(kind)
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests) and _is_number(kind.value_type)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _among(schema: pa.Schema, names: Iterable[str]) -> tuple[str, ...]:
    """Give the columns that have these names in upper or lower case, in the order of the names."""
    known = {field.name.lower(): field.name for field in reversed(schema)}
    return tuple(known[name] for name in names if name in known)


def _present(
    schema: pa.Schema, name: str, words: str, role: str, most: int = 1
) -> tuple[str, ...]:
    """Read the names of columns that the user gave."""
    wanted = [words] if words in schema.names else words.split(',')
    columns = tuple(word.strip() for word in wanted if word.strip())
    missing = [column for column in columns if column not in schema.names]
    if missing or len(columns) > most:
        fault = f'no column {missing[0]}' if missing else f'{len(columns)} columns'
        raise ArchiveError(
            f'{name} has {fault} for {role}={words!r}: it has {columns_of(schema)}'
        )
    return columns


def _vector(schema: pa.Schema, name: str, given: str | None) -> tuple[str, ...]:
    """Find the column of the vectors, or the columns of their numbers."""
    if given is not None:
        if given in schema.names:
            if is_list(schema.field(given).type):
                return (given,)
            raise ArchiveError(
                f'{name} stores {given} as {schema.field(given).type}, and vectors are lists of '
                f'numbers: it has {columns_of(schema)}'
            )
        if columns := _numbered(schema).get(given):
            return columns
        raise ArchiveError(
            f'{name} has no column {given}, nor columns {given}0, {given}1, ...: it has '
            f'{columns_of(schema)}'
        )
    lists = [
        column
        for column in _among(schema, VECTORS)
        if is_list(schema.field(column).type)
    ]
    if not lists:
        groups = [
            columns
            for stem, columns in _numbered(schema).items()
            if stem.lower().rstrip('_-. ') in _STEMS
        ]
        if len(groups) == 1:
            return groups[0]
        lists = [f'{columns[0]} ...' for columns in groups]
    if len(lists) != 1:
        fault = (
            f'several columns that may be the vector ({", ".join(lists)})'
            if lists
            else f'no column of vectors ({", ".join(VECTORS)})'
        )
        raise ArchiveError(
            f'{name} has {fault}: name it with vector=; it has {columns_of(schema)}'
        )
    return (lists[0],)


def _numbered(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Give columns of single numbers that are counted from 0 or 1, by what stands before."""
    groups: dict[str, dict[int, str]] = {}
    for field in schema:
        match = re.fullmatch(r'(.*?)([0-9]+)', field.name)
        if match and _is_number(field.type):
            groups.setdefault(match[1], {})[int(match[2])] = field.name
    found = {}
    for stem, numbers in groups.items():
        first = min(numbers)
        counted = sorted(numbers) == [*range(first, first + len(numbers))]
        if counted and first in (0, 1) and len(numbers) >= _FEWEST:
            found[stem] = tuple(numbers[i] for i in sorted(numbers))
    return found


def geo_of(schema: pa.Schema, name: str) -> dict[str, Any]:
    """Read the metadata of GeoParquet; empty if there are none.

    Raises:
        ArchiveError: If they are broken.
    """
    text = (schema.metadata or {}).get(b'geo')
    if text is None:
        return {}
    try:
        found = json.loads(text)
        columns = found['columns']
        if not all(isinstance(column, dict) for column in columns.values()):
            raise TypeError('a column is not an object')
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArchiveError(
            f'{name} has broken metadata of GeoParquet ({error}): write it again'
        ) from error
    return found


def _place(
    schema: pa.Schema, name: str, given: str | None, placeless: bool
) -> tuple[str, ...]:
    """Find the geometry, or the coordinates of a point."""
    if given is not None:
        return _present(schema, name, given, 'geometry', most=2)
    geo = geo_of(schema, name)
    primary = geo.get('primary_column')
    if primary in schema.names:
        return (str(primary),)
    if found := _among(schema, _GEOMETRIES):
        return found[:1]
    for pair in _PAIRS:
        columns = _among(schema, pair)
        if len(columns) == 2 and all(
            _is_number(schema.field(column).type) for column in columns
        ):
            return columns
    if placeless:
        return ()
    raise ArchiveError(
        f'{name} does not say where its vectors are: name the column with geometry=, or two such '
        f'as lon,lat, or give placeless=True; it has {columns_of(schema)}'
    )


def _crs(schema: pa.Schema, name: str, place: Sequence[str], given: Any) -> CRS:
    """Give the CRS of the places: what the file states, what names say, or what was given."""
    stated: CRS | None = None
    column = geo_of(schema, name).get('columns', {}).get(place[0]) if place else None
    try:
        if column is not None:
            # Longitude and latitude is the default of GeoParquet; null means unknown.
            value = column.get('crs', 'OGC:CRS84')
            stated = None if value is None else CRS.from_user_input(value)
        elif not place or tuple(map(str.lower, place)) in _DEGREES:
            stated = WGS84
        wanted = None if given is None else CRS.from_user_input(given)
    except CRSError as error:
        raise ArchiveError(
            f'{name}: the CRS cannot be read ({error}); give one such as EPSG:4326'
        ) from error
    if stated is None and wanted is None:
        raise ArchiveError(
            f'{name} does not state the CRS of {", ".join(place)}: give it, such as '
            "crs='EPSG:4326' for longitude and latitude"
        )
    if (
        stated is not None
        and wanted is not None
        and not stated.equals(wanted, ignore_axis_order=True)
    ):
        raise ArchiveError(
            f'{name} states {stated.to_string()[:80]} for {", ".join(place)} and not '
            f'{wanted.to_string()[:80]}: drop crs='
        )
    found = wanted if stated is None else stated
    assert found is not None
    return found


def _cover(schema: pa.Schema, place: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Name the columns of xmin, ymin, xmax and ymax, whose statistics say where rows are."""
    if len(place) == 2:
        return ((place[0],), (place[1],)) * 2
    if not place:
        return ()
    kind = storage(schema.field(place[0]).type)
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        for sides in (('xmin', 'ymin', 'xmax', 'ymax'), ('x', 'y', 'x', 'y')):
            if {*sides} <= {*names}:
                return tuple((place[0], side) for side in sides)
        return ()
    column = geo_of(schema, '').get('columns', {}).get(place[0], {})
    covering = column.get('covering')
    paths = covering.get('bbox') if isinstance(covering, dict) else None
    if not isinstance(paths, dict):
        return ()
    sides = [paths.get(side) for side in ('xmin', 'ymin', 'xmax', 'ymax')]
    if all(
        isinstance(path, list) and path and _is_there(schema, path) for path in sides
    ):
        return tuple(tuple(path) for path in sides if path)
    return ()


def _is_there(schema: pa.Schema, path: Sequence[Any]) -> bool:
    """Say whether a path of names leads to a column of numbers."""
    fields: Any = schema
    for i, name in enumerate(path):
        found = [field for field in fields if field.name == name]
        if len(found) != 1:
            return False
        if i + 1 < len(path):
            if not pa.types.is_struct(found[0].type):
                return False
            fields = found[0].type
            continue
        return _is_number(found[0].type)
    return False


def _time(schema: pa.Schema, name: str, given: str | None) -> tuple[str, ...]:
    """Find the column of the times, or those of start and end."""
    if given is not None:
        return _present(schema, name, given, 'time', most=2)
    for pair in _SPANS:
        columns = _among(schema, pair)
        if len(columns) == 2 and all(
            _is_time(schema.field(column)) for column in columns
        ):
            return columns
    return tuple(c for c in _among(schema, _TIMES) if _is_time(schema.field(c)))[:1]


def counted_times(schema: pa.Schema) -> Iterator[tuple[str, ...]]:
    """Give columns of numbers that are called as times are, and may count since 1970.

    Args:
        schema: Schema of a file in which no times were found.

    Yields:
        Names of a start and an end, or of one column.
    """
    for names in (*_SPANS, *((name,) for name in _TIMES)):
        columns = _among(schema, names)
        if len(columns) == len(names) and all(
            _is_number(schema.field(column).type) for column in columns
        ):
            yield columns


def _is_time(field: pa.Field) -> bool:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        # Whole numbers become floats where pandas had to store a null among them.
        or (
            field.name.lower() == 'year'
            and (pa.types.is_integer(kind) or pa.types.is_floating(kind))
        )
    )
