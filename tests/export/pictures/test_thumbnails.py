"""PatchReader: the right pixels, found by the patch's id or by its place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export import PatchReader
from torchgeo_cmr.export.pictures.thumbnails import shown_bands, stretch
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., EmbeddingTable]


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Collect the planes before they are stretched."""
    seen: list[np.ndarray] = []

    def keep(plane: np.ndarray) -> np.ndarray:
        seen.append(plane)
        return stretch(plane)

    monkeypatch.setattr('torchgeo_cmr.export.pictures.thumbnails.stretch', keep)
    return seen


def test_own_window(make: Make, scenes: Path, spied: list[np.ndarray]) -> None:
    table = make('s2')
    picture = PatchReader({'s2': table.record}, scenes)(table.frame.iloc[2], 's2')
    assert picture is not None
    assert picture.shape == (32, 32, 3)
    assert 0 <= picture.min() < picture.max() <= 1
    columns = np.broadcast_to(np.arange(64, 96), (32, 32))
    # B04, B03, B02: third band first.
    for plane, offset in zip(spied, (2000, 1000, 0), strict=True):
        assert (plane == columns + offset).all()


def test_radar_shows_its_ratio(
    make: Make, scenes: Path, spied: list[np.ndarray]
) -> None:
    table = make('s1')
    picture = PatchReader({'s1': {**table.record, 'root': str(scenes)}})(
        table.frame.iloc[0], 's1'
    )
    assert picture is not None
    assert picture.shape == (32, 32, 3)
    assert (spied[2] == spied[0] - spied[1]).all()


@pytest.mark.parametrize('with_corners', [True, False])
def test_other_modality_at_the_same_place(
    make: Make, scenes: Path, spied: list[np.ndarray], with_corners: bool
) -> None:
    s1, s2 = make('s1'), make('s2')
    row = s1.frame.iloc[3]
    if not with_corners:
        row = row.drop('native_corners')
    picture = PatchReader({'s1': s1.record, 's2': s2.record}, scenes)(row, 's2')
    assert picture is not None
    assert picture.shape[:2] == pytest.approx((32, 32), abs=1)
    assert spied[2].mean() == pytest.approx(96 + 15.5, abs=1)


@pytest.mark.parametrize(
    ('transform', 'turn'),
    [
        (Affine(10, 0, 5e5, 0, 10, 4_999_360), lambda p: p[::-1]),
        (Affine(-10, 0, 501_920, 0, -10, 5e6), lambda p: p[:, ::-1]),
        (Affine(0, 10, 5e5, -10, 0, 5e6), lambda p: p.T),
        (
            Affine.translation(5e5, 5e6) @ Affine.rotation(-20) @ Affine.scale(10, -10),
            lambda p: p,
        ),
    ],
    ids=['south-up', 'east-left', 'transposed', 'rotated'],
)
@pytest.mark.parametrize('north_up', [False, True])
def test_scenes_of_any_orientation(
    make: Make,
    tmp_path: Path,
    spied: list[np.ndarray],
    transform: Affine,
    turn: Callable[[np.ndarray], np.ndarray],
    north_up: bool,
) -> None:
    """A patch shows the window of its id; another sensor, the ground under it."""
    pixels = np.random.default_rng(0).random((192, 192)).astype(np.float32)
    profile = {'driver': 'GTiff', 'width': 192, 'height': 192, 'dtype': 'float32'}
    for name in ('s1', 's2'):
        with rasterio.open(
            tmp_path / f'{name}.tif',
            'w',
            count=3,
            crs='EPSG:32632',
            transform=transform,
            **profile,
        ) as file:
            file.write(np.stack([pixels] * 3))
    s1, s2 = make('s1'), make('s2')
    reader = PatchReader(
        {'s1': s1.record, 's2': s2.record}, tmp_path, north_up=north_up
    )
    window = s2.frame.iloc[2].copy()
    window['patch_id'] = 's2:s2.tif:32_64_16x24'
    assert reader(window, 's2') is not None
    own = pixels[32:48, 64:88]
    np.testing.assert_array_equal(spied[0], turn(own) if north_up else own)
    spied.clear()
    # A square of 160 m in the middle of the scene, as the other sensor has it.
    centre = np.array(
        [96 * (transform.a + transform.b), 96 * (transform.d + transform.e)]
    )
    centre += (transform.c, transform.f)
    other = s1.frame.iloc[0].copy()
    ends = np.array([-80, 80, 80, 80, 80, -80, -80, -80])
    other['native_corners'] = np.tile(centre, 4) + ends
    assert reader(other, 's2') is not None
    if transform.b == 0 or transform.a == 0:
        expected = pixels[88:104, 88:104]
        np.testing.assert_array_equal(
            spied[0], turn(expected) if north_up else expected
        )
    else:
        # The box round a square that was turned by 20 degrees.
        half = 8 * (np.cos(np.pi / 9) + np.sin(np.pi / 9))
        at = np.floor(96 - half + (np.arange(21) + 0.5) * 2 * half / 21).astype(int)
        np.testing.assert_array_equal(spied[0], pixels[np.ix_(at, at)])


def test_nothing_there(make: Make, scenes: Path) -> None:
    s1, s2 = make('s1'), make('s2')
    far = s1.frame.iloc[0].copy()
    far['native_corners'] = far['native_corners'] + 1e6
    assert PatchReader({'s2': s2.record}, scenes)(far, 's2') is None
    assert PatchReader({'s2': s2.record}, scenes)(far, 'pan') is None
    stranger = s2.frame.iloc[0].copy()
    stranger['source'] = 'other.tif'
    assert PatchReader({'s2': s2.record}, scenes)(stranger, 's2') is None


def test_refuses(make: Make, scenes: Path, tmp_path: Path) -> None:
    table = make('s2')
    with pytest.raises(
        QueryError, match=r'cannot be opened; say where the scenes are with root='
    ):
        PatchReader({'s2': table.record}, tmp_path / 'nowhere')(
            table.frame.iloc[0], 's2'
        )
    odd = table.frame.iloc[0].copy()
    odd['patch_id'] = 'odd'
    with pytest.raises(QueryError, match="'odd' does not end in row_col_HEIGHTxWIDTH"):
        PatchReader({'s2': table.record}, scenes)(odd, 's2')


def test_coarser_bands_cover_the_same_ground(
    make: Make, scenes: Path, spied: list[np.ndarray]
) -> None:
    table = make('s2')
    sources = {
        's2.tif': [
            ['s2.tif', 1, 'a', 5.0],
            ['s2.tif', 2, 'b', 10.0],
            ['s2.tif', 3, 'c', 10.0],
        ]
    }
    picture = PatchReader({'s2': {'sources': sources}}, scenes)(
        table.frame.iloc[2], 's2'
    )
    assert picture is not None
    assert picture.shape == (32, 32, 3)
    assert spied[0][0, [0, -1]].tolist() == [64, 95]
    assert spied[1][0, [0, -1]].tolist() == [1032, 1047]


@pytest.mark.parametrize(
    ('names', 'shown'),
    [
        (['B02', 'B03', 'B04', 'B08'], ['B04', 'B03', 'B02']),
        (['blue', 'green', 'red'], ['red', 'green', 'blue']),
        (['VH', 'VV'], ['VV', 'VH']),
        (['x', 'y'], ['x', 'y']),
        (['a', 'b', 'c', 'd'], ['a', 'b', 'c']),
        (['pan'], ['pan']),
    ],
)
def test_bands_shown(names: list[str], shown: list[str]) -> None:
    assert [
        b[2] for b in shown_bands([['f', i, n, 10] for i, n in enumerate(names, 1)])
    ] == shown


def test_stretch() -> None:
    plane = np.arange(101.0).reshape(1, -1)
    assert stretch(plane)[0, [0, 2, 50, 98, 100]].tolist() == pytest.approx(
        [0, 0, 0.5, 1, 1]
    )
    plane[0, 5] = np.nan
    assert stretch(plane)[0, 5] == 0
    assert (stretch(np.full((2, 2), 7.0)) == 0.5).all()
    assert (stretch(np.full((2, 2), np.nan)) == 0).all()


def test_a_patch_without_a_place(make: Make, scenes: Path) -> None:
    reader = PatchReader({'s2': make('s2').record}, root=scenes)
    spoken = make('speech').frame.iloc[0].copy()
    spoken['geometry'] = None
    assert reader(spoken, 's2') is None


def test_a_resampled_scene_is_shown_by_its_ground(
    make: Make, scenes: Path, spied: list[np.ndarray]
) -> None:
    table = make('s2')
    patch = table.frame.iloc[2]
    PatchReader({'s2': table.record}, scenes)(patch, 's2')
    expected, spied[:] = list(spied), []
    # the same ground, named by its window on a grid twice as fine
    scene = patch['source']
    finer = patch.copy()
    row, col, height, width = (
        2 * int(n)
        for n in patch['patch_id'].rpartition(':')[2].replace('x', '_').split('_')
    )
    finer['patch_id'] = f's2:{scene}:{row}_{col}_{height}x{width}'
    record = {**table.record, 'grids': {scene: {'shape': [0, 0], 'transform': []}}}
    PatchReader({'s2': record}, scenes)(finer, 's2')
    for plane, other in zip(expected, spied, strict=True):
        np.testing.assert_array_equal(plane, other)


def test_cubes_have_no_picture(make: Make) -> None:
    table = make('s2')
    patch = table.frame.iloc[2]
    sources = {patch['source']: [['cube.nc', 1, 'B02', 10.0]]}
    reader = PatchReader({'s2': {'sources': sources}, 's1': {'sources': sources}})
    assert reader(patch, 's2') is None
    assert reader(patch, 's1') is None
