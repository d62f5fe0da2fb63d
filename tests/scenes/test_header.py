import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes import header
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.scene import assemble, bands_of


def write(path: Path, **more: Any) -> str:
    profile = {
        'driver': 'GTiff',
        'width': 8,
        'height': 6,
        'count': 2,
        'dtype': 'uint16',
        'crs': 'EPSG:32632',
        'transform': Affine(10, 0, 500000, 0, -10, 5000000),
        'nodata': 7,
        **more,
    }
    with rasterio.open(path, 'w', **profile) as target:
        target.write(np.ones((2, 6, 8), profile['dtype']))
        target.descriptions = ('B02', 'B03')
        target.scales, target.offsets = (0.1, 0.2), (1, 2)
        target.units = ('m', 'm')
        target.update_tags(PRODUCT='one')
        target.update_tags(2, name='second')
    return str(path)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were opened."""
    names: list[str] = []
    real = rasterio.open

    def counted(path: str, *args: Any, **kwargs: Any) -> Any:
        names.append(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(header.rasterio, 'open', counted)
    return names


def test_everything_the_file_states(tmp_path: Path) -> None:
    found = read_header(write(tmp_path / 'a.tif'))
    assert found.crs.to_epsg() == 32632
    assert (found.shape, found.count, found.dtypes) == ((6, 8), 2, ('uint16',) * 2)
    assert found.transform == Affine(10, 0, 500000, 0, -10, 5000000)
    assert found.descriptions == ('B02', 'B03')
    assert (found.scales, found.offsets) == ((0.1, 0.2), (1, 2))
    assert (found.nodata, found.units) == ((7, 7), ('m', 'm'))
    assert found.masks == (('nodata',), ('nodata',))
    assert found.tags['PRODUCT'] == 'one'
    assert found.band_tags[1]['name'] == 'second'


def test_a_scene_opens_each_file_once(tmp_path: Path, opened: list[str]) -> None:
    files = [write(tmp_path / f'{name}.tif', count=2) for name in 'ab']
    del opened[:]
    bands, sources = bands_of(files[0])
    assemble([*sources, (files[1], 1)], [*bands, 'B04'])
    assert sorted(opened) == files


def test_a_file_that_changes_is_read_again(tmp_path: Path, opened: list[str]) -> None:
    file = write(tmp_path / 'a.tif')
    first = read_header(file)
    assert read_header(file) is first
    write(tmp_path / 'a.tif', nodata=9)
    os.utime(file, ns=(1, 1))
    assert read_header(file).nodata == (9, 9)
    # What GDAL keeps next to the file counts as well.
    (tmp_path / 'a.tif.aux.xml').write_text(
        '<PAMDataset><PAMRasterBand band="1"><Description>red</Description>'
        '</PAMRasterBand></PAMDataset>'
    )
    del opened[:]
    read_header(file)
    assert opened == [file]


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    file = tmp_path / 'a.tif'
    file.write_bytes(b'II*\0 cut short')
    with pytest.raises(RasterError, match=r'a\.tif cannot be read as a raster'):
        read_header(str(file))
    with pytest.raises(RasterError, match='null'):
        read_header('a\0b')
