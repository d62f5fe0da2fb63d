"""Every method learns on planted pairs, embeds from its checkpoint, and refuses what it must."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, nn
from torch.utils.data import DataLoader

from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.search.hashing import Hash
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import (
    DUCH,
    BarlowTwins,
    CrossModalTask,
    CrossModalTriplet,
    DeCUR,
    InfoNCE,
    SupCon,
    VICReg,
    load_task,
)

pytestmark = [
    pytest.mark.filterwarnings('ignore:.*does not have many workers'),
    pytest.mark.filterwarnings('ignore:.*have no `val_dataloader`'),
    pytest.mark.filterwarnings('ignore::torchgeo_cmr.metrics.health.CollapseWarning'),
]

CHANNELS = {'s1': 2, 's2': 3}
LATENT = 6
SIZE = 4

MakeTrainer = Callable[..., Trainer]


def tiny(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 32, SIZE), nn.BatchNorm2d(32), nn.ReLU())


def planted(num: int, seed: int) -> list[dict[str, Tensor]]:
    """Pairs that are two linear views of one latent vector; its strongest part is the class."""
    views = torch.Generator().manual_seed(0)
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(num, LATENT, generator=generator)
    images = {}
    for m, channels in CHANNELS.items():
        view = torch.randn(LATENT, channels * SIZE * SIZE, generator=views)
        flat = latent @ view / LATENT**0.5
        noise = 0.1 * torch.randn(flat.shape, generator=generator)
        images[m] = (flat + noise).reshape(num, channels, SIZE, SIZE)
    label = latent[:, :3].argmax(dim=1)
    return [
        {'image_s1': a, 'image_s2': b, 'label': y}
        for a, b, y in zip(images['s1'], images['s2'], label, strict=True)
    ]


TRAIN, TEST = planted(256, 1), planted(100, 2)

METHODS: dict[str, tuple[Callable[..., CrossModalTask], dict[str, Any]]] = {
    'infonce': (InfoNCE, {'temperature': 0.1}),
    'learned temperature': (
        InfoNCE,
        {'learned_temperature': True, 'cosine_weight': 0.5, 'shared_head': True},
    ),
    'barlow': (BarlowTwins, {}),
    'vicreg': (VICReg, {}),
    'decur': (DeCUR, {}),
    'triplet': (CrossModalTriplet, {}),
    'supcon': (SupCon, {'num_classes': 3, 'target': 'jaccard'}),
    'duch': (DUCH, {'temperature': 0.3, 'output_dim': 32}),
    'duch, adversary': (
        DUCH,
        {
            'temperature': 0.3,
            'adversary_weight': 0.1,
            'quantisation_weight': 0.01,
            'balance': 'bits',
            'output_dim': 16,
        },
    ),
}


def make(name: str, **options: Any) -> CrossModalTask:
    torch.manual_seed(0)
    kind, settings = METHODS[name]
    settings = {'output_dim': 16, 'lr': 1e-2, 'weight_decay': 0.0} | settings | options
    settings |= {
        'mean': {m: [0.0] * n for m, n in CHANNELS.items()},
        'std': {m: [1.0] * n for m, n in CHANNELS.items()},
    }
    return kind(CHANNELS, model={m: tiny(n) for m, n in CHANNELS.items()}, **settings)


def mean_average_precision(scores: Tensor, label: Tensor) -> float:
    """Over whole rankings; rows of one class are relevant to each other."""
    order = scores.argsort(dim=1, descending=True)
    relevant = (label[:, None] == label).float().gather(1, order)
    precision = relevant.cumsum(dim=1) / torch.arange(1, len(label) + 1)
    return ((precision * relevant).sum(dim=1) / relevant.sum(dim=1)).mean().item()


@pytest.mark.slow
@pytest.mark.parametrize('name', METHODS)
def test_learns_planted_pairs_and_a_checkpoint_is_enough(
    name: str, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    task, train = make(name), DataLoader(TRAIN, 64)  # ty: ignore[invalid-argument-type]
    test: Any = DataLoader(TEST, 100)  # ty: ignore[invalid-argument-type]
    trainer = make_trainer(max_epochs=15)
    before = trainer.validate(task, test, verbose=False)[0]
    trainer.fit(task, train)
    after = trainer.validate(task, test, verbose=False)[0]
    assert after['val_loss'] < before['val_loss']
    # chance is 1 of 100
    gain = {'barlow': 0.1, 'decur': 0.05, 'supcon': 0.0}.get(name, 0.2)
    for direction in ('s1_to_s2', 's2_to_s1'):
        key = f'val_recall@1_{direction}'
        assert before[key] < 0.06
        assert after[key] > before[key] + gain, (before[key], after[key])
    trainer.save_checkpoint(tmp_path / 'task.ckpt')
    models: Any = {m: tiny(n) for m, n in CHANNELS.items()}
    loaded = load_task(tmp_path / 'task.ckpt', model=models)
    assert type(loaded) is type(task)
    assert loaded.space == task.space
    batch, task = next(iter(test)), task.eval()
    for m in CHANNELS:
        assert torch.equal(loaded.embed(batch, m), task.embed(batch, m))


@pytest.mark.parametrize('name', METHODS)
def test_every_parameter_gets_a_gradient_and_losses_are_no_part_of_the_space(
    name: str,
) -> None:
    task = make(name)
    batch: Any = next(iter(DataLoader(TRAIN, 16)))  # ty: ignore[invalid-argument-type]
    task.batch_losses(batch, task(batch))['loss'].backward()
    idle = [n for n, p in task.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle
    before = task.space
    with torch.no_grad():
        for parameter_name, parameter in task.named_parameters():
            if not parameter_name.startswith('model.'):
                parameter += 1
    assert task.space == before


def test_supcon_groups_classes(make_trainer: MakeTrainer) -> None:
    task, test = make('supcon', target='overlap'), DataLoader(TEST, 100)  # ty: ignore
    make_trainer(max_epochs=15).fit(task, DataLoader(TRAIN, 64))  # ty: ignore
    batch: Any = next(iter(test))
    a, b = (task.eval().embed(batch, m) for m in CHANNELS)
    found = batch['label'][(a @ b.T).topk(5, dim=1).indices]
    assert (found == batch['label'][:, None]).float().mean() > 0.7


class TestDeCUR:
    def test_the_common_block_is_what_is_compared(self) -> None:
        task = make('decur').eval()
        batch: Any = next(iter(DataLoader(TRAIN, 8)))  # ty: ignore[invalid-argument-type]
        z = task(batch)['s1']['z'].detach()
        assert z.shape == (8, 16)
        unit = nn.functional.normalize(z[:, :14], dim=1)
        torch.testing.assert_close(task.embed(batch, 's1'), unit)
        assert make('decur', common=0.5).space != make('decur').space

    def test_terms(self) -> None:
        task = make('decur', intra_weight=2.0)
        batch: Any = next(iter(DataLoader(TRAIN, 16)))  # ty: ignore[invalid-argument-type]
        losses = task.batch_losses(batch, task(batch))
        expected = losses['common'] + losses['unique'] + 2 * losses['intra']
        torch.testing.assert_close(losses['loss'], expected)


class TestDUCH:
    def test_terms(self) -> None:
        task = make('duch, adversary')
        batch: Any = next(iter(DataLoader(TRAIN, 16)))  # ty: ignore[invalid-argument-type]
        losses = task.batch_losses(batch, task(batch))
        weights = {'inter': 1, 'intra': 1, 'quantisation': 0.01, 'balance': 0.001}
        weights |= {'adversary': 0.1, 'discriminator': 1}
        expected = sum(w * losses[n] for n, w in weights.items())
        torch.testing.assert_close(losses['loss'], expected)

    @pytest.mark.slow
    def test_codes_are_searched_across_sensors(self, make_trainer: MakeTrainer) -> None:
        task = make('duch', output_dim=64)
        make_trainer(max_epochs=15).fit(task, DataLoader(TRAIN, 64))  # ty: ignore
        batch: Any = next(iter(DataLoader(TEST, 100)))  # ty: ignore[invalid-argument-type]
        tables = {}
        for m in CHANNELS:
            rows = task.eval().embed(batch, m).numpy()
            frame = gpd.GeoDataFrame(
                {'patch_id': [f'{i:03}' for i in range(100)]},
                geometry=shapely.box(range(100), 0, [i + 0.5 for i in range(100)], 1),
                crs='EPSG:4326',
            )
            table = EmbeddingTable.from_frame(frame, rows, space=task.space)
            tables[m] = Hash.sign(64).table(table)
        assert tables['s2'].metric == 'hamming'
        assert tables['s2'].vectors.shape == (100, 8)
        hits = RetrievalIndex(tables['s2']).search(tables['s1'], k=1)
        right = (hits['query_id'] == hits['patch_id']).mean()
        # chance is 1 of 100
        assert right > 0.2
        whole = {m: task.embed(batch, m) for m in CHANNELS}
        scores = [
            mean_average_precision(a @ b.T, batch['label'])
            for a, b in (whole.values(), [z.sign() for z in whole.values()])
        ]
        # a random ranking has 0.35
        assert scores[0] > 0.4
        assert scores[1] > scores[0] - 0.05


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('infonce', {'cosine_weight': -1.0}, 'cosine_weight must be at least 0'),
        ('infonce', {'variant': 'bands_12'}, "variant must be 'separate' or 'joint'"),
        ('decur', {'common': 1.0}, 'leaves 16 common'),
        ('decur', {'common': 0.0}, 'leaves 0 common'),
        ('duch', {'output_dim': 12}, 'set output_dim to a multiple of 8'),
        ('duch', {'balance_weight': -1.0}, 'loss weights are 0 or more'),
        ('duch', {'view_noise': -1.0}, 'gain and noise are at least 0'),
        ('supcon', {'num_classes': 0}, 'num_classes must be at least 1'),
        ('triplet', {'margin': 0.0}, 'margin must be above 0'),
    ],
)
def test_refuses(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, **options)


@pytest.mark.parametrize('kind', [InfoNCE, BarlowTwins, VICReg, DeCUR, DUCH])
def test_pairs_two_modalities(kind: type[CrossModalTask]) -> None:
    with pytest.raises(ValueError, match=f'{kind.__name__} pairs exactly two'):
        kind({'a': 1, 'b': 1, 'c': 1}, 'test_resnet')  # ty: ignore


# Lightning's command line calls jsonargparse by a name that is going away
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize(
    'line',
    [
        '--model=InfoNCE --model.learned_temperature=true --model.shared_head=true',
        '--model=VICReg --model.variant=joint --model.stem=own',
        '--model=DeCUR --model.common=0.5 --model.output_dim=8',
        '--model=DUCH --model.output_dim=16 --model.adversary_weight=0.1',
        '--model=SupCon --model.num_classes=3 --model.target=jaccard',
    ],
)
def test_command_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchgeo.tasks import BaseTask

    monkeypatch.setattr('sys.argv', ['fit'])
    more = '--model.in_channels={"s1":2,"s2":3} --model.model=test_resnet --trainer.logger=false'
    cli = LightningCLI(
        BaseTask,
        subclass_mode_model=True,
        seed_everything_default=0,
        run=False,
        save_config_callback=None,
        args=[*line.split(), *more.split()],
    )
    name = line.split()[0].removeprefix('--model=')
    assert type(cli.model).__name__ == name
    for word in line.split()[1:]:
        option, _, value = word.removeprefix('--model.').partition('=')
        assert str(cli.model.hparams[option]).lower() == value
