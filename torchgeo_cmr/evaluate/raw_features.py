"""Published distances: reports on raw features in place of unit vectors.

An archive holds unit vectors. Euclidean distance and chi-square depend on the length of a
feature as well, so they need the features as the network gave them: a column of the archive.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable

from .directions import make_report
from .judge import Judge
from .picking import pick, pick_rows
from .report import Report


def raw_features(table: EmbeddingTable, column: str) -> NDArray[np.float64]:
    """Read the raw feature of each patch.

    Args:
        table: Patches.
        column: Column of features, lists of numbers of one length; or of their lengths, one
            number per row, by which the unit vectors are multiplied.

    Returns:
        Features (rows, dim).

    Raises:
        ArchiveError: If there is no such column, or it holds something else.
    """
    if column not in table.frame:
        raise ArchiveError(
            f'there is no column {column!r} of features: found '
            f'{", ".join(map(str, table.frame.columns))}'
        )
    try:
        values = np.array(table.frame[column].tolist(), np.float64)
    except (TypeError, ValueError):
        values = np.full(0, np.nan)
    if len(values) != len(table) or values.ndim > 2 or not np.isfinite(values).all():
        raise ArchiveError(
            f'column {column!r} must hold a list of numbers per row, all of one length, or one '
            'number per row, the length of its feature: fill or drop other rows'
        )
    return values if values.ndim == 2 else values[:, None] * table.vectors


def feature_report(
    queries: EmbeddingTable,
    archive: EmbeddingTable,
    *,
    relevance: Judge | str,
    column: str,
    **options: Any,
) -> Report:
    """Score every direction on raw features, as :func:`make_report` does on unit vectors.

    A feature of only zeros (a ReLU head can give one) has no direction: its patch is neither a
    query nor an item, and is counted in ``counts['zero features']``.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        relevance: As :func:`make_report` takes it, for all rows.
        column: Column of raw features, see :func:`raw_features`.
        **options: Other arguments of :func:`make_report`.

    Returns:
        The report.

    Raises:
        ArchiveError: If a table has no such features, or those of the two do not fit, or only
            zeros.
        QueryError: If a setting is not valid.
    """
    tables = queries, archive
    features = [raw_features(table, column) for table in tables]
    if features[0].shape[1] != features[1].shape[1]:
        raise ArchiveError(
            f'features of the queries have {features[0].shape[1]} numbers and those of the '
            f'archive {features[1].shape[1]}: embed both with one checkpoint'
        )
    kept = [np.flatnonzero(part.any(axis=1)) for part in features]
    for rows, name in zip(kept, ('queries', 'archive'), strict=True):
        if not len(rows):
            raise ArchiveError(
                f'all features of the {name} in column {column!r} are zero: nothing is left '
                'to compare'
            )
    if not callable(relevance) and not isinstance(relevance, str):
        relevance = np.asarray(relevance)[np.ix_(*kept)]
    query_table, found = (
        pick_rows(t, rows) for t, rows in zip(tables, kept, strict=True)
    )
    report = make_report(
        query_table,
        found,
        relevance=relevance,
        features=(pick(features[0], kept[0]), pick(features[1], kept[1])),
        **options,
    )
    left = {
        name: len(table) - len(rows)
        for name, table, rows in zip(('queries', 'archive'), tables, kept, strict=True)
    }
    return replace(
        report,
        counts={**report.counts, 'zero features': left},
        protocol={**report.protocol, 'features': f'column {column}'},
    )
