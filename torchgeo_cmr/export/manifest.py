"""The record of a search: what was asked of what, with what, and what came out.

The record goes into the formats that can hold it, and without its list of scenes into a
file of its own, the manifest ``NAME.json``, which ``torchgeo-cmr replay`` reads.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.provenance import fingerprint, versions

from .output import new_file

#: Name of the format in a manifest, and the version that this package writes.
FORMAT, FORMAT_VERSION = 'torchgeo_cmr.search', 1
#: Rows that a record lists, so that the first that differs can be named.
_LISTED = 1000


def make_record(
    results: gpd.GeoDataFrame,
    *,
    archives: Mapping[str, EmbeddingTable],
    queries: EmbeddingTable,
    where: Where | None = None,
    k: int,
    asked: Sequence[str] = (),
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Say how a search was made, so that it can be understood and made again.

    Args:
        results: What the search gave.
        archives: What was searched: name or path -> table.
        queries: What was asked, as vectors.
        where: The filter.
        k: Hits a query.
        asked: What was asked, in the user's words.
        command: Words of the command line, if it was one.

    Returns:
        JSON-able mapping: ``format``, ``version``, ``command``, ``query``, ``filters``,
        ``k``, ``archives`` (rows and SHA-256), ``space`` (fingerprint of the weights),
        ``seed`` (None: a search draws nothing), ``versions``, ``rows`` (count, SHA-256, the
        first thousand) and ``scenes`` (modality -> where its rasters are, for
        :class:`PatchReader`).

    .. versionadded:: 0.1
    """
    tables = list(archives.values())
    spaces = sorted({s for table in tables for s in table.spaces})
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
        'k': k,
        'archives': [
            {'name': name, 'rows': len(table), 'sha256': fingerprint(table)}
            for name, table in archives.items()
        ],
        'space': spaces[0] if len(spaces) == 1 else spaces or None,
        'seed': None,
        'versions': versions(),
        'rows': _rows(results),
        'scenes': scenes_of([*tables, queries]),
    }


def scenes_of(tables: Iterable[EmbeddingTable]) -> dict[str, dict[str, Any]]:
    """Collect where the rasters behind some tables are.

    Args:
        tables: Archives and queries.

    Returns:
        Modality -> ``{'root': None, 'sources': scene id -> bands}`` as :class:`PatchReader`
        takes it, paths joined with the root of their table. A scene id that stands for
        different files in two tables is left out: nobody could say which is meant.

    .. versionadded:: 0.1
    """
    found: dict[str, dict[str, Any]] = {}
    unclear: set[tuple[str, str]] = set()
    for table in tables:
        root = table.record.get('root')
        sources = table.record.get('sources') or {}
        owners = table.frame[['modality', 'source']].dropna().drop_duplicates()
        for modality, scene in owners.itertuples(index=False):
            if scene not in sources:
                continue
            bands = [
                [path if root is None else (Path(root) / path).as_posix(), *rest]
                for path, *rest in sources[scene]
            ]
            own = found.setdefault(modality, {'root': None, 'sources': {}})['sources']
            if own.setdefault(scene, bands) != bands:
                unclear.add((modality, scene))
    for modality, scene in unclear:
        del found[modality]['sources'][scene]
    return found


def write_manifest(
    record: Mapping[str, Any], path: str | PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a record as a manifest: JSON for people and for ``replay``, without its scenes.

    Args:
        record: What :func:`make_record` gave, or any JSON-able mapping.
        path: File to write.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If the record holds something that JSON cannot.
        OutputExistsError: If the file is there and ``overwrite`` is False.

    .. versionadded:: 0.1
    """
    told = {name: value for name, value in record.items() if name != 'scenes'}
    text = record_text(told, indent=1)
    with new_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(f'{text}\n', encoding='utf-8')
    return Path(path)


def record_text(record: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Give a record as JSON.

    Args:
        record: Plain values.
        indent: Spaces for each level; None puts all on one line.

    Raises:
        QueryError: If it holds something that JSON cannot.

    .. versionadded:: 0.1
    """
    try:
        return json.dumps(
            dict(record), indent=indent, allow_nan=False, ensure_ascii=False
        )
    except (TypeError, ValueError) as error:
        raise QueryError(
            f'the record cannot be written as JSON ({error}); use plain values'
        ) from error


def read_manifest(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a manifest.

    Args:
        path: What :func:`write_manifest` wrote.

    Returns:
        The record without its scenes.

    Raises:
        QueryError: If the file is not there, is no manifest, or is of a newer version.

    .. versionadded:: 0.1
    """
    try:
        told = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise QueryError(
            f'{path} cannot be read as a manifest ({error}); name the .json that search '
            'wrote beside its result'
        ) from error
    if not isinstance(told, dict) or told.get('format') != FORMAT:
        raise QueryError(
            f'{path} is no manifest of a search; name the .json that search wrote beside '
            'its result'
        )
    version = told.get('version')
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise QueryError(
            f'{path} has version {version} but this torchgeo_cmr reads up to '
            f'{FORMAT_VERSION}; install a newer torchgeo_cmr'
        )
    return told


def compare_records(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[bool, list[str]]:
    """Say whether two searches gave the same rows, and what changed between them.

    Args:
        old: Record of the first search.
        new: Record of the second.

    Returns:
        Whether the rows are the same (query, rank, patch and score, to the last bit of
        single precision), and one sentence for each thing that changed.

    .. versionadded:: 0.1
    """
    changes = []
    before, after = (
        {one['name']: one for one in record.get('archives', [])}
        for record in (old, new)
    )
    for name in [*before, *(n for n in after if n not in before)]:
        told = _changed(f'archive {name}', before.get(name), after.get(name))
        changes += [told] if told else []
    if old.get('space') != new.get('space'):
        changes.append(f'weights: {old.get("space")} -> {new.get("space")}')
    if told := _changed('queries', old.get('query'), new.get('query'), size='count'):
        changes.append(told)
    for name in ('filters', 'k'):
        if old.get(name) != new.get(name):
            changes.append(f'{name}: {old.get(name)} -> {new.get(name)}')
    was, now = old.get('versions') or {}, new.get('versions') or {}
    changes += [
        f'version of {name}: {was.get(name)} -> {now.get(name)}'
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    ]
    rows, found = old['rows'], new['rows']
    same = rows['count'] == found['count'] and rows['sha256'] == found['sha256']
    if not same:
        known = any(not c.startswith('version of') for c in changes)
        changes.append(_first_difference(rows, found))
        if not known:
            changes.append(
                'vectors, queries and filters are the same: footprints, dates or other '
                'columns of the archive changed, or a library computes otherwise'
            )
    return same, changes


def _changed(
    what: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    size: str = 'rows',
) -> str | None:
    if old is None or new is None:
        return f'{what}: {"was not searched before" if old is None else "is not searched now"}'
    if old['sha256'] == new['sha256']:
        return None
    return (
        f'{what}: {old[size]} rows, {old["sha256"][:12]} -> '
        f'{new[size]} rows, {new["sha256"][:12]}'
    )


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    told = f'rows: {old["count"]} -> {new["count"]}'
    pairs = zip(old['first'], new['first'], strict=False)
    for i, (one, other) in enumerate(pairs, 1):
        if one != other:
            was, now = (
                f'{patch} at rank {rank} of {query} with {score:.6f}'
                for query, rank, patch, score in (one, other)
            )
            return f'{told}; row {i} was {was}, is {now}'
    return f'{told}; the first {min(len(old["first"]), len(new["first"]))} are the same'


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
    told: dict[str, Any] = {}
    for clause in fields(where):
        value = getattr(where, clause.name)
        if clause.init and value is not None and value is not clause.default:
            told[clause.name] = _plain(value)
    if where.area is not None:
        # What the words meant: a file may change, its area is here.
        told['area'] = where.area.wkt
    return told


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
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, gpd.GeoDataFrame | gpd.GeoSeries):
        return f'{len(value)} features'
    return str(value)
