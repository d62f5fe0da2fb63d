"""Figures of an evaluation in a folder: curves, the space of the vectors, maps, and queries with their hits."""

from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.export.file_names import safe_name
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.where.conditions.tokens import quoted
from torchgeo_cmr.table import EmbeddingTable

from .place_rule import same_patch
from .recall_curve import plot_recall
from .report import Report
from .settings import marked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Rows of each table that the figures of the space are made of, evenly spaced.
_ROWS = 8_192
#: Queries on the contact sheet, and hits of each.
_QUERIES, _HITS = 6, 5


def write_plots(
    folder: str | PathLike[str],
    queries: EmbeddingTable,
    archive: EmbeddingTable,
    curves: Report,
    relevance: Any = None,
    *,
    overwrite: bool = False,
) -> tuple[list[Path], list[str]]:
    """Write the figures of an evaluation.

    ``recall.png``: recall over the number of hits. ``gap.png`` and ``hubs.png``: how far modalities lie apart, and rows that
    answer too many queries (:func:`~torchgeo_cmr.export.plot_gap`, :func:`~torchgeo_cmr.export.plot_hubs`).
    ``map_MODALITY.tif`` and ``.png``: places of the archive in colours of their vectors
    (:func:`~torchgeo_cmr.export.to_embedding_map`). ``contact_sheet.png``: some queries next to their hits, where
    the scenes can be read.

    Args:
        folder: Folder of the files; it is made.
        queries: Patches used as queries.
        archive: Patches that may be retrieved; may be the same table.
        curves: Report with recall@k at the cut-offs of the curve; of the rows of its splits the other figures are, too.
        relevance: Function of two tables that judges the hits on the sheet; None to leave that open.
        overwrite: Replace files that are there.

    Returns:
        The files, and a sentence for each figure that could not be drawn.

    Raises:
        OutputExistsError: If a file is there and ``overwrite`` is False.
    """
    from torchgeo_cmr.export.pictures.embedding_map import to_embedding_map
    from torchgeo_cmr.export.pictures.space_plots import plot_gap, plot_hubs

    folder = Path(folder)
    written: list[Path] = []
    notes: list[str] = []

    def attempt(name: str, write: Callable[[Path], Any]) -> None:
        try:
            write(folder / name)
        except (QueryError, ArchiveError) as error:
            notes.append(f'{name} is not drawn: {error}')
        else:
            written.append(folder / name)

    def draw(name: str, plot: Callable[[], 'Figure']) -> None:
        def write(path: Path) -> None:
            figure = plot()
            with new_file(path, overwrite=overwrite) as temporary:
                figure.savefig(temporary, format='png', dpi=130)

        attempt(name, write)

    queries, archive = _scored(queries, archive, curves.protocol)
    few = _few(queries, archive)
    draw('recall.png', lambda: plot_recall(curves))
    draw('gap.png', lambda: plot_gap(few))
    draw('hubs.png', lambda: plot_hubs(few))
    for modality in sorted(set(archive.frame['modality'].dropna())):
        for suffix in ('tif', 'png'):
            attempt(
                f'map_{safe_name(modality)}.{suffix}',
                lambda path, modality=modality: to_embedding_map(
                    archive, path, modality=modality, overwrite=overwrite
                ),
            )
    attempt(
        'contact_sheet.png',
        lambda path: _sheet(path, queries, archive, relevance, overwrite),
    )
    return written, notes


def _scored(
    queries: EmbeddingTable, archive: EmbeddingTable, protocol: dict[str, Any]
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Give the rows that a report is of."""

    def rows(table: EmbeddingTable, split: str | None) -> EmbeddingTable:
        kept = np.ones(len(table), dtype=bool)
        for column, word in (('split', split), ('tile', protocol['tile'])):
            if word is not None and column in table.frame:
                kept &= marked(table, column, word)
        return table if kept.all() else table.select(np.flatnonzero(kept))

    first, second = protocol['query_split'], protocol['archive_split']
    found = rows(archive, second)
    same = queries is archive and first == second
    return found if same else rows(queries, first), found


def _few(queries: EmbeddingTable, archive: EmbeddingTable) -> EmbeddingTable:
    """Give some rows of both tables as one."""
    tables = [archive] if queries is archive else [queries, archive]
    parts = [t.select(np.arange(0, len(t), -(-len(t) // _ROWS) or 1)) for t in tables]
    if len(parts) == 1:
        return parts[0]
    same = same_patch(*parts).any(axis=1)
    first, second = parts[0].select(np.flatnonzero(~same)), parts[1]
    if first.frame['patch_id'].isin(second.frame['patch_id']).any():
        # Two sensors name the patches of a place alike; in one table names are unique.
        frame = first.frame.assign(patch_id='query ' + first.frame['patch_id'])
        first = replace(first, frame=frame)
    return EmbeddingTable.concat([first, second], strict=False)


def _sheet(
    path: Path,
    queries: EmbeddingTable,
    archive: EmbeddingTable,
    relevance: Any,
    overwrite: bool,
) -> None:
    """Draw some queries of the first modality next to their hits, of another one if there is one."""
    from torchgeo_cmr.export import PatchReader, to_sheet

    kind = min(queries.frame['modality'])
    others = sorted(set(archive.frame['modality']) - {kind}) or [kind]
    rows = np.flatnonzero((queries.frame['modality'] == kind).to_numpy())
    chosen = queries.select(rows[:: -(-len(rows) // _QUERIES)])
    where = Where(where=f'modality = {quoted(others[0])}')
    hits = RetrievalIndex(archive).search(chosen, _HITS, where=where)
    if relevance is not None and len(hits):
        asking, found = (
            pd.Index(table.frame['patch_id']).get_indexer(hits[column])
            for table, column in ((chosen, 'query_id'), (archive, 'patch_id'))
        )
        items, places = np.unique(found, return_inverse=True)
        hits['relevant'] = relevance(chosen, archive.select(items))[asking, places]
    records = {
        m: t.record for t in (archive, queries) for m in set(t.frame['modality'])
    }
    to_sheet(
        hits,
        path,
        queries=chosen,
        read=PatchReader(records, north_up=True),
        max_queries=_QUERIES,
        max_hits=_HITS,
        overwrite=overwrite,
    )
