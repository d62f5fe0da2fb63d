"""Archives that are made from another and lie next to it: their name, and what may have it."""

import os
from pathlib import Path

from torchgeo_cmr.drafts import check_on_disk
from torchgeo_cmr.embed.run_report import beside
from torchgeo_cmr.errors import OutputExistsError
from torchgeo_cmr.table import read_header
from torchgeo_cmr.table.archive.folder import is_archive


def companion(
    archive: str | os.PathLike[str], ending: str, fact: str, what: str
) -> Path:
    """Name an archive that is made from another, next to it.

    Args:
        archive: Folder of the other.
        ending: What its name ends in.
        fact: What its record holds, by which an older one is known.
        what: What it is, for the message.

    Returns:
        The folder; if there is one, it was made likewise and may be replaced.

    Raises:
        OutputExistsError: If something else has the name.
    """
    path = beside(Path(archive), ending)
    check_on_disk(path)
    if os.path.lexists(path):
        exists = is_archive(path)
        if not exists or fact not in (read_header(path).get('record') or {}):
            raise OutputExistsError(
                f'{path} is not {what}, so it is not replaced: move it away'
            )
    return path
