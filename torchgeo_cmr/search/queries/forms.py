"""Other forms of queries and filters than tables, vectors and a ``Where``.

Rows are named by ``patch_id``, by a row of a frame that has one, or by several; a filter is
anything an area may be. A condition needs its ``Where``, since text is the name of a file too.
"""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike
from pandas.api.extensions import ExtensionArray
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.where.drawing import AreaLike, is_drawing
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable

from .lookup import Archive, from_ids

#: What can be a query: a table, vectors, ids, or rows of a frame with a ``patch_id``.
type Asking = (
    EmbeddingTable | ArrayLike | str | Sequence[str] | pd.Series | pd.DataFrame
)
#: What may filter: a :class:`Where` or an area.
type Filtering = Where | AreaLike


def read_asking(archive: Archive, queries: Any) -> EmbeddingTable | ArrayLike:
    """Give queries as a table, or as bare vectors.

    Args:
        archive: Where rows that are named are looked up.
        queries: A table or vectors, which are taken as they are; a ``patch_id`` or several; a
            row, or rows, of a frame with a ``patch_id``, such as a hit.

    Raises:
        QueryError: If there is no such row, or a place or a file is given; the message explains
            how to search with it.
    """
    if isinstance(queries, EmbeddingTable):
        return queries
    words = _listed(queries)
    if isinstance(words, np.ndarray):
        return words
    if isinstance(queries, np.ndarray):
        try:
            return from_ids(archive, words)
        except QueryError as error:
            raise QueryError(f'{error}; of vectors, give real numbers') from error
    queries = words
    named = getattr(queries, 'patch_id', None)
    if named is not None:
        return from_ids(archive, named if isinstance(named, str) else list(named))
    if isinstance(queries, Geometry | gpd.GeoDataFrame | gpd.GeoSeries):
        raise QueryError(
            f'a {type(queries).__name__} is a place; use from_places(index, place, crs), or '
            'at(index, lon, lat)'
        )
    if isinstance(queries, PathLike) or (
        isinstance(queries, str) and Path(queries).suffix and Path(queries).exists()
    ):
        raise QueryError(
            f'{queries} is a file or folder; use EmbeddingTable.load(FOLDER), or '
            'from_places(index, FILE) of a vector file'
        )
    if isinstance(queries, str):
        return from_ids(archive, queries)
    if isinstance(queries, Sequence | pd.Index | pd.Series) and len(queries):
        if all(isinstance(item, str) for item in queries):
            return from_ids(archive, list(queries))
        if all(isinstance(item, EmbeddingTable) for item in queries):
            raise QueryError(
                'the queries are several tables; put them into one by EmbeddingTable.concat'
            )
    if isinstance(queries, int | np.integer):
        raise QueryError(
            f'the query is {queries}; use the row of that number, '
            f'table.select([{queries}]), or with its patch_id'
        )
    return queries


def _listed(queries: Any) -> Any:
    """Give ids in whatever holds them as a list; leave the rest as it is."""
    if isinstance(queries, np.ndarray):
        if queries.dtype.kind not in 'UTO':
            return queries
        words = queries.tolist() if queries.ndim else [queries.item()]
        return words if all(isinstance(item, str) for item in words) else queries
    if isinstance(queries, Mapping) and 'patch_id' in queries:
        queries = queries['patch_id']
    if isinstance(queries, set | frozenset):
        return sorted(queries, key=str)
    if isinstance(queries, Iterator | ExtensionArray):
        return list(queries)
    if isinstance(queries, pa.Array | pa.ChunkedArray):
        return queries.to_pylist()
    return queries


def read_filter(where: Any) -> Where | None:
    """Give a filter.

    Args:
        where: A :class:`Where`, which is taken as it is, or None; or anything an area may be.

    Raises:
        QueryError: If it is of another type.
    """
    if where is None or isinstance(where, Where):
        return where
    if isinstance(where, str) and not is_drawing(where):
        raise QueryError(
            f'where is a str; give a Where(...), such as Where(where={where!r:.80})'
        )
    if isinstance(where, dict) and 'type' not in where:
        raise QueryError(
            "where is a dict; give a Where(...), such as Where(where='cloud < 10')"
        )
    several = isinstance(where, list | tuple)
    if several and any(isinstance(item, Where) for item in where):
        raise QueryError('where is several filters; join them with &, | and ~')
    return Where(where)
