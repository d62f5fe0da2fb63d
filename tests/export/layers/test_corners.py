"""Outlines from native corners: which rows have them, and which must not use them."""

from typing import Any

import numpy as np
import pandas as pd
import shapely

from torchgeo_cmr.export.layers.corners import from_corners
from torchgeo_cmr.table.footprints import WGS84

BOX = (5e5, 5e6, 5.1e5, 5.01e6)


def drawn(frame: Any, crs: Any = WGS84) -> dict[int, shapely.Geometry]:
    shapes = frame.geometry.to_numpy()
    return {
        int(row): shape
        for rows, outlines in from_corners(frame, shapes, crs)
        for row, shape in zip(rows, outlines, strict=True)
    }


def test_only_rows_with_corners(result: Any) -> None:
    frame = result([BOX] * 4)
    frame.loc[1, 'src_crs'] = None
    frame.at[2, 'native_corners'] = None
    frame.at[3, 'native_corners'] = np.zeros(6)
    assert set(drawn(frame)) == {0}
    assert drawn(frame.drop(columns='native_corners')) == {}
    assert drawn(frame.iloc[:0]) == {}


def test_as_lists(result: Any) -> None:
    """GeoParquet gives lists back."""
    frame = result([BOX])
    (shape,) = drawn(frame).values()
    frame['native_corners'] = [list(frame['native_corners'].iloc[0])]
    assert drawn(frame)[0].equals(shape)


def test_rows_keep_their_place(result: Any) -> None:
    one, two = (result([BOX, (6e5, 5e6, 6.1e5, 5.01e6)], z) for z in (32632, 32633))
    frame = pd.concat([one, two]).iloc[[0, 2, 1, 3]].reset_index(drop=True)
    found = drawn(frame)
    assert sorted(found) == [0, 1, 2, 3]
    for row, shape in found.items():
        assert shape.centroid.distance(frame.geometry[row].centroid) < 1e-3


def test_in_the_crs_of_the_frame(result: Any) -> None:
    """A frame that was brought to another CRS is compared there."""
    frame = result([BOX]).to_crs(3857)
    assert set(drawn(frame)) == {0}
    frame.geometry = frame.geometry.translate(5)
    assert drawn(frame) == {}


def test_moved_corners_do_not_count_across_the_antimeridian(result: Any) -> None:
    frame = result([(790_000, 8e6, 880_000, 8.07e6)], 32760)
    assert drawn(frame)[0].geom_type == 'MultiPolygon'
    frame.at[0, 'native_corners'] = frame.at[0, 'native_corners'] + 500
    assert drawn(frame) == {}
