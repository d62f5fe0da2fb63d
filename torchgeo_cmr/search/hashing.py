"""Packed codes: vectors as a few hundred bits, compared by how many differ.

A hash projects a vector and keeps the sign of each number. Codes are 32 times smaller than
float32 vectors of as many numbers and are compared by counting bits. What they lose is for
you to measure: search with both and compare, or take codes to propose and vectors to rank.
"""

import hashlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

import geopandas as gpd
import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError, check_seed
from torchgeo_cmr.progress.bars import steps as each
from torchgeo_cmr.table import EmbeddingTable

from .array_file import read_arrays, write_arrays

_ROWS = 65_536
_SAMPLE = 100_000
_CURE = 'save one with Hash.save'


@dataclass(frozen=True, eq=False)
class Hash:
    """A way to turn vectors into packed codes; make one with ``sign``, ``lsh`` or ``itq``.

    Args:
        kind: ``'sign'``, ``'lsh'`` or ``'itq'``.
        mean: What is subtracted from a vector first (dim,).
        planes: Directions whose sides are the bits (dim, bits).

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> import numpy as np
        >>> Hash.lsh(2, 16, seed=0).table(table).vectors.shape
        (3, 2)
    """

    kind: str
    mean: NDArray[np.float32]
    planes: NDArray[np.float32]

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return int(self.planes.shape[1])

    @classmethod
    def sign(cls, dim: int) -> Self:
        """Keep the sign of each number: one bit per number.

        Args:
            dim: Numbers in a vector, a multiple of 8.

        Raises:
            QueryError: If the bits do not fill bytes.
        """
        _check_bits(dim)
        return cls('sign', np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))

    @classmethod
    def lsh(cls, dim: int, bits: int = 256, *, seed: int = 0) -> Self:
        """Keep on which side of random hyperplanes a vector lies.

        The share of bits in which two codes differ is expected to be their angle over pi:
        M. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.

        Args:
            dim: Numbers in a vector.
            bits: Bits of a code, a multiple of 8.
            seed: Seed of the hyperplanes.

        Raises:
            QueryError: If the bits do not fill bytes, or the seed is negative.
        """
        _check_bits(bits)
        check_seed(seed, QueryError)
        planes = np.random.default_rng(seed).normal(size=(dim, bits))
        return cls('lsh', np.zeros(dim, np.float32), planes.astype(np.float32))

    @classmethod
    def itq(
        cls,
        vectors: ArrayLike | EmbeddingTable,
        bits: int | None = None,
        *,
        seed: int = 0,
        steps: int = 50,
    ) -> Self:
        """Learn codes from vectors: main axes, turned so that signs lose least.

        Y. Gong and S. Lazebnik, "Iterative quantization: a Procrustean approach to learning
        binary codes", CVPR 2011. No labels are needed. Learn from both modalities
        together if one is to be searched with the other.

        Args:
            vectors: Vectors (n, dim) or a table; of more than a hundred thousand rows a
                seeded sample is taken.
            bits: Bits of a code, a multiple of 8, at most ``dim`` and fewer than the rows;
                without it ``dim``.
            seed: Seed of the first turn and of the sample.
            steps: Turns.

        Raises:
            QueryError: If the bits do not fill bytes or are more than can be learned, or the seed is
                negative.
        """
        given = vectors.vectors if isinstance(vectors, EmbeddingTable) else vectors
        x = np.asarray(given, dtype=np.float64)
        bits = x.shape[1] if bits is None else bits
        _check_bits(bits)
        if bits > min(x.shape[1], len(x) - 1):
            raise QueryError(
                f'{bits} bits cannot be learned from {len(x)} vectors of {x.shape[1]} numbers; '
                'give fewer bits or use Hash.lsh'
            )
        check_seed(seed, QueryError)
        rng = np.random.default_rng(seed)
        if len(x) > _SAMPLE:
            x = x[rng.choice(len(x), _SAMPLE, replace=False)]
        mean = x.mean(axis=0)
        axes = np.linalg.eigh(np.cov(x - mean, rowvar=False))[1][:, ::-1][:, :bits]
        flat = (x - mean) @ axes
        turn = np.linalg.qr(rng.normal(size=(bits, bits)))[0]
        for _ in each(range(steps), 'turn', 'learn'):
            corners = np.where(flat @ turn > 0, 1.0, -1.0)
            left, _, right = np.linalg.svd(corners.T @ flat)
            turn = (left @ right).T
        return cls('itq', mean.astype(np.float32), (axes @ turn).astype(np.float32))

    def codes(self, vectors: ArrayLike) -> NDArray[np.uint8]:
        """Give the packed codes of vectors.

        Args:
            vectors: Vectors (n, dim).

        Returns:
            Codes (n, bits / 8), the first bit of a byte its highest.

        Raises:
            QueryError: If the vectors have another dimension.
        """
        given = np.atleast_2d(np.asarray(vectors))
        if given.shape[1] != len(self.mean):
            raise QueryError(
                f'the vectors have {given.shape[1]} numbers and the hash takes {len(self.mean)}; '
                'make the hash for these vectors'
            )
        codes = np.empty((len(given), self.bits // 8), dtype=np.uint8)
        for start in range(0, len(given), _ROWS):
            block = given[start : start + _ROWS].astype(np.float32)
            side = (block - self.mean) @ self.planes
            codes[start : start + _ROWS] = np.packbits(side > 0, axis=1)
        return codes

    def table(self, table: EmbeddingTable) -> EmbeddingTable:
        """Give a table of codes in place of vectors.

        Args:
            table: Table of vectors; not changed.

        Returns:
            Table of metric ``'hamming'``. Its spaces are those of the vectors and this hash,
            so codes of two hashes are never compared.

        Raises:
            QueryError: If the table holds codes already, or vectors of another dimension.
        """
        if table.metric != 'cosine':
            raise QueryError(
                f'the table holds {table.metric} codes already; hash the vectors they came from'
            )
        codes = self.codes(table.vectors)
        codes.flags.writeable = False
        space = table.frame['space'].fillna('') + f'+{self.name}'
        record = {**table.record, 'hash': self.name}
        return EmbeddingTable(
            gpd.GeoDataFrame(
                table.frame.assign(space=space.astype(table.frame['space'].dtype))
            ),
            codes,
            'hamming',
            record,
        )

    @property
    def name(self) -> str:
        """Kind, bits and fingerprint."""
        parts = (self.mean.tobytes(), self.planes.tobytes())
        digest = hashlib.sha256(b''.join(parts)).hexdigest()[:8]
        return f'{self.kind}{self.bits}-{digest}'

    def save(self, path: str | PathLike[str], overwrite: bool = False) -> Path:
        """Write the hash as an ``.npz`` file, so that later queries can be hashed alike.

        Args:
            path: File to write, appearing whole or not at all.
            overwrite: Replace a file that is there.

        Raises:
            OutputExistsError: If the file is there and is not to be replaced.
            OSError: If the disk is full or the folder cannot be written to.
        """
        parts = {'kind': self.kind, 'mean': self.mean, 'planes': self.planes}
        return write_arrays(path, overwrite=overwrite, **parts)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a hash back.

        Raises:
            ArchiveError: If the file is not one.
        """
        names = ('kind', 'mean', 'planes')
        parts = read_arrays(path, 'a hash', _CURE, names)
        kind, mean, planes = parts.values()
        fits = planes.ndim == 2 and mean.shape == planes.shape[:1]
        if not fits or {mean.dtype, planes.dtype} != {np.dtype(np.float32)}:
            raise ArchiveError(
                f'{path} is not a hash: mean is {mean.dtype} {mean.shape}, planes are {planes.dtype} '
                f'{planes.shape}; {_CURE}'
            )
        if not (np.isfinite(mean).all() and np.isfinite(planes).all()):
            raise ArchiveError(f'{path} holds NaN or infinite numbers; {_CURE}')
        if kind.shape or not planes.shape[1] or planes.shape[1] % 8:
            raise ArchiveError(f'{path} is not a hash of whole bytes; {_CURE}')
        return cls(str(kind), mean, planes)


def _check_bits(bits: int) -> None:
    if bits < 8 or bits % 8:
        raise QueryError(f'{bits} bits do not fill bytes; give a multiple of 8')
