"""One scene and one encoder: pixels, footprints, missing data, damage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.enums import Resampling
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.embed.scenes.archive_plan import plan_scenes
from torchgeo_cmr.embed.scenes.item import embed_item
from torchgeo_cmr.embed.scenes.patch_batches import Batch, read_item
from torchgeo_cmr.embed.scenes.work_item import WorkItem
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.scene import from_paths, scenes

Writer = Callable[..., Path]


def item_of(*paths: Path, size: int = 16, stride: int | None = None) -> WorkItem:
    (item,) = plan_scenes(scenes(from_paths(paths)), 's2', size, stride).items
    return item


def area(column: float, row: float, width: float, height: float) -> Window:
    return Window(column, row, width, height)  # ty: ignore[too-many-positional-arguments]


def joined(batches: list[Batch]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    windows = np.concatenate([batch.windows for batch in batches])
    valid = np.concatenate([batch.valid for batch in batches])
    return windows, valid, torch.cat([batch.images for batch in batches]).numpy()


@pytest.mark.parametrize('stride', [16, 10, 20])
def test_patches_are_the_pixels_of_their_windows(
    write_raster: Writer, stride: int
) -> None:
    path = write_raster('a.tif', shape=(40, 56), bands=('R', 'G'), dtype='uint16')
    item = item_of(path, stride=stride)
    batches = list(read_item(item, batch_size=4))
    assert [len(batch.windows) for batch in batches[:-1]] == [4] * (len(batches) - 1)
    windows, valid, images = joined(batches)
    assert windows.tolist() == item.windows.tolist()
    assert (valid == 1).all()
    assert images.dtype == np.float32
    with rasterio.open(path) as file:
        for (row, column, height, width), image in zip(windows, images, strict=True):
            expected = file.read(window=area(column, row, width, height))
            np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize('missing', ['nodata', 'nan', 'inf', 'mask'])
def test_missing_pixels_are_nan_and_counted(write_raster: Writer, missing: str) -> None:
    data = np.ones((2, 16, 48), np.float32)
    bad = {'nodata': -9999, 'nan': np.nan, 'inf': np.inf, 'mask': 1}[missing]
    # Left patch: 4 of 16 rows in one band. Middle: 12 rows, by both bands. Right: all.
    holes = np.zeros(data.shape, bool)
    holes[0, :4, :16] = True
    holes[0, :8, 16:32] = holes[1, 4:12, 16:32] = True
    holes[:, :, 32:] = True
    data[holes] = bad
    nodata = -9999 if missing == 'nodata' else None
    path = write_raster('a.tif', data=data, nodata=nodata, bands=('R', 'G'))
    if missing == 'mask':
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, 'r+') as file,
        ):
            file.write_mask(~holes.any(axis=0))
    item = item_of(path)
    windows, valid, images = joined(list(read_item(item, min_valid=0.0)))
    assert windows[:, 1].tolist() == [0, 16]  # the last has no pixel at all
    assert valid.tolist() == [0.75, 0.25]
    if missing != 'mask':
        expected = np.stack([holes[:, :, :16], holes[:, :, 16:32]])
        np.testing.assert_array_equal(np.isnan(images), expected)
    windows, valid, _ = joined(list(read_item(item, min_valid=0.5)))
    assert valid.tolist() == [0.75]
    assert not list(read_item(item, min_valid=0.8))


def test_the_dataset_may_say_what_is_missing(write_raster: Writer) -> None:
    data = np.ones((1, 16, 16))
    data[0, 0] = 7
    dataset = from_paths([write_raster('a.tif', data=data, dtype='uint8')])
    dataset.nodata = 7
    (item,) = plan_scenes(scenes(dataset), 's2', 16).items
    (batch,) = read_item(item)
    assert batch.valid.tolist() == [15 / 16]


class Bands(RasterDataset):
    filename_glob = '*_fine.tif'
    filename_regex = r'(?P<tile>\w)_(?P<band>[a-z]+)\.tif'
    all_bands = ('fine', 'coarse')
    separate_files = True


def test_coarse_bands_are_resampled_as_the_record_says(
    write_raster: Writer, tmp_path: Path, fake: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(0)
    write_raster('a_fine.tif', data=rng.random((1, 64, 64)))
    write_raster('a_coarse.tif', data=rng.random((1, 32, 32)), res=20)
    (item,) = plan_scenes(scenes(Bands(tmp_path)), 's2', 16).items
    windows, _, images = joined(list(read_item(item)))
    with rasterio.open(tmp_path / 'a_coarse.tif') as file:
        for (row, column, height, width), image in zip(windows, images, strict=True):
            again = file.read(
                1,
                window=area(column / 2, row / 2, width / 2, height / 2),
                out_shape=(16, 16),
                resampling=Resampling.bilinear,
            )
            # A patch cut from a strip equals the patch read alone.
            np.testing.assert_allclose(image[1], again, rtol=1e-6)
    record = embed_item(item, fake(channels=2).eval()).record
    assert record['resampling'] == 'bilinear'
    assert record['sources']['a_fine.tif'] == [
        ['a_fine.tif', 1, 'fine', 10.0],
        ['a_coarse.tif', 1, 'coarse', 20.0],
    ]


def test_transforms_see_one_sample_at_a_time(write_raster: Writer) -> None:
    shapes = []

    def ratio(sample: dict[str, Any]) -> dict[str, Any]:
        image = sample['image']
        shapes.append(tuple(image.shape))
        return {'image': torch.cat([image, image[:1] - image[1:2]])}

    item = item_of(write_raster('a.tif', bands=('R', 'G'), shape=(16, 32)))
    (batch,) = read_item(item, transforms=ratio)
    assert shapes == [(2, 16, 16)] * 2
    assert batch.images.shape == (2, 3, 16, 16)
    assert (batch.images[:, 2] == -16 * 32).all()


def test_rows_say_where_when_and_from_what(
    write_raster: Writer, fake: Callable[..., Any]
) -> None:
    path = write_raster('a/b.tif', shape=(32, 32), bands=('B1', 'B2', 'B3'))
    task = fake(bands=('B1', 'B2', 'B3')).eval()
    task.specs['s2'] |= {'mean': [1.0, 2.0, 3.0], 'std': [4.0, 5.0, 6.0]}
    table = embed_item(item_of(path), task, batch_size=3)
    assert task.batches == [3, 1]
    assert table.frame['patch_id'].tolist() == [
        f's2:b.tif:{r}_{c}_16x16' for r in (0, 16) for c in (0, 16)
    ]
    assert (table.frame['source'] == 'b.tif').all()
    assert (table.frame['src_crs'] == 'EPSG:32632').all()
    assert table.frame['time_start'].isna().all()
    assert table.frame['time_end'].isna().all()
    assert table.space == task.space
    assert table.modality == 's2'
    record = table.record
    assert record['model'] == 'FakeTask'
    assert record['bands'] == ['B1', 'B2', 'B3']
    assert record['normalisation'] == {'mean': [1.0, 2.0, 3.0], 'std': [4.0, 5.0, 6.0]}
    assert record['versions']['rasterio'] == rasterio.__version__
    assert set(record['versions']) == {'torchgeo_cmr', 'torchgeo', 'torch', 'rasterio'}
    assert record['root'] == (path.parent).as_posix()
    assert record['sources'] == {
        'b.tif': [['b.tif', i, f'B{i}', 10.0] for i in (1, 2, 3)]
    }


def test_a_scene_without_data_gives_no_rows(
    write_raster: Writer, fake: Callable[..., Any]
) -> None:
    path = write_raster('a.tif', data=np.zeros((1, 16, 16)), nodata=0)
    table = embed_item(item_of(path), fake(channels=1).eval(), dim=8)
    assert len(table) == 0
    assert table.dim == 8
    assert table.record['sources'] == {}


def test_a_transform_with_other_bands_is_refused(
    write_raster: Writer, fake: Callable[..., Any]
) -> None:
    item = item_of(write_raster('a.tif', bands=('R', 'G')))
    with pytest.raises(RasterError, match=r'expects 3 bands, a\.tif gives 2'):
        embed_item(item, fake().eval())


def test_a_truncated_file_is_named(truncated: Path) -> None:
    item = item_of(truncated)
    with pytest.raises(RasterError, match=r'cut\.tif .*truncated'):
        list(read_item(item))
