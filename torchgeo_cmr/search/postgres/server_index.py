"""An archive in PostgreSQL as an index: the same searches, the same answers."""

import threading
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import wraps
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.index import RetrievalIndex
from torchgeo_cmr.search.rank.vectors import Vectors
from torchgeo_cmr.search.store.snapshot import State
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.records import merge_records
from torchgeo_cmr.table.provenance import Content

from .archive_tables import Entry, read_entry, remove_rows
from .connection import Address, connect, driver, faults
from .server_columns import ServerColumns
from .server_hnsw import ServerHnsw
from .server_part import ServerMatrix, ServerPart

#: Row numbers in one value of the database, which may have a gigabyte.
_TOGETHER = 10_000_000
_ADVICE = 'load an archive folder into it with torchgeo-cmr load'


def _in_one_moment[**P, R](method: Callable[P, R]) -> Callable[P, R]:
    """Let a method see the database as it is at one moment."""

    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        index: Any = args[0]
        with index._moment():
            return method(*args, **kwargs)

    return run


class ServerIndex(RetrievalIndex):
    """An archive in PostgreSQL to search in.

    Every search sees one moment of the database, with all that was loaded before. Row numbers
    are those of the database. One connection is kept, and threads that share the index take turns;
    processes open it anew.

    Args:
        address: ``postgresql://...``, with ``?archive=NAME`` if it is not ``patch``.

    Raises:
        ArchiveError: If the server does not answer, or has no such archive.
    """

    def __init__(self, address: str) -> None:
        """Connect, and read what the archive is."""
        self._uri, self._address = address, Address.read(address)
        self._path, self._lock = None, threading.RLock()
        self._server: Any = self._connected()
        self._seen: tuple[int, State] | None = None
        self._deep = 0
        with self._moment():
            pass

    def __repr__(self) -> str:
        """Name what was last seen, without asking the server."""
        assert self._seen is not None  # read when it was opened
        facts = self._seen[1].facts
        return (
            f'ServerIndex(dim={facts["dim"]}, metric={facts["metric"]}, in PostgreSQL)'
        )

    def _connected(self) -> Any:
        """Connect until the index is no longer used."""
        server = connect(self._address)
        weakref.finalize(self, server.close)
        return server

    @property
    def _state(self) -> State:
        with self._moment():
            assert self._seen is not None  # a moment reads it
            return self._seen[1]

    @contextmanager
    def _moment(self) -> Generator[None]:
        """Hold one moment of the database, and see what was changed before it."""
        with self._lock, faults():
            if self._deep:
                yield
                return
            if self._server.closed:
                self._server, self._seen = self._connected(), None
            with self._server.transaction():
                self._server.execute(
                    'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY'
                )
                self._deep += 1
                try:
                    entry = read_entry(self._server, self._address)
                    if self._seen is None or self._seen[0] != entry.changes:
                        self._seen = entry.changes, _read_state(self._server, entry)
                    yield
                finally:
                    self._deep -= 1

    search = _in_one_moment(RetrievalIndex.search)
    rank = _in_one_moment(RetrievalIndex.rank)
    explain = _in_one_moment(RetrievalIndex.explain)
    result = _in_one_moment(RetrievalIndex.result)
    rows = _in_one_moment(RetrievalIndex.rows)
    vectors = _in_one_moment(RetrievalIndex.vectors)
    select = _in_one_moment(RetrievalIndex.select)

    def refresh(self) -> bool:
        """Say whether the database has changed since it was last looked at; searches see it anyway."""
        with self._lock:
            before = self._seen
            with self._moment():
                return self._seen is not before

    def delete(
        self, ids: str | Iterable[str] | Where | EmbeddingTable | pd.DataFrame
    ) -> None:
        """Delete rows; a later load brings them back only if the file of their part has changed.

        Args:
            ids: As for :meth:`RetrievalIndex.delete`.

        Raises:
            QueryError: If an id is not there.
            ArchiveError: If the role may only read.
        """
        if isinstance(ids, Where):
            ids = self.select(self.rows(ids))
        if isinstance(ids, EmbeddingTable):
            ids = ids.frame
        if isinstance(ids, pd.DataFrame):
            ids = ids['patch_id'].tolist()
        names = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
        archive = self._address.name
        with self._lock, faults(), self._server.transaction():
            entry = read_entry(self._server, self._address)
            found = remove_rows(
                self._server, entry, 'patch_id = ANY(%s::text[])', [names]
            )
            if missing := {*names} - {name for name, _ in found}:
                raise QueryError(
                    f'there is no patch_id {min(missing)!r} in the database; nothing was deleted'
                )
            self._server.execute(
                'UPDATE torchgeo_cmr.part SET content = NULL '
                'WHERE archive = %s AND key = ANY(%s::text[])',
                [archive, sorted({key for _, key in found})],
            )
            self._server.execute(
                'UPDATE torchgeo_cmr.archive SET changes = changes + 1 WHERE name = %s',
                [archive],
            )

    def append(self, table: Any) -> NoReturn:
        """Refuse: a database is filled from an archive folder, which stays its record.

        Raises:
            QueryError: Always.
        """
        raise QueryError(f'rows are not added to a database one by one; {_ADVICE}')

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the rows as the folder of an index.

        Args:
            path: As for :meth:`RetrievalIndex.save`.
            overwrite: As for :meth:`RetrievalIndex.save`.
        """
        return RetrievalIndex(self.table).save(path, overwrite=overwrite)

    def close(self) -> None:
        """Close the connection; a later search opens it again."""
        with self._lock:
            self._server.close()

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process as an address."""
        return {'address': self._uri}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Connect in the process it came to."""
        self.__init__(state['address'])


def _row_numbers(server: Any, entry: Entry) -> NDArray[np.int64]:
    """Read the numbers of all rows, many in one value: the client is slow at taking rows one by one."""
    sql = driver().sql
    most = sql.SQL('SELECT coalesce(max(row_number), -1) FROM {patch}')
    (last,) = server.execute(most.format(**entry.names)).fetchone()
    block = sql.SQL(
        "SELECT string_agg(int8send(row_number), ''::bytea) FROM {patch} "
        'WHERE row_number BETWEEN %s AND %s'
    ).format(**entry.names)
    found = []
    for first in range(0, last + 1, _TOGETHER):
        values = [first, first + _TOGETHER - 1]
        found.append(server.execute(block, values, binary=True).fetchone()[0] or b'')
    return np.frombuffer(b''.join(found), '>i8').astype(np.int64)


def _read_state(server: Any, entry: Entry) -> State:
    """Read what an archive is at this moment."""
    living = np.sort(_row_numbers(server, entry))
    size = int(living[-1]) + 1 if len(living) else 0
    # Without a digest: being loaded, or left by a load that failed.
    parts = server.execute(
        "SELECT rows, CASE WHEN digest <> '' THEN content END, spaces, record FROM torchgeo_cmr.part "
        'WHERE archive = %s ORDER BY key COLLATE "C"',
        [entry.name],
    ).fetchall()
    known = [Content(rows, int(value, 16)) for rows, value, *_ in parts if value]
    columns: Any = ServerColumns(server, entry, size, living)
    whole: Any = ServerMatrix(columns)
    part = ServerPart(
        columns,
        Vectors(whole, 'float32', whole, None, 0.0),
        dead=np.setdiff1d(np.arange(size), living),
        known=sum(known, Content()) if len(known) == len(parts) else None,
    )
    facts = {
        'dim': entry.dim,
        'metric': 'cosine',
        'spaces': sorted({space for *_, spaces, _ in parts for space in spaces}),
        'record': merge_records([entry.record, *(record for *_, record in parts)]),
        'fingerprint': None,
        'build': None,
    }
    indexed = server.execute(
        'SELECT 1 FROM pg_indexes WHERE schemaname = %s AND indexname = %s',
        ['torchgeo_cmr', f'{entry.name}_vector_hnsw'],
    ).fetchone()
    hnsw: Any = ServerHnsw(part)
    return State((part,), ((hnsw,) if indexed else (),), facts)
