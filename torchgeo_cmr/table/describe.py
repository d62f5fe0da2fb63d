"""What an archive is, from its header and the metadata of its parts."""

from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .schema import RESERVED, STANDARD, check_part
from .sink import PARTS, merge_records, read_header, reading

_SIDES = ('xmin', 'ymin', 'xmax', 'ymax')
_READ = ['modality', 'src_crs', 'source', 'time_start', 'time_end', 'bbox']
_KNOWN = {*STANDARD, *RESERVED, 'geometry'}


def describe(path: str | PathLike[str]) -> dict[str, Any]:
    """Say what an archive holds without loading vectors or footprints.

    Args:
        path: Folder of the archive.

    Returns:
        JSON-able: ``kind``, ``path``, ``version``, ``rows``, ``dim``, ``metric``,
        ``modalities`` and ``crs`` (name -> rows; ``'unknown'`` for null), ``spaces``,
        ``columns`` of its own, ``time`` (first and last moment, null if no row has one) and
        ``undated`` rows, ``placeless`` rows, ``bounds`` (west, south, east, north in degrees;
        null if no row has a place),
        ``scenes`` (sources with rows), ``parts``, ``complete`` (null if the archive does not
        say how much was planned), ``bytes``, ``header`` and ``record`` without its sources.

    Raises:
        ArchiveError: If the folder is no archive, broken, mixed or of a newer format.

    .. versionadded:: 0.1
    """
    folder = Path(path)
    header = read_header(folder)
    modalities: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    sources: set[str] = set()
    times: list[Any] = []
    boxes: list[list[float]] = []
    records = [header.get('record') or {}]
    spaces: set[str] = set()
    rows = dated = lost = size = 0
    own: set[str] = set()
    parts = sorted(folder.glob(PARTS))
    for part in parts:
        with reading(part):
            schema = pq.read_schema(part)
        facts = check_part(schema, int(header['dim']), str(part))
        with reading(part):
            table = pq.read_table(part, columns=_READ, partitioning=None)
        rows += len(table)
        size += part.stat().st_size
        spaces |= set(facts['spaces'])
        own |= set(schema.names) - _KNOWN
        records.append(facts.get('record') or {})
        for column, counter in (('modality', modalities), ('src_crs', codes)):
            words = table.column(column).to_pandas().fillna('unknown').value_counts()
            counter.update({str(word): int(n) for word, n in words.items()})
        sources |= set(table.column('source').drop_null().to_pylist())
        moments = table.select(['time_start', 'time_end']).to_pandas()
        start, end = moments['time_start'], moments['time_end']
        known = start.fillna(end).dropna()
        dated += len(known)
        if len(known):
            times += [known.min(), end.fillna(start).max()]
        box = table.column('bbox').combine_chunks()
        lost += box.null_count
        box = box.drop_null()
        if len(box):
            sides = np.array([box.field(name).to_numpy() for name in _SIDES])
            boxes.append([*sides[:2].min(axis=1), *sides[2:].max(axis=1)])
    corners = np.array(boxes)
    record = merge_records(records)
    planned = header.get('work_items')
    complete = None if planned is None else len(parts) >= planned
    if 'rows' in header:
        complete = rows == header['rows']
    facts_of = {k: v for k, v in header.items() if k not in ('record', 'format')}
    return {
        'kind': 'archive',
        'path': str(folder),
        'version': header['version'],
        'rows': rows,
        'dim': int(header['dim']),
        'metric': header['metric'],
        'modalities': dict(modalities.most_common()),
        'spaces': sorted(spaces),
        'crs': dict(codes.most_common()),
        'time': [min(times).isoformat(), max(times).isoformat()] if times else None,
        'undated': rows - dated,
        'placeless': lost,
        'bounds': [*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist()]
        if boxes
        else None,
        'scenes': len(sources),
        'columns': sorted(own),
        'parts': len(parts),
        'planned': planned,
        'complete': complete,
        'bytes': size,
        'header': facts_of,
        'record': {k: v for k, v in record.items() if k != 'sources'},
    }
