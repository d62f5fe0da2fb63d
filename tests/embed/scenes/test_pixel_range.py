"""Numbers that cannot be those of the training: refused or doubted, and real ones never."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from torchgeo_cmr.embed import embed
from torchgeo_cmr.embed.scenes.inputs import list_scenes
from torchgeo_cmr.embed.scenes.pixel_range import check_light, doubt_backscatter
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models.foundation.pixel_steps import pixel_steps
from torchgeo_cmr.scenes.scene import Scene
from torchgeo_cmr.tasks import Pretrained

type Writer = Callable[..., Path]

RNG = np.random.default_rng(0)
#: Reflectance of Sentinel-2 times 10,000, and power of Sentinel-1.
LIGHT = RNG.integers(300, 6000, (4, 32, 32))
POWER = 10 ** RNG.uniform(-2.5, -0.2, (2, 32, 32))


@pytest.fixture
def nameless(write_raster: Writer) -> Writer:
    def write(name: str, *, data: np.ndarray, dtype: str = 'float32') -> Path:
        return write_raster(name, bands=[''] * len(data), data=data, dtype=dtype)

    return write


@pytest.fixture(scope='module')
def optical() -> Pretrained:
    torch.manual_seed(0)
    return Pretrained({'s2': 4}, 'presto', bands={'s2': ['B02', 'B03', 'B04', 'B08']})


@pytest.fixture(scope='module')
def radar() -> Pretrained:
    torch.manual_seed(0)
    return Pretrained({'s1': 2}, 'presto', bands={'s1': ['VV', 'VH']})


def vectors(task: Pretrained, path: Path, **stated: object) -> np.ndarray:
    (modality,) = task.modalities
    table = embed(task, [path], modality, 16, gsd='ignore', progress=False, **stated)  # ty: ignore[invalid-argument-type]
    return table.vectors


def test_decimals_of_reflectance_without_names(
    optical: Pretrained, nameless: Writer
) -> None:
    whole = vectors(optical, nameless('dn.tif', data=LIGHT, dtype='uint16'))
    stored = nameless('dn-float.tif', data=LIGHT)
    np.testing.assert_array_equal(vectors(optical, stored), whole)
    decimals = nameless('share.tif', data=LIGHT / 10_000)
    with pytest.raises(RasterError, match=r'decimals up to 0\.\d+ .* 1 for'):
        vectors(optical, decimals)
    scaled = vectors(optical, decimals, scale=1)
    np.testing.assert_allclose(scaled, whole, atol=1e-5)


@pytest.mark.parametrize('least', [0, 1])
def test_dark_water_is_no_mistake(
    optical: Pretrained, nameless: Writer, least: int
) -> None:
    water = RNG.integers(least, least + 2, LIGHT.shape)
    assert len(vectors(optical, nameless('a.tif', data=water)))


@pytest.mark.parametrize(
    ('data', 'units', 'scale', 'message'),
    [
        (
            np.sqrt(POWER) / 7.08e-5,
            'amplitude',
            None,
            r'is (69|7\d) dB, far above .* `scale`',
        ),
        (np.sqrt(POWER) / 7.08e-5, 'amplitude', 7.08e-5, None),
        (POWER, 'power', None, None),
        (POWER, 'db', None, 'no value below 0, .* state `units` as power'),
        (10 * np.log10(POWER), 'db', None, None),
        (POWER, 'power', 1e-6, r'is -7\d dB, far below'),
    ],
)
def test_backscatter(
    radar: Pretrained,
    nameless: Writer,
    data: np.ndarray,
    units: str,
    scale: float | None,
    message: str | None,
) -> None:
    path = nameless('s1.tif', data=data)
    if message is None:
        assert len(vectors(radar, path, units=units, scale=scale)) == 4
        return
    other = nameless('s1-b.tif', data=data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        table = embed(
            radar,
            [path, other],
            's1',
            16,
            gsd='ignore',
            units=units,
            scale=scale,
            progress=False,
        )
    assert len(table) == 8
    caught = [w for w in caught if issubclass(w.category, UserWarning)]
    assert len(caught) == 1  # not one for each scene
    with pytest.raises(UserWarning, match=message):
        raise caught[0].category(str(caught[0].message))


@pytest.mark.parametrize('units', ['power', 'amplitude'])
def test_decibels_are_no_power(radar: Pretrained, nameless: Writer, units: str) -> None:
    path = nameless('s1.tif', data=10 * np.log10(POWER))
    with pytest.raises(
        RasterError, match=f'from -25 to -2.*{units} is never below 0: .* as db'
    ):
        vectors(radar, path, units=units)


def test_fill_values_are_no_decibels(radar: Pretrained, nameless: Writer) -> None:
    data = POWER.copy()
    data[:, :16] = -9999
    data[:, 16:20, :16] = -0.001
    assert len(vectors(radar, nameless('s1.tif', data=data), units='power')) == 2


def test_fill_values_that_nothing_calls_missing(
    radar: Pretrained, nameless: Writer
) -> None:
    data = 10 * np.log10(POWER)
    data[:, :16] = -9999
    path = nameless('s1.tif', data=data)
    with pytest.warns(
        UserWarning,
        match=r's1 of .*s1\.tif has -9999 in 50% of the pixels of a band of its first patches, which '
        r'nothing calls missing: .* `nodata`',
    ):
        assert len(vectors(radar, path, units='db')) == 4
    assert len(vectors(radar, path, units='db', nodata=-9999)) == 2


def test_decibels_as_an_encoder_of_power_sees_them(scene: Scene) -> None:
    spec = {'units': 'power', 'mean': [0.1, 0.02]}
    stored = torch.from_numpy(10 * np.log10(POWER[None])).float()
    doubt = doubt_backscatter(stored, replace(scene, units='power'), spec, 's1')
    assert doubt is not None
    assert 'is negative, which power never is: state `units` as db' in doubt


@pytest.fixture
def scene(nameless: Writer) -> Scene:
    (found,) = list_scenes([nameless('x.tif', data=LIGHT[:3], dtype='uint16')])
    return found


@pytest.mark.parametrize(
    ('mean', 'std', 'pixels', 'message'),
    [
        (0.0, 255.0, LIGHT[:3], 'trained on numbers of 8 bits'),
        (0.0, 255.0, LIGHT[:3] // 30, None),
        (123.0, 58.0, LIGHT[:3] / 6000, 'trained on numbers in steps of 0.0039'),
        (0.485, 0.229, LIGHT[:3] // 30, 'trained on decimals from 0 to 1'),
        (0.485, 0.229, LIGHT[:3] / 6000, None),
    ],
)
def test_weights_of_pictures(
    scene: Scene, mean: float, std: float, pixels: np.ndarray, message: str | None
) -> None:
    spec = {
        'bands': ['R', 'G', 'B'],
        'scale': pixel_steps([mean] * 3, [std] * 3, sentinel2=False),
    }
    images = torch.from_numpy(pixels[None].astype(np.float32))
    if message is None:
        check_light(images, scene, spec, 'air')
        return
    with pytest.raises(RasterError, match=message):
        check_light(images, scene, spec, 'air')
    # Heights are whatever they are.
    check_light(images, scene, {**spec, 'bands': ['dem'] * 3}, 'air')
