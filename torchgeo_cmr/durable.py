"""Files that outlive a power failure: flushed before they get their name, then their folder."""

import hashlib
import os
from collections.abc import Buffer
from pathlib import Path

_BLOCK = 1 << 20


def flush(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk itself.

    Args:
        path: File or folder.
    """
    if path.is_dir() and os.name == 'nt':  # Windows has no handle for a folder
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != 'nt' else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(content: Path | Buffer) -> str:
    """Give the SHA-256 of a file, read in blocks, or of bytes in memory."""
    if not isinstance(content, Path):
        return hashlib.sha256(content).hexdigest()
    made = hashlib.sha256()
    with content.open('rb') as file:
        while block := file.read(_BLOCK):
            made.update(block)
    return made.hexdigest()
