"""Layers as batches: few rows at once, geometries raised to many parts."""

from typing import Any

import pyarrow as pa
import pytest
import shapely

from torchgeo_cmr.export.layers import arrow_batches as layers
from torchgeo_cmr.export.layers.arrow_batches import stream
from torchgeo_cmr.export.layers.fields import fields


def test_batches_are_small(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    many = result([(5e5 + i, 5e6, 5e5 + i + 1, 5e6 + 1) for i in range(25)])
    whole = stream(many, fields(many)).read_all()
    monkeypatch.setattr(layers, 'BATCH', 10)
    batches = list(stream(many, fields(many)))
    assert [len(b) for b in batches] == [10, 10, 5]
    assert pa.Table.from_batches(batches) == whole


def test_multi(result: Any) -> None:
    many = result([(790_000, 8e6, 880_000, 8.07e6), (2e5, 8e6, 2.1e5, 8.01e6)], 32760)
    shapes = shapely.from_wkb(stream(many, [], multi='Polygon').read_all()['geom'])
    assert [s.geom_type for s in shapes] == ['MultiPolygon'] * 2
    assert [len(s.geoms) for s in shapes] == [2, 1]
