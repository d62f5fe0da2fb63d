"""The columns of a table."""

from torchgeo_cmr.table.schema import STANDARD, empty_frame


def test_empty_frame_has_every_column_typed() -> None:
    frame = empty_frame()
    assert list(frame.columns) == [*STANDARD, 'geometry']
    assert frame.crs.to_epsg() == 4326
    assert str(frame['time_start'].dtype) == 'datetime64[us, UTC]'
