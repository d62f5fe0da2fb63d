"""Contact sheets: each query next to its hits, in every sensor, on one picture."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.extent import with_geometry
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.export.visible_text import visible
from torchgeo_cmr.table import EmbeddingTable

#: Frame of a hit by its relevance. Okabe and Ito's colours, which colour-blind readers can distinguish;
#: the line differs as well, and the title carries a sign.
FRAMES: dict[bool | None, tuple[str, Literal['solid', 'dashed'], str, str]] = {
    True: ('#009E73', 'solid', '✓', 'relevant'),
    False: ('#D55E00', 'dashed', '✗', 'not relevant'),
    None: ('#999999', 'solid', '', 'relevance unknown'),
}
#: Frame of a query.
QUERY_COLOUR = '#000000'

#: Gives the picture of one row of a frame in one modality.
type Read = Callable[[pd.Series, str], NDArray[np.floating] | None]


def to_sheet(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable,
    read: Read,
    max_queries: int = 6,
    max_hits: int = 5,
    overwrite: bool = False,
) -> Path:
    """Draw queries next to their hits as a PNG.

    One band of the sheet is one query; it has a row of thumbnails for each modality that
    queries or hits have, the query's own first. The frame of a hit shows whether it is
    relevant: green for true, red and dashed for false, grey for null.

    Args:
        results: What a search gave; ``relevant`` may be filled in.
        path: PNG to write.
        queries: The queries, whose ``patch_id`` (or ``query_id``, as in a saved search) is the
            result's ``query_id``.
        read: Called with a row of either frame and a modality; gives floats in 0..1 of shape
            (height, width, 3), or None where there is no picture.
        max_queries: Queries to draw, the first in the order of the result.
        max_hits: Hits to draw for each, best first.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If there is nothing to draw.
        OutputExistsError: If the file is there and ``overwrite`` is False.
    """
    from matplotlib.figure import Figure

    query_frame = queries.frame if isinstance(queries, EmbeddingTable) else queries
    if max_queries < 1 or max_hits < 1:
        raise QueryError(
            f'max_queries={max_queries} and max_hits={max_hits} must be at least 1'
        )
    bands = _bands(with_geometry(results), query_frame, max_queries, max_hits)
    modalities = _modalities(bands)
    columns = 1 + max(len(hits) for _, hits in bands)
    rows = len(bands) * len(modalities)
    with new_file(path, overwrite=overwrite) as temporary:
        figure = Figure(
            figsize=(1.7 * columns + 0.4, 2.0 * rows + 0.5),
            dpi=110,
            layout='constrained',
        )
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis in axes.ravel():
            axis.set_axis_off()
        lines = iter(axes)
        for band in bands:
            for j, modality in enumerate(modalities):
                _draw(next(lines), band, modality, read, titles=j == 0)
        _legend(figure)
        figure.savefig(temporary, format='png')
    return Path(path)


def _bands(
    results: gpd.GeoDataFrame, queries: pd.DataFrame, most: int, hits: int
) -> list[tuple[pd.Series, pd.DataFrame]]:
    """Give the first queries of the result, each with its best hits."""
    if 'patch_id' not in queries:
        # A saved search calls them by the name they have in its results.
        queries = queries.rename(columns={'query_id': 'patch_id'})
    known = queries.set_index('patch_id', drop=False)
    ids = [i for i in results['query_id'].unique() if i in known.index][:most]
    if not ids:
        raise QueryError(
            'no query of the result is among the queries given; give those of the search'
        )
    return [
        (known.loc[i], results[results['query_id'] == i].nsmallest(hits, 'rank'))
        for i in ids
    ]


def _draw(
    line: Any,
    band: tuple[pd.Series, pd.DataFrame],
    modality: str,
    read: Read,
    *,
    titles: bool,
) -> None:
    """Draw a query and its hits in one modality on one line of axes."""
    query, hits = band
    _panel(line[0], read(query, modality), QUERY_COLOUR, 'solid')
    # Dollar signs in a name do not begin a formula.
    plain: dict[str, Any] = {'fontsize': 7, 'parse_math': False}
    label = _short(modality)
    line[0].set_ylabel(label, fontsize=9, fontweight='bold', parse_math=False)
    if titles:
        line[0].set_title('\n'.join(['query', *_origin(query)]), **plain)
    for axis, (_, hit) in zip(line[1:], hits.iterrows(), strict=False):
        relevant = None if pd.isna(hit['relevant']) else bool(hit['relevant'])
        colour, style, sign, _ = FRAMES[relevant]
        _panel(axis, read(hit, modality), colour, style)
        if titles:
            first = f'{hit["rank"]}   {hit["score"]:.3f} {sign}'.rstrip()
            axis.set_title('\n'.join([first, *_origin(hit)]), **plain)


def _legend(figure: Any) -> None:
    """Explain the frames below the sheet."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, linestyle=style, linewidth=3, label=name)
        for colour, style, _, name in FRAMES.values()
    ]
    figure.legend(
        handles=handles,
        loc='outside lower center',
        ncols=len(handles),
        fontsize=8,
        frameon=False,
    )


def _panel(
    axis: Any, picture: NDArray[np.floating] | None, colour: str, style: str
) -> None:
    """Draw one thumbnail in its frame."""
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    if picture is None:
        axis.set_aspect('equal')
        axis.set_facecolor('#F2F2F2')
        axis.text(
            0.5,
            0.5,
            'no picture',
            ha='center',
            va='center',
            fontsize=7,
            transform=axis.transAxes,
        )
    else:
        axis.imshow(np.clip(picture, 0, 1), interpolation='nearest')
    for spine in axis.spines.values():
        spine.set(visible=True, color=colour, linewidth=3, linestyle=style)


def _modalities(bands: list[tuple[pd.Series, pd.DataFrame]]) -> list[str]:
    """Give the modalities to draw, the first query's first."""
    found: dict[str, None] = {}
    for query, _ in bands:
        found[query['modality']] = None
    for _, hits in bands:
        found.update(dict.fromkeys(hits['modality']))
    return [m for m in found if isinstance(m, str)] or ['image']


def _origin(row: pd.Series) -> list[str]:
    """Give date and source of a patch as short lines."""
    lines = []
    if pd.notna(moment := row.get('time_start')):
        lines.append(f'{moment:%Y-%m-%d}')
    if isinstance(source := row.get('source'), str):
        lines.append(_short(source.rsplit('/', 1)[-1]))
    return lines


def _short(word: str) -> str:
    """Give a word on one line, its middle cut out if it is long."""
    word = visible(' '.join(word.split()))
    return word if len(word) <= 24 else f'{word[:11]}…{word[-12:]}'
