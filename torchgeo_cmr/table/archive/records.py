"""Records: facts about how vectors were made, merged with those of other tables or cut to a part."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table.provenance import Rows

#: What helps against an archive that is broken.
CURE = 'write the archive again'


class Record(TypedDict, total=False):
    """What is read of a record; a writer may add anything."""

    root: str | None
    #: Scene -> its bands.
    sources: dict[str, list[Any]]
    #: Scene -> the bands of each archive that names it.
    ambiguous_sources: dict[str, list[list[Any]]]
    grids: dict[str, Any] | None
    nodata: dict[str, Any] | None
    merged_from: list[dict[str, Any]]


def merge_records(
    records: Sequence[Mapping[str, Any]], *, strict: bool = True
) -> dict[str, Any]:
    """Merge records of tables that are concatenated.

    Args:
        records: JSON-able mappings.
        strict: Refuse records that name different files for one scene; else such a scene
            goes, with the files of each, under ``ambiguous_sources``.

    Returns:
        One record: ``sources`` united, mappings merged. If two facts disagree, the records
        are kept side by side, without their scenes, as a list under ``merged_from``.

    Raises:
        ArchiveError: If two records name different files for one scene, and ``strict``.
    """
    sources: dict[str, Any] = {}
    unclear: dict[str, list[Any]] = {}
    facts: list[dict[str, Any]] = []
    for record in records:
        for scene, files in record.get('ambiguous_sources', {}).items():
            unclear.setdefault(scene, []).extend(files)
        for scene, files in record.get('sources', {}).items():
            if sources.setdefault(scene, files) != files:
                if strict:
                    raise ArchiveError(
                        f'scene {scene!r} names different files in two records: embed both again with '
                        'one root (--root), a folder above both'
                    )
                unclear.setdefault(scene, [sources[scene]]).append(files)
        plain = {
            name: value
            for name, value in record.items()
            if name not in ('sources', 'ambiguous_sources', 'merged_from')
        }
        for fact in [*record.get('merged_from', []), *([plain] if plain else [])]:
            if fact not in facts:
                facts.append(fact)
    merged: dict[str, Any] = {}
    try:
        if not all(_unite(merged, fact) for fact in facts):
            merged = {'merged_from': facts}
    except RecursionError as error:
        raise ArchiveError(f'a record is nested too deeply; {CURE}') from error
    if any('sources' in record for record in records):
        merged['sources'] = {s: f for s, f in sources.items() if s not in unclear}
    if unclear:
        merged['ambiguous_sources'] = unclear
    return json.loads(json.dumps(merged))


def part_record(table: Rows) -> dict[str, Any]:
    """Give the record of a part: of the scenes, only those its rows come from."""
    record = dict(table.record)
    if isinstance(record.get('sources'), dict):
        # Rows made of several scenes join their ids.
        ids = table.frame['source'].dropna()
        used = {*ids, *(name for word in ids for name in word.split('+'))}
        record['sources'] = {
            s: files for s, files in record['sources'].items() if s in used
        }
    return record


def _unite(into: dict[str, Any], other: Mapping[str, Any]) -> bool:
    """Merge a mapping into another in place; False if two values disagree."""
    for name, value in other.items():
        if name not in into:
            into[name] = json.loads(json.dumps(value))
        elif isinstance(into[name], dict) and isinstance(value, dict):
            if not _unite(into[name], value):
                return False
        elif into[name] != value:
            return False
    return True
