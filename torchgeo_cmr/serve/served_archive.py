"""One archive of a tool server: its short name, and the facts that a search can be written from."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from os import path as paths
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.fields import fields
from torchgeo_cmr.search import RetrievalIndex, open_archives
from torchgeo_cmr.search.store.origin import is_server

#: What a short name may be.
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,59}')
#: Rows whose values decide the types of columns, and ids that are shown as examples.
_SAMPLE, _SHOWN = 100, 3


@dataclass(frozen=True)
class ServedArchive:
    """An archive that is open and known by a short name.

    Args:
        name: The name that arguments of tools use.
        source: Folder or address; no answer repeats it.
        index: The archive, open.
    """

    name: str
    source: str
    index: RetrievalIndex

    def describe(self) -> dict[str, Any]:
        """Say what the archive holds and what a condition may compare.

        Returns:
            JSON-able: ``archive``, ``rows``, ``modalities`` (rows of each sensor), ``time`` (first and
            last moment, null if undated), ``undated``, ``placeless``, ``bounds`` (west, south, east,
            north in EPSG:4326), ``columns`` (name -> type), ``spaces`` (fingerprints of the
            checkpoints), ``dim``, ``metric`` and ``example_ids``.
        """
        index = self.index
        index.refresh()
        rows = index.rows()
        sensors = index.columns.attributes(rows, ['modality'])['modality']
        sensors = sensors.fillna('unknown').value_counts()
        start, end = (side[rows] for side in index.columns.times)
        start, end = (
            np.where(np.isnat(start), end, start),
            np.where(np.isnat(end), start, end),
        )
        dated = ~np.isnat(start)
        boxes = index.columns.boxes[rows]
        boxes = boxes[~np.isnan(boxes).any(axis=1)]
        sample = index.select(rows[:_SAMPLE]).frame
        return {
            'archive': self.name,
            'rows': len(rows),
            'modalities': {str(name): int(count) for name, count in sensors.items()},
            'time': [_moment(start[dated].min()), _moment(end[dated].max())]
            if dated.any()
            else None,
            'undated': int((~dated).sum()),
            'placeless': len(rows) - len(boxes),
            'bounds': [
                *boxes[:, :2].min(axis=0).round(7).tolist(),
                *boxes[:, 2:].max(axis=0).round(7).tolist(),
            ]
            if len(boxes)
            else None,
            'columns': {str(f.column): _type(f.kind) for f in fields(sample)},
            'spaces': list(index.spaces),
            'dim': index.dim,
            'metric': index.metric,
            'example_ids': sample['patch_id'].head(_SHOWN).tolist(),
        }


def open_served(words: Iterable[str]) -> dict[str, ServedArchive]:
    """Open archives, each under a short name.

    Args:
        words: Folders of archives or indexes, or ``NAME=FOLDER``; the address of a database needs
            a name. Without one, the name of the folder is used.

    Returns:
        The archives by their names, in the given order.

    Raises:
        QueryError: If none is given, two have one name, or a name is not usable.
        ArchiveError: If a folder is neither an archive nor an index.
    """
    served: dict[str, ServedArchive] = {}
    for word in words:
        name, source = _named(word)
        if name in served:
            raise QueryError(
                f'two archives are called {name!r}: give one of them another name, as '
                f'other={source}'
            )
        served[name] = ServedArchive(name, source, open_archives(source))
    if not served:
        raise QueryError('no archive is named: give at least one folder')
    return served


def _named(word: str) -> tuple[str, str]:
    """Divide ``NAME=FOLDER``, or make a name of a folder's own."""
    name, sign, source = word.partition('=')
    if sign and source and _NAME.fullmatch(name) and not Path(word).exists():
        return name, source
    if is_server(word):
        raise QueryError(
            'a database has no folder to be called by: give it a name, as gis=postgresql://...'
        )
    name = Path(paths.abspath(word)).name
    if not _NAME.fullmatch(name):
        raise QueryError(
            f'{name!r:.80} cannot be the short name of an archive: give one of letters, digits, '
            '_, . and -, as name=FOLDER'
        )
    return name, word


def _moment(time: np.datetime64) -> str:
    """Write a moment in UTC."""
    return f'{pd.Timestamp(time).isoformat()}Z'


def _type(kind: pa.DataType) -> str:
    """Say in a word what a condition may compare a column with."""
    if pa.types.is_boolean(kind):
        return 'boolean'
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return 'time'
    return 'text' if pa.types.is_string(kind) else 'number'
