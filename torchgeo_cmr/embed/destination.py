"""Where the rows of a run go: into an archive that a later run can complete, or into memory."""

import os
import shutil
import weakref
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torchgeo_cmr.embed.run_options import WriteOptions
from torchgeo_cmr.embed.run_report import Report, free_report
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, describe, read_header
from torchgeo_cmr.table.archive.replacement import begin_replacement, replace_archive
from torchgeo_cmr.table.schema import empty_frame


class Destination:
    """Parts of a table by key; in an archive each is committed as a whole.

    Args:
        options: Where rows go.
        header: What must be equal for a run to continue an archive.
        replacing: Facts of the header that an update may change.

    Raises:
        ArchiveError: If the archive was begun with another header.
        OutputExistsError: If a folder is to be replaced that has more than an archive, or
            another file has the name of the report.
    """

    def __init__(
        self,
        options: WriteOptions,
        header: Mapping[str, Any],
        *,
        replacing: Collection[str] = (),
    ) -> None:
        """Open the archive, or a folder next to the one that is to be replaced."""
        self._tables: dict[str, EmbeddingTable] = {}
        self._load = options.load
        self.sink, self._building = None, None
        self.path = None if options.out is None else Path(options.out)
        if self.path is not None and options.out is not None:
            free_report(self.path)
            changing = replacing if options.update else ()
            if options.overwrite:
                self._building = begin_replacement(options.out)
                # A run that fails leaves nothing behind; of one that is killed, the next one
                # removes it.
                weakref.finalize(
                    self, shutil.rmtree, self._building, ignore_errors=True
                )
            folder = self._building or options.out
            self.sink = ParquetSink(folder, header, replacing=changing)

    def fingerprints(self) -> dict[str, str | None]:
        """Give the keys of the parts that earlier runs committed, and what each was made of."""
        return {} if self.sink is None else self.sink.fingerprints()

    def commit(
        self, key: str, table: EmbeddingTable, fingerprint: str | None = None
    ) -> None:
        """Keep the rows of a part, all or none."""
        if self.sink is None:
            self._tables[key] = table
        else:
            self.sink.commit(key, table, fingerprint=fingerprint)

    def expect(self, key: str) -> None:
        """Know of a part that a worker has committed."""
        if self.sink is not None:
            self.sink.expect(key)

    def remove(self, *keys: str) -> None:
        """Drop the rows of parts that are in the archive."""
        if self.sink is not None:
            self.sink.remove(*keys)

    def finish(self) -> None:
        """Write that all parts are there, and the facts that an update changed."""
        if self.sink is not None:
            self.sink.finish()

    def write(self, report: Report) -> None:
        """Write a report next to the archive."""
        if self.path is not None:
            report.write(self.path)

    def replace(self) -> None:
        """Put the archive in the place of the one that is to be replaced, which is removed."""
        if self._building is not None and self.path is not None:
            replace_archive(self._building, self.path)
            self._building = None

    def rows(self) -> dict[str, int]:
        """Give the number of rows of each part by key, of this run or of the whole archive."""
        if self.sink is None:
            return {key: len(table) for key, table in self._tables.items()}
        return self.sink.rows()

    def placeless(self) -> int:
        """Count the rows without a place, part by part."""
        if self.sink is None:
            return sum(int((~table.placed).sum()) for table in self._tables.values())
        return describe(self.sink.path)['placeless']

    def conclude(self) -> EmbeddingTable:
        """Give what the run returns, and replace what is to be replaced."""
        if self.sink is None:
            return EmbeddingTable.concat(list(self._tables.values()))
        table = returned(self.sink.path, load=self._load)
        self.replace()
        return table


def returned(archive: str | os.PathLike[str], *, load: bool) -> EmbeddingTable:
    """Give what a run that wrote an archive returns.

    Args:
        archive: The folder.
        load: All rows; else none, and their number does not matter to memory.
    """
    if load:
        return EmbeddingTable.load(archive)
    header = read_header(archive)
    nothing = np.empty((0, header['dim']), np.float32)
    record = header.get('record') or {}
    return EmbeddingTable(empty_frame(), nothing, header['metric'], record)
