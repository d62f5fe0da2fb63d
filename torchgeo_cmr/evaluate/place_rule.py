"""Relevance by ground: the same place, next to it, within some metres, the patch itself."""

from collections.abc import Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import Spots, centres, metres_between

#: Result of a rule: True where an item is relevant to a query, shape (queries, items).
type Relevance = NDArray[np.bool_]

#: Pairs whose distance is bounded at a time.
_PAIRS = 4_000_000


def same_place(
    queries: EmbeddingTable, archive: EmbeddingTable, *, iou: float = 0.5
) -> Relevance:
    """Count an item as relevant if it shows the ground of the query.

    Overlap is measured in the CRS of the query's scene, planar; in the UTM zone of its
    centre where the scene is not known.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        iou: Smallest intersection over union of the footprints, above 0, up to 1.

    Returns:
        bool array of shape ``(queries, items)``.
    """
    relevant = np.zeros((len(queries), len(archive)), bool)
    for rows, items, query_shapes, item_shapes in _by_crs(queries, archive):
        q, a = shapely.STRtree(item_shapes).query(query_shapes, predicate='intersects')
        both = shapely.area(shapely.intersection(query_shapes[q], item_shapes[a]))
        either = shapely.area(query_shapes[q]) + shapely.area(item_shapes[a]) - both
        # A millionth less, since coordinates that went through degrees lose their last bits.
        close = both >= (iou - 1e-6) * either
        relevant[rows[q[close]], items[a[close]]] = True
    return relevant


def near_place(
    queries: EmbeddingTable, archive: EmbeddingTable, *, widths: float = 1.0
) -> Relevance:
    """Count an item as relevant if it lies next to the query or shows its ground.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        widths: Largest distance between the footprints, in widths of the query.

    Returns:
        bool array of shape ``(queries, items)``.
    """
    relevant = np.zeros((len(queries), len(archive)), bool)
    for rows, items, query_shapes, item_shapes in _by_crs(queries, archive, widths):
        bounds = shapely.bounds(query_shapes)
        # A thousandth more, since coordinates that went through degrees lose their last bits.
        reach = widths * (bounds[:, 2] - bounds[:, 0]) * 1.001
        q, a = shapely.STRtree(item_shapes).query(
            query_shapes, predicate='dwithin', distance=reach
        )
        relevant[rows[q], items[a]] = True
    return relevant


def within_distance(
    queries: EmbeddingTable, archive: EmbeddingTable, metres: float
) -> Relevance:
    """Count an item as relevant if it lies within some metres of the query.

    Distances are geodesic, between the nearest points of the footprints. Pairs whose centres
    decide are never measured, and bounds are made for a few million pairs at a time.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        metres: Largest distance; 0 for footprints that touch.

    Returns:
        bool array of shape ``(queries, items)``.

    Raises:
        QueryError: If the distance is negative or no number.
    """
    if not metres >= 0:
        raise QueryError(f'a distance must be 0 m or more (found {metres} m)')
    query_spots, item_spots = (
        Spots(t.frame.geometry.to_numpy()) for t in (queries, archive)
    )
    relevant = np.zeros((len(queries), len(archive)), bool)
    step = max(1, _PAIRS // max(1, len(archive)))
    for start in range(0, len(queries), step):
        rows = np.arange(start, min(start + step, len(queries)))
        least, largest = query_spots.bounds(rows, item_spots)
        relevant[rows] = largest <= metres
        q, a = np.nonzero((least <= metres) & (largest > metres))
        for part in np.array_split(np.arange(len(q)), 1 + len(q) // 100_000):
            apart = metres_between(
                query_spots.shapes[rows[q[part]]], item_spots.shapes[a[part]]
            )
            relevant[rows[q[part]], a[part]] = apart <= metres
    return relevant


def same_patch(queries: EmbeddingTable, archive: EmbeddingTable) -> Relevance:
    """Mark the items that are the query itself, to be excluded from its ranking.

    An item is the query if it has its ``patch_id`` and no other modality: archives of two sensors may
    name the patches of a place alike.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.

    Returns:
        bool array of shape ``(queries, items)``.
    """
    found = pd.Index(queries.frame['patch_id']).get_indexer(archive.frame['patch_id'])
    items = np.flatnonzero(found >= 0)
    rows = found[items]
    mine = queries.frame['modality'].to_numpy(dtype=object)[rows]
    its = archive.frame['modality'].to_numpy(dtype=object)[items]
    alike = pd.isna(mine) | pd.isna(its) | (mine == its)
    same = np.zeros((len(queries), len(archive)), bool)
    same[rows[alike], items[alike]] = True
    return same


def _by_crs(
    queries: EmbeddingTable, archive: EmbeddingTable, widths: float = 0
) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """For each CRS of the queries: rows of both that may meet, and their outlines in it."""
    first, second = (centres(t.frame.geometry.to_numpy()) for t in (queries, archive))
    codes = queries.frame['src_crs'].to_numpy(dtype=object, copy=True)
    if len(unstated := np.flatnonzero(queries.frame['src_crs'].isna())):
        from torchgeo_cmr.export.layers.extent import metric_crs  # loads all writers

        for row in unstated:
            codes[row] = metric_crs(*first[row]).to_string()
    for code in dict.fromkeys(codes):
        rows = np.flatnonzero(codes == code)
        # What is degrees away is skipped: far outside its area of use a CRS has no coordinates.
        west = _turn(first[rows, 0] - first[rows[0], 0])
        east = _turn(second[:, 0] - first[rows[0], 0])
        lat = first[rows, 1]
        size = queries.boxes[rows, 3] - queries.boxes[rows, 1]
        up = 1 + 2 * widths * float(size.max())
        side = up / max(0.01, float(np.cos(np.radians(np.abs(lat).max()))))
        items = np.flatnonzero(
            (east >= west.min() - side)
            & (east <= west.max() + side)
            & (second[:, 1] >= lat.min() - up)
            & (second[:, 1] <= lat.max() + up)
        )
        outlines: list[gpd.GeoSeries] = [
            queries.frame.geometry.iloc[rows],
            archive.frame.geometry.iloc[items],
        ]
        query_shapes, item_shapes = (s.to_crs(code).to_numpy() for s in outlines)
        yield rows, items, query_shapes, item_shapes


def _turn(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    return (degrees + 180) % 360 - 180
