"""The record of a search: its queries, archives, model, options and answers."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.regular_files import under
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.provenance import fingerprint, versions
from torchgeo_cmr.typed_json import convert

from .record_types import StoredBand

#: Name of the format in a record, and the version that this package writes.
FORMAT, FORMAT_VERSION = 'torchgeo_cmr.search', 1
#: Rows that a record lists, so that the first that differs can be named.
_LISTED = 1000

type Archive = EmbeddingTable | RetrievalIndex


def make_record(
    results: gpd.GeoDataFrame,
    *,
    archives: Mapping[str, Archive],
    queries: EmbeddingTable,
    where: Where | None = None,
    k: int,
    options: Mapping[str, Any] | None = None,
    excluded: Mapping[str, Any] | None = None,
    asked: Sequence[str] = (),
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Say how a search was made, so that it can be understood and made again.

    Args:
        results: What the search gave.
        archives: What was searched: name or path -> table or index. An index on disk is read
            in blocks.
        queries: The queries, as vectors.
        where: The filter.
        k: Hits per query.
        options: What else was chosen: ``min_score``, ``spacing``, ``exact`` and the like.
        excluded: What queries were kept from finding: ``exclude`` and ``exclude_days`` of the
            search.
        asked: The query as the user gave it.
        command: Words of the command line, if it was one.

    Returns:
        JSON-able mapping: ``format``, ``version``, ``command``, ``query``, ``filters``,
        ``options``, ``excluded``, ``k``, ``archives`` (rows and SHA-256), ``space`` (fingerprint of the
        weights), ``seed`` (None: a search draws nothing), ``versions``, ``rows`` (count,
        SHA-256, the first thousand) and ``scenes`` (modality -> where its rasters are, for
        :class:`PatchReader`).

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
        >>> from torchgeo_cmr.search import RetrievalIndex
        >>> query = table.select([0])
        >>> hits = RetrievalIndex(table).search(query, 2)
        >>> record = make_record(hits, archives={'archive': table}, queries=query, k=2)
        >>> record['rows']['count'], record['archives'][0]['rows']
        (2, 3)
    """
    searched = list(archives.values())
    spaces = sorted({s for archive in searched for s in archive.spaces})
    return {
        'format': FORMAT,
        'version': FORMAT_VERSION,
        'command': None if command is None else list(command),
        'query': {
            'asked': list(asked),
            'count': len(queries),
            'sha256': fingerprint(queries),
        },
        'filters': _filters(where),
        'options': {name: _plain(value) for name, value in (options or {}).items()},
        'excluded': {name: _plain(value) for name, value in (excluded or {}).items()},
        'k': k,
        'archives': [
            {'name': name, 'rows': len(archive), 'sha256': _fingerprint(archive)}
            for name, archive in archives.items()
        ],
        'space': spaces[0] if len(spaces) == 1 else spaces or None,
        'seed': None,
        'versions': versions(),
        'rows': _rows(results),
        'scenes': scenes_of([*searched, queries]),
    }


def scenes_of(archives: Iterable[Archive]) -> dict[str, dict[str, Any]]:
    """Collect where the rasters behind some tables are.

    Args:
        archives: Tables or indexes; queries are tables too.

    Returns:
        Modality -> ``{'root': None, 'sources': scene id -> bands, 'grids': scene id -> grid}``
        as :class:`PatchReader` takes it, paths joined with the root of their archive; only
        scenes that were resampled have a grid, and ``nodata`` is there if it was stated
        for scenes. A scene id that stands for different files in
        two archives is dropped as ambiguous.
    """
    found: dict[str, dict[str, Any]] = {}
    unclear: set[tuple[str, str]] = set()
    for archive in archives:
        root = archive.record.get('root')
        sources = archive.record.get('sources') or {}
        if not sources:
            continue
        owners = _owners(archive).dropna().drop_duplicates()
        for modality, scene in owners.itertuples(index=False):
            if scene not in sources:
                continue
            stored = convert(
                sources[scene],
                list[StoredBand],
                f'the record of scene {scene!r:.80}',
                'write the archive again',
            )
            bands = [
                [path if root is None else under(root, path), *others]
                for path, *others in stored
            ]
            entry = found.setdefault(
                modality, {'root': None, 'sources': {}, 'grids': {}}
            )
            if entry['sources'].setdefault(scene, bands) != bands:
                unclear.add((modality, scene))
            if grid := (archive.record.get('grids') or {}).get(scene):
                entry['grids'][scene] = grid
            value = (archive.record.get('nodata') or {}).get(scene)
            if value is not None:
                entry.setdefault('nodata', {})[scene] = value
    for modality, scene in unclear:
        del found[modality]['sources'][scene]
    return found


def record_text(record: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Give a record as JSON.

    Args:
        record: Plain values.
        indent: Spaces for each level; None puts all on one line.

    Raises:
        QueryError: If it holds something that JSON cannot.
    """
    try:
        text = json.dumps(
            dict(record), indent=indent, allow_nan=False, ensure_ascii=False
        )
        # Names of files need not be Unicode: they are written as escapes.
        return re.sub('[\ud800-\udfff]', lambda sign: f'\\u{ord(sign[0]):x}', text)
    except (TypeError, ValueError) as error:
        raise QueryError(
            f'the record cannot be written as JSON ({error}); use plain values'
        ) from error


def _owners(archive: Archive) -> pd.DataFrame:
    """Give modality and source of each row."""
    names = ['modality', 'source']
    if isinstance(archive, EmbeddingTable):
        return pd.DataFrame(archive.frame[names])
    return archive.columns.attributes(archive.rows(), names)


def _fingerprint(archive: Archive) -> str:
    """Give the same for a table and for an index of it."""
    if isinstance(archive, EmbeddingTable):
        return fingerprint(archive)
    return archive.fingerprint


def _rows(results: gpd.GeoDataFrame) -> dict[str, Any]:
    """Sum up the rows of a result; scores in single precision, as they are ranked."""
    columns = results[['query_id', 'rank', 'patch_id']]
    made = hashlib.sha256()
    for query, rank, patch in columns.itertuples(index=False):
        made.update(f'{query}\t{rank}\t{patch}\n'.encode())
    scores = results['score'].to_numpy(dtype='<f4')
    made.update(scores.tobytes())
    first = columns.head(_LISTED).itertuples(index=False)
    return {
        'count': len(results),
        'sha256': made.hexdigest(),
        'first': [
            [query, int(rank), patch, float(score)]
            for (query, rank, patch), score in zip(first, scores, strict=False)
        ],
    }


def _filters(where: Where | None) -> dict[str, Any]:
    """Give the clauses of a filter that were set, as plain values."""
    if where is None:
        return {}
    join, parts = where.joined
    if join == 'not':
        return {'not': _filters(parts[0])}
    if join:
        return {join: [_filters(part) for part in parts]}
    facts: dict[str, Any] = {}
    for clause in fields(where):
        value = getattr(where, clause.name)
        usual = value is clause.default or (
            isinstance(value, str) and value == clause.default
        )
        if clause.init and not usual:
            facts[clause.name] = _plain(value)
    if where.area is not None:
        # What the words meant: a file may change, its area is here.
        facts['area'] = where.area.wkt
    return facts


def _plain(value: Any) -> Any:
    """Give a clause as JSON can hold it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, date | datetime | pd.Timestamp):
        return value.isoformat()
    if isinstance(value, shapely.Geometry):
        return value.wkt
    if isinstance(value, set | frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list | tuple | range | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, gpd.GeoDataFrame | gpd.GeoSeries):
        return f'{len(value)} features'
    return str(value)
