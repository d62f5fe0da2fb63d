"""Provenance of a result: fingerprints of tables, and versions of the software.

The fingerprint of rows is made of one digest per row, so that it can be combined: that of an
archive from its parts, that of an index from the rows that came and went, without reading vectors
twice.
"""

import hashlib
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any, Protocol

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr import __version__
from torchgeo_cmr.progress.bars import steps

_LIBRARIES = ('numpy', 'pandas', 'geopandas', 'shapely', 'pyproj', 'rasterio')
#: Bytes of a row's digest, and what they are counted by: digits of a number in this base.
_WIDTH = 16
_PRIME = 2**127 - 1
#: Rows between two steps of the bar.
_BLOCK = 50_000
#: Digits that are added up at a time, too few for the BLAS to bring threads, and pieces of 16 bits
#: of each.
_DIGITS, _LIMBS = 2_048, 8
_BASE = int.from_bytes(hashlib.sha256(b'torchgeo_cmr').digest()[:_WIDTH]) % _PRIME


@cache
def _weights() -> NDArray[np.float64]:
    """What digits count, the last of which counts 1, in pieces of 16 bits (digits, limbs)."""
    made = [1]
    for _ in range(_DIGITS - 1):
        made.append(made[-1] * _BASE % _PRIME)
    pieces = b''.join(weight.to_bytes(_WIDTH, 'little') for weight in reversed(made))
    return np.frombuffer(pieces, '<u2').reshape(-1, _LIMBS).astype(np.float64)


@dataclass(frozen=True)
class Content:
    """What some rows are, in their order, as a number.

    Args:
        rows: How many.
        value: The number that the digests of the rows are the digits of, modulo a prime.
    """

    rows: int = 0
    value: int = 0

    @staticmethod
    def of(digests: NDArray[np.uint8]) -> 'Content':
        """Read the digests (n, 16) of rows."""
        limbs = np.ascontiguousarray(digests).view('<u2').reshape(-1, _LIMBS)
        found = Content()
        for start in range(0, len(limbs), _DIGITS):
            part = limbs[start : start + _DIGITS].astype(np.float64)
            # Whole numbers below 2**43, so no order of adding rounds.
            sums = part.T @ _weights()[-len(part) :]
            value = sum(
                int(each) << 16 * (i + j) for (i, j), each in np.ndenumerate(sums)
            )
            found += Content(len(part), value % _PRIME)
        return found

    def __add__(self, other: 'Content') -> 'Content':
        """Put the rows of another below these."""
        value = self.value * pow(_BASE, other.rows, _PRIME) + other.value
        return Content(self.rows + other.rows, value % _PRIME)

    def fingerprint(self, dim: int, metric: str) -> str:
        """Give 64 hexadecimal digits.

        Args:
            dim: Numbers of a vector, or bits of a code.
            metric: How the vectors are compared.
        """
        words = f'{metric}:{dim}:{self.rows}:{self.value:x}'
        return hashlib.sha256(words.encode()).hexdigest()


class Rows(Protocol):
    """The part of an embedding table that fingerprints and archives need."""

    def __len__(self) -> int:
        """Give the number of rows."""
        ...

    @property
    def frame(self) -> gpd.GeoDataFrame:
        """Footprints and columns."""
        ...

    @property
    def vectors(self) -> NDArray[Any]:
        """Vectors or packed codes, one per row."""
        ...

    @property
    def metric(self) -> str:
        """How vectors are compared."""
        ...

    @property
    def record(self) -> dict[str, Any]:
        """JSON-able facts about how the vectors were made."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector, or bits of a code."""
        ...

    @property
    def spaces(self) -> tuple[str, ...]:
        """The distinct spaces of the rows."""
        ...

    @property
    def content(self) -> Content:
        """Identity of the rows."""
        ...


def row_digests(ids: Iterable[str], vectors: NDArray[Any]) -> NDArray[np.uint8]:
    """Give a digest of the id and the vector of each row.

    Args:
        ids: Patch ids, in order.
        vectors: Their vectors (n, dim), float32; or packed codes.

    Returns:
        uint8 (n, 16).
    """
    kind = np.uint8 if vectors.dtype == np.uint8 else np.dtype('<f4')
    plain = np.ascontiguousarray(vectors, dtype=kind)
    if not len(plain):
        return np.empty((0, _WIDTH), dtype=np.uint8)
    digest = hashlib.sha256
    rows = plain.view(f'V{plain[0].nbytes}').ravel().tolist()
    # One look more than there are rows, at which ids that are too many are noticed.
    pairs = zip(ids, rows, strict=True)
    made = b''.join(
        digest(patch_id.encode() + b'\0' + row).digest()[:_WIDTH]
        for _ in steps(range(0, len(rows) + 1, _BLOCK), 'block', 'digest')
        for patch_id, row in islice(pairs, _BLOCK)
    )
    return np.frombuffer(made, dtype=np.uint8).reshape(-1, _WIDTH)


def fingerprint(table: Rows) -> str:
    """Give the SHA-256 of the patch ids and the vectors of a table, in order.

    Args:
        table: The table.

    Returns:
        64 hexadecimal digits; equal for equal ids and bit-equal vectors, in a table, an
        archive or an index.
    """
    return table.content.fingerprint(table.dim, table.metric)


def versions() -> dict[str, str]:
    """Give the versions of what computes scores, footprints and layers.

    Returns:
        Name to version, the package first.
    """
    found = {'torchgeo_cmr': __version__, 'python': platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = 'not installed'
    return found
