import json
import re
import runpy
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from torch.utils.data import Subset
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets import SEN12MS, SSL4EOS12, NonGeoDataset, So2Sat
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datamodules import (
    BEN14KDataModule,
    BigEarthNetPairsDataModule,
    ChipDataModule,
)
from torchgeo_cmr.datasets import BEN14K, BIGEARTHNET_STATISTICS
from torchgeo_cmr.embed import open_data
from torchgeo_cmr.errors import PairingError, RasterError
from torchgeo_cmr.search import Where
from torchgeo_cmr.table import EmbeddingTable

ROOT = Path(__file__).parents[2]
FAKE = runpy.run_path(str(ROOT / 'tests' / 'data' / 'bigearthnet' / 'data.py'))


class Noise(NonGeoDataset):
    """Pairs of one picture and its negative, whose numbers can be told."""

    def __init__(self, split: str = 'train', length: int = 40) -> None:
        self.split = split
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index)
        image = torch.rand(2, 6, 6, generator=generator)
        label = torch.tensor([index % 2, 1])
        return {'image_a': image, 'image_b': -image[:1], 'label': label}


class Named(Noise):
    """Likewise, and knows its bands."""

    def __init__(self, split: str = 'train', length: int = 40) -> None:
        super().__init__(split, length)
        self.bands = {'a': ('VV', 'VH'), 'b': ('B02',)}
        self.units = {'a': 'db', 'b': 'reflectance'}
        self.gsd = {'a': 10.0, 'b': 20.0}


def numbers(dataset: Any) -> set[int]:
    assert isinstance(dataset, Subset)
    return set(dataset.indices)


class TestSplits:
    def test_given_ones_are_used_as_they_are(self) -> None:
        train, val, test = Noise(), Noise('val'), Noise('test')
        data = ChipDataModule(train, val, test, val_split=0.5, test_split=0.2)
        data.setup('fit')
        assert (data.train_dataset, data.val_dataset, data.test_dataset) == (
            train,
            val,
            test,
        )

    def test_held_out_pairs_are_no_training_pairs(self) -> None:
        data = ChipDataModule(Noise(), val_split=0.1, test_split=0.25, seed=3)
        data.setup('fit')
        parts = [
            numbers(d)
            for d in (data.train_dataset, data.val_dataset, data.test_dataset)
        ]
        assert [len(part) for part in parts] == [26, 4, 10]
        assert set.union(*parts) == set(range(40))
        again = ChipDataModule(Noise(), val_split=0.1, test_split=0.25, seed=3)
        again.setup('test')
        assert numbers(again.test_dataset) == parts[2]

    def test_class_is_opened_for_each_split(self) -> None:
        data = ChipDataModule(
            dataset_class=Noise,
            dataset_kwargs={'length': 8},
            splits={'train': 'train', 'test': 'testing'},
            val_split=0.25,
        )
        data.setup('fit')
        assert isinstance(data.test_dataset, Noise)
        assert data.test_dataset.split == 'testing'
        assert len(numbers(data.val_dataset)) == 2
        assert len(numbers(data.train_dataset)) == 6

    def test_setup_happens_once(self) -> None:
        data = ChipDataModule(Noise(), val_split=0.1)
        data.setup('fit')
        before = data.train_dataset
        data.setup('test')
        assert data.train_dataset is before

    @pytest.mark.parametrize(
        ('arguments', 'told'),
        [
            ({}, 'not both or none'),
            ({'train': Noise(), 'dataset_class': Noise}, 'not both or none'),
            ({'train': Noise(), 'val_split': 1.0}, 'leave nothing to train on'),
            ({'train': Noise(), 'test_split': -0.1}, 'leave nothing to train on'),
            ({'train': Noise(), 'units': {'a': 'K'}}, "a cannot be in 'K'"),
            ({'train': Noise(), 'statistics': 'imagenet'}, "found 'imagenet'"),
        ],
    )
    def test_refusals(self, arguments: dict[str, Any], told: str) -> None:
        with pytest.raises((PairingError, RasterError), match=told):
            ChipDataModule(**arguments)

    def test_too_few_pairs(self) -> None:
        with pytest.raises(PairingError, match='training dataset is empty'):
            ChipDataModule(Noise(length=0)).setup('fit')
        with pytest.raises(PairingError, match='1 training pairs are too few'):
            ChipDataModule(Noise(length=1), val_split=0.1).setup('fit')
        data = ChipDataModule(Noise(), batch_size=41)
        data.setup('fit')
        with pytest.raises(PairingError, match='40 training pairs do not fill one'):
            data.train_dataloader()
        with pytest.raises(PairingError, match='there are no test pairs'):
            data.test_dataloader()


class TestBatches:
    def test_training_is_shuffled_in_whole_batches(self) -> None:
        data = ChipDataModule(Noise(), Noise(), batch_size=16)
        data.setup('fit')
        torch.manual_seed(0)
        first, second = (torch.cat([b['image_a'] for b in _train(data)]) for _ in '12')
        assert len(first) == 32
        assert not torch.equal(first, second)

    def test_other_splits_are_whole_and_in_order(self) -> None:
        data = ChipDataModule(Noise(), Noise('val', 10), Noise('test', 7), batch_size=4)
        data.setup('fit')
        for loader, length in (
            (data.val_dataloader(), 10),
            (data.test_dataloader(), 7),
        ):
            images = torch.cat([b['image_a'] for b in loader])
            expected = torch.stack([Noise()[i]['image_a'] for i in range(length)])
            assert torch.equal(images, expected)
        assert sum(len(b['label']) for b in data.predict_dataloader()) == 57

    def test_batch_sizes_of_splits(self) -> None:
        data = ChipDataModule(Noise(), Noise('val', 10), Noise('test', 7), batch_size=4)
        data.train_batch_size, data.val_batch_size = 8, 5
        data.test_batch_size, data.predict_batch_size = 3, 6
        data.setup('fit')
        for split, size in (('train', 8), ('val', 5), ('test', 3), ('predict', 6)):
            batch = next(iter(getattr(data, f'{split}_dataloader')()))
            assert len(batch['image_a']) == size

    def test_no_validation_pairs(self) -> None:
        data = ChipDataModule(Noise())
        data.setup('fit')
        assert data.val_dataloader() == []

    def test_flips_are_shared(self) -> None:
        torch.manual_seed(0)
        data = ChipDataModule(Noise(), batch_size=40)
        data.setup('fit')
        (batch,) = _train(data)
        assert data.train_aug is not None
        flipped: Any = data.train_aug({k: v.clone() for k, v in batch.items()})
        assert torch.equal(flipped['image_b'], -flipped['image_a'][:, :1])
        moved = (flipped['image_a'] != batch['image_a']).flatten(1).any(1)
        assert 0 < moved.sum() < len(moved)
        assert torch.equal(flipped['label'], batch['label'])
        assert ChipDataModule(Noise(), augment=False).train_aug is None


def _train(data: ChipDataModule) -> list[Sample]:
    return list(data.train_dataloader())


class TestDescribe:
    def test_statistics_are_those_of_the_pixels(self) -> None:
        data = ChipDataModule(Named(), val_split=0.25)
        described = data.describe()
        pixels = torch.stack(
            [Named()[i]['image_a'] for i in sorted(numbers(data.train_dataset))]
        )
        mean = pixels.double().mean((0, 2, 3))
        deviation = pixels.double().var((0, 2, 3), correction=0).sqrt()
        assert described['a']['mean'] == pytest.approx(mean.tolist())
        assert described['a']['std'] == pytest.approx(deviation.tolist())
        assert described['b'] == {
            'bands': ['B02'],
            'mean': [pytest.approx(-described['a']['mean'][0])],
            'std': [pytest.approx(described['a']['std'][0])],
            'gsd': 20.0,
            'patch_size': 6,
            'units': 'reflectance',
            'nodata': None,
        }

    def test_sample_is_seeded(self) -> None:
        def mean(seed: int) -> list[float]:
            return ChipDataModule(Named(), stat_samples=5, seed=seed).describe()['a'][
                'mean'
            ]

        assert mean(1) == mean(1)
        assert mean(1) != mean(2)

    def test_published_statistics_go_by_name(self) -> None:
        described = ChipDataModule(Named(), statistics='bigearthnet').describe()
        assert described['a']['mean'] == [-12.619993742, -19.290445977]
        assert described['b']['std'] == [BIGEARTHNET_STATISTICS['B02'][1]]
        strange = ChipDataModule(Noise(), statistics='bigearthnet')
        with pytest.raises(RasterError, match='band_1, band_2, for which BigEarthNet'):
            strange.describe()

    def test_nobody_knows_the_bands(self) -> None:
        data = ChipDataModule(Noise())
        assert data.modalities == ('a', 'b')
        described = data.describe()
        assert described['a']['bands'] == ['band_1', 'band_2']
        assert described['a']['units'] is described['a']['gsd'] is None

    def test_user_states_what_is_unknown(self) -> None:
        bands = {'a': ['VV', 'VH'], 'b': ['pan']}
        with pytest.raises(
            RasterError, match="the scale of a's radar bands is unknown"
        ):
            ChipDataModule(Noise(), bands=bands).describe()
        stated = ChipDataModule(
            Noise(), bands=bands, units={'a': 'power'}, gsd={'b': 5.0}
        ).describe()
        assert stated['a']['units'] == 'power'
        assert stated['b']['gsd'] == 5
        wrong = ChipDataModule(Noise(), bands={'a': ['VV'], 'b': ['pan']})
        with pytest.raises(RasterError, match='a has 2 channels and the bands VV'):
            wrong.describe()

    def test_missing_pixels_do_not_count(self) -> None:
        class Holes(Named):
            def __getitem__(self, index: int) -> Sample:
                sample = super().__getitem__(index)
                sample['image_b'][:, :3] = np.nan
                sample['image_b'][:, 3:] = 2.0
                return sample

        described = ChipDataModule(Holes()).describe()
        assert described['b']['mean'] == [2]

    def test_single_image_is_no_pair(self) -> None:
        class Single(Noise):
            def __getitem__(self, index: int) -> Sample:
                return {'image': torch.zeros(1, 2, 2)}

        with pytest.raises(PairingError, match=r'holds image but no image_<modality>'):
            ChipDataModule(Single()).describe()


PAGE = (ROOT / 'docs' / 'user' / 'benchmarks-data.md').read_text()
CONFIGS = [
    yaml.safe_load(text) for text in re.findall(r'```yaml\n(.*?)```', PAGE, re.DOTALL)
]


@pytest.mark.parametrize('number', range(len(CONFIGS)))
def test_yaml_of_the_guide_is_understood(number: int) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument('--data', type=BaseDataModule)
    parser.parse_object(CONFIGS[number])
    wrong = deepcopy(CONFIGS[number])
    wrong['data']['init_args']['nonsense'] = 1
    with pytest.raises(ArgumentError, match='nonsense'):
        parser.parse_object(wrong)


def test_guide_has_yaml_for_every_benchmark() -> None:
    assert len(CONFIGS) == 8


def _fake(name: str) -> Any:
    return runpy.run_path(str(ROOT / 'tests' / 'data' / name / 'data.py'))['write']


@pytest.mark.parametrize(
    ('benchmark', 'shapes'),
    [
        ('sen12ms', {'s1': (2, 8, 8), 's2': (13, 8, 8)}),
        ('so2sat', {'s1': (8, 32, 32), 's2': (10, 32, 32)}),
        ('mmearth', {'s1': (2, 8, 8), 's2': (4, 8, 8)}),
        ('ssl4eo_s12', {'s1': (2, 8, 8), 's2': (12, 8, 8)}),
        ('treesatai', {'aerial': (3, 24, 24), 's2': (4, 6, 6)}),
    ],
)
def test_yaml_of_the_guide_reads_the_benchmark(
    benchmark: str,
    shapes: dict[str, tuple[int, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it is written, on files of the benchmark's own layout, but for their checksums."""
    if benchmark in ('so2sat', 'mmearth'):
        pytest.importorskip('h5py', reason=f'{benchmark} is HDF5')
    places = ['0000001', '0000002', '0000003']
    more = {'ssl4eo_s12': [{'s1': places, 's2a': places}], 'treesatai': [3]}
    _fake(benchmark)(tmp_path / 'data' / benchmark, *more.get(benchmark, []))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SSL4EOS12, 'size', 8)
    monkeypatch.setattr(So2Sat, '_check_integrity', lambda dataset: True)
    monkeypatch.setattr(SEN12MS, '_check_integrity', lambda dataset: True)
    (config,) = (c for c in CONFIGS if f'data/{benchmark}' in str(c).replace("'", ' '))
    path = tmp_path / 'run.yaml'
    path.write_text(yaml.safe_dump(config))
    data: Any = open_data(path)
    data.batch_size = 1
    data.setup('fit')
    batch = next(iter(data.train_dataloader()))
    found = {m: tuple(batch[f'image_{m}'].shape[1:]) for m in data.modalities}
    assert found == shapes
    assert set(data.describe()) == set(shapes)
    assert len(list(data.test_dataloader())) > 0


@pytest.fixture(scope='module')
def serbia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BEN-14K's layout and proportions at a hundredth and less of its size."""
    root = tmp_path_factory.mktemp('serbia') / 'data' / 'bigearthnet'
    groups: dict[str, list[tuple[str, str, int]]] = {}
    for name, (tile, counts) in BEN14K.acquisitions.items():
        for split, count in counts.items():
            some = max(1, round(count / 250))
            groups.setdefault(split, []).append((name, tile, some))
    groups['train'].append(('S2A_MSIL2A_20170613T101031', '33UUP', 2))
    FAKE['write_v1'](root, groups)
    return root


class TestBigEarthNet:
    def test_ben14k(self, serbia: Path) -> None:
        data = BEN14KDataModule(str(serbia), check_counts=False, batch_size=8)
        data.setup('fit')
        sizes = [len(d) for d in (data.source, data.val_dataset, data.test_dataset)]  # ty: ignore[invalid-argument-type]
        assert sizes == [30, 15, 15]
        batch = _train(data)[0]
        assert batch['image_s1'].shape == (8, 2, 120, 120)
        assert batch['image_s2'].shape == (8, 10, 120, 120)
        assert batch['label'].shape == (8, 19)
        described = data.describe()
        assert described['s1']['units'] == 'db'
        assert described['s2']['gsd'] == 10
        assert described['s2']['mean'][0] == 429.9430203

    def test_counts_are_checked_unless_told(self, serbia: Path) -> None:
        with pytest.raises(RasterError, match='BEN-14K has 2789 train pairs'):
            BEN14KDataModule(str(serbia)).setup('fit')

    def test_both_versions(self, serbia: Path, tmp_path: Path) -> None:
        bands = {'s1': ['VV'], 's2': ['B02']}
        v1 = BigEarthNetPairsDataModule(str(serbia), bands=bands)
        v1.setup('fit')
        assert v1.source is not None
        assert len(v1.source) == 32
        FAKE['write_v2'](tmp_path)
        v2 = BigEarthNetPairsDataModule(str(tmp_path), 'v2', bands=bands, batch_size=2)
        v2.setup('fit')
        assert v2.plot(_first(v2)) is not None
        assert _train(v2)[0]['image_s2'].shape == (2, 1, 120, 120)


def _first(data: ChipDataModule) -> Sample:
    assert data.source is not None
    return data.source[0]


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # of the command line's own libraries
def test_ben14k_from_one_yaml(
    serbia: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe of the guide: fit, test, embed, and the table in all four directions."""
    from torchgeo_cmr.cli.fit_command import fit
    from torchgeo_cmr.main import main

    # the example as it is, where its folder lies, but for what a trial must make smaller
    monkeypatch.chdir(serbia.parents[1])
    run = yaml.safe_load((ROOT / 'examples' / '03_bigearthnet.yaml').read_text())
    wanted = run['data']['init_args']['bands']
    run['trainer'] |= {
        'accelerator': 'cpu',
        'max_epochs': 2,
        'default_root_dir': str(tmp_path),
        'enable_progress_bar': False,
        'log_every_n_steps': 1,
    }
    run['model']['init_args']['model'] = 'test_resnet'
    small = {'batch_size': 8, 'num_workers': 0, 'check_counts': False}
    run['data']['init_args'] |= small
    config = tmp_path / 'run.yaml'
    config.write_text(yaml.safe_dump(run))

    trained = fit(['fit', '--config', str(config)])
    assert trained.trainer.global_step == 2 * (30 // 8)
    specs = trained.model.specs
    assert {m: spec['bands'] for m, spec in specs.items()} == wanted
    assert specs['s1']['mean'] == pytest.approx([-12.619993742, -19.290445977])
    (best,) = tmp_path.rglob('best.ckpt')
    tested = fit(['test', '--config', str(config), f'--ckpt_path={best}'])
    scores = tested.trainer.callback_metrics
    for direction in ('s1_to_s2', 's2_to_s1'):
        assert 0 <= float(scores[f'test_recall@10_{direction}']) <= 1

    archive, report = tmp_path / 'archive', tmp_path / 'report.json'
    embed = ['embed', str(config), '--ckpt', str(best), '--quiet', '--device', 'cpu']
    judge = ['--relevance', 'label:label', '--protocol', 'ben14k-csmae']
    assert main([*embed, '--out', str(archive)]) == 0
    page = report.with_suffix('.md')
    out = ['--out', str(report), '--out', str(page)]
    assert main(['evaluate', str(archive), str(archive), *judge, *out]) == 0
    told = json.loads(report.read_text())
    assert told['protocol']['query_split'] == 'val'
    assert told['protocol']['archive_split'] == 'test'
    assert told['counts'] == {
        'queries': {'s1': 15, 's2': 15},
        'archive': {'s1': 15, 's2': 15},
    }
    table = EmbeddingTable.load(archive)
    labels = {
        split: BEN14K(serbia, split, check_counts=False).labels().numpy() > 0
        for split in ('val', 'test')
    }
    directions = [f'{a}->{b}' for a in ('s1', 's2') for b in ('s1', 's2')]
    assert sorted(told['directions']) == directions
    for direction in directions:
        found = told['directions'][direction]
        assert found['gallery'] == 15
        assert found['queries'] + found['empty'] == 15
        assert f'## {direction}' in page.read_text()
        for k in (5, 10):
            expected = _f1(table, labels, direction, k)
            assert found['scores'][f'f1@{k}']['value'] == pytest.approx(expected)
            assert found['scores'][f'f1@{k}']['chance'] > 0

    fused = tmp_path / 'fused'
    more = ['--modality', 's1+s2', '--fusion', 'mean', '--out', str(fused)]
    assert main([*embed, *more]) == 0
    report = tmp_path / 'fused.json'
    assert main(['evaluate', *[str(fused)] * 2, *judge, '--out', str(report)]) == 0
    (direction,) = json.loads(report.read_text())['directions']
    assert direction == 's1+s2->s1+s2'


def _f1(table: EmbeddingTable, labels: dict[str, Any], direction: str, k: int) -> float:
    """F1@k of label sets, a query and an item at a time."""
    rows = {
        split: np.flatnonzero(
            (table.frame['split'] == split) & (table.frame['modality'] == modality)
        )
        for split, modality in zip(('val', 'test'), direction.split('->'), strict=True)
    }
    values = []
    for number, row in enumerate(rows['val']):
        asked = labels['val'][number]
        if not (labels['test'] & asked).any():
            continue
        nearest = np.argsort(
            -(table.vectors[rows['test']] @ table.vectors[row]), kind='stable'
        )
        both = [(labels['test'][i] & asked).sum() for i in nearest[:k]]
        sizes = [labels['test'][i].sum() + asked.sum() for i in nearest[:k]]
        values.append(
            np.mean([2 * n / size for n, size in zip(both, sizes, strict=True)])
        )
    return float(np.mean(values))


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # of the command line's own libraries
def test_chips_from_yaml(tmp_path: Path) -> None:
    from torchgeo_cmr.cli.fit_command import fit

    # a benchmark of TorchGeo's, rearranged
    write = runpy.run_path(str(ROOT / 'tests' / 'data' / 'sen12ms' / 'data.py'))[
        'write'
    ]
    write(tmp_path / 'sen12ms')

    def pairs(split: str) -> dict[str, Any]:
        arguments = {
            'root': str(tmp_path / 'sen12ms'),
            'split': split,
            'bands': ['VV', 'VH', 'B02', 'B03'],
            'checksum': False,
        }
        inner = {'class_path': 'torchgeo.datasets.SEN12MS', 'init_args': arguments}
        return {
            'class_path': 'torchgeo_cmr.datasets.NonGeoPairs',
            'init_args': {'dataset': inner},
        }

    data = {'train': pairs('train'), 'test': pairs('test'), 'batch_size': 2}
    config = {
        'trainer': {
            **dict.fromkeys(('logger', 'enable_progress_bar'), False),
            'max_epochs': 1,
            'accelerator': 'cpu',
            'enable_checkpointing': False,
            'default_root_dir': str(tmp_path),
        },
        'model': {
            'class_path': 'torchgeo_cmr.tasks.SSCMRSIR',
            'init_args': {'in_channels': {'s1': 2, 's2': 2}, 'model': 'test_resnet'},
        },
        'data': {'class_path': 'ChipDataModule', 'init_args': data},
    }
    path = tmp_path / 'config.yaml'
    path.write_text(yaml.safe_dump(config))
    done = fit(['fit', '--config', str(path)])
    assert done.trainer.global_step == 1
    assert done.model.specs['s2']['bands'] == ['B02', 'B03']
    assert done.model.specs['s1']['units'] == 'db'


def test_places_and_vectors_make_an_archive(serbia: Path, tmp_path: Path) -> None:
    data = BEN14K(serbia, 'test', check_counts=False)
    vectors = np.random.default_rng(0).normal(size=(len(data), 4))
    table = EmbeddingTable.from_frame(
        data.footprints(), vectors.astype(np.float32), modality='s2', space='trial'
    )
    table.save(tmp_path / 'archive')
    back = EmbeddingTable.load(tmp_path / 'archive')
    area = tuple(table.frame.geometry.iloc[[4]].total_bounds)
    assert 4 in Where(area).rows(table)
    assert len(back) == 15
    assert set(back.frame['patch_id']) == {data.patch_id(i) for i in range(15)}


def test_a_negative_seed() -> None:
    with pytest.raises(PairingError, match='seed is -1: give a whole number'):
        BEN14KDataModule(root='here', seed=-1)
