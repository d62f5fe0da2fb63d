"""An archive as a STAC collection: one item per part, with the extension Embedding.

STAC 1.0.0, since the schema of the extension, version 0.0.1, is built on it. Plain JSON, so it needs no
pystac; the items as one table (stac-geoparquet) are made by the package of that name.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import shapely

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.export.new_file import new_file, together
from torchgeo_cmr.iso8601 import read_period
from torchgeo_cmr.regular_files import is_address
from torchgeo_cmr.table.archive.completeness import complete_parts
from torchgeo_cmr.table.archive.emb_fields import (
    EMB_SCHEMA,
    collection_fields,
    fact,
    mapping,
    run_fields,
)
from torchgeo_cmr.table.archive.folder import read_header
from torchgeo_cmr.table.archive.part_footers import reading
from torchgeo_cmr.table.archive.records import merge_records
from torchgeo_cmr.table.footprints import unwrap
from torchgeo_cmr.vectors.arcs import UNREADABLE

_STAC = '1.0.0'
_PARQUET = 'application/vnd.apache.parquet'
_ITEM_ASSETS = 'https://stac-extensions.github.io/item-assets/v1.0.0/schema.json'
_PROCESSING = 'https://stac-extensions.github.io/processing/v1.2.0/schema.json'
#: Stands for an address that is not known: STAC needs one.
UNKNOWN = 'urn:torchgeo-cmr:unknown'
_ASSET = {'type': _PARQUET, 'roles': ['data'], 'title': 'Vectors with footprints'}


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What only the owner of an archive knows, for a STAC collection.

    Args:
        model: Address of the model, of its STAC MLM item if there is one (default: a URN of
            the weights' fingerprint).
        source: Address of the collection of scenes (default: the folder that was embedded).
        licence: SPDX identifier (default: ``'proprietary'``, STAC's word for all other cases).
        title: Title of the collection (default: name of the archive).
        time: When rows without a date are of: a year, month or day, or START/END.
    """

    model: str | None = None
    source: str | None = None
    licence: str = 'proprietary'
    title: str | None = None
    time: str | None = None


def to_collection(
    archive: str | PathLike[str],
    path: str | PathLike[str],
    *,
    catalogue: Catalogue | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an archive as a STAC collection, with one item per part next to it.

    The collection and its items have the fields of the extension Embedding 0.0.1 that the
    archive knows. Links are relative, so the folder can be moved as a whole.

    Args:
        archive: Archive folder.
        path: File of the collection, such as ``archive.stac.json``; the items go into the
            folder ``archive.items`` next to it.
        catalogue: What only the owner knows.
        overwrite: Replace files that are there.

    Returns:
        The path.

    Raises:
        ArchiveError: If the folder is not an archive or is broken.
        QueryError: If a part has no time, which STAC requires, and none is given.
        OutputExistsError: If a file is there and ``overwrite`` is False.
    """
    target = Path(path)
    given = catalogue or Catalogue()
    parts = list(_parts(Path(archive), given))
    folder = items_folder(target)
    names = [f'{part.id}.json' for part in parts]
    collection = _collection(Path(archive), target, parts, given)
    with together():
        for part, name in zip(parts, names, strict=True):
            item = _item(part, folder, given)
            item['collection'] = collection['id']
            up = f'../{target.name}'
            item['links'] = [
                {'rel': rel, 'href': up, 'type': 'application/json'}
                for rel in ('root', 'parent', 'collection')
            ] + item['links']
            _write(item, folder / name, overwrite)
        _write(collection, target, overwrite)
    if overwrite:
        for old in folder.glob('part-*.json'):
            if old.name not in names:  # of a part that the archive no longer has
                old.unlink()
    return target


def to_stac_geoparquet(
    archive: str | PathLike[str],
    path: str | PathLike[str],
    *,
    catalogue: Catalogue | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the items of an archive's collection as one table, stac-geoparquet.

    Needs the package of that name: ``pip install torchgeo-cmr[stac]``.

    Args:
        archive: Archive folder.
        path: File to write, such as ``archive.stac.parquet``.
        catalogue: What only the owner knows.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        ArchiveError: If the folder is not an archive or is broken.
        QueryError: If the package is missing, or as :func:`to_collection`.
        OutputExistsError: If the file is there and ``overwrite`` is False.
    """
    try:
        library = import_module('stac_geoparquet.arrow')
    except ImportError as error:
        raise QueryError(
            'items as one table are written through stac-geoparquet, which is not installed; '
            'pip install stac-geoparquet'
        ) from error
    target = Path(path)
    given = catalogue or Catalogue()
    items = [_item(part, target.parent, given) for part in _parts(Path(archive), given)]
    if not items:
        raise QueryError(
            f'{archive} has no parts, and a table of no items has no columns'
        )
    with new_file(target, overwrite=overwrite) as temporary:
        table = library.parse_stac_items_to_arrow(items)
        library.to_parquet(table, temporary)
    return target


def items_folder(path: Path) -> Path:
    """Name the folder of the items of a collection: ``a.items`` for ``a.stac.json``."""
    name = path.name
    for suffix in ('.json', '.stac'):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    return path.with_name(f'{name}.items')


@dataclass(frozen=True)
class _Part:
    """What an item says of a part."""

    file: Path
    id: str
    facts: Mapping[str, Any]
    record: Mapping[str, Any]
    #: Hull of the footprints in EPSG:4326; None if no row has a place.
    shape: shapely.Geometry | None
    #: First and last moment.
    time: tuple[str, str]


def _parts(archive: Path, given: Catalogue) -> Iterator[_Part]:
    """Read what items say, part by part; vectors are not read."""
    footers = complete_parts(archive, read_header(archive))
    stated = _stated(given.time)
    undated = []
    for file, facts in sorted(footers, key=attrgetter('file')):
        if not facts['rows']:
            continue
        names = ['geometry', 'time_start', 'time_end']
        with reading(file):
            table = pq.read_table(file, columns=names, partitioning=None)
        start, end = (table.column(name).to_pandas() for name in names[1:])
        known = [start.fillna(end).min(), end.fillna(start).max()]
        time = stated if pd.isna(known[0]) else (_moment(known[0]), _moment(known[1]))
        if time is None:
            undated.append(file.name)
            continue
        yield _Part(
            file,
            file.stem,
            facts,
            mapping(facts.get('record')),
            _hull(table, file),
            time,
        )
    if undated:
        raise QueryError(
            f'{len(undated)} parts of {archive} have no time, which STAC requires, such as '
            f'{undated[0]}; give one for them, such as --time 2024'
        )


def _stated(word: str | None) -> tuple[str, str] | None:
    """Read the time of rows without one."""
    if word is None:
        return None
    first, _, last = word.partition('/')
    try:
        start, end = read_period(first), read_period(last or first)
    except ValueError as error:
        raise QueryError(f'the time {error}') from error
    until = end.end - 1000 if end.whole else end.start
    moments = pd.Timestamp(start.start, tz='UTC'), pd.Timestamp(until, tz='UTC')
    return _moment(moments[0]), _moment(moments[1])


def _moment(time: Any) -> str:
    return time.isoformat().replace('+00:00', 'Z')


def _hull(table: Any, file: Path) -> shapely.Geometry | None:
    """Give the hull of all footprints, one on either side of the antimeridian if it is crossed."""
    try:
        shapes = shapely.from_wkb(table.column('geometry').to_numpy())
    except UNREADABLE as error:
        raise ArchiveError(
            f'{file} has a footprint that is broken ({error}); write the archive again'
        ) from error
    parts = shapely.get_parts(shapes[~shapely.is_missing(shapes)])
    if not len(parts):
        return None
    bounds = shapely.bounds(parts)
    east = bounds[:, 0] >= 0
    sides = [parts[east], parts[~east]]
    # Nearer to one another across the antimeridian than across Greenwich.
    if all(map(len, sides)) and bounds[east, 0].min() - bounds[~east, 2].max() > 180:
        return shapely.MultiPolygon([_area(side) for side in sides])
    return _area(parts)


def _area(shapes: Any) -> shapely.Polygon:
    """Give the convex hull, a small square round what has no area."""
    hull = shapely.convex_hull(
        shapely.multipoints(shapely.get_coordinates(list(shapes)))
    )
    if isinstance(hull, shapely.Polygon):
        return hull
    return shapely.Polygon(shapely.box(*hull.buffer(1e-7).bounds).exterior)


def _item(part: _Part, folder: Path, given: Catalogue) -> dict[str, Any]:
    """Describe a part as a STAC item that lies in a folder."""
    fields = run_fields(part.record, part.facts.get('metric', 'cosine'))
    start, end = part.time
    properties: dict[str, Any] = {
        'datetime': start if start == end else None,
        **({} if start == end else {'start_datetime': start, 'end_datetime': end}),
        **fields,
        'cmr:rows': part.facts['rows'],
        'cmr:modalities': part.facts.get('modalities', []),
        'cmr:spaces': part.facts['spaces'],
    }
    software = 'processing:software' in fields
    item: dict[str, Any] = {
        'type': 'Feature',
        'stac_version': _STAC,
        'stac_extensions': [EMB_SCHEMA, *([_PROCESSING] if software else [])],
        'id': part.id,
        'geometry': None,
        'properties': properties,
        'links': _sources(part, given),
        'assets': {'embeddings': {'href': _relative(part.file, folder), **_ASSET}},
    }
    if part.shape is not None:
        item['bbox'] = _box(part.shape)
        ring = shapely.orient_polygons(part.shape)
        item['geometry'] = json.loads(shapely.to_geojson(ring))
    return item


def _sources(part: _Part, given: Catalogue) -> list[dict[str, Any]]:
    """Link the scenes of a part: where they were embedded, or the collection that was given."""
    root = fact(part.record, 'root')
    folder = Path(root) if isinstance(root, str) and os.path.isabs(root) else None
    links = []
    for scene, bands in mapping(part.record.get('sources')).items():
        try:
            paths = dict.fromkeys(str(band[0]) for band in bands)
        except (IndexError, TypeError):
            continue
        if given.source is not None:
            hrefs = [given.source]
        else:
            hrefs = [
                path if folder is None or is_address(path) else (folder / path).as_uri()
                for path in paths
            ]
        links += [
            {'rel': 'emb:source-data', 'href': href, 'title': scene} for href in hrefs
        ]
    return links


def _collection(
    archive: Path, target: Path, parts: list[_Part], given: Catalogue
) -> dict[str, Any]:
    """Describe the archive as a STAC collection."""
    header = read_header(archive)
    record = merge_records(
        [mapping(header.get('record')), *(p.record for p in parts)], strict=False
    )
    spaces = sorted({space for part in parts for space in part.facts['spaces']})
    fields = collection_fields(record, header['dim'], header['metric'])
    folder = items_folder(target).name
    name = given.title or archive.resolve().name
    links = [
        {'rel': 'root', 'href': f'./{target.name}', 'type': 'application/json'},
        *(
            {
                'rel': 'item',
                'href': f'./{folder}/{part.id}.json',
                'type': 'application/geo+json',
            }
            for part in parts
        ),
        _model(record, spaces, given),
        _source(record, given),
    ]
    summaries = {
        key: [fields[key]] for key in ('emb:type', 'emb:dimensions', 'data_type')
    }
    modalities = {m for part in parts for m in part.facts.get('modalities', [])}
    return {
        'type': 'Collection',
        'stac_version': _STAC,
        'stac_extensions': [EMB_SCHEMA, _ITEM_ASSETS],
        'id': archive.resolve().name,
        'title': name,
        'description': (
            f'{sum(part.facts["rows"] for part in parts)} vectors of {header["dim"]} numbers '
            f'({", ".join(sorted(modalities)) or "modality unknown"}), written by torchgeo_cmr'
        ),
        'license': given.licence,
        'extent': _extent(parts),
        **fields,
        'links': links,
        'item_assets': {'embeddings': _ASSET},
        'summaries': summaries,
    }


def _extent(parts: list[_Part]) -> dict[str, Any]:
    """Give the box and the interval of all parts."""
    shapes = shapely.get_parts([part.shape for part in parts if part.shape is not None])
    box = [-180.0, -90.0, 180.0, 90.0]
    if len(shapes):
        box = _box(shapely.MultiPolygon(list(shapes)))
    interval: list[str | None] = [None, None]
    if parts:
        interval = [min(p.time[0] for p in parts), max(p.time[1] for p in parts)]
    return {'spatial': {'bbox': [box]}, 'temporal': {'interval': [interval]}}


def _box(shape: shapely.Geometry) -> list[float]:
    """Give west, south, east, north; west is greater than east across the antimeridian."""
    west, south, east, north = unwrap(shape).bounds
    return [west, south, east - 360 if east > 180 else east, north]


def _model(
    record: Mapping[str, Any], spaces: list[str], given: Catalogue
) -> dict[str, Any]:
    """Link the model, which the extension requires."""
    name = fact(record, 'model')
    title = str(name) if name else 'unknown model'
    if given.model is not None:
        return {'rel': 'emb:model', 'href': given.model, 'title': title}
    if len(spaces) == 1:
        href = f'urn:torchgeo-cmr:space:{spaces[0]}'
        return {'rel': 'emb:model', 'href': href, 'title': title}
    return {'rel': 'emb:model', 'href': UNKNOWN, 'title': title}


def _source(record: Mapping[str, Any], given: Catalogue) -> dict[str, Any]:
    """Link the source data, which the extension requires."""
    root = fact(record, 'root')
    if given.source is not None:
        return {'rel': 'emb:source-data', 'href': given.source}
    if isinstance(root, str) and os.path.isabs(root):
        return {'rel': 'emb:source-data', 'href': Path(root).as_uri()}
    return {'rel': 'emb:source-data', 'href': UNKNOWN, 'title': 'unknown source'}


def _relative(file: Path, folder: Path) -> str:
    """Give the path of a file as seen from a folder."""
    path = os.path.relpath(file.absolute(), folder.absolute())
    return path.replace(os.sep, '/')


def _write(document: Mapping[str, Any], path: Path, overwrite: bool) -> None:
    with new_file(path, overwrite=overwrite) as temporary:
        text = json.dumps(document, indent=1, allow_nan=False)
        temporary.write_text(text + '\n', encoding='utf-8')
