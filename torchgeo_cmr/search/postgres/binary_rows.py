"""Rows in PostgreSQL's binary form, made and read by NumPy all at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = b'PGCOPY\n\xff\r\n\0' + bytes(8)
_END = b'\xff\xff'


def packed_vectors(
    numbers: NDArray[np.int64], vectors: NDArray[np.float32], *, half: bool
) -> bytes:
    """Give row numbers and vectors as ``COPY ... (FORMAT BINARY)`` takes them."""
    rows = np.zeros(len(numbers), _vector_row(vectors.shape[1], half=half))
    rows['fields'], rows['size'], rows['width'] = 2, 8, rows.dtype['v'].itemsize + 4
    rows['number'], rows['dim'], rows['v'] = numbers, vectors.shape[1], vectors
    return _HEADER + rows.tobytes() + _END


def unpacked_vectors(
    content: bytes, dim: int, *, half: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Undo :func:`packed_vectors`; rows of half precision are brought to length 1."""
    rows = _read(content, _vector_row(dim, half=half))
    vectors = rows['v'].astype(np.float32)
    if half:
        whole = vectors.astype(np.float64)
        whole /= np.linalg.norm(whole, axis=1, keepdims=True)
        vectors = whole.astype(np.float32)
    return rows['number'].astype(np.int64), vectors


def unpacked_numbers(content: bytes, kinds: str) -> list[NDArray[Any]]:
    """Read columns of eight bytes without nulls.

    Args:
        content: What ``COPY ... (FORMAT BINARY)`` gave.
        kinds: ``i`` for bigint, ``f`` for double precision, one per column.
    """
    fields: list[tuple[str, str]] = [('fields', '>i2')]
    for i, kind in enumerate(kinds):
        fields += [(f's{i}', '>i4'), (f'v{i}', f'>{kind}8')]
    rows = _read(content, np.dtype(fields))
    return [rows[f'v{i}'].astype(f'{kind}8') for i, kind in enumerate(kinds)]


def _vector_row(dim: int, *, half: bool) -> np.dtype[Any]:
    return np.dtype(
        [
            ('fields', '>i2'),
            ('size', '>i4'),
            ('number', '>i8'),
            ('width', '>i4'),
            ('dim', '>i2'),
            ('unused', '>i2'),
            ('v', '>f2' if half else '>f4', (dim,)),
        ]
    )


def _read(content: bytes, row: np.dtype[Any]) -> NDArray[Any]:
    body = memoryview(content)[len(_HEADER) : -len(_END)]
    return np.frombuffer(body, row)
