"""How much of an answer lies on or next to the ground of training."""

import re
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import metres_between

from .protocol import Protocol

#: Names of the Sentinel-2 patches of BEN-14K: one of five acquisitions, row and column.
_BEN14K = re.compile(
    r'(?:^|:)(?:S2B_MSIL2A_20170825T093029|S2A_MSIL2A_20170803T094031|'
    r'S2B_MSIL2A_20170802T092029|S2A_MSIL2A_20170827T092031|S2B_MSIL2A_20170719T094029)'
    r'_\d+_\d+$'
)


def near_area(table: EmbeddingTable, area: Any, metres: float = 0) -> NDArray[np.bool_]:
    """Mark the patches within some metres of an area.

    Args:
        table: Patches.
        area: GeoDataFrame, GeoSeries or vector file with a CRS, or a box in EPSG:4326: the
            places seen in training.
        metres: Largest geodesic distance between nearest points; 0 for touching.

    Returns:
        bool array (rows,).

    Raises:
        QueryError: If the area cannot be read or the distance is negative.
    """
    if not metres >= 0:
        raise QueryError(f'a distance must be 0 m or more (found {metres} m)')
    parts = shapely.get_parts(Where(area).area)
    tree = shapely.STRtree(parts)
    shapes = table.frame.geometry.to_numpy()
    near = np.zeros(len(table), bool)
    near[tree.query(shapes, predicate='intersects')[0]] = True
    left = np.flatnonzero(~near)
    if metres == 0 or not len(left):
        return near
    # A box that is wide enough in degrees proposes, metres decide; the nearest part may lie
    # on the other side of 180.
    up = metres / 110_000
    box = table.boxes[left]
    lat = np.minimum(np.abs(box[:, [1, 3]]).max(axis=1) + up, 89.9)
    side = np.minimum(up / np.cos(np.radians(lat)), 180)
    for turn in (-360, 0, 360):
        wide = shapely.box(
            box[:, 0] - side + turn,
            box[:, 1] - up,
            box[:, 2] + side + turn,
            box[:, 3] + up,
        )
        row, part = tree.query(wide)
        for piece in np.array_split(np.arange(len(row)), 1 + len(row) // 50_000):
            apart = metres_between(shapes[left[row[piece]]], parts[part[piece]])
            near[left[row[piece][apart <= metres]]] = True
    return near


def leaking_splits(
    queries: EmbeddingTable, archive: EmbeddingTable, protocol: Protocol
) -> dict[str, str]:
    """Say what makes the scores of known benchmarks optimistic.

    Args:
        queries: Patches used as queries, of all splits.
        archive: Patches that may be retrieved, of all splits.
        protocol: The protocol.

    Returns:
        ``{'caution': sentence}``, empty if nothing is known against the scores.
    """
    if protocol.tile is not None:
        seen = any(
            ((t.frame['tile'] == protocol.tile) & (t.frame['split'] == 'train')).any()
            for t in (queries, archive)
            if {'tile', 'split'} <= {*t.frame}
        )
        sentence = (
            f'Training pairs lie in tile {protocol.tile}: it was not held out, and these '
            f'scores are optimistic. Train with held_out_tile={protocol.tile!r}.'
        )
        return {'caution': sentence} if seen else {}
    names = queries.frame['patch_id']
    if not protocol.name.startswith('ben14k-') and not any(map(_BEN14K.search, names)):
        return {}
    return {
        'caution': 'The published splits of BEN-14K leak: they lie interleaved on one grid, and '
        'each of the 3,563 test patches touches a training patch, so these scores are '
        'optimistic. BigEarthNet v2 has geographic splits: '
        "BigEarthNetPairs(version='v2') and the protocol bigearthnet-v2."
    }
