"""Figures of the vectors of an archive: the gap between its modalities, and its hubs."""

from itertools import cycle, permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

type _Floats = NDArray[np.float64]
type _Rows = NDArray[np.int64]

#: Rows of a modality that are compared at most, evenly spaced, and points that are drawn.
_ROWS, _POINTS = 4_096, 1_000
#: Okabe and Ito's colours, which colour-blind readers can distinguish.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00')
#: Footprints of one place overlap by at least this IoU, as in the rule of relevance ``place``.
_SAME = 0.5


def plot_gap(table: EmbeddingTable) -> 'Figure':
    """Draw how far apart the modalities of an archive lie.

    On the left the first two principal components of all vectors, uncentred for each modality, with the distance
    between the means (the modality gap, https://arxiv.org/abs/2203.02053); on the right the scores of patches of
    different modalities: those of one place (footprints that overlap by an IoU of at least 0.5) and all. Where both heaps lie
    apart, a search finds the place; where scores within a modality are higher than all of them, a mixed archive
    answers with the query's own modality first.

    Args:
        table: Rows of at least two modalities; of more than 4,096 of one, as many evenly spaced.

    Returns:
        The figure.

    Raises:
        QueryError: If there is one modality.
    """
    from matplotlib.figure import Figure

    parts = _parts(table)
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    points, scores = figure.subplots(1, 2)
    vectors = {
        name: table.unit_rows(rows).astype(np.float64) for name, rows in parts.items()
    }
    _draw_points(points, vectors)
    names = [*parts]
    same, across = [], []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            across.append((vectors[first] @ vectors[second].T).ravel())
            left, right = _same_place(table, parts[first], parts[second])
            same.append((vectors[first][left] * vectors[second][right]).sum(axis=1))
    within = [(v @ v.T)[np.triu_indices(len(v), 1)] for v in vectors.values()]
    heaps = {
        'different modalities, same place': np.concatenate(same),
        'different modalities, all': np.concatenate(across),
        'one modality, all': np.concatenate(within),
    }
    for (words, values), colour in zip(heaps.items(), COLOURS, strict=False):
        if len(values):
            scores.hist(
                values, 60, density=True, histtype='step', color=colour, label=words
            )
    scores.set(xlabel='score', ylabel='density', title='Scores of pairs of patches')
    scores.legend(fontsize='small')
    return figure


def plot_hubs(table: EmbeddingTable, k: int = 10) -> 'Figure':
    """Draw how often rows of one modality are among the first k of queries of another.

    Skewed counts mean hubs: a few rows answer most queries, and others none (Radovanovic et al., "Hubs in space", JMLR
    11, 2010). The titles give the skewness, 0 where all are found alike, and the share that no query finds.

    Args:
        table: Rows of at least two modalities; of more than 4,096 of one, as many evenly spaced.
        k: Ranks that count.

    Returns:
        The figure, one panel a direction.

    Raises:
        QueryError: If there is one modality, or k is below 1.
    """
    from matplotlib.figure import Figure

    if k < 1:
        raise QueryError(f'k={k} must be at least 1')
    parts = _parts(table)
    directions = [*permutations(parts, 2)]
    figure = Figure(figsize=(4.6 * len(directions), 3.6), layout='constrained')
    panels = figure.subplots(1, len(directions), squeeze=False)[0]
    for panel, (query, item) in zip(panels, directions, strict=True):
        counts = occurrences(
            table.unit_rows(parts[query]), table.unit_rows(parts[item]), k
        )
        panel.hist(counts, np.arange(counts.max() + 2) - 0.5, color=COLOURS[0])
        panel.set_yscale('log')
        panel.set(
            xlabel=f'queries that have a row among their first {k}',
            ylabel='rows',
            title=f'{query} → {item}: skewness {_skewness(counts):.1f}, '
            f'{(counts == 0).mean():.0%} never found',
        )
    return figure


def occurrences(
    queries: NDArray[np.floating], items: NDArray[np.floating], k: int
) -> _Rows:
    """Count for each item how many queries have it among their k nearest.

    Args:
        queries: Unit rows (queries, dim).
        items: Unit rows (items, dim).
        k: Ranks that count; of equal scores any.

    Returns:
        Counts (items,), whose sum is queries times min(k, items).
    """
    k = min(k, len(items))
    nearest = np.argpartition(-(queries @ items.T), k - 1, axis=1)[:, :k]
    return np.bincount(nearest.ravel(), minlength=len(items))


def _parts(table: EmbeddingTable) -> dict[str, _Rows]:
    """Give rows of each modality, evenly spaced if there are many."""
    names = table.frame['modality'].to_numpy().astype(str)
    found = sorted(set(names))
    if len(found) < 2:
        raise QueryError(
            f'the archive has the modality {", ".join(found) or "none"} alone, and this figure compares modalities; '
            'give an archive of several, or EmbeddingTable.concat of two'
        )
    parts = {}
    for name in found:
        rows = np.flatnonzero(names == name)
        parts[name] = rows[:: -(-len(rows) // _ROWS)]
    return parts


def _draw_points(panel: Any, vectors: dict[str, _Floats]) -> None:
    """Draw two components of all vectors, and say how far apart the means are."""
    means = {name: v.mean(axis=0) for name, v in vectors.items()}
    centre = np.mean([*means.values()], axis=0)
    spread = sum((v - centre).T @ (v - centre) / len(v) for v in vectors.values())
    axes = np.linalg.eigh(spread)[1][:, ::-1][:, :2]
    for (name, rows), colour in zip(vectors.items(), cycle(COLOURS), strict=False):
        few = (rows[:: -(-len(rows) // _POINTS)] - centre) @ axes
        panel.scatter(*few.T[:2], s=6, alpha=0.5, color=colour, label=name)
    first, second, *others = means.values()
    gap = float(np.linalg.norm(first - second))
    words = f'gap {gap:.2f}' if not others else f'gap of the first two {gap:.2f}'
    panel.set(
        xlabel='first component', ylabel='second component', title=f'Vectors: {words}'
    )
    panel.legend(fontsize='small')


def _same_place(
    table: EmbeddingTable, left: _Rows, right: _Rows
) -> tuple[_Rows, _Rows]:
    """Give positions in both lists of rows whose footprints overlap by half."""
    shapes = table.frame.geometry.to_numpy()
    first, second = shapes[left], shapes[right]
    a, b = shapely.STRtree(second).query(first, predicate='intersects')
    shared = shapely.area(shapely.intersection(first[a], second[b]))
    either = shapely.area(first[a]) + shapely.area(second[b]) - shared
    same = shared >= _SAME * np.maximum(either, np.finfo(float).tiny)
    return a[same], b[same]


def _skewness(counts: _Rows) -> float:
    off = counts - counts.mean()
    deviation = np.sqrt((off**2).mean())
    return float((off**3).mean() / deviation**3) if deviation else 0.0
