"""Two records of a search: the same rows or not, and what changed between them."""

from collections.abc import Mapping
from typing import Any


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
        >>> from torchgeo_cmr.export import make_record
        >>> record = make_record(hits, archives={'archive': table}, queries=query, k=2)
        >>> compare_records(record, record)
        (True, [])
    """
    changes = []
    before, after = (
        {archive['name']: archive for archive in record.get('archives', [])}
        for record in (old, new)
    )
    for name in [*before, *(n for n in after if n not in before)]:
        difference = _changed(f'archive {name}', before.get(name), after.get(name))
        changes += [difference] if difference else []
    if old.get('space') != new.get('space'):
        changes.append(f'weights: {old.get("space")} -> {new.get("space")}')
    if difference := _changed(
        'queries', old.get('query'), new.get('query'), size='count'
    ):
        changes.append(difference)
    for name in ('filters', 'options', 'k'):
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
    difference = f'rows: {old["count"]} -> {new["count"]}'
    pairs = zip(old['first'], new['first'], strict=False)
    for i, (before, other) in enumerate(pairs, 1):
        if before != other:
            was, now = (
                f'{patch} at rank {rank} of {query} with {score:.6f}'
                for query, rank, patch, score in (before, other)
            )
            return f'{difference}; row {i} was {was}, is {now}'
    return f'{difference}; the first {min(len(old["first"]), len(new["first"]))} are the same'
