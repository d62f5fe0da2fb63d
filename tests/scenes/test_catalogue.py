import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import rasterio

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes import header
from torchgeo_cmr.scenes.catalogue import header_catalogue
from torchgeo_cmr.scenes.header import Header, read_header

Writer = Callable[..., Path]


@pytest.fixture
def files(write_raster: Writer) -> list[str]:
    return [
        str(write_raster('in/a.tif', bands=('B02', 'B03'), nodata=float('nan'))),
        str(write_raster('in/b.tif', crs='EPSG:4326', origin=(9, 45), res=0.001)),
        str(write_raster('in/c.tif', crs=None)),
    ]


@pytest.fixture
def read(files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read all headers through a catalogue as a new process would; give what was opened."""
    real = rasterio.open

    def call() -> tuple[list[Header], list[str]]:
        header._remembered.cache_clear()
        opened: list[str] = []

        def counted(path: str, *args: Any, **kwargs: Any) -> Any:
            opened.append(Path(path).name)
            return real(path, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(header.rasterio, 'open', counted)
            with header_catalogue(tmp_path / 'headers.parquet'):
                return [read_header(file) for file in files], opened

    return call


def test_the_second_process_opens_nothing(read: Any) -> None:
    first, opened = read()
    assert opened == ['a.tif', 'b.tif', 'c.tif']
    second, opened = read()
    assert opened == []
    # NaN is not equal to itself.
    assert list(map(repr, second)) == list(map(repr, first))
    assert second[0].crs is first[0].crs


def test_what_changed_is_read_again(read: Any, files: list[str]) -> None:
    read()
    os.utime(files[0], ns=(1, 1))
    Path(files[1] + '.aux.xml').write_text('<PAMDataset/>')
    assert read()[1] == ['a.tif', 'b.tif']
    assert read()[1] == []


def test_it_moves_with_the_data(
    read: Any, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read()
    other = tmp_path.with_name(tmp_path.name + '-moved')
    tmp_path.rename(other)
    header._remembered.cache_clear()
    monkeypatch.setattr(header.rasterio, 'open', None)
    with header_catalogue(other / 'headers.parquet'):
        assert read_header(str(other / 'in' / 'a.tif')).descriptions == ('B02', 'B03')
    other.rename(tmp_path)


def test_it_is_a_map(read: Any, tmp_path: Path) -> None:
    read()
    frame = gpd.read_parquet(tmp_path / 'headers.parquet')
    assert frame.crs.to_epsg() == 4326
    assert frame['path'].tolist() == ['in/a.tif', 'in/b.tif', 'in/c.tif']
    assert frame['bands'].tolist() == [2, 1, 1]
    assert frame.geometry.iloc[1].bounds == pytest.approx((9, 44.936, 9.064, 45))
    assert frame.geometry.isna().tolist() == [False, False, True]
    assert [p.name for p in tmp_path.iterdir() if 'tmp' in p.name] == []


@pytest.mark.parametrize('damage', ['text', 'columns', 'json'])
def test_what_is_no_catalogue_is_replaced(
    read: Any, tmp_path: Path, damage: str
) -> None:
    read()
    path = tmp_path / 'headers.parquet'
    frame = gpd.read_parquet(path)
    if damage == 'text':
        path.write_text('not parquet')
    elif damage == 'columns':
        frame.drop(columns='header').to_parquet(path)
    else:
        frame['header'] = json.dumps({'path': 'a'})
        frame.to_parquet(path)
    with pytest.warns(UserWarning, match='is not a catalogue of headers'):
        assert len(read()[1]) == 3
    assert read()[1] == []


def test_a_place_that_cannot_be_written_to(files: list[str], tmp_path: Path) -> None:
    with (
        pytest.raises(RasterError, match='cannot be written'),
        header_catalogue(tmp_path / 'nowhere' / 'headers.parquet'),
    ):
        read_header(files[0])


def test_none_changes_nothing(files: list[str], tmp_path: Path) -> None:
    with header_catalogue(None):
        assert read_header(files[0]).count == 2
    assert list(tmp_path.glob('*.parquet')) == []
