"""WKB of many footprints is that of shapely, whether they are alike or not."""

import numpy as np
import pyarrow as pa
import pytest
import shapely

from torchgeo_cmr.table.footprints import to_wkb

X = np.arange(5.0)
BOXES = shapely.box(X, 40, X + 0.1, 40.1)
HOLE = shapely.Polygon(
    [(0, 0), (9, 0), (9, 9), (0, 9)], [[(1, 1), (2, 1), (2, 2), (1, 1)]]
)


@pytest.mark.parametrize(
    'shapes',
    [
        BOXES,
        BOXES[:1],
        BOXES[:0],
        [*BOXES, None],
        [*BOXES, shapely.Polygon()],
        [shapely.Polygon(), shapely.Polygon()],
        [*BOXES, HOLE],
        [HOLE, HOLE],
        [shapely.Point(3, 4).buffer(1), shapely.Point(5, 6).buffer(2)],
        shapely.points(X, X),
        [shapely.LineString(np.ones((5, 2))), *BOXES],
        [shapely.MultiPolygon([box]) for box in BOXES],
        shapely.force_3d(BOXES, 7.0),
        [*BOXES, *shapely.force_3d(BOXES, 7.0)],
        shapely.set_srid(BOXES, 4326),
        shapely.box([np.nan, -0.0], 0, np.inf, 1),
    ],
)
def test_equals_shapely(shapes: list[shapely.Geometry | None]) -> None:
    given = np.array([*shapes, None], dtype=object)[:-1]
    made = to_wkb(given)
    made.validate(full=True)
    assert made.type == pa.large_binary()
    assert made.to_pylist() == shapely.to_wkb(given).tolist()


def test_boxes_do_not_become_bytes_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapely, 'to_wkb', None)
    assert len(to_wkb(BOXES)) == 5
