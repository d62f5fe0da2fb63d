"""The command check: whether something on disk is as it was written."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torchgeo_cmr.cli.terminal import printable

if TYPE_CHECKING:
    from torchgeo_cmr.errors import Finding


def check(paths: list[str], *, json_: bool = False, quiet: bool = False) -> int:
    """Read archives, indexes, checkpoints or saved searches as a whole and list what is damaged.

    Loading and searching compare what they read; this reads every byte, as after a copy to
    another disk. Nothing is changed. Exit code 0: all is as it was written; 1: something is not.

        torchgeo-cmr check archive index best.ckpt hits.gpkg

    As JSON, for a script:

        torchgeo-cmr check archive --json

    Args:
        paths: Archive folders, index folders, checkpoints (.ckpt), saved searches (.gpkg, .geojson,
            .fgb, .parquet), addresses of databases.
        json_: Print a list of file, fault and cure instead of lines.
        quiet: No progress bar.
    """
    from torchgeo_cmr.errors import ArchiveError
    from torchgeo_cmr.progress.bars import bar
    from torchgeo_cmr.search.store.origin import is_server

    for path in paths:
        if not is_server(path) and not Path(path).exists():
            raise ArchiveError(
                f'there is no {path}: name an archive, an index, a checkpoint or a saved search'
            )
    with bar(None, 'file', wanted=not quiet) as shown:
        findings = []
        for path in paths:
            for finding in _verify(path):
                findings.append(finding)
                shown.update()
    faults = [finding for finding in findings if finding.fault]
    if json_:
        sys.stdout.write(json.dumps([f._asdict() for f in findings], indent=1) + '\n')
        return int(bool(faults))
    for file, fault, cure in faults:
        sys.stdout.write(printable(f'{file}: {fault}; {cure}') + '\n')
    sys.stdout.write(f'{len(findings)} files checked, {len(faults)} faults\n')
    return int(bool(faults))


def _verify(word: str) -> Iterator['Finding']:
    """Check this kind of file; only a checkpoint needs torch."""
    from torchgeo_cmr.search.store.origin import is_server

    if is_server(word):
        from torchgeo_cmr.search import verify_server

        return verify_server(word)
    path = Path(word)
    if path.is_dir():
        from torchgeo_cmr.search import verify_index
        from torchgeo_cmr.search.store.index_summary import is_index
        from torchgeo_cmr.table import verify_archive

        return verify_index(path) if is_index(path) else verify_archive(path)
    if path.suffix == '.ckpt':
        from torchgeo_cmr.tasks import verify_checkpoint

        return verify_checkpoint(path)
    from torchgeo_cmr.export import verify_search

    return verify_search(path)
