"""Files that outlive a power failure: flushed before they get their name, then their folder."""

import os
import zlib
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


def checksum(content: Path | Buffer) -> str:
    """Give the CRC-32 of a file, read in blocks, or of bytes in memory, as eight hex digits.

    It finds damage, three times as fast as SHA-256, and not a forger.
    """
    if not isinstance(content, Path):
        return f'{zlib.crc32(content):08x}'
    made = 0
    with content.open('rb') as file:
        while block := file.read(_BLOCK):
            made = zlib.crc32(block, made)
    return f'{made:08x}'
