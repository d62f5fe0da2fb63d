"""Relevance by label: one per patch, a list of them, or a multi-hot vector."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.class_names import bare_names
from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search.memory import check_fits
from torchgeo_cmr.table import EmbeddingTable

from .place_rule import Relevance

#: How label sets are compared.
Match = Literal['any', 'exact', 'jaccard']


class LabelSets(NamedTuple):
    """Which patch carries which class."""

    #: Names of the classes (C,): labels as text, or ``class <i>`` of multi-hot vectors.
    classes: tuple[str, ...]
    #: For each table, float32 (rows, C) of 0 and 1; a row without label holds 0 only.
    members: tuple[NDArray[np.float32], ...]


def label_sets(tables: Sequence[EmbeddingTable], column: str) -> LabelSets:
    """Read the labels of tables into one vocabulary.

    A cell is one label, a list of labels, or a multi-hot vector: numbers 0 and 1, of the
    same length, at least 2, in every row of all tables. Null, blank text and an empty list are no
    label, and spaces around a label are no part of it.

    Args:
        tables: Tables with the column.
        column: Column that holds the labels.

    Returns:
        Classes and memberships.

    Raises:
        ArchiveError: If a table has no such column, multi-hot vectors differ in length or lack
            numbers, or there are lists in lists.
        QueryError: If there are more labels and rows than fit into memory.

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
        >>> labelled = EmbeddingTable.from_frame(
        ...     frame.assign(labels=[['lake', 'wood'], ['lake'], None]),
        ...     vectors,
        ...     space='demo',
        ... )
        >>> label_sets([labelled], 'labels').classes
        ('lake', 'wood')
    """
    cells: list[list[Any]] = []
    for number, table in enumerate(tables):
        if column not in table.frame:
            name = ('queries', 'archive')[min(number, 1)]
            raise ArchiveError(
                f'the {name} have no column {column!r}: found '
                f'{", ".join(map(str, table.frame.columns))}'
            )
        cells.append([_cell(value) for value in table.frame[column]])
    known = [cell for part in cells for cell in part if cell is not None]
    _check_vectors(known, any(_gap(v) for t in tables for v in t.frame[column]), column)
    if _multi_hot(known):
        classes = tuple(f'class {i}' for i in range(len(known[0])))
        blank = [0] * len(classes)
        members = tuple(
            np.array([blank if cell is None else cell for cell in part], np.float32)
            for part in cells
        )
        return LabelSets(classes, tuple(m.reshape(-1, len(classes)) for m in members))
    bare = bare_names(
        (str(label) for cell in known for label in cell), f'column {column!r}'
    )
    names = sorted({*bare.values()} - {''})
    rows = sum(map(len, cells))
    check_fits(
        4 * rows * len(names),
        f'column {column!r} holds {len(names)} labels: which of them {rows} rows have',
        'name a column of fewer labels, or score some of the rows',
    )
    position = {name: i for i, name in enumerate(names)}
    members = tuple(np.zeros((len(part), len(names)), np.float32) for part in cells)
    for part, member in zip(cells, members, strict=True):
        for row, cell in enumerate(part):
            held = [bare[str(label)] for label in cell or ()]
            member[row, [position[name] for name in held if name]] = 1
    return LabelSets(tuple(names), members)


def same_label(
    queries: EmbeddingTable, archive: EmbeddingTable, column: str
) -> Relevance:
    """Count an item as relevant if it carries the query's label, or one of them.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        column: Column that holds the label; a missing label matches nothing.

    Returns:
        bool array of shape ``(queries, items)``.

    Raises:
        ArchiveError: If a table has no such column.
    """
    return shares_label(queries, archive, column)


def shares_label(
    queries: EmbeddingTable,
    archive: EmbeddingTable,
    column: str,
    *,
    match: Match = 'any',
    threshold: float = 0.5,
) -> Relevance:
    """Count an item as relevant if its label set is like the query's.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        column: Column of labels, lists of labels or multi-hot vectors (:func:`label_sets`).
        match: ``'any'``: a class in common; ``'exact'``: the same classes; ``'jaccard'``:
            common classes over all classes of both at least *threshold*.
        threshold: Smallest Jaccard index, above 0, up to 1.

    Returns:
        bool array of shape ``(queries, items)``; a patch without label matches nothing.

    Raises:
        ArchiveError: If a table has no such column.
        QueryError: If *match* or *threshold* is not valid.
    """
    return compare(*label_sets((queries, archive), column).members, match, threshold)


def compare(
    queries: NDArray[np.float32],
    found: NDArray[np.float32],
    match: Match,
    threshold: float,
) -> Relevance:
    """Compare memberships; see :func:`shares_label`.

    Args:
        queries: Memberships (queries, C).
        found: Memberships (items, C).
        match: How.
        threshold: Smallest Jaccard index.

    Returns:
        bool array of shape ``(queries, items)``.

    Raises:
        QueryError: If *match* or *threshold* is not valid.
    """
    if match not in get_args(Match):
        raise QueryError(f"match is 'any', 'exact' or 'jaccard', found {match!r}")
    if not 0 < threshold <= 1:
        raise QueryError(f'a Jaccard index lies above 0, up to 1, found {threshold}')
    shared = queries @ found.T
    if match == 'any':
        return shared > 0
    either = queries.sum(1)[:, None] + found.sum(1) - shared
    if match == 'exact':
        return (shared > 0) & (shared == either)
    # Whole numbers but for the threshold: the slack keeps one third at 0.333333.
    return (shared > 0) & (shared >= threshold * either - 1e-4)


def _cell(value: Any) -> list[Any] | None:
    """One cell as a list of labels; None without any."""
    if _many(value):
        return [_plain(item) for item in value if not _null(item)] or None
    return None if pd.isna(value) else [_plain(value)]


def _plain(label: Any) -> Any:
    """A whole number is the same label whatever the type of its column."""
    whole = isinstance(label, float | np.floating) and float(label).is_integer()
    return int(label) if whole else label


def _multi_hot(cells: list[list[Any]]) -> bool:
    if not cells or len({len(cell) for cell in cells}) != 1 or len(cells[0]) < 2:
        return False
    return _zeros_and_ones(cells)


def _zeros_and_ones(cells: list[list[Any]]) -> bool:
    return all(
        not isinstance(item, str) and item in (0, 1) for cell in cells for item in cell
    )


def _check_vectors(cells: list[list[Any]], gaps: bool, column: str) -> None:
    """Refuse lists of lists, and multi-hot vectors whose numbers are of no known class."""
    if any(_many(item) for cell in cells for item in cell):
        raise ArchiveError(
            f'column {column!r} holds lists of lists: give each row one list of labels'
        )
    lengths = sorted({len(cell) for cell in cells})
    broken = gaps or len(lengths) > 1
    if not cells or not broken or not _zeros_and_ones(cells):
        return
    # One or two numbers may be the labels 0 and 1.
    if lengths[-1] > 2 or (gaps and lengths[-1] > 1):
        found = 'with nulls among them' if gaps else ''
        if len(lengths) > 1:
            found = f'in rows of {" and ".join(map(str, lengths[:3]))}'
        raise ArchiveError(
            f'column {column!r} holds only 0 and 1, as multi-hot vectors do, but {found}: give each '
            'row of both tables a number for every class, or a list that names each label once'
        )


def _gap(value: Any) -> bool:
    """Whether a list holds nulls among other things."""
    return _many(value) and 0 < sum(map(_null, value)) < len(value)


def _many(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)


def _null(item: Any) -> bool:
    return not _many(item) and bool(pd.isna(item))
