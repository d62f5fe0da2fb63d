"""Pairs of a data module become rows: by sensor, fused, resumed, and where they lie."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from torch import Tensor, nn
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets import GeoDataset, RasterDataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datamodules import (
    BigEarthNetPairsDataModule,
    ChipDataModule,
    PairedDataModule,
)
from torchgeo_cmr.datasets import BigEarthNetPairs
from torchgeo_cmr.embed import embed_pairs, run_options
from torchgeo_cmr.embed.pairs import part
from torchgeo_cmr.errors import (
    ArchiveError,
    OutputExistsError,
    PairingError,
    QueryError,
    RasterError,
)
from torchgeo_cmr.evaluate import make_report
from torchgeo_cmr.main import main
from torchgeo_cmr.metrics.distances import chi_square
from torchgeo_cmr.table import EmbeddingTable, ParquetSink
from torchgeo_cmr.tasks import CrossModalTask, SupervisedCMR

ROOT = Path(__file__).parents[3]
FAKE = runpy.run_path(str(ROOT / 'tests' / 'data' / 'bigearthnet' / 'data.py'))
BANDS = {'s1': ['VV', 'VH'], 's2': ['B02', 'B03', 'B04']}
FUSIONS = ('concat', 'mean', 'sum', 'max')


class Pooled(nn.Module):
    """Features of a patch: a few of its pixels, projected for each sensor."""

    def __init__(self, widths: dict[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({m: nn.LazyLinear(w) for m, w in widths.items()})

    def forward(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        h = x[:, :, ::4, ::4].flatten(1)
        return h, self.heads[modality](h)


class Tiny(CrossModalTask):
    """A task without training."""

    def __init__(
        self, in_channels: dict[str, int], dims: dict[str, int], **o: Any
    ) -> None:
        super().__init__(in_channels, **o)

    def configure_models(self) -> None:
        self.model = Pooled(self.hparams['dims'])

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        raise NotImplementedError


def make_task(size: int = 120, dims: tuple[int, int] = (6, 6), **names: str) -> Tiny:
    torch.manual_seed(0)
    one, two = names.get('one', 's1'), names.get('two', 's2')
    bands = dict(zip((one, two), BANDS.values(), strict=True))
    channels = {m: len(b) for m, b in bands.items()}
    task = Tiny(
        channels,
        dict(zip(bands, dims, strict=True)),
        mean={m: [0.0] * n for m, n in channels.items()},
        std={m: [100.0] * n for m, n in channels.items()},
    )
    task.forward(
        {f'image_{m}': torch.zeros(1, n, size, size) for m, n in channels.items()}
    )
    return task


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('bigearthnet')
    acquisition = 'S2A_MSIL2A_20170613T101031', '34TEQ'
    counts = {'train': 5, 'val': 2, 'test': 3}
    FAKE['write_v1'](root, {s: [(*acquisition, n)] for s, n in counts.items()})
    return root


@pytest.fixture
def data(root: Path) -> BigEarthNetPairsDataModule:
    return BigEarthNetPairsDataModule(str(root), bands=BANDS, batch_size=2)


@pytest.fixture
def task() -> Tiny:
    return make_task()


def vectors(table: EmbeddingTable, modality: str) -> np.ndarray:
    """Vectors of one modality in the order of the pairs' names."""
    rows = table.frame[table.frame['modality'] == modality].sort_values('pair').index
    return table.vectors[rows]


class TestChips:
    def test_every_pair_gives_a_row_a_sensor(
        self, task: Tiny, data: BigEarthNetPairsDataModule, root: Path
    ) -> None:
        table = embed_pairs(task, data, batch_size=2, progress=False)
        frame = table.frame
        assert frame.groupby(['split', 'modality']).size().to_dict() == {
            ('train', 's1'): 5,
            ('train', 's2'): 5,
            ('val', 's1'): 2,
            ('val', 's2'): 2,
            ('test', 's1'): 3,
            ('test', 's2'): 3,
        }
        assert table.space == task.space
        test = BigEarthNetPairs(root, 'test', bands=BANDS)
        rows = frame[(frame['split'] == 'test') & (frame['modality'] == 's1')]
        for number, (index, row) in enumerate(rows.iterrows()):
            assert row['pair'] == test.patch_id(number)
            assert row['patch_id'] == f's1:{row["pair"]}'
            assert row['source'] == test.pairs['s1'].iloc[number]
            batch = {k: v[None] for k, v in test[number].items()}
            expected = task.embed(batch, 's1')[0].numpy()
            np.testing.assert_allclose(table.vectors[index], expected, atol=1e-6)
            named = {test.classes.index(name) for name in row['label']}
            assert named == set(test[number]['label'].nonzero().flatten().tolist())
        # float32 holds no quarter of a metre at this northing
        places = test.footprints()
        corners = np.stack(rows['native_corners'].tolist())
        assert (corners == np.stack(places['native_corners'].tolist())).all()
        assert corners[0, 1] % 1 == 0.25
        assert shapely.equals_exact(
            rows.geometry.to_numpy(), places.geometry, 1e-12
        ).all()
        assert rows['time_start'].dt.strftime('%F %T').unique() == [
            '2017-06-13 00:00:00'
        ]
        assert (rows['time_end'].dt.strftime('%F') == '2017-06-13').all()
        assert (rows['valid_fraction'] == 1).all()

    def test_some_splits(self, task: Tiny, data: BigEarthNetPairsDataModule) -> None:
        table = embed_pairs(task, data, 's2', splits='val', progress=False)
        assert set(table.frame['split']) == {'val'}
        assert table.modality == 's2'
        with pytest.raises(
            PairingError, match='no split dev: choose one of train, val'
        ):
            embed_pairs(task, data, splits=['dev'])

    def test_held_out_pairs_keep_their_names(self, task: Tiny, root: Path) -> None:
        train = BigEarthNetPairs(root, 'train', bands=BANDS)
        data = ChipDataModule(train, val_split=0.4)
        table = embed_pairs(task, data, 's1', progress=False)
        assert sorted(table.frame['pair']) == sorted(train.pairs['s2'])
        assert table.frame['split'].value_counts().to_dict() == {'train': 3, 'val': 2}
        whole = embed_pairs(task, ChipDataModule(train), 's1', progress=False)
        np.testing.assert_allclose(
            vectors(table, 's1'), vectors(whole, 's1'), atol=1e-6
        )
        with pytest.raises(PairingError, match='the data has no test pairs'):
            embed_pairs(task, data, splits='test')

    def test_class_numbers_stay_numbers(self, task: Tiny, root: Path) -> None:
        def number(sample: Sample) -> Sample:
            return {**sample, 'label': sample['label'].argmax()}

        train = BigEarthNetPairs(root, 'train', bands=BANDS, transforms=number)
        table = embed_pairs(task, ChipDataModule(train), 's1', progress=False)
        expected = [int(train[i]['label']) for i in range(5)]
        assert table.frame['label'].tolist() == expected

    @pytest.mark.slow
    def test_missing_pixels(self, task: Tiny, root: Path) -> None:
        def spoil(sample: Sample) -> Sample:
            level = int(sample['image_s2'][0].min()) // 100  # the number of the patch
            sample['image_s1'][0, : 30 * level] = torch.nan
            return sample

        train = BigEarthNetPairs(root, 'train', bands=BANDS, transforms=spoil)
        data = ChipDataModule(train)

        def shares(modality: str, least: float) -> list[float]:
            table = embed_pairs(task, data, modality, min_valid=least, progress=False)
            return table.frame['valid_fraction'].tolist()

        assert shares('s1', 0.5) == [1, 0.75, 0.5]
        assert shares('s1', 0.0) == [1, 0.75, 0.5, 0.25]  # never one without any pixel
        assert shares('s2', 0.5) == [1] * 5
        assert shares('s1+s2', 0.6) == [1, 0.75]


class TestFused:
    @pytest.mark.slow
    @pytest.mark.parametrize('fusion', FUSIONS)
    def test_row_is_made_of_both_sensors_of_one_place(
        self, fusion: Any, task: Tiny, data: BigEarthNetPairsDataModule
    ) -> None:
        apart = embed_pairs(task, data, progress=False)
        fused = embed_pairs(task, data, 's1+s2', fusion=fusion, progress=False)
        a, b = vectors(apart, 's1').astype(float), vectors(apart, 's2').astype(float)
        made = {
            'concat': np.hstack([a, b]),
            'mean': (a + b) / 2,
            'sum': a + b,
            'max': np.maximum(a, b),
        }[fusion]
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        np.testing.assert_allclose(vectors(fused, 's1+s2'), made, atol=1e-6)
        assert len(fused) == len(apart) / 2
        assert fused.record['fusion'] == fusion
        row = fused.frame.iloc[0]
        assert row['patch_id'] == f's1+s2:{row["pair"]}'
        one, other = apart.frame[apart.frame['pair'] == row['pair']]['source']
        assert row['source'] == f'{one}+{other}'

    @pytest.mark.slow
    def test_order_does_not_matter(
        self, task: Tiny, data: BigEarthNetPairsDataModule
    ) -> None:
        one, other = (
            embed_pairs(task, data, word, progress=False) for word in ('s1+s2', 's2+s1')
        )
        assert (one.vectors == other.vectors).all()
        assert other.modality == 's1+s2'

    def test_early_fusion(self, data: BigEarthNetPairsDataModule) -> None:
        torch.manual_seed(0)
        task = SupervisedCMR(
            {'s1': 2, 's2': 3}, model='test_resnet', variant='bands_12', output_dim=8
        )
        task.set_specs(data.describe())
        table = embed_pairs(task, data, 's1+s2', splits='val', progress=False)
        assert (table.modality, table.dim) == ('s1+s2', 8)
        with pytest.raises(QueryError, match='embeds s1, s2 together'):
            embed_pairs(task, data, progress=False)

    @pytest.mark.parametrize('fusion', ['concat', 'sum'])
    def test_raw_features_come_back_from_their_length(
        self, fusion: Any, task: Tiny, data: BigEarthNetPairsDataModule
    ) -> None:
        table = embed_pairs(
            task, data, 's1+s2', splits='val', fusion=fusion, raw=True, progress=False
        )
        a, b = (
            torch.stack([data.val_dataset[i][f'image_{m}'] for i in range(2)])  # ty: ignore[not-subscriptable]
            for m in ('s1', 's2')
        )
        with torch.inference_mode():
            one, two = (
                task.model(task.normalize({f'image_{m}': x}, m), m)[1]
                for m, x in (('s1', a), ('s2', b))
            )
        made = torch.cat([one, two], dim=1) if fusion == 'concat' else one + two
        lengths = table.frame['length'].to_numpy()
        np.testing.assert_allclose(
            table.vectors * lengths[:, None], made.numpy(), rtol=1e-5
        )
        assert not np.allclose(lengths, 1)

    @pytest.mark.slow
    def test_a_raw_feature_of_zeros_is_left_out(
        self, task: Tiny, data: BigEarthNetPairsDataModule, caplog: Any
    ) -> None:
        for head in task.model.heads.values():
            nn.init.zeros_(head.weight)
            nn.init.constant_(head.bias, -1)
        task.model.heads['s2'].bias.data += 2
        for head in ('s1', 's2'):
            task.model.heads[head] = nn.Sequential(task.model.heads[head], nn.ReLU())
        table = embed_pairs(task, data, raw=True, progress=False)
        assert table.modality == 's2'
        assert embed_pairs(task, data, progress=False).modality == 's2'

    def test_one_archive_has_one_width(
        self, task: Tiny, data: BigEarthNetPairsDataModule
    ) -> None:
        table = embed_pairs(task, data, ['s1', 's1+s2'], fusion='mean', progress=False)
        assert set(table.frame['modality']) == {'s1', 's1+s2'}
        with pytest.raises(
            QueryError, match=r's1 of 6, s1\+s2 of 12: give each its own'
        ):
            embed_pairs(task, data, ['s1', 's1+s2'], progress=False)


def test_protocol_of_the_precursor(
    task: Tiny, data: BigEarthNetPairsDataModule, tmp_path: Path
) -> None:
    """Fused raw features, chi-square, train asks and test answers, from the command line."""
    for name, head in task.model.heads.items():
        task.model.heads[name] = nn.Sequential(head, nn.ReLU())
    out, report = tmp_path / 'fused', tmp_path / 'report.json'
    table = embed_pairs(task, data, 's1+s2', raw=True, out=out, progress=False)
    words = ['evaluate', str(out), str(out), '--relevance', 'label:label']
    words += ['--protocol', 'ben14k-precursor', '--features', 'length', '--k', '2']
    assert main([*words, '--metric', 'precision@k', '--out', str(report)]) == 0
    told = json.loads(report.read_text())
    found = told['directions']['s1+s2->s1+s2']
    assert (told['protocol']['query_split'], found['gallery']) == ('train', 3)
    raw = table.vectors * table.frame['length'].to_numpy()[:, None]
    rows = {s: np.flatnonzero(table.frame['split'] == s) for s in ('train', 'test')}
    labels = [set(label) for label in table.frame['label']]
    values = []
    for query in rows['train']:
        relevant = [bool(labels[query] & labels[item]) for item in rows['test']]
        if any(relevant):
            far = chi_square(raw[[query]], raw[rows['test']])[0]
            order = np.argsort(far, kind='stable')[:2]
            values.append(np.mean(np.array(relevant)[order]))
    assert found['queries'] == len(values) > 0
    assert found['scores']['precision@2']['value'] == pytest.approx(np.mean(values))


class TestArchive:
    @pytest.mark.slow
    def test_goes_on_where_it_stopped(
        self,
        task: Tiny,
        data: BigEarthNetPairsDataModule,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(part, '_PART', 2)
        commit = ParquetSink.commit
        keys: list[str] = []

        def dying(
            sink: ParquetSink, key: str, table: EmbeddingTable, **more: Any
        ) -> None:
            if len(keys) == 3:
                raise KeyboardInterrupt
            keys.append(key)
            commit(sink, key, table, **more)

        out = tmp_path / 'archive'
        with monkeypatch.context() as patch:
            patch.setattr(ParquetSink, 'commit', dying)
            with pytest.raises(KeyboardInterrupt):
                embed_pairs(task, data, out=out, progress=False)
        with monkeypatch.context() as patch:
            patch.setattr(
                ParquetSink,
                'commit',
                lambda *a, **k: (keys.append(a[1]), commit(*a, **k)),
            )
            table = embed_pairs(task, data, out=out, progress=False)
        assert keys == sorted(set(keys))  # nothing was done twice
        assert len(keys) == 3 + 1 + 2
        again = embed_pairs(task, data, progress=False)
        assert table.frame['patch_id'].tolist() == again.frame['patch_id'].tolist()
        assert (table.vectors == again.vectors).all()
        assert [list(x) for x in table.frame['label']] == [
            list(x) for x in again.frame['label']
        ]

    def test_is_not_mixed(
        self, task: Tiny, data: BigEarthNetPairsDataModule, tmp_path: Path
    ) -> None:
        out = tmp_path / 'archive'
        embed_pairs(task, data, 's1', splits='val', out=out, progress=False)
        with pytest.raises(ArchiveError, match='begun with pairs = "2 pairs'):
            embed_pairs(task, data, 's1', splits='test', out=out, progress=False)
        with pytest.raises(ArchiveError, match='begun with modalities'):
            embed_pairs(task, data, 's2', splits='val', out=out, progress=False)
        table = embed_pairs(
            task, data, 's2', splits='val', out=out, overwrite=True, progress=False
        )
        assert EmbeddingTable.load(out).modality == table.modality == 's2'
        (out / 'mine.txt').write_text('')
        with pytest.raises(OutputExistsError, match=r'holds mine\.txt'):
            embed_pairs(task, data, 's1', out=out, overwrite=True, progress=False)


class TestGrid:
    @pytest.fixture
    def scenes(self, write_raster: Callable[..., Path]) -> PairedDataModule:
        class Dated(RasterDataset):
            filename_regex = r'.*_(?P<date>\d{8})\.tif'

        rng = np.random.default_rng(0)
        for name, day, bands in (
            ('a', '20240601', ('a1', 'a2')),
            ('b', '20240603', ('b1', 'b2', 'b3')),
        ):
            write_raster(
                f'{name}/{name}_{day}.tif',
                data=rng.random((len(bands), 128, 128)),
                bands=bands,
                origin=(500_000.0, 5_000_000.25),
            )
        folder = write_raster('c.tif').parent
        members: dict[str, GeoDataset] = {n: Dated(folder / n) for n in ('a', 'b')}
        return PairedDataModule(members, patch_size=16, block=2, units={'a': 'dn'})

    def test_rows_are_the_places_of_a_split(self, scenes: PairedDataModule) -> None:
        task = make_task(16, one='a', two='b')
        table = embed_pairs(task, scenes, ['a', 'b'], splits='test', progress=False)
        keys = scenes.places('test')
        assert len(table) == 2 * len(keys) > 0
        frame = table.frame.iloc[: len(keys)]
        for row, (_, (x, y, _)) in zip(frame.itertuples(), keys, strict=True):
            assert row.native_corners.tolist() == [
                *(x.start, y.stop, x.stop, y.stop, x.stop, y.start, x.start, y.start)
            ]
            assert row.src_crs == 'EPSG:32632'
            assert row.source == 'a_20240601.tif'
        sample = scenes.zones[0][keys[0][1]]
        batch = {k: v[None] for k, v in sample.items()}
        np.testing.assert_allclose(
            vectors_of(table, 'b')[0], task.embed(batch, 'b')[0].numpy(), atol=1e-6
        )

    def test_fused_row_spans_both_dates(self, scenes: PairedDataModule) -> None:
        task = make_task(16, one='a', two='b')
        table = embed_pairs(task, scenes, 'a+b', splits='test', progress=False)
        row = table.frame.iloc[0]
        assert row['time_start'].strftime('%F') == '2024-06-01'
        assert row['time_end'].strftime('%F') == '2024-06-03'
        assert row['source'] == 'a_20240601.tif+b_20240603.tif'
        # From the end of the first day to the start of the third.
        assert row['days_apart'] == pytest.approx(1, abs=1e-6)
        single = embed_pairs(task, scenes, 'a', splits='test', progress=False)
        assert 'days_apart' not in single.frame


def vectors_of(table: EmbeddingTable, modality: str) -> np.ndarray:
    return table.vectors[(table.frame['modality'] == modality).to_numpy()]


SAMPLES = ROOT.parent / 'shared' / 'data' / 'bigearthnet_samples'


@pytest.mark.skipif(not SAMPLES.exists(), reason='no sample patches of BigEarthNet')
def test_real_patches_lie_in_their_zones(task: Tiny) -> None:
    folders = {'s1': 'S1', 's2': 'S2'}
    samples = BigEarthNetPairs(SAMPLES, None, bands=BANDS, directories=folders)
    table = embed_pairs(task, ChipDataModule(samples), progress=False)
    frame = table.frame
    assert len(table) == 6
    assert frame.groupby('pair')['modality'].agg(set).tolist() == [{'s1', 's2'}] * 3
    zones = frame['src_crs'].str[-2:].astype(int)
    middle = frame.geometry.bounds[['minx', 'maxx']].mean(axis=1)
    assert ((middle - (6 * zones - 183)).abs() <= 4).all()  # tiles reach over
    assert frame['time_start'].dt.year.isin([2017, 2018]).all()
    report = make_report(table, table, relevance='place', k=[1])
    found = report.directions['s1->s2']
    assert (found['queries'], found['gallery']) == (3, 3)


class TestRefusals:
    def test_other_data_modules(self, task: Tiny) -> None:
        with pytest.raises(PairingError, match='BaseDataModule does not say where'):
            embed_pairs(task, BaseDataModule(BigEarthNetPairs))

    def test_modality_that_is_not_read(self, task: Tiny, root: Path) -> None:
        train = BigEarthNetPairs(root, 'train', bands={'s1': ['VV', 'VH']})
        data = ChipDataModule(train)
        with pytest.raises(RasterError, match='the pairs hold no s2, only image_s1'):
            embed_pairs(task, data, progress=False)

    @pytest.mark.parametrize(
        ('options', 'error', 'told'),
        [
            ({'modality': 's3'}, QueryError, "cannot embed 's3': it knows s1, s2, and"),
            ({'modality': 's1+s1'}, QueryError, r"cannot embed 's1\+s1'"),
            ({'modality': []}, QueryError, 'no modality is named'),
            ({'fusion': 'min'}, QueryError, "'sum' or 'max', found 'min'"),
            ({'batch_size': 0}, RasterError, 'batch_size is 0'),
            ({'min_valid': 2}, RasterError, 'min_valid is 2'),
        ],
    )
    def test_settings(
        self,
        options: dict[str, Any],
        error: type[Exception],
        told: str,
        task: Tiny,
        data: BigEarthNetPairsDataModule,
    ) -> None:
        with pytest.raises(error, match=told):
            embed_pairs(task, data, progress=False, **options)


class TestEncoder:
    """What scenes have as well: precision, flips, runtimes, batch sizes, updates."""

    def test_flips_mirror_all_sensors_together(
        self, task: Tiny, data: BigEarthNetPairsDataModule, root: Path
    ) -> None:
        options: dict[str, Any] = {'splits': 'val', 'flips': True, 'progress': False}
        names = ['s1', 's2']
        fused = embed_pairs(task, data, 's1+s2', fusion='mean', **options)
        raw = embed_pairs(task, data, 's1+s2', fusion='mean', raw=True, **options)
        assert fused.record['flips'] == 'mean of 4, scaled to length 1'
        val = BigEarthNetPairs(root, 'val', bands=BANDS)
        for number in range(2):
            images = {k: val[number][k][None] for k in ('image_s1', 'image_s2')}
            turned = [
                {k: x.flip(sides) for k, x in images.items()}
                for sides in ((), (3,), (2,), (2, 3))
            ]
            units = [task.embed(x, names, 'mean')[0] for x in turned]
            expected = nn.functional.normalize(torch.stack(units).sum(0), dim=0)
            np.testing.assert_allclose(fused.vectors[number], expected, atol=1e-6)
            features = [task.embed(x, names, 'mean', raw=True)[0] for x in turned]
            length = float(torch.stack(features).mean(0).norm())
            assert raw.frame['length'][number] == pytest.approx(length, rel=1e-5)

    def test_an_archive_keeps_its_precision_and_batch_size(
        self,
        task: Tiny,
        data: BigEarthNetPairsDataModule,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = tmp_path / 'archive'
        options: dict[str, Any] = {'splits': 'val', 'out': out, 'progress': False}
        tried: list[int] = []

        def found(run: Callable[[int], Any], device: torch.device) -> int:
            run(3)
            tried.append(3)
            return 3

        monkeypatch.setattr(run_options, 'find_batch_size', found)
        exact = embed_pairs(task, data, splits='val', progress=False)
        begun: dict[str, Any] = {**options, 'batch_size': 'auto', 'precision': 'bf16'}
        table = embed_pairs(task, data, **begun)
        assert (table.record['batch_size'], table.record['precision']) == (3, 'bf16')
        assert (table.vectors != exact.vectors).any()
        np.testing.assert_allclose(table.vectors, exact.vectors, atol=0.05)
        # Neither is asked for again.
        next(out.glob('part-*')).unlink()
        again = embed_pairs(task, data, batch_size='auto', **options)
        np.testing.assert_array_equal(again.vectors, table.vectors)
        assert tried == [3]
        other: dict[str, Any] = {**begun, 'precision': '32'}
        with pytest.raises(ArchiveError, match='begun with precision = "bf16"'):
            embed_pairs(task, data, **other)

    @pytest.mark.slow
    def test_onnx_runtime_embeds_sensor_by_sensor(
        self, task: Tiny, data: BigEarthNetPairsDataModule
    ) -> None:
        pytest.importorskip('onnxruntime')
        options: dict[str, Any] = {'splits': 'val', 'progress': False}
        exact = embed_pairs(task, data, **options)
        table = embed_pairs(task, data, runtime='onnx', **options)
        assert table.frame['patch_id'].tolist() == exact.frame['patch_id'].tolist()
        np.testing.assert_allclose(table.vectors, exact.vectors, atol=1e-5)

    @pytest.mark.parametrize(
        ('more', 'error', 'message'),
        [
            ({'modality': 's1+s2'}, QueryError, 'embeds each sensor on its own'),
            ({'raw': True}, QueryError, 'embeds each sensor on its own'),
            ({'runtime': 'tea'}, RasterError, "no runtime 'tea'"),
            (
                {'precision': 'bf16'},
                RasterError,
                'precision 32 and patches of one size',
            ),
        ],
    )
    def test_what_onnx_runtime_cannot_do_is_said(
        self,
        task: Tiny,
        data: BigEarthNetPairsDataModule,
        more: dict[str, Any],
        error: type[Exception],
        message: str,
    ) -> None:
        options: dict[str, Any] = {'runtime': 'onnx', 'progress': False, **more}
        with pytest.raises(error, match=message):
            embed_pairs(task, data, **options)

    @pytest.mark.slow
    def test_an_update_embeds_blocks_whose_pairs_changed(
        self,
        task: Tiny,
        data: BigEarthNetPairsDataModule,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(part, '_PART', 2)
        out = tmp_path / 'archive'
        embed_pairs(task, data, out=out, progress=False)
        before = {p.name: p.stat().st_mtime_ns for p in out.glob('part-*')}
        assert len(before) == 3 + 1 + 2
        acquisition = 'S2A_MSIL2A_20170613T101031', '34TEQ'
        counts = {'train': 3, 'val': 2, 'test': 4}
        FAKE['write_v1'](
            tmp_path / 'new', {s: [(*acquisition, n)] for s, n in counts.items()}
        )
        new = BigEarthNetPairsDataModule(
            str(tmp_path / 'new'), bands=BANDS, batch_size=2
        )
        whole = embed_pairs(task, new, progress=False)
        with pytest.raises(
            ArchiveError, match=r'begun with pairs = .*; update it, name'
        ):
            embed_pairs(task, new, out=out, progress=False)
        # Killed in the middle, it can be read, and the next update ends it.
        commit = ParquetSink.commit

        def dying(*a: Any, **k: Any) -> None:
            commit(*a, **k)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(ParquetSink, 'commit', dying)
            with pytest.raises(KeyboardInterrupt):
                embed_pairs(task, new, out=out, update=True, progress=False)
        EmbeddingTable.load(out)
        table = embed_pairs(task, new, out=out, update=True, progress=False)
        assert table.frame['patch_id'].tolist() == whole.frame['patch_id'].tolist()
        np.testing.assert_array_equal(table.vectors, whole.vectors)
        after = {p.name: p.stat().st_mtime_ns for p in out.glob('part-*')}
        kept = {name for name, stamp in after.items() if before.get(name) == stamp}
        assert kept
        assert kept < set(after)
        # Now it is an archive of these pairs, which a plain run completes.
        embed_pairs(task, new, out=out, progress=False)
        with pytest.raises(ArchiveError, match='name it with out'):
            embed_pairs(task, new, update=True, progress=False)
