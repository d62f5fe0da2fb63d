"""Relevance feedback: a result that a person has labelled becomes the next query."""

from os import PathLike

import geopandas as gpd
import pandas as pd

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.vectors.vector_file import read_frame

from .examples import from_examples, made_of, of_examples
from .lookup import Archive, from_ids

_YES = ('1', 'true', 't', 'yes', 'y')
_NO = ('0', 'false', 'f', 'no', 'n')


def from_feedback(
    table: EmbeddingTable | Archive,
    labelled: gpd.GeoDataFrame | str | PathLike[str],
    *,
    queries: EmbeddingTable | None = None,
    method: str | None = None,
) -> EmbeddingTable:
    """Refine queries by a person's judgement of their hits.

    Open a result in a GIS, set ``relevant`` to true or false where you can tell, leave it
    null elsewhere, and search again with what this gives.

    Args:
        table: Where the hits came from: the archive, a table or an index.
        labelled: A result or its file (a GeoPackage, whose layer ``results`` is taken, GeoJSON,
            any OGR file) with the columns ``query_id``, ``patch_id`` and ``relevant`` (true and false, 1 and 0, yes and no).
        queries: The first queries; those that the result names weigh in.
        method: As for :func:`from_examples`; without it ``'rocchio'``.

    Returns:
        One row per query that has at least one hit marked as right, ``patch_id`` that of the
        query, in the order of the result.

    Raises:
        QueryError: If columns are missing, a label is neither, no hit is marked as right, or
            a hit is not in the table.
    """
    if not isinstance(labelled, gpd.GeoDataFrame):
        labelled = read_frame(
            labelled, 'labelled layer', prefer='results', placeless=True
        )
    for column in ('query_id', 'patch_id', 'relevant'):
        if column not in labelled:
            raise QueryError(
                f'the labelled layer has no column {column}; label a result of a search'
            )
    labels = labelled['relevant'].map(_label)
    known = {} if queries is None else dict(_numbered(queries))
    judged: list[tuple[str, list[str], list[str]]] = []
    for name in labelled['query_id'].drop_duplicates():
        rows = labelled['query_id'] == name
        right = labelled['patch_id'][rows & (labels == 1)].tolist()
        wrong = labelled['patch_id'][rows & (labels == 0)].tolist()
        if right:
            judged.append((name, right, wrong))
    # Names are looked up once for all queries.
    every = list(dict.fromkeys(n for _, yes, no in judged for n in (*yes, *no)))
    place = {name: i for i, name in enumerate(every)}
    marked = from_ids(table, every) if every else None
    made = []
    for name, right, wrong in judged:
        assert marked is not None  # it has what is right
        first = queries.select([known[name]]) if queries and name in known else None
        refined = from_examples(
            marked.select([place[item] for item in dict.fromkeys(right)]),
            marked.select([place[item] for item in dict.fromkeys(wrong)]),
            query=first,
            method=method or 'rocchio',
            name=str(name),
        )
        # Hits that were judged may be found again; the patch of the first query may not.
        rows = [] if first is None else made_of(first)[0]
        made.append(of_examples(refined, [rows]))
    if not made:
        raise QueryError(
            'no hit is marked as right; set relevant to true for at least one'
        )
    return EmbeddingTable.concat(made)


def _numbered(queries: EmbeddingTable) -> list[tuple[str, int]]:
    return [(name, i) for i, name in enumerate(queries.frame['patch_id'])]


def _label(value: object) -> float:
    """Read true, false or null as 1, 0 or NaN."""
    if value is None or pd.isna(value):
        return float('nan')
    word = str(value).strip().lower().removesuffix('.0')
    if not word:
        return float('nan')
    if word not in (*_YES, *_NO):
        raise QueryError(
            f'relevant is {value!r}; write true or false, or leave it empty'
        )
    return float(word in _YES)
