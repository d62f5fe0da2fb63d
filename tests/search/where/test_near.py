"""The nearest of many footprints: that of all, though few are measured."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.search.where.columns import TableColumns
from torchgeo_cmr.search.where.near import closest
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import metres_between


class Counted(TableColumns):
    """Columns that remember which footprints were made."""

    made = 0

    def footprints(self, rows: NDArray[np.int64]) -> NDArray[np.object_]:
        self.made += len(rows)
        return super().footprints(rows)


PLACES = {
    'far away': shapely.Point(60, -20),
    'beside': shapely.box(11.2, 44.5, 11.4, 44.6),
    'among them': shapely.Point(10.013, 45.021),
    'a long line': shapely.LineString([(-30, 60), (30, 60), (60, 10)]),
    # Its bounds hold every patch, its edges are far.
    'a ring around': shapely.box(0, 30, 20, 60).boundary,
    'two ends of the world': shapely.MultiPoint([(179.9, 45), (-179.9, 45)]),
}


@pytest.mark.parametrize('place', PLACES.values(), ids=PLACES.keys())
def test_closest_is_the_least_of_all(
    make: Callable[..., Any], place: shapely.Geometry
) -> None:
    table: EmbeddingTable = make(3_000)
    columns = Counted(table)
    shapes = table.frame.geometry.to_numpy()
    far = metres_between(shapes, np.full(len(shapes), place, dtype=object))
    assert closest(columns, None, place) == pytest.approx(far.min(), rel=1e-9)
    if not place.length:
        # A place of the wrong continent makes no geometry of all rows.
        assert columns.made < len(table) / 2
    rows = np.flatnonzero(far > np.median(far))
    found = closest(columns, rows, place)
    assert found == pytest.approx(far[rows].min(), rel=1e-9)
