from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torchgeo.datasets import Sentinel1, Sentinel2

from torchgeo_cmr.datasets.synthetic import DATES, SCENES, SyntheticLandscape, network
from torchgeo_cmr.datasets.synthetic import optical as optical_model
from torchgeo_cmr.datasets.synthetic import radar as radar_model
from torchgeo_cmr.datasets.synthetic import signatures as sig
from torchgeo_cmr.datasets.synthetic.noise import (
    blur,
    coarse_and_back,
    double,
    fractal,
    standardise,
    weave,
)
from torchgeo_cmr.errors import OutputExistsError

SIZE = 256
TILES = ('T32TQM', 'T33TUG')

#: Training statistics of BigEarthNet (`reference/methods.md` 1.2): mean and standard deviation.
BIGEARTHNET = {
    'B02': (430, 572),
    'B03': (614, 583),
    'B04': (590, 676),
    'B05': (951, 730),
    'B06': (1792, 1096),
    'B07': (2075, 1273),
    'B08': (2219, 1365),
    'B8A': (2266, 1356),
    'B11': (1594, 1079),
    'B12': (1009, 819),
    'VV': (-12.6, 5.1),
    'VH': (-19.3, 5.5),
}


def read(path: Path) -> NDArray:
    with rasterio.open(path) as source:
        return source.read()


def scene_of(path: Path) -> str:
    with rasterio.open(path) as source:
        return 'T' + source.tags()['TILE']


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> SyntheticLandscape:
    return SyntheticLandscape(tmp_path_factory.mktemp('world') / 'w', 3, size=SIZE)


@pytest.fixture(scope='module')
def truth(world: SyntheticLandscape) -> dict[str, NDArray[np.uint8]]:
    return {tile: read(world.truth / f'landcover_{tile}.tif')[0] for tile in TILES}


@pytest.fixture(scope='module')
def radar(world: SyntheticLandscape) -> dict[tuple[str, str], NDArray[np.float32]]:
    """(tile, month) to (VV, VH)."""
    out = {}
    for path in world.files('s1'):
        if path.stem.endswith('VV'):
            both = [path, path.with_name(path.name.replace('VV', 'VH'))]
            key = scene_of(path), path.name[11:13]
            out[key] = np.concatenate([read(p) for p in both])
    return out


@pytest.fixture(scope='module')
def optical(
    world: SyntheticLandscape,
) -> dict[tuple[str, str], dict[str, NDArray[np.float32]]]:
    """(tile, month) to band name to reflectance x 10000."""
    out: dict[tuple[str, str], dict[str, NDArray[np.float32]]] = {}
    for path in world.files('s2'):
        tile, when, band = path.stem.split('_')
        out.setdefault((tile, when[4:6]), {})[band] = read(path)[0].astype(np.float32)
    return out


@pytest.fixture(scope='module')
def masks(world: SyntheticLandscape) -> dict[tuple[str, str], NDArray[np.uint8]]:
    """(tile, month) to cloud mask."""
    return {
        (path.stem.split('_')[1], path.stem.split('_')[2][4:6]): read(path)[0]
        for path in world.files('clouds')
    }


class TestFiles:
    def test_torchgeo_reads_both_sensors(self, world: SyntheticLandscape) -> None:
        s1 = Sentinel1(world.s1)
        s2 = Sentinel2(world.s2, bands=world.s2_bands)
        for dataset in (s1, s2):
            assert len(dataset.index) == len(SCENES) * len(DATES)
            assert dataset.res == (10, 10)
        days = {(i.left.month, i.left.day) for i in s2.index.index}
        assert days == {(4, 15), (6, 14)}
        days = {(i.left.month, i.left.day) for i in s1.index.index}
        assert days == {(4, 12), (4, 13), (6, 11), (6, 12)}

    def test_torchgeo_sample_holds_all_bands(self, world: SyntheticLandscape) -> None:
        own = [p for p in world.files('s2') if TILES[0] in p.name and '0614' in p.name]
        first = next(p for p in own if p.stem.endswith('B01'))
        dataset = Sentinel2([str(first)], bands=world.s2_bands)
        xmin, xmax = SCENES[0].left + 640, SCENES[0].left + 960
        ymax = SCENES[0].top - 640
        when = dataset.index.index[0]
        sample = dataset[xmin:xmax, ymax - 320 : ymax, when.left : when.right]
        assert sample['image'].shape == (12, 32, 32)
        for band, name in zip(sample['image'], world.s2_bands, strict=True):
            path = next(p for p in own if p.stem.endswith(name))
            np.testing.assert_array_equal(band.numpy(), read(path)[0, 64:96, 64:96])

    def test_two_zones(self, world: SyntheticLandscape) -> None:
        for folder in ('s1', 's2', 'pan', 'ms', 'truth', 'dem', 'clouds'):
            codes = set()
            for path in world.files(folder):
                with rasterio.open(path) as source:
                    codes.add(source.crs.to_epsg())
            assert codes == {32632, 32633}

    def test_all_sensors_share_the_ground(self, world: SyntheticLandscape) -> None:
        ground = {}
        for folder in ('s1', 's2', 'truth', 'dem', 'clouds', 'pan', 'ms'):
            for path in world.files(folder):
                with rasterio.open(path) as source:
                    bounds, gsd = source.bounds, source.res[0]
                    tile = 'T' + source.tags()['TILE']
                same = ground.setdefault(tile, bounds)
                assert (bounds.left, bounds.top) == (same.left, same.top)
                # PAN and MS hold whole pixels of 30 m only.
                assert 0 <= same.right - bounds.right < 30
                assert gsd == {'pan': 15, 'ms': 30}.get(folder, 10)
        assert len(ground) == 2

    @pytest.mark.parametrize(
        ('folder', 'dtype', 'nodata', 'count', 'units'),
        [
            ('s1', 'float32', np.nan, 1, 'dB'),
            ('s2', 'uint16', 0, 1, 'surface reflectance x 10000'),
            ('pan', 'uint16', 0, 1, 'top-of-atmosphere reflectance x 10000'),
            ('ms', 'uint16', 0, 4, 'top-of-atmosphere reflectance x 10000'),
            ('truth', 'uint8', 0, 1, None),
            ('dem', 'float32', np.nan, 1, 'm'),
        ],
    )
    def test_profile(
        self,
        world: SyntheticLandscape,
        folder: str,
        dtype: str,
        nodata: float,
        count: int,
        units: str | None,
    ) -> None:
        for path in world.files(folder):
            with rasterio.open(path) as source:
                assert source.dtypes == (dtype,) * count
                np.testing.assert_equal(source.nodata, nodata)
                assert source.compression.value.lower() == 'deflate'
                assert source.tags().get('UNITS') == units
                assert all(source.descriptions)
                if folder in ('s1', 's2'):
                    assert path.stem.endswith(source.descriptions[0])
                    assert source.tags()['ACQUISITION_TIME'].endswith('Z')

    def test_one_file_a_band(self, world: SyntheticLandscape) -> None:
        assert len(world.files('s1')) == 2 * 2 * 2
        assert len(world.files('s2')) == 2 * 2 * 12
        assert not list(world.root.glob('**/.*'))
        assert not list(world.root.glob('**/*.xml'))

    def test_nodata_at_swath_edges(
        self,
        radar: dict[tuple[str, str], NDArray[np.float32]],
        optical: dict[tuple[str, str], dict[str, NDArray[np.float32]]],
    ) -> None:
        empty = optical['T32TQM', '04']
        share = np.mean(empty['B02'] == 0)
        assert 0.05 < share < 0.2
        for band in empty.values():
            np.testing.assert_array_equal(band == 0, empty['B02'] == 0)
        assert all((optical['T33TUG', '06'][b] > 0).all() for b in sig.S2_BANDS)
        assert 0.05 < np.isnan(radar['T33TUG', '04']).mean() < 0.2
        assert np.isfinite(radar['T32TQM', '04']).all()

    def test_orbits_alternate(self, world: SyntheticLandscape) -> None:
        seen = {}
        for path in world.files('s1'):
            with rasterio.open(path) as source:
                key = source.tags()['TILE'], path.name[11:13]
                seen[key] = source.tags()['ORBIT_DIRECTION'][0]
        assert sorted(seen.items()) == [
            (('32TQM', '04'), 'D'),
            (('32TQM', '06'), 'A'),
            (('33TUG', '04'), 'A'),
            (('33TUG', '06'), 'D'),
        ]

    def test_truth_holds_every_class(
        self, world: SyntheticLandscape, truth: dict[str, NDArray[np.uint8]]
    ) -> None:
        for codes in truth.values():
            assert set(np.unique(codes)) == set(world.classes)
        assert len(world.class_names) == 11
        with rasterio.open(world.files('truth')[0]) as source:
            colours = source.colormap(1)
            assert colours[1] == (*sig.COLOURS[1], 255)
            assert source.tags()['CLASS_1'] == 'water'

    def test_plot(self, world: SyntheticLandscape) -> None:
        figure = world.plot(1, window=128)
        assert isinstance(figure, Figure)
        titles = [a.get_title() for a in figure.axes if a.get_title()]
        assert titles == [
            'land cover T33TUG',
            'S2 20240415',
            'S2 20240614',
            'S1 20240413',
            'S1 20240611',
            'PAN 20240528',
            'MS 20240528',
        ]


class TestSeed:
    @pytest.mark.slow
    def test_equal_seeds_give_equal_pixels(
        self, world: SyntheticLandscape, tmp_path: Path
    ) -> None:
        twin = SyntheticLandscape(tmp_path / 'twin', 3, size=SIZE)
        names = [p.relative_to(world.root) for p in world.root.glob('*/*.tif')]
        assert len(names) == 8 + 48 + 2 + 2 + 2 + 2 + 4
        for name in names:
            np.testing.assert_array_equal(
                read(world.root / name), read(twin.root / name)
            )

    @pytest.mark.slow
    def test_other_seed_gives_another_world(
        self, world: SyntheticLandscape, tmp_path: Path
    ) -> None:
        other = SyntheticLandscape(tmp_path / 'w', 4, size=SIZE, sensors=('s2',))
        name = 'landcover_T32TQM.tif'
        assert (read(other.truth / name) != read(world.truth / name)).mean() > 0.5

    def test_scenes_differ(self, truth: dict[str, NDArray[np.uint8]]) -> None:
        assert (truth[TILES[0]] != truth[TILES[1]]).mean() > 0.5

    @pytest.mark.slow
    def test_sensors_can_be_added(
        self, world: SyntheticLandscape, tmp_path: Path
    ) -> None:
        part = SyntheticLandscape(tmp_path / 'w', 3, size=SIZE, sensors=('s1',))
        assert not part.s2.exists()
        for path in part.files('s1'):
            np.testing.assert_array_equal(read(path), read(world.s1 / path.name))
        stamp = part.files('s1')[0].stat().st_mtime_ns
        SyntheticLandscape(tmp_path / 'w', 3, size=SIZE, sensors=('s1', 'pan'))
        assert part.files('s1')[0].stat().st_mtime_ns == stamp
        name = part.files('pan')[0].name
        np.testing.assert_array_equal(read(part.pan / name), read(world.pan / name))


class TestReuse:
    @pytest.fixture
    def small(self, tmp_path: Path) -> SyntheticLandscape:
        return SyntheticLandscape(
            tmp_path / 'w', 1, size=128, sensors=('s1',), dates=('2024-06-14',)
        )

    def test_same_world_is_opened(self, small: SyntheticLandscape) -> None:
        before = {p: p.stat().st_mtime_ns for p in small.root.rglob('*')}
        again = SyntheticLandscape(
            small.root, 1, size=128, sensors=('s1',), dates=('2024-06-14',)
        )
        assert {p: p.stat().st_mtime_ns for p in again.root.rglob('*')} == before

    def test_lost_file_is_written_again(self, small: SyntheticLandscape) -> None:
        path = small.files('s1')[0]
        pixels = read(path)
        path.unlink()
        SyntheticLandscape(
            small.root, 1, size=128, sensors=('s1',), dates=('2024-06-14',)
        )
        np.testing.assert_array_equal(read(path), pixels)

    def test_interrupted_world_is_finished(
        self, small: SyntheticLandscape, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def stop(*args: object) -> None:
            raise KeyboardInterrupt

        args: dict[str, Any] = {
            'size': 128,
            'sensors': ('s1',),
            'dates': ('2024-06-14',),
        }
        with monkeypatch.context() as patch:
            patch.setattr(radar_model, '_speckle', stop)
            with pytest.raises(KeyboardInterrupt):
                SyntheticLandscape(tmp_path / 'cut', 1, **args)
        again = SyntheticLandscape(tmp_path / 'cut', 1, **args)
        names = [p.name for p in small.files('s1')]
        assert [p.name for p in again.files('s1')] == names

    def test_other_world_is_refused(self, small: SyntheticLandscape) -> None:
        with pytest.raises(OutputExistsError, match=r'another seed \(1, requested 2\)'):
            SyntheticLandscape(small.root, 2, size=128, dates=('2024-06-14',))
        with pytest.raises(OutputExistsError, match='another size'):
            SyntheticLandscape(small.root, 1, size=160, dates=('2024-06-14',))

    def test_foreign_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / 'thesis.txt').write_text('mine')
        with pytest.raises(OutputExistsError, match='not a synthetic world'):
            SyntheticLandscape(tmp_path, size=128)
        assert [p.name for p in tmp_path.iterdir()] == ['thesis.txt']

    def test_file_in_the_way_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / 'w').write_text('mine')
        with pytest.raises(OutputExistsError, match='not a synthetic world'):
            SyntheticLandscape(tmp_path / 'w', size=128)

    def test_broken_manifest_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / 'world.json').write_text('{"seed": 0}')
        with pytest.raises(OutputExistsError, match='another version'):
            SyntheticLandscape(tmp_path, size=128)
        (tmp_path / 'world.json').write_text('not JSON')
        with pytest.raises(OutputExistsError, match='cannot be read'):
            SyntheticLandscape(tmp_path, size=128)

    @pytest.mark.parametrize(
        ('wrong', 'message'),
        [
            ({'seed': -1}, 'seed is -1: give a whole number of at least 0'),
            ({'size': 64}, 'at least 128'),
            ({'scenes': ()}, 'at least one scene'),
            ({'scenes': (SCENES[0], SCENES[0])}, 'a tile of its own'),
            ({'dates': ()}, 'at least one day'),
            ({'dates': ('14 June',)}, '14 June'),
            ({'clouds': 0.7}, 'between 0 and 0.5'),
            ({'sensors': ('s3',)}, r"\['s3'\]; choose from s1, s2, pan, ms"),
            ({'sensors': ()}, 'nothing; choose from'),
        ],
    )
    def test_bad_parameters(
        self, tmp_path: Path, wrong: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            SyntheticLandscape(tmp_path / 'w', **wrong)
        assert not (tmp_path / 'w').exists()


class TestRealism:
    def test_band_statistics(
        self,
        radar: dict[tuple[str, str], NDArray[np.float32]],
        optical: dict[tuple[str, str], dict[str, NDArray[np.float32]]],
        masks: dict[tuple[str, str], NDArray[np.uint8]],
    ) -> None:
        found: dict[str, NDArray[np.float32]] = {}
        for band in sig.S2_BANDS:
            parts = [
                o[band][(masks[k] == 0) & (o[band] > 0)] for k, o in optical.items()
            ]
            found[band] = np.concatenate(parts)
        for i, name in enumerate(('VV', 'VH')):
            found[name] = np.concatenate(
                [r[i][np.isfinite(r[i])] for r in radar.values()]
            )
        for name, (mean, std) in BIGEARTHNET.items():
            assert abs(found[name].mean() - mean) < 0.8 * std, name
            assert 0.2 * std < found[name].std() < 1.3 * std, name

    def test_radar_orders_the_classes(
        self,
        radar: dict[tuple[str, str], NDArray[np.float32]],
        truth: dict[str, NDArray[np.uint8]],
    ) -> None:
        for (tile, _), image in radar.items():
            ok = np.isfinite(image[0])
            vv = {c: image[0][(truth[tile] == c) & ok].mean() for c in sig.CLASSES}
            vh = {c: image[1][(truth[tile] == c) & ok].mean() for c in sig.CLASSES}
            # Water lies lowest, towns highest; woods above pastures in VH.
            assert min(vv, key=lambda c: vv[c]) == 1
            assert max(vv, key=lambda c: vv[c]) == 9
            assert vh[2] > vh[4] + 1.5
            assert 4 < vv[2] - vh[2] < 8

    def test_crops_follow_the_calendar(
        self,
        optical: dict[tuple[str, str], dict[str, NDArray[np.float32]]],
        truth: dict[str, NDArray[np.uint8]],
        masks: dict[tuple[str, str], NDArray[np.uint8]],
    ) -> None:
        ndvi = {}
        for key, image in optical.items():
            clear = (masks[key] == 0) & (image['B04'] > 0)
            near, red = image['B08'], image['B04']
            value = (near - red) / np.maximum(near + red, 1)
            for code in (1, 3, 5, 6):
                at = clear & (truth[key[0]] == code)
                ndvi[key[0], key[1], code] = value[at].mean()
        for tile in TILES:
            assert ndvi[tile, '04', 5] > ndvi[tile, '06', 5] + 0.2
            assert ndvi[tile, '06', 6] > ndvi[tile, '04', 6] + 0.2
            assert abs(ndvi[tile, '06', 3] - ndvi[tile, '04', 3]) < 0.1
            assert ndvi[tile, '06', 1] < 0.1

    def test_equivalent_number_of_looks(
        self, radar: dict[tuple[str, str], NDArray[np.float32]]
    ) -> None:
        for image in radar.values():
            power = 10 ** (image.astype(np.float64) / 10)
            blocks = power.reshape(2, SIZE // 8, 8, SIZE // 8, 8)
            blocks = blocks.transpose(0, 1, 3, 2, 4).reshape(2, -1, 64)
            for band in blocks:
                full = band[np.isfinite(band).all(1)]
                looks = full.mean(1) ** 2 / full.var(1)
                # Blocks of one cover; mixed ones fall below.
                assert 3.5 < np.quantile(looks, 0.6) < 5.5

    def test_true_pairs_share_structure_and_decoys_do_not(
        self,
        radar: dict[tuple[str, str], NDArray[np.float32]],
        optical: dict[tuple[str, str], dict[str, NDArray[np.float32]]],
    ) -> None:
        def blocks(image: NDArray) -> NDArray:
            cut = image.reshape(8, 32, 8, 32).transpose(0, 2, 1, 3)
            return cut.reshape(64, -1)

        def edges(image: NDArray[np.float32]) -> NDArray[np.float32]:
            edge = blocks(np.hypot(*np.gradient(image)))
            return (edge - edge.mean(1, keepdims=True)) / (
                edge.std(1, keepdims=True) + 1e-6
            )

        true, decoy = [], []
        for key, image in radar.items():
            near = optical[key]['B08']
            a, b = edges(image[0]), edges(near)
            ok = np.isfinite(a).all(1) & blocks(near > 0).all(1)
            score = a[ok] @ b[ok].T / a.shape[1]
            true.append(np.diag(score).mean())
            decoy.append(score[~np.eye(len(score), dtype=bool)].mean())
        assert np.mean(true) > 0.04
        assert np.mean(true) > np.mean(decoy) + 0.03
        assert abs(np.mean(decoy)) < 0.01

    def test_a_scene_does_not_give_itself_away(
        self, optical: dict[tuple[str, str], dict[str, NDArray[np.float32]]]
    ) -> None:
        """Patches spread more within a scene than scenes differ in their mean."""
        for month in ('04', '06'):
            for band in ('B04', 'B08', 'B11'):
                # The swath edge of the first scene lies in its left quarter.
                a, b = (
                    optical[tile, month][band][:, SIZE // 4 :]
                    .reshape(8, 32, 6, 32)
                    .mean((1, 3))
                    for tile in TILES
                )
                assert abs(a.mean() - b.mean()) < 1.2 * max(a.std(), b.std())

    def test_coarse_bands_hold_no_fine_detail(
        self, optical: dict[tuple[str, str], dict[str, NDArray[np.float32]]]
    ) -> None:
        def detail(image: NDArray[np.float32]) -> float:
            return float(np.abs(np.diff(image, 2, axis=1)).mean() / image.std())

        image = optical['T33TUG', '06']
        assert detail(image['B8A']) < 0.6 * detail(image['B08'])
        assert detail(image['B01']) < 0.3 * detail(image['B02'])

    def test_clouds_cover_the_asked_share(
        self,
        world: SyntheticLandscape,
        optical: dict[tuple[str, str], dict[str, NDArray[np.float32]]],
        masks: dict[tuple[str, str], NDArray[np.uint8]],
        tmp_path: Path,
    ) -> None:
        share = np.mean([np.isin(mask, (1, 2)).mean() for mask in masks.values()])
        assert world.cloud_share * 0.7 < share < world.cloud_share * 1.2
        blue = np.concatenate([o['B02'][masks[k] == 2] for k, o in optical.items()])
        clear = np.concatenate([o['B02'][masks[k] == 0] for k, o in optical.items()])
        assert blue.mean() > 5 * clear.mean()
        near = np.concatenate([o['B08'][masks[k] == 3] for k, o in optical.items()])
        clear = np.concatenate([o['B08'][masks[k] == 0] for k, o in optical.items()])
        assert near.mean() < 0.85 * clear.mean()
        bare = SyntheticLandscape(
            tmp_path / 'w', 3, size=128, clouds=0, sensors=('s2',), dates=DATES[:1]
        )
        assert all((read(path) == 0).all() for path in bare.files('clouds'))

    def test_pan_and_ms_show_the_same_ground(self, world: SyntheticLandscape) -> None:
        for tile in TILES:
            pan = read(next(world.pan.glob(f'PAN_{tile}_*.tif')))[0].astype(float)
            multi = read(next(world.ms.glob(f'MS_{tile}_*.tif'))).astype(float)
            n = multi.shape[1]
            assert pan.shape == (2 * n, 2 * n)
            coarse = pan.reshape(n, 2, n, 2).mean((1, 3))
            # Landsat over Navarra: 0.86 to 0.88 in the visible, 0.28 in the near infrared.
            for band in multi[:3]:
                assert np.corrcoef(coarse.ravel(), band.ravel())[0, 1] > 0.8
            assert np.corrcoef(coarse.ravel(), multi[3].ravel())[0, 1] < 0.7

    def test_pan_and_ms_are_as_quiet_as_landsat(self) -> None:
        even = np.full((12, 120, 120), 0.05, dtype=np.float32)
        for image in optical_model.landsat(even, np.random.default_rng(0)):
            # The quietest 8 x 8 blocks of the Landsat 8 sample vary by 0.2 % to 0.3 %.
            share = image.std((1, 2)) / image.mean((1, 2))
            assert ((share > 0.002) & (share < 0.007)).all()

    def test_signatures_are_complete(self) -> None:
        table = sig.spectra()
        assert table.shape == (len(sig.MATERIALS), 12)
        assert ((table > 0) & (table < 0.6)).all()
        assert set(sig.CLASSES) == set(sig.COLOURS)
        assert all(vv > vh for vv, vh in sig.BACKSCATTER.values())
        assert date.fromisoformat(DATES[0]) < date.fromisoformat(DATES[1])


class TestParts:
    def test_speckle_has_the_stated_looks(self) -> None:
        weights = radar_model._look_weights()
        np.testing.assert_allclose((weights.sum(), (weights > 0).all()), (1, True))
        np.testing.assert_allclose(1 / (weights**2).sum(), sig.ENL)
        rng = np.random.default_rng(0)
        speckle = radar_model._speckle((400, 400), weights, rng).astype(np.float64)
        assert abs(speckle.mean() - 1) < 0.02
        assert abs(1 / speckle.var() - sig.ENL) < 0.25
        # Neighbours correlate as on terrain-corrected Sentinel-1 patches.
        assert 0.5 < np.corrcoef(speckle[1:].ravel(), speckle[:-1].ravel())[0, 1] < 0.7
        assert abs(speckle[0].mean() - 1) < 0.15

    def test_all_water_reaches_the_outlet(self) -> None:
        rng = np.random.default_rng(0)
        height = rng.normal(50, 10, (17, 23)).astype(np.float32)
        order, parent, count = network.drainage(height, np.ones_like(height))
        assert sorted(order.tolist()) == list(range(height.size))
        outlet = order[0]
        assert parent[outlet] == -1
        assert count[outlet] == height.size
        for cell in range(height.size):
            steps = 0
            while parent[cell] >= 0:
                a, b = divmod(int(cell), 23), divmod(int(parent[cell]), 23)
                assert max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1
                cell, steps = parent[cell], steps + 1
                assert steps <= height.size
            assert cell == outlet

    def test_water_above_the_stream(self) -> None:
        # A plane that falls to the left: everything drains along its row.
        height = np.tile(np.arange(5, dtype=np.float32) * 10, (3, 1))
        height[1] -= 1
        order, parent, _ = network.drainage(height, np.ones_like(height))
        stream = np.zeros(15, dtype=bool)
        stream[5] = True
        above = network.above_stream(height, order, parent, stream)
        np.testing.assert_allclose(above[1], [0, 10, 20, 30, 40])

    def test_cheapest_way_goes_round_the_wall(self) -> None:
        cost = np.ones((5, 5), dtype=np.float32)
        cost[:4, 2] = 100
        goal = np.zeros((5, 5), dtype=bool)
        goal[0, 4] = True
        path = network.cheapest(cost, (0, 0), goal)
        assert path[0] == (0, 0)
        assert path[-1] == (0, 4)
        assert (4, 2) in path

    def test_smooth_keeps_the_ends(self) -> None:
        line = np.array([[0, 0], [0, 10], [10, 10]], dtype=float)
        out = network.smooth(line, 3)
        np.testing.assert_array_equal(out[[0, -1]], line[[0, -1]])
        assert len(out) > 12
        assert np.abs(np.diff(out, axis=0)).max() < 6

    def test_fractal_is_smoother_for_steeper_spectra(self) -> None:
        rough, fine = (
            fractal(np.random.default_rng(1), (96, 80), slope, 20, 400)
            for slope in (0.5, 2.0)
        )
        for field in (rough, fine):
            assert field.shape == (96, 80)
            assert field.dtype == np.float32
            assert abs(field.mean()) < 1e-5
            assert abs(field.std() - 1) < 1e-4
        assert np.abs(np.diff(fine)).mean() < 0.5 * np.abs(np.diff(rough)).mean()
        # Not periodic: opposite edges do not match.
        assert abs(np.corrcoef(fine[:, 0], fine[:, -1])[0, 1]) < 0.9

    def test_filters_keep_constants_and_means(self) -> None:
        flat = np.full((12, 18), 3.0, dtype=np.float32)
        for out in (
            blur(flat, 2),
            weave(flat, 0.2),
            coarse_and_back(flat, 5),
            double(flat),
        ):
            np.testing.assert_allclose(out, 3, rtol=1e-4)
        ramp = np.tile(np.arange(12, dtype=np.float32), (12, 1))
        np.testing.assert_allclose(coarse_and_back(ramp, 2)[:, 2:-2], ramp[:, 2:-2])
        np.testing.assert_allclose(double(ramp)[0, 1:-1], np.arange(0.25, 11, 0.5)[:22])
        assert abs(float(standardise(ramp).std()) - 1) < 1e-6

    def test_blur_equals_its_loop_twin(self) -> None:
        field = np.random.default_rng(0).random((20, 20)).astype(np.float32)
        reach = np.arange(-9, 10)
        taps = np.exp(-(reach**2) / 2 / 1.5**2)
        taps /= taps.sum()
        wide = np.pad(field, 9, mode='symmetric')
        twin = sum(
            taps[i] * taps[j] * wide[i : i + 20, j : j + 20]
            for i in range(19)
            for j in range(19)
        )
        np.testing.assert_allclose(blur(field, 1.5), twin, atol=2e-3)
