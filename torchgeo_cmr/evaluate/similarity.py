"""Similarities of features under the distances that have been published.

Products are made in float64 and rounded to float32, so that equal vectors score equal.
"""

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.metrics.functional import chi_square, euclidean_similarity
from torchgeo_cmr.table import EmbeddingTable

from .protocol import Similarity

#: Items that are held in float64 at a time.
_BLOCK = 8_192


class UnitRows:
    """The vectors of a table as features: packed codes are unpacked when they are compared.

    Args:
        table: The table.
    """

    def __init__(self, table: EmbeddingTable) -> None:
        """Keep the table."""
        self._table = table

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self._table)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Give some rows (m, dim)."""
        return self._table.unit_rows(rows)


type Features = NDArray[np.floating] | UnitRows


def check_features(
    queries: Features, found: Features, shape: tuple[int, int], kind: Similarity
) -> None:
    """Refuse features that cannot be compared.

    Args:
        queries: Features of the queries.
        found: Features of the archive.
        shape: Rows that the two tables have.
        kind: How they are to be compared.

    Raises:
        ArchiveError: If they have other rows than the tables, or one is nothing but zeros.
        QueryError: If chi-square meets a negative number.
    """
    if (len(queries), len(found)) != shape:
        raise ArchiveError(
            f'features of {len(queries)} and {len(found)} rows do not fit tables of {shape[0]} '
            f'and {shape[1]}'
        )
    zeros, least = [0, 0], 0.0
    for i, part in enumerate((queries, found)):
        for start in range(0, len(part), _BLOCK):
            block = part[start : start + _BLOCK]
            zeros[i] += int((~block.any(axis=1)).sum())
            least = min(least, float(block.min(initial=0)))
    if any(zeros):
        raise ArchiveError(
            f'{zeros[0]} queries and {zeros[1]} items have a feature of only zeros, which is '
            'not a description: drop them, as feature_report does'
        )
    if kind == 'chi_square' and least < 0:
        raise QueryError(
            'chi-square compares histograms and these features hold negative numbers: use '
            'cosine, or a head that ends in ReLU'
        )


def similarity(
    queries: NDArray[np.floating], found: Features, kind: Similarity
) -> NDArray[np.float32]:
    """Compare every query with every item: higher is closer.

    Args:
        queries: Features (queries, dim).
        found: Features (items, dim).
        kind: Cosine, minus the squared Euclidean distance, or minus chi-square.

    Returns:
        Similarities (queries, items).
    """
    scores = np.empty((len(queries), len(found)), np.float32)
    queries = queries.astype(np.float64)
    for start in range(0, len(found), _BLOCK):
        block = found[start : start + _BLOCK].astype(np.float64)
        part = slice(start, start + _BLOCK)
        if kind == 'chi_square':
            scores[:, part] = -chi_square(queries, block)
        elif kind == 'euclidean':
            scores[:, part] = np.minimum(euclidean_similarity(queries, block), 0)
        else:
            lengths = np.linalg.norm(queries, axis=1)[:, None]
            lengths = lengths * np.linalg.norm(block, axis=1)
            scores[:, part] = queries @ block.T / lengths
    return scores
