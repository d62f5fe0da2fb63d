import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from lightning.pytorch import LightningModule
from matplotlib import image

from torchgeo_cmr import demo
from torchgeo_cmr.datasets import SyntheticLandscape
from torchgeo_cmr.demo import Journey, Settings, run
from torchgeo_cmr.errors import OutputExistsError, PairingError, RasterError
from torchgeo_cmr.main import main
from torchgeo_cmr.models.foundation.presto import PrestoAdapter
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import Pretrained, load_task

type Writer = Callable[..., Path]

#: Where the real samples lie beside a checkout.
SHARED = Path(__file__).parents[2] / 'shared' / 'data'

QUICK = Settings(size=384, model='test_resnet', epochs=2, steps=2, batch_size=16)
DIRECTIONS = ['s1->s1', 's1->s2', 's2->s1', 's2->s2']


@pytest.fixture(scope='module')
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    return run(tmp_path_factory.mktemp('demo') / 'out', settings=QUICK, progress=False)


@pytest.mark.slow
class TestSyntheticJourney:
    def test_writes_what_it_promises(self, journey: Journey) -> None:
        names = ['hits.geojson', 'area.geojson', 'queries.geojson', 'contact_sheet.png']
        for name in [*names, 'archive', 'checkpoint.ckpt', 'metrics.json']:
            assert (journey.out / name).exists()
        assert all(path.exists() for path in journey.files.values())
        assert image.imread(journey.out / 'contact_sheet.png').ndim == 3

    def test_hits_lie_inside_the_polygon_and_the_window(self, journey: Journey) -> None:
        hits = gpd.read_file(journey.out / 'hits.geojson')
        (area,) = gpd.read_file(journey.out / 'area.geojson').geometry
        assert len(hits) > 0
        # seven decimals of a degree are about a centimetre
        assert hits.geometry.within(area.buffer(2e-7)).all()
        assert (hits['time_start'] >= pd.Timestamp('2024-06-01', tz='UTC')).all()
        assert (hits['time_start'] < pd.Timestamp('2024-07-01', tz='UTC')).all()
        assert set(hits['modality']) == {'s2'}
        assert hits['relevant'].isna().all()
        queries = gpd.read_file(journey.out / 'queries.geojson')
        assert set(hits['query_id']) == set(queries['patch_id'])
        assert queries.geometry.within(area.buffer(2e-7)).all()
        counts = hits.groupby('query_id').size()
        assert counts.nunique() == 1
        assert (
            hits.groupby('query_id')['score'].apply(lambda s: s.is_monotonic_decreasing)
        ).all()

    def test_the_readme_searches_it(
        self,
        journey: Journey,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        readme = (Path(__file__).parents[1] / 'README.md').read_text()
        code, printed = re.findall(r'```(?:python|text)\n(.*?)```', readme, re.DOTALL)
        # The world of this test is smaller, so another place has patches.
        (area,) = gpd.read_file(journey.out / 'area.geojson').geometry
        place = area.representative_point()
        code = code.replace('11.93, 42.05', f'{place.x}, {place.y}')
        (tmp_path / 'demo').symlink_to(journey.out)
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'script.py').write_text(code)
        runpy.run_path('script.py')
        found, shown = (
            [line.split() for line in text.splitlines()]
            for text in (capsys.readouterr().out, printed)
        )
        assert found[0] == shown[0]
        assert [row[0] for row in found] == [row[0] for row in shown]
        assert {row[2] for row in (*found[1:], *shown[1:])} == {'s2'}

    def test_metrics_have_their_stable_shape(self, journey: Journey) -> None:
        metrics = json.loads((journey.out / 'metrics.json').read_text())
        assert list(metrics) == ['protocol', 'seed', 'counts', 'directions']
        assert list(metrics['directions']) == DIRECTIONS
        for scores in metrics['directions'].values():
            assert set(scores) == {'trained', 'untrained', 'chance'}
            for numbers in scores.values():
                assert set(numbers) == {'recall@10', 'map'}
                assert all(0 <= value <= 1 for value in numbers.values())
        gallery = metrics['counts']['gallery']
        for a in ('s1', 's2'):
            for b in ('s1', 's2'):
                chance = metrics['directions'][f'{a}->{b}']['chance']['recall@10']
                items = gallery[b] - (a == b)
                assert chance == pytest.approx(10 / items)

    def test_untrained_is_near_chance_across_sensors(self, journey: Journey) -> None:
        for name in ('s1->s2', 's2->s1'):
            scores = journey.metrics['directions'][name]
            assert scores['untrained']['recall@10'] < 4 * scores['chance']['recall@10']

    def test_archive_and_checkpoint_belong_together(self, journey: Journey) -> None:
        archive = EmbeddingTable.load(journey.out / 'archive')
        task = load_task(journey.out / 'checkpoint.ckpt')
        assert archive.space == task.space
        assert archive.modality == 's2'
        assert set(archive.frame['src_crs']) == {'EPSG:32632', 'EPSG:32633'}
        assert archive.frame['time_start'].nunique() == 4
        assert task.specs['s2']['bands'][0] == 'B01'
        assert task.specs['s1']['units'] == 'db'

    def test_land_cover_is_the_truth_of_the_patch(self, journey: Journey) -> None:
        from torchgeo_cmr.demo import _land_cover

        truth = sorted((journey.out / 'world' / 'truth').glob('landcover_*.tif'))
        frame = EmbeddingTable.load(journey.out / 'archive').frame
        labels = _land_cover(frame, truth)
        assert 0.3 < labels.notna().mean() < 0.95
        for row in np.flatnonzero(labels.notna())[::97]:
            patch = frame.iloc[row]
            tile = patch['source'].split('/')[-1][:6]
            window = patch['patch_id'].rsplit(':', 1)[-1]
            top, left = (int(n) for n in window.split('_')[:2])
            with rasterio.open(
                journey.out / 'world' / 'truth' / f'landcover_{tile}.tif'
            ) as file:
                pixels = file.read(1)[top : top + 32, left : left + 32]
            assert (pixels == labels.iloc[row]).mean() > 0.5

    def test_refuses_a_folder_with_files(self, journey: Journey) -> None:
        with pytest.raises(OutputExistsError, match='not empty: choose another folder'):
            run(journey.out, settings=QUICK, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('tiles', 'gpu', 'precision'),
    [
        (True, False, 'bf16-mixed'),
        (False, False, '32-true'),
        (True, True, '32-true'),
        (None, False, '32-true'),
    ],
)
def test_half_as_long_numbers_where_the_processor_has_tiles_for_them(
    monkeypatch: pytest.MonkeyPatch, tiles: bool | None, gpu: bool, precision: str
) -> None:
    known = {} if tiles is None else {'amx_bf16': tiles}
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: known, raising=False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    assert demo._precision() == precision


@pytest.mark.parametrize(
    ('present', 'before', 'during'), [(2, 2, 1), (1, 1, 1), (16, 16, 8), (16, 4, 4)]
)
def test_training_leaves_cores_to_what_reads(
    monkeypatch: pytest.MonkeyPatch, present: int, before: int, during: int
) -> None:
    threads = [before]
    monkeypatch.setattr(demo, 'cores', lambda: present)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads[-1])
    monkeypatch.setattr(torch, 'set_num_threads', threads.append)
    with pytest.raises(OSError, match='full'), demo._fewer_threads():
        raise OSError('full')
    assert threads == [before, during, before]


@pytest.mark.parametrize('drawn', [False, True])
def test_epochs_are_named_where_no_bar_is_drawn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, drawn: bool
) -> None:
    caplog.set_level('INFO', 'torchgeo_cmr.demo')
    monkeypatch.setattr(demo, 'is_drawn', lambda wanted: drawn)
    shown = demo._Bar(12, shown=False)
    for epoch in range(6):
        trainer: Any = SimpleNamespace(
            current_epoch=epoch,
            max_epochs=6,
            callback_metrics={'val_recall@10': torch.tensor(epoch / 10)},
        )
        shown.on_validation_end(trainer, LightningModule())
    # The last is followed by the next step's own line.
    expected = [] if drawn else ['epoch 3 of 6: recall@10 of the validation is 0.200']
    assert [record.message for record in caplog.records] == expected


@pytest.mark.slow
def test_same_seed_same_scores_and_overwrite(journey: Journey, tmp_path: Path) -> None:
    out = tmp_path / 'again'
    (out / 'world').mkdir(parents=True)
    SyntheticLandscape(out / 'world', 0, size=QUICK.size, sensors=('s1', 's2'))
    again = run(out, settings=QUICK, overwrite=True, progress=False)
    assert again.metrics['counts'] == journey.metrics['counts']
    for name in DIRECTIONS:
        for who in ('trained', 'untrained', 'chance'):
            assert again.metrics['directions'][name][who] == pytest.approx(
                journey.metrics['directions'][name][who], abs=0.02
            )


@pytest.fixture(scope='module')
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    folder = tmp_path_factory.mktemp('frozen')
    torch.manual_seed(0)
    weights = folder / 'presto.pt'
    torch.save(PrestoAdapter.build('presto', None).state_dict(), weights)
    return run(
        folder / 'out',
        model=f'presto:{weights}',
        settings=Settings(size=512, patch_size=64, batch_size=16),
        progress=False,
    )


class TestFrozen:
    @pytest.mark.slow
    def test_the_same_outputs_and_nothing_trained(
        self, frozen: Journey, journey: Journey
    ) -> None:
        assert set(frozen.files) == set(journey.files)
        assert all(path.exists() for path in frozen.files.values())
        metrics = json.loads((frozen.out / 'metrics.json').read_text())
        assert list(metrics) == ['protocol', 'seed', 'counts', 'directions']
        assert metrics['counts']['train_steps'] == 0
        assert metrics['protocol']['model'].startswith('presto:')
        assert any('nothing was trained' in note for note in frozen.notes)
        assert list(metrics['directions']) == DIRECTIONS
        for scores in metrics['directions'].values():
            assert set(scores) == {'frozen', 'centred', 'chance'}
        task = load_task(frozen.out / 'checkpoint.ckpt')
        assert isinstance(task, Pretrained)
        assert len(task.specs['s2']['bands']) == 10
        archive = EmbeddingTable.load(frozen.out / 'archive')
        assert archive.space == task.space
        assert archive.modality == 's2'

    @pytest.mark.slow
    def test_pixels_by_their_own_statistics(
        self, write_raster: Writer, tmp_path: Path
    ) -> None:
        generator = np.random.default_rng(0)
        pixels = generator.integers(0, 256, (3, 256, 256)).astype('uint8')
        a = write_raster('a/a.tif', data=pixels[:2], bands=('VV', 'VH'))
        b = write_raster('b/b.tif', data=pixels, bands=('B04', 'B03', 'B02'))
        torch.manual_seed(0)
        journey = run(
            tmp_path / 'out',
            rasters={'s1': str(a), 's2': str(b)},
            units={'s1': 'dn'},
            model='presto',
            normalize='data',
            settings=Settings(patch_size=32, batch_size=16),
            progress=False,
        )
        assert any('with random weights' in note for note in journey.notes)
        task = load_task(journey.out / 'checkpoint.ckpt')
        assert task.specs['s2']['bands'] == ['B04', 'B03', 'B02']
        assert task.specs['s1']['mean'] == pytest.approx([127.5] * 2, abs=2)


class TestOwnRasters:
    @pytest.mark.slow
    def test_without_dates_pairs_by_place_and_says_so(
        self, write_raster: Writer, tmp_path: Path
    ) -> None:
        generator = np.random.default_rng(0)
        hidden = generator.normal(size=(256, 256)).cumsum(0).cumsum(1)
        a = write_raster('a/a.tif', data=hidden[None], bands=('x',))
        b = write_raster(
            'b/b.tif', data=np.stack([-hidden, hidden**2]), bands=('y', 'z')
        )
        settings = Settings(
            model='test_resnet', epochs=1, steps=2, batch_size=8, patch_size=16
        )
        journey = run(
            tmp_path / 'out',
            rasters={'pan': str(a), 'ms': str(b.parent / '*.tif')},
            settings=settings,
            progress=False,
        )
        assert list(journey.metrics['directions'])[1] == 'pan->ms'
        assert journey.metrics['directions']['pan->ms']['trained']['map'] is None
        assert any('no time window' in note for note in journey.notes)
        hits = gpd.read_file(journey.files['hits'])
        assert 'time_start' not in hits
        (area,) = gpd.read_file(journey.files['area']).geometry
        assert hits.geometry.within(area.buffer(2e-7)).all()

    def test_one_modality(self, tmp_path: Path) -> None:
        with pytest.raises(PairingError, match='two modalities, 1 given'):
            run(tmp_path / 'out', rasters={'a': 'a.tif'})

    def test_bad_rasters_leave_nothing(
        self, write_raster: Writer, tmp_path: Path
    ) -> None:
        good, bad = str(write_raster('a.tif')), str(write_raster('b.tif', crs=None))
        with pytest.raises(RasterError, match='has no CRS'):
            run(tmp_path / 'out', rasters={'a': good, 'b': bad}, settings=QUICK)
        assert not (tmp_path / 'out').exists()

    @pytest.mark.slow
    @pytest.mark.skipif(
        not (SHARED / 's1s2_san_antonio').is_dir(),
        reason='the shared samples are not here',
    )
    def test_real_frames(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = SHARED / 's1s2_san_antonio'
        # three of the eleven frames are enough to show that real files work
        frames = {n: sorted((folder / n).glob('*.tif'))[:3] for n in ('S1', 'S2')}
        links = tmp_path / 'frames'
        for name, files in frames.items():
            (links / name).mkdir(parents=True)
            for file in files:
                (links / name / file.name).symlink_to(file)
        settings = Settings(model='test_resnet', epochs=1, steps=4, batch_size=32)
        journey = run(
            tmp_path / 'out',
            rasters={'s1': f'{links}/S1/*.tif', 's2': f'{links}/S2/*.tif'},
            # The radar is 8 bits for display: no unit of backscatter.
            units={'s1': 'dn'},
            settings=settings,
            progress=False,
        )
        hits = gpd.read_file(journey.files['hits'])
        (area,) = gpd.read_file(journey.files['area']).geometry
        assert len(hits) > 0
        assert hits.geometry.within(area.buffer(2e-7)).all()
        assert set(hits['src_crs']) == {'EPSG:3395'}


@pytest.mark.slow
def test_command_line_refuses_a_full_folder(
    journey: Journey, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['demo', '--out', str(journey.out)]) == 2
    assert 'choose another folder, or say --overwrite' in capsys.readouterr().err
