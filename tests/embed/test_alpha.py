"""An alpha band from file to picture: a mask, unless the encoder takes it as a band."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.embed import embed
from torchgeo_cmr.export import clip_hits
from torchgeo_cmr.export.pictures.thumbnails import PatchReader
from torchgeo_cmr.export.record.record import scenes_of
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.scene import scenes
from torchgeo_cmr.search import RetrievalIndex

Writer = Callable[..., Path]
Fake = Callable[..., Any]


@pytest.fixture
def file(write_raster: Writer) -> Path:
    data = np.random.default_rng(0).integers(20, 200, (4, 16, 16))
    data[3, :4] = 0
    path = write_raster('a.tif', data=data, dtype='uint8', bands=('',) * 4)
    with rasterio.open(path) as source:
        assert source.colorinterp[3].name == 'alpha'
    return path


def run(task: Any, path: Path, **more: Any) -> Any:
    options: dict[str, Any] = {
        'modality': 's2',
        'size': 16,
        'gsd': 'ignore',
        'progress': False,
    } | more
    return embed(task, str(path), min_valid=0, **options)


def clip(table: Any, folder: Path) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Cut the one patch: its pixels and its mask."""
    hits = RetrievalIndex(table).search(table, k=1, exclude=None)
    clip_hits(hits, folder, record={'scenes': scenes_of([table])})
    (cut,) = folder.glob('*.tif')
    with rasterio.open(cut) as source:
        return source.read(), source.read_masks() > 0, source.nodata


@pytest.mark.parametrize('taken', [False, True])
@pytest.mark.parametrize('named', [False, True])
def test_an_encoder_takes_it_or_not(
    fake: Fake, file: Path, tmp_path: Path, taken: bool, named: bool
) -> None:
    names = ('R', 'G', 'B', 'NIR')[: 3 + taken] if named else ()
    if named:
        file = file.rename(file.with_name('m_3412039_nw_10_060_20160616.tif'))
    task = fake(channels=3 + taken, bands=names)
    table = run(task, file)
    assert table.frame['valid_fraction'].tolist() == [1.0 if taken else 0.75]
    missing = np.zeros((16, 16), bool)
    missing[:4] = not taken
    (image,) = task.seen[-1:]
    assert image.shape[0] == 3 + taken
    np.testing.assert_array_equal(
        np.isnan(image.numpy()), missing[None].repeat(len(image), 0)
    )
    picture = PatchReader({'s2': table.record})(table.frame.iloc[0], 's2')
    assert picture is not None
    # Black where nothing is; of data the darkest two percent may be black too.
    assert (picture[:4] == 0).all() != taken
    pixels, valid, _ = clip(table, tmp_path / 'clips')
    with rasterio.open(file) as source:
        np.testing.assert_array_equal(pixels, source.read()[: 3 + taken])
    np.testing.assert_array_equal(valid[0], ~missing)


def test_a_stated_value_is_missing_in_pictures_and_clips(
    fake: Fake, write_raster: Writer, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).integers(20, 200, (1, 16, 16))
    data[0, :4] = 999
    path = write_raster('a.tif', data=data, dtype='uint16')
    table = run(fake(channels=1, bands=()), path, nodata=999)
    assert table.frame['valid_fraction'].tolist() == [0.75]
    assert table.record['nodata'] == {'a.tif': 999}
    picture = PatchReader(scenes_of([table]))(table.frame.iloc[0], 's2')
    assert picture is not None
    assert (picture[:4] == 0).all()
    _, valid, nodata = clip(table, tmp_path / 'clips')
    assert nodata == 999
    assert not valid[0, :4].any()
    assert valid[0, 4:].all()


@pytest.mark.parametrize('taken', [False, True])
def test_of_five_bands_the_alpha_band_is_a_mask_too(
    fake: Fake, write_raster: Writer, tmp_path: Path, taken: bool
) -> None:
    data = np.random.default_rng(0).integers(20, 200, (5, 16, 16))
    data[4, :4] = 0
    path = write_raster(
        'a.tif', data=data, dtype='uint8', bands=('',) * 5, photometric='RGB'
    )
    with rasterio.open(path, 'r+') as source:
        source.colorinterp = (
            *source.colorinterp[:3],
            ColorInterp.undefined,
            ColorInterp.alpha,
        )
    missing = np.zeros((16, 16), bool)
    missing[:4] = not taken
    # On its own pixels, and resampled to half of them.
    for size, options in ((16, {}), (8, {'gsd': 'resample', 'size': 8})):
        task = fake(channels=4 + taken, size=size)
        task.specs['s2']['gsd'] = 160 / size
        table = run(task, path, **options)
        assert table.frame['valid_fraction'].tolist() == [1.0 if taken else 0.75]
        (image,) = task.seen[-1:]
        lost = np.isnan(image.numpy())
        assert (lost == missing[:: 16 // size, :: 16 // size]).all()
        if size == 16:
            picture = PatchReader({'s2': table.record})(table.frame.iloc[0], 's2')
            assert picture is not None
            assert (picture[:4] == 0).all() != taken
            _, valid, _ = clip(table, tmp_path / 'clips')
            assert (valid[0] == ~missing).all()
    rotated = scenes(RasterDataset(path))[0].pick(range(4 + taken))
    grid = rotated.on_lattice(rotated.crs, (8.0, 8.0), (0.0, 0.0))
    pixels = SceneReader(grid).read(Window(0, 0, *grid.shape[::-1]))  # ty: ignore[too-many-positional-arguments]
    share = np.isnan(pixels[0]).mean()
    assert share == pytest.approx(0 if taken else 0.25, abs=0.1)
