"""ParquetSink: the writer of an archive, which keeps account of its parts and their header.

The header is written once and compared by whoever continues the archive; each part appears whole
or not at all (:mod:`.part_writer`).
"""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from torchgeo_cmr.drafts import as_meant, check_folder, disk_faults, sweep
from torchgeo_cmr.errors import ArchiveError, OutputExistsError
from torchgeo_cmr.table.provenance import Rows

from .folder import (
    FORMAT,
    FORMAT_VERSION,
    HEADER,
    PARTS,
    header_file,
    is_archive,
    part_name,
    read_header,
    write_header,
)
from .part_footers import read_facts, read_footers, read_schema
from .part_markers import find_markers, unmark
from .part_writer import write_part


class ParquetSink:
    """Where work items put their rows: one part file per key.

    Several processes may write to one folder, each its own keys. Committing a key again
    replaces its part, so a repeated work item leaves one part.

    Args:
        path: Folder of the archive; made at the first commit.
        header: JSON-able facts that all parts share: ``space``, ``plan``, ``record`` and so
            on. ``metric`` and ``dim`` are taken from the first table if they are not given.
        replacing: Names of facts that may differ from those of the archive that is there:
            :meth:`finish` writes the new ones.

    Raises:
        ArchiveError: If the folder holds something else, or an archive begun with another
            header; the message names the first field that differs.

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
        >>> sink = ParquetSink(f'{folder.name}/archive', {'space': 'demo'})
        >>> sink.commit('first scene', table)
        >>> sink.done()
        {'first scene'}
        >>> EmbeddingTable.load(sink.path)
        EmbeddingTable(2 rows, dim=2, modality=unknown, metric=cosine)
        >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | PathLike[str],
        header: Mapping[str, Any],
        *,
        replacing: Collection[str] = (),
    ) -> None:
        """Check the folder; nothing is written yet."""
        check_folder(path)
        self.path = Path(path)
        self._replacing = frozenset(replacing)
        try:
            given = json.loads(json.dumps(dict(header), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ArchiveError(
                f'the header cannot be written as JSON ({error})'
            ) from error
        self.header: dict[str, Any] = {
            'format': FORMAT,
            'version': FORMAT_VERSION,
            **given,
        }
        self._ready, self._seen = False, _identity(self.path)
        #: Parts that this writer has found or committed.
        self._known: set[str] = set()
        #: Parts that the header names.
        self._listed: frozenset[str] = frozenset()
        self._given = self.header
        self._check()

    def done(self) -> set[str]:
        """Give the keys of the parts that are committed.

        Raises:
            ArchiveError: If a part cannot be read.
        """
        return set(self.fingerprints())

    def fingerprints(self) -> dict[str, str | None]:
        """Give the keys of the parts that are committed, and what each was made of.

        Returns:
            Key -> the fingerprint with which it was committed, None if it had none.

        Raises:
            ArchiveError: If a part cannot be read.
        """
        found: dict[str, str | None] = {}
        for part in self.path.glob(PARTS):
            facts = read_facts(read_schema(part), str(part))
            found[facts['key']] = facts.get('fingerprint')
            self._known.add(part.name)
        return found

    def rows(self) -> dict[str, int]:
        """Give the number of rows of each part that is committed, by key; only footers are read.

        Raises:
            ArchiveError: If there is no archive, or a part cannot be read.
        """
        found = read_footers(self.path, read_header(self.path)['dim'])
        return {footer.facts['key']: footer.facts['rows'] for footer in found}

    def expect(self, key: str) -> None:
        """Know of a part that another process has committed: :meth:`finish` misses it if it is gone.

        Args:
            key: Name of the work item.
        """
        self._known.add(part_name(key))

    def remove(self, *keys: str) -> None:
        """Remove the parts of some keys; nothing happens if there are none.

        Args:
            keys: Names of the work items.
        """
        if not is_archive(self.path):
            return
        names = {*map(part_name, keys)}
        if not names:
            return
        self._known -= names
        header = read_header(self.path)
        if names & {*header.get('parts', ())}:
            # First the header: a part that it names must not be missing.
            kept = [name for name in header['parts'] if name not in names]
            write_header(self.path, {**header, 'parts': kept})
        with disk_faults(self.path):
            unmark(m for m in find_markers(self.path) if m.part.name in names)
            for name in names:
                (self.path / name).unlink(missing_ok=True)

    def finish(self) -> None:
        """Write that the parts are complete, and the facts that were to be replaced.

        The header then names the parts, so that one that is missing is noticed.
        """
        if not is_archive(self.path):
            return
        self._sweep()
        # Those of parts that are on their way are looked for before the parts, and stay.
        markers = [m for m in find_markers(self.path) if not m.draft.exists()]
        old = read_header(self.path)
        new = {**old, **(self._given if self._replacing else {})}
        new['parts'] = sorted(part.name for part in self.path.glob(PARTS))
        if missing := self._known - {*new['parts']}:
            raise ArchiveError(
                f'{as_meant(self.path) / min(missing)} was removed while the archive was written; '
                'embed again'
            )
        if new != old:
            write_header(self.path, new)
        self.header, self._listed = new, frozenset(new['parts'])
        with disk_faults(self.path):
            unmark(markers)

    def commit(self, key: str, table: Rows, *, fingerprint: str | None = None) -> None:
        """Write a table as the part of a key, all of it or nothing.

        Args:
            key: Name of the work item, any text; parts are loaded in the order of their keys.
            table: Rows of the item; may be empty.
            fingerprint: What the rows were made of, to tell later whether that changed.

        Raises:
            ArchiveError: If dimension, metric or space differ from the header.
        """
        self._begin(table)
        for name, found in (('dim', table.dim), ('metric', table.metric)):
            if self.header[name] != found:
                raise ArchiveError(
                    f'part {key!r} has {name} {found!r} but the archive {self.path} has '
                    f'{self.header[name]!r}; embed with the model the archive was begun with'
                )
        if (space := self.header.get('space')) is not None and table.spaces not in (
            (),
            (space,),
        ):
            raise ArchiveError(
                f'part {key!r} has space {", ".join(table.spaces)} but the archive {self.path} '
                f'has {space}; embed with the model the archive was begun with'
            )
        name = part_name(key)
        # The header knows of it, or at least how many rows there are.
        known = 'rows' in self.header or name in self._listed
        write_part(self.path / name, key, table, fingerprint=fingerprint, known=known)
        self._known.add(name)

    def _begin(self, table: Rows) -> None:
        """Make the folder and its header once, and sweep out what dead writers left."""
        if self._ready:
            if _identity(self.path) != self._seen and not self._check():
                raise ArchiveError(
                    f'the archive {as_meant(self.path)} was removed while it was written; embed again'
                )
            self._seen = _identity(self.path)
            return
        self.header = {'dim': table.dim, 'metric': table.metric, **self.header}
        with disk_faults(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        if not self._check():
            with suppress(OutputExistsError):  # another process was quicker
                write_header(self.path, self.header, overwrite=False)
            self._check()
        self._sweep()
        self._ready, self._seen = True, _identity(self.path)

    def _sweep(self) -> None:
        """Sweep out what dead writers left, and first the markers of parts that never came."""

        def given_up(draft: Path) -> None:
            unmark(m for m in find_markers(self.path) if m.draft == draft)

        sweep(self.path, '', given_up)

    def _check(self) -> bool:
        """Compare with the header that is there; False if there is none."""
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            raise ArchiveError(f'{self.path} is a file; name a folder for the archive')
        if not is_archive(self.path):
            if any(not p.name.startswith('.tmp-') for p in self.path.iterdir()):
                raise ArchiveError(
                    f'{self.path} holds files but no {HEADER}; name a new folder for the archive'
                )
            return False
        written = read_header(self.path)
        defaults = ({'dim', 'metric'} - set(self.header)) | self._replacing | {'parts'}
        for name in sorted({*written, *self.header} - defaults):
            if written.get(name) != self.header.get(name):
                path, old, new = _difference(
                    name, written.get(name), self.header.get(name)
                )
                update = 'update it, ' if name in ('scenes', 'pairs') else ''
                raise ArchiveError(
                    f'the archive {self.path} was begun with {path} = {old} and not {new}; '
                    f'{update}name another folder or replace the archive'
                )
        self.header, self._listed = written, frozenset(written.get('parts', ()))
        return True


def _difference(name: str, old: Any, new: Any) -> tuple[str, str, str]:
    """Name the first place where two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                return _difference(f'{name}.{key}', old.get(key), new.get(key))
    return name, json.dumps(old)[:80], json.dumps(new)[:80]


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """Tell the header of an archive from one that replaced it; None if there is none."""
    try:
        found = header_file(folder).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
