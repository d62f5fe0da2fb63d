"""Spatial blocks, and confidence intervals that resample them.

Patches side by side look alike, so resampling patches would promise too much: whole blocks
are drawn, with all queries in them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import Transformer

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import centres

from .measure import Column, Floats

_EQUAL_AREA = 'EPSG:6933'
_DRAWS = 1_000


def cells(table: EmbeddingTable, metres: float) -> pd.Series:
    """Name the block of ground in which the centre of each patch lies.

    Blocks are squares of equal area on the EASE grid 2.0 (EPSG:6933): true to size
    everywhere, true to shape at 30 degrees of latitude.

    Args:
        table: Patches.
        metres: Width of a block.

    Returns:
        Text such as ``'E34 N560'``, one per row: blocks counted from 0 degrees, 0 degrees.

    Raises:
        QueryError: If the width is not above 0.
    """
    if not metres > 0:
        raise QueryError(f'the side of a block must be above 0 m (found {metres} m)')
    points = centres(table.frame.geometry.to_numpy())
    change = Transformer.from_crs('EPSG:4326', _EQUAL_AREA, always_xy=True)
    lon = (points[:, 0] + 180) % 360 - 180
    x, y = change.transform(lon, np.clip(points[:, 1], -86, 86))
    across, up = (np.floor(v / metres).astype(int) for v in (x, y))
    return pd.Series([f'E{i} N{j}' for i, j in zip(across, up, strict=True)], dtype=str)


def intervals(
    values: Mapping[str, Column],
    blocks: NDArray[np.object_],
    names: Sequence[str],
    *,
    draws: int,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Give 95 % percentile intervals of measures by resampling the blocks of their queries.

    Args:
        values: Measure -> value of each query; NaN for those that do not count.
        blocks: Block of each query.
        names: Measures wanted.
        draws: Resamples, the same for every measure.
        seed: Seed of the draws.

    Returns:
        Measure -> (low, high); empty if fewer than two blocks have a query that counts.
    """
    first = next(iter(values.values())).values
    known = ~np.isnan(first.reshape(len(first), -1)).any(axis=1)
    kinds, which = np.unique(blocks[known].astype(str), return_inverse=True)
    if len(kinds) < 2 or draws < 1:
        return {}
    generator = np.random.default_rng(seed)
    made: dict[str, list[Floats]] = {name: [] for name in names}
    for start in range(0, draws, _DRAWS):
        count = min(_DRAWS, draws - start)
        # How often each block is drawn, when as many are drawn as there are.
        times = generator.multinomial(
            len(kinds), np.full(len(kinds), 1 / len(kinds)), size=count
        )
        for name in names:
            made[name].append(_resample(values[name][known], which, times))
    found = {}
    for name, drawn in made.items():
        low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5])
        found[name] = float(low), float(high)
    return found


def _resample(
    column: Column, which: NDArray[np.int64], times: NDArray[np.int64]
) -> Floats:
    """Join a measure anew for each draw of blocks, (draws,)."""
    reduce, values = column.metric.reduce, column.values
    if reduce is np.mean or values.ndim == 2:
        # Means, or two of them that are joined: sums over blocks say all.
        table = values.reshape(len(values), -1)
        sums = [np.bincount(which, part, times.shape[1]) for part in table.T]
        sizes = times @ np.bincount(which, minlength=times.shape[1])
        means = (times @ np.stack(sums, axis=1)) / sizes[:, None]
        return np.array([reduce(mean[None]) for mean in means])
    return np.array([reduce(np.repeat(values, drawn[which])) for drawn in times])
