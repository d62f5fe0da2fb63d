"""Vectors that users give: of length 1 in a table, or refused by the name of their patch."""

from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable

#: Any: pandas' stubs lose the type of assigned frames.
type Frame = Any


def test_vectors_are_unit_and_read_only(frame: Frame, vectors: np.ndarray) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    twin = [
        [x / sum(y * y for y in row) ** 0.5 for x in row] for row in vectors.tolist()
    ]
    np.testing.assert_allclose(table.vectors, twin, rtol=1e-6)
    with pytest.raises(ValueError, match='read-only'):
        table.vectors[0, 0] = 1


@pytest.mark.parametrize('scale', [1e-200, 1e200])
def test_extreme_lengths(frame: Frame, vectors: np.ndarray, scale: float) -> None:
    a = EmbeddingTable.from_frame(frame, vectors)
    b = EmbeddingTable.from_frame(frame, vectors * scale)
    np.testing.assert_allclose(a.vectors, b.vectors, rtol=1e-6)


@pytest.mark.parametrize(
    ('row', 'value', 'message'),
    [
        (3, 0, r'0_96_32x32.*only zeros'),
        (4, np.nan, r'32_0_32x32.*NaN or infinite'),
        (11, np.inf, r'64_96_32x32.*NaN or infinite'),
    ],
)
def test_refuses_vectors_by_name(
    frame: Frame, vectors: np.ndarray, row: int, value: float, message: str
) -> None:
    vectors[row] = value
    with pytest.raises(ArchiveError, match=message):
        EmbeddingTable.from_frame(frame, vectors)


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (np.ones((11, 5)), '12 rows and 11 vectors'),
        (np.ones(12), r'shape \(12,\)'),
        (np.ones((12, 0)), r'shape \(12, 0\)'),
        (np.full((12, 2), 'a'), 'real numbers'),
        ([[1.0], [1.0, 2.0]], 'different lengths'),
    ],
)
def test_refuses_shapes(frame: Frame, bad: np.ndarray, message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        EmbeddingTable.from_frame(frame, bad)
