"""Maps of classes that nobody meant: their claims are answered in a sentence, and never held in memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from pyproj import CRS

from torchgeo_cmr.datasets.label_map import LabelFromMask
from torchgeo_cmr.embed.pairs.config import open_data
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.evaluate.raster_labels import labels_from_raster

UTM = CRS('EPSG:32632')
ENGINEERING = 'LOCAL_CS["here",UNIT["metre",1]]'


def claimed(path: Path, **options: Any) -> Path:
    """A million by a million pixels, of which no block is there: a few megabytes at most."""
    profile = {'driver': 'GTiff', 'width': 1_000_000, 'height': 1_000_000, 'count': 1}
    profile |= {'dtype': 'uint8', 'tiled': True, 'blockxsize': 4096, 'blockysize': 4096}
    profile |= {'crs': 'EPSG:32632', 'SPARSE_OK': True, 'BIGTIFF': 'YES'}
    place = rasterio.Affine(1, 0, 5e5, 0, -1, 5e6)
    with rasterio.open(path, 'w', **profile, transform=place, **options):
        pass
    return path


def patches(side: float = 320, crs: int = 32632) -> gpd.GeoDataFrame:
    box = shapely.box(5e5, 5e6 - side, 5e5 + side, 5e6)
    return gpd.GeoDataFrame({'patch_id': ['a']}, geometry=[box], crs=crs)


def test_a_map_that_claims_to_be_huge(tmp_path: Path) -> None:
    path = claimed(tmp_path / 'huge.tif')
    with pytest.raises(
        RasterError, match=r'1000000 x 1000000 pixels.*name its `classes`'
    ):
        LabelFromMask(path)
    labels = LabelFromMask(path, {0: 'nothing', 1: 'water'})
    label = labels((5e5, 5e6 - 320, 5e5 + 320, 5e6), UTM)
    assert label is not None
    assert label.item() == 0
    with pytest.raises(RasterError, match='one patch covers 900000 x 900000 pixels'):
        labels((5e5, 5e6 - 9e5, 5e5 + 9e5, 5e6), UTM)
    assert labels_from_raster(patches(), [path], ignore=None).tolist() == [0]
    with pytest.raises(RasterError, match='one patch covers 900000 x 900000 pixels'):
        labels_from_raster(patches(9e5), [path])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'bands': ('a', 'b', 'c')}, 'has 3 bands: a map of classes has one'),
        ({'dtype': 'float32'}, 'float32'),
        ({'crs': None}, 'no CRS'),
    ],
)
def test_a_raster_that_is_no_map_of_classes(
    write_raster: Callable[..., Path], options: dict[str, Any], message: str
) -> None:
    path = write_raster('map.tif', **{'dtype': 'uint8', **options})
    with pytest.raises(RasterError, match=message):
        LabelFromMask(path)
    with pytest.raises(RasterError, match=message):
        labels_from_raster(patches(), [path])


def test_a_crs_that_lies_nowhere(write_raster: Callable[..., Path]) -> None:
    path = write_raster('map.tif', dtype='uint8', crs=ENGINEERING)
    with pytest.raises(RasterError, match=r'map\.tif'):
        labels_from_raster(patches(), [path])
    with pytest.raises(RasterError, match=r'map\.tif'):
        LabelFromMask(path, {1: 'a'})((5e5, 5e6 - 320, 5e5 + 320, 5e6), UTM)


@pytest.mark.parametrize('value', ['nan', 'inf', '1.5'])
def test_a_missing_value_that_is_no_class(
    write_raster: Callable[..., Path], value: str
) -> None:
    """Its classes are all there: 1.5 is not class 1."""
    path = write_raster('map.tif', dtype='uint8', data=np.ones((1, 64, 64)), nodata=255)
    text, tag = (
        path.read_bytes(),
        b'\x81\xa4\x02\0\x04\0\0\0',
    )  # GDAL_NODATA, four characters
    assert tag + b'255\0' in text
    path.write_bytes(text.replace(tag + b'255\0', tag + value.encode() + b'\0'))
    assert labels_from_raster(patches(), [path]).tolist() == [1]


def test_nothing_but_missing_pixels(write_raster: Callable[..., Path]) -> None:
    path = write_raster('map.tif', dtype='uint8', data=np.zeros((1, 64, 64)), nodata=0)
    with pytest.raises(RasterError, match='holds no class: it is all nodata'):
        LabelFromMask(path)
    assert labels_from_raster(patches(), [path]).isna().all()
    assert labels_from_raster(patches(crs=32633), [path]).isna().all()


BOMB = 'a0: &a0 [x]\n' + ''.join(
    f'a{i + 1}: &a{i + 1} [{", ".join([f"*a{i}"] * 9)}]\n' for i in range(9)
)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('bomb', 'bomb.yaml stands for more than 100000 values'),
        ('within', 'bomb.yaml stands for more than 100000 values'),
        ('itself', 'stands for more than 100000 values'),
        ('deep', 'nested more than 100 deep'),
        ('bytes', 'not text in UTF-8'),
        ('circle', 'cannot be used'),
    ],
)
def test_a_yaml_of_pairs_that_stands_for_too_much(
    tmp_path: Path, name: str, message: str
) -> None:
    for word, text in {
        'bomb': BOMB + 'data: *a9',
        'within': 'data: bomb.yaml',
        'itself': 'data: &a [*a]',
        'deep': f'data: {"[" * 3000}{"]" * 3000}',
        'circle': 'data: circle.yaml',
    }.items():
        (tmp_path / f'{word}.yaml').write_text(text)
    (tmp_path / 'bytes.yaml').write_bytes(b'data: \xff\xfe')
    with pytest.raises(RasterError, match=message):
        open_data(tmp_path / f'{name}.yaml')
