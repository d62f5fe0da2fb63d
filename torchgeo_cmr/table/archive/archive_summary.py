"""Summary of an archive, from its header and the metadata of its parts."""

import warnings
from collections import Counter
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from torchgeo_cmr.table.schema import RESERVED, STANDARD

from .completeness import incomplete, missing_parts
from .folder import PARTS, read_header
from .part_footers import check_part, read_schema, reading
from .records import merge_records

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
        say how much was planned), ``missing`` (parts that were removed), ``bytes``, ``header`` and
        ``record`` without its sources.

    Raises:
        ArchiveError: If the folder is not an archive, broken, mixed or of a newer format.

    Warns:
        UserWarning: If parts were removed.

    Examples:
        >>> import tempfile
        >>> import geopandas as gpd
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> points = gpd.points_from_xy([10, 11], [46, 47])
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': ['a', 'b']}, geometry=points, crs='EPSG:4326'
        ... )
        >>> table = EmbeddingTable.from_frame(frame, [[1, 0], [0, 1]], space='demo')
        >>> folder = tempfile.TemporaryDirectory()
        >>> summary = describe(table.save(f'{folder.name}/archive'))
        >>> summary['rows'], summary['bounds'], summary['spaces']
        (2, [10.0, 46.0, 11.0, 47.0], ['demo'])
        >>> folder.cleanup()
    """
    folder = Path(path)
    header = read_header(folder)
    records = [header.get('record') or {}]
    spaces: set[str] = set()
    columns: set[str] = set()
    rows, claimed = _Rows(), 0
    parts = sorted(folder.glob(PARTS))
    for part in parts:
        schema = read_schema(part)
        facts = check_part(schema, header['dim'], str(part))
        spaces |= set(facts['spaces'])
        columns |= set(schema.names) - _KNOWN
        claimed += facts['rows']
        records.append(facts.get('record') or {})
        with reading(part):
            table = pq.read_table(part, columns=_READ, partitioning=None)
        rows.count(table)
    record = merge_records(records)
    planned = header.get('work_items')
    complete = None if planned is None else len(parts) >= planned
    if 'rows' in header:
        complete = True
    missing = missing_parts(folder, header)
    if fault := incomplete(folder, header, missing, claimed):
        complete = False
        warnings.warn(fault, UserWarning, stacklevel=2)
    return {
        'kind': 'archive',
        'path': str(folder),
        'version': header['version'],
        'rows': rows.number,
        'dim': header['dim'],
        'metric': header['metric'],
        'modalities': dict(rows.modalities.most_common()),
        'spaces': sorted(spaces),
        'crs': dict(rows.codes.most_common()),
        'time': rows.time,
        'undated': rows.number - rows.dated,
        'placeless': rows.placeless,
        'bounds': rows.bounds,
        'scenes': len(rows.sources),
        'columns': sorted(columns),
        'parts': len(parts),
        'planned': planned,
        'complete': complete,
        'missing': missing,
        'bytes': sum(part.stat().st_size for part in parts),
        'header': {k: v for k, v in header.items() if k not in ('record', 'format')},
        'record': {k: v for k, v in record.items() if k != 'sources'},
    }


@dataclass
class _Rows:
    """What the rows of an archive are, counted part by part."""

    number: int = 0
    dated: int = 0
    placeless: int = 0
    modalities: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    sources: set[str] = field(default_factory=set)
    moments: list[pd.Timestamp] = field(default_factory=list)
    corners: list[NDArray[np.float64]] = field(default_factory=list)

    def count(self, table: pa.Table) -> None:
        self.number += len(table)
        for column, counter in (('modality', self.modalities), ('src_crs', self.codes)):
            words = table.column(column).to_pandas().fillna('unknown').value_counts()
            counter.update({str(word): int(n) for word, n in words.items()})
        self.sources |= set(table.column('source').drop_null().to_pylist())
        start, end = (
            table.column(f'time_{side}').to_pandas() for side in ('start', 'end')
        )
        known = start.fillna(end).dropna()
        self.dated += len(known)
        if len(known):
            self.moments += [known.min(), end.fillna(start).max()]
        box = table.column('bbox').combine_chunks()
        self.placeless += box.null_count
        box = box.drop_null()
        if len(box):
            sides = np.array([box.field(name).to_numpy() for name in _SIDES])
            self.corners.append(np.r_[sides[:2].min(axis=1), sides[2:].max(axis=1)])

    @property
    def time(self) -> list[str] | None:
        """First and last moment."""
        if not self.moments:
            return None
        return [min(self.moments).isoformat(), max(self.moments).isoformat()]

    @property
    def bounds(self) -> list[float] | None:
        """West, south, east, north in degrees."""
        if not self.corners:
            return None
        corners = np.array(self.corners)
        return [*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist()]
