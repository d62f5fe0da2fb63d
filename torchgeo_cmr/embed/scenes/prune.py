"""Which scenes of an archive are known to be gone, so that their rows may be dropped.

A scene that this run did not list may be gone, not named, refused or on a disk that is not
mounted. Only the first of these is a reason to drop rows that may have taken days to embed.
"""

import os
from collections.abc import Collection, Iterable

from torchgeo_cmr.regular_files import is_address


def is_gone(
    scene: str, root: str, folders: Iterable[str], opened: Collection[str]
) -> bool:
    """Decide whether the file of a scene is known to be gone.

    Args:
        scene: Scene id: path relative to *root*, with ``#`` and the date in a cube.
        root: Folder to which ids are relative.
        folders: Real paths of folders that this run could list.
        opened: Real paths of files that this run opened without fault.

    Returns:
        True if the file is missing from a folder that could be listed and holds something,
        or if it was opened and no longer has this date. An empty folder may be the place
        where a disk is mounted at other times.
    """
    if is_address(scene):
        return False  # no list of a server's files is read
    path = os.path.normpath(os.path.join(root, scene))
    if not os.path.lexists(path):
        file, _, part = path.rpartition('#')
        if part and os.path.lexists(file):
            return os.path.realpath(file) in opened
    else:
        return False
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    folder = os.path.realpath(folder)
    try:
        holds_something = bool(os.listdir(folder))
    except OSError:
        return False
    return holds_something and any(
        os.path.commonpath([folder, listed]) == listed for listed in folders
    )
