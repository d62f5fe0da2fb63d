"""Summary of a file that ``align`` or ``hash`` wrote."""

from os import PathLike
from pathlib import Path
from typing import Any

from .alignment import Alignment
from .array_file import read_arrays
from .hashing import Hash


def describe_transform(path: str | PathLike[str]) -> dict[str, Any]:
    """Say what an alignment or a hash does to vectors.

    Args:
        path: File that :meth:`Alignment.save` or :meth:`Hash.save` wrote.

    Returns:
        JSON-able: ``kind`` (``'alignment'`` or ``'hash'``), ``path``, ``name`` (what it adds to the
        space of vectors), ``method``, ``dim`` (numbers of a vector that goes in) and ``bytes``. Of
        an alignment ``modalities`` with the space that each is brought from, of a hash ``bits``.

    Raises:
        ArchiveError: If it is neither.
    """
    cure = 'name a file that align or hash wrote'
    facts: dict[str, Any] = {'path': str(path)}
    if 'planes' in read_arrays(path, 'an alignment or a hash', cure):
        made = Hash.load(path)
        facts |= {'kind': 'hash', 'name': made.name, 'method': made.kind}
        facts |= {'dim': len(made.mean), 'bits': made.bits}
    else:
        alignment = Alignment.load(path)
        facts |= {'kind': 'alignment', 'name': alignment.name}
        facts |= {'method': alignment.method, 'modalities': alignment.spaces}
        facts['dim'] = len(next(iter(alignment.shifts.values())))
    return {'kind': facts.pop('kind'), **facts, 'bytes': Path(path).stat().st_size}
