import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from torchgeo_cmr.errors import ArchiveError, RasterError
from torchgeo_cmr.tasks import CMIRNet, CMIRPretrain, load_task

MakeTrainer = Callable[..., Trainer]
MEAN = {'pan': [0.0], 'ms': [0.0] * 4}
STD = {'pan': [1.0], 'ms': [1.0] * 4}


def panms(num: int, seed: int) -> list[dict[str, Tensor]]:
    """Four classes: stripes of one width in PAN, one spectrum in MS."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(num) % 4
    wave = torch.arange(16.0) * (1 + y[:, None])
    pan = torch.sin(wave)[:, None, None] + 0.5 * torch.randn(
        num, 1, 16, 16, generator=generator
    )
    spectra = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]])
    ms = spectra[y][..., None, None] + torch.randn(num, 4, 8, 8, generator=generator)
    return [
        {'image_pan': a, 'image_ms': b, 'label': c}
        for a, b, c in zip(pan, ms, y, strict=True)
    ]


def spoken(num: int, seed: int, *, same: bool = True) -> list[dict[str, Tensor]]:
    """Three classes: a colour and a tone; in pairs of one class, or of any."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(num) % 3
    heard = y if same else y.flip(0)
    time = torch.arange(4000) / 16_000
    pitch = torch.tensor([300.0, 1000.0, 3000.0])[heard][:, None]
    audio = torch.sin(2 * math.pi * pitch * time)[:, None]
    audio = audio + 0.2 * torch.randn(num, 1, 4000, generator=generator)
    image = torch.eye(3)[y][..., None, None] + 0.5 * torch.randn(
        num, 3, 8, 8, generator=generator
    )
    return [
        {'image_image': a, 'audio': s, 'label': c, 'audio_label': d}
        for a, s, c, d in zip(image, audio, y, heard, strict=True)
    ]


def loader(rows: Any, size: int = 32, **options: Any) -> DataLoader:
    return DataLoader(rows, size, **options)


def make(kind: type = CMIRNet, **options: Any) -> Any:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        'model': {'pan': 'cmir_ms', 'ms': 'cmir_small'},
        'mean': MEAN,
        'std': STD,
    }
    return kind({'pan': 1, 'ms': 4}, 4, **(settings | options))


def make_speech(**options: Any) -> CMIRNet:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        'model': {'image': 'cmir_small', 'speech': 'speech'},
        'mean': {'image': [0.0] * 3},
        'std': {'image': [1.0] * 3},
        'speech': {'frames': 20},
    }
    return CMIRNet({'image': 3, 'speech': 1}, 3, **(settings | options))


def collate(rows: Any) -> dict[str, Tensor]:
    return torch.utils.data.default_collate(rows)


def frobenius(a: list[list[float]], b: list[list[float]]) -> float:
    return sum(
        (x - y) ** 2
        for u, v in zip(a, b, strict=True)
        for x, y in zip(u, v, strict=True)
    )


def ce(logits: list[list[float]], label: list[int]) -> float:
    rows = [
        math.log(sum(math.exp(z) for z in row)) - row[y]
        for row, y in zip(logits, label, strict=True)
    ]
    return sum(rows) / len(rows)


def bce(logits: list[list[float]], label: list[list[float]]) -> float:
    values = [
        math.log1p(math.exp(-z if y else z))
        for row, truth in zip(logits, label, strict=True)
        for z, y in zip(row, truth, strict=True)
    ]
    return sum(values) / len(values)


def twin(task: CMIRNet, outputs: Any, losses: Any, *, unit: bool) -> dict[str, Any]:
    """Everything a formula needs, as lists."""
    net = task.model.unified
    z: dict[str, Any] = {}
    for m in task.modalities:
        rows = outputs[m]['h'].tolist()
        z[m] = [
            [x / max(math.dist(row, [0] * len(row)), 1e-12) for x in row]
            if unit
            else row
            for row in rows
        ]
    v = {m: outputs[m]['z'].tolist() for m in task.modalities}
    decoded = {m: net.decode(outputs[m]['z'], m).tolist() for m in task.modalities}
    logits = {m: net.classify(outputs[m]['z'], m).tolist() for m in task.modalities}
    size = {
        m: math.sqrt(sum(w * w for row in net.weight(m).tolist() for w in row))
        for m in task.modalities
    }
    return {'z': z, 'v': v, 'd': decoded, 'c': logits, 'w': size}


def test_preset_paper_equals_its_formula() -> None:
    batch, task = collate(panms(6, 0)), make(output_dim=8, alpha=2.0).eval()
    outputs = task(batch)
    losses = task.batch_losses(batch, outputs)
    t, y = twin(task, outputs, losses, unit=True), batch['label'].tolist()
    zero = [[0.0] * 8] * 6
    l2 = frobenius(t['v']['pan'], t['v']['ms']) / 6
    l3 = ce(t['c']['pan'], y) + ce(t['c']['ms'], y)
    l4 = sum(frobenius(v, zero) for v in t['v'].values()) / 6
    l5 = frobenius(t['d']['pan'], t['z']['ms']) + frobenius(t['d']['ms'], t['z']['pan'])
    r = sum((w - 2) ** 2 for w in t['w'].values())
    total = l2 + l3 + 1e-3 * l4 + l5 / 6 + 1e-2 * r
    assert losses['loss'].item() == pytest.approx(total, rel=1e-4)
    assert task.model.unified.classifiers['pan'] is task.model.unified.classifiers['ms']


def test_preset_dsrsid_code_equals_its_formula() -> None:
    batch = collate(panms(6, 0))
    task = make(preset='dsrsid_code').eval()
    outputs = task(batch)
    losses = task.batch_losses(batch, outputs)
    t = twin(task, outputs, losses, unit=False)
    total = (
        math.sqrt(frobenius(t['d']['ms'], t['z']['pan']))
        + math.sqrt(frobenius(t['d']['pan'], t['z']['ms']))
        + math.sqrt(frobenius(t['v']['pan'], t['v']['ms']))
    )
    assert losses['loss'].item() == pytest.approx(total, rel=1e-4)
    assert set(losses) == {'loss', 'latent', 'decoder'}


def test_preset_speech_code_equals_its_formula() -> None:
    batch = collate(spoken(6, 0))
    y = batch['audio_label']
    hot = torch.nn.functional.one_hot(y, 3).float()
    hot[0] = 1.0  # an image of all classes shares that which is spoken
    batch['label'] = hot
    task = make_speech(preset='speech_code', output_dim=128).eval()
    outputs = task(batch)
    losses = task.batch_losses(batch, outputs)
    t = twin(task, outputs, losses, unit=False)
    total = (
        0.001 * math.sqrt(frobenius(t['d']['image'], t['z']['image']))
        + 0.01 * math.sqrt(frobenius(t['d']['speech'], t['z']['speech']))
        + 0.001 * math.sqrt(frobenius(t['v']['image'], t['v']['speech']))
        + bce(t['c']['image'], hot.tolist())
        + ce(t['c']['speech'], y.tolist())
        + sum(abs(w - 1) for w in t['w'].values())
    )
    assert losses['loss'].item() == pytest.approx(total, rel=1e-4)


def test_weight_norm_as_the_slides_print_it() -> None:
    batch, task = collate(panms(6, 0)), make(weight_norm='elementwise', alpha=0.5)
    losses = task.batch_losses(batch, task(batch))
    expected = sum(
        (task.model.unified.weight(m) - 0.5).square().sum().item()
        for m in ('pan', 'ms')
    )
    assert losses['weight_norm'].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('preset', ['paper', 'speech_code'])
def test_gradient_of_the_decoders_targets(preset: Any) -> None:
    """Detached or not, the loss is the same; what reaches the encoders is not."""
    batch, grads, values = collate(spoken(6, 0)), [], []
    for detach in (True, False):
        task = make_speech(preset=preset, detach_targets=detach, dropout=0.0)
        loss = task.batch_losses(batch, task(batch))['decoder']
        loss.backward()
        encoder = task.model.stage_a.encoders['image']
        grads.append([p.grad for p in encoder.parameters() if p.grad is not None])
        values.append(loss.item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert not torch.allclose(grads[0][0], grads[1][0])


def test_stage_a_equals_its_formula() -> None:
    batch, task = collate(panms(6, 0)), make(CMIRPretrain, orth_weight=0.5).eval()
    outputs = task(batch)
    losses = task.batch_losses(batch, outputs)
    total = 0.0
    for m in ('pan', 'ms'):
        z = outputs[m]['h']
        logits = task.model.classify(z, m)
        total += ce(logits.tolist(), batch['label'].tolist())
        columns = [c.tolist() for c in z.T]
        units = [[x / (math.dist(c, [0] * 6) or 1) for x in c] for c in columns]
        for i, u in enumerate(units):
            for j, v in enumerate(units):
                gram = sum(x * y for x, y in zip(u, v, strict=True))
                total += 0.5 * (gram - (i == j)) ** 2
    assert losses['loss'].item() == pytest.approx(total, rel=1e-4)
    torch.testing.assert_close(outputs['ms']['z'].sum(1), torch.ones(6))


@pytest.mark.parametrize('preset', ['paper', 'dsrsid_code', 'speech_code'])
def test_gradients_are_finite(preset: Any) -> None:
    batch, task = collate(spoken(6, 0)), make_speech(preset=preset)
    task.batch_losses(batch, task(batch))['loss'].backward()
    found = [p.grad for p in task.parameters() if p.grad is not None]
    assert found
    assert all(grad.isfinite().all() for grad in found)


def test_only_rows_of_one_class_are_pairs() -> None:
    batch, task = collate(spoken(9, 0, same=False)), make_speech().eval()
    outputs = task(batch)
    pairs = batch['label'] == batch['audio_label']
    assert 0 < pairs.sum() < 9
    assert torch.equal(task.pairs(task.labels(batch)), pairs)
    apart = outputs['image']['z'] - outputs['speech']['z']
    expected = apart[pairs].square().sum() / pairs.sum()
    found = task.batch_losses(batch, outputs)['latent']
    torch.testing.assert_close(found, expected)


def test_a_row_of_unknown_class_has_no_class_term() -> None:
    task, batch = make(class_weight=1.0).eval(), collate(panms(6, 0))
    part = {k: v[:5] for k, v in batch.items()}
    batch['label'][5] = -1
    found = [task.batch_losses(b, task(b))['class'] for b in (batch, part)]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize('width', [16, 32, 64, 128])
@pytest.mark.parametrize('preset', ['paper', 'dsrsid_code'])
def test_widths_of_the_paper_and_any_backbone(width: int, preset: Any) -> None:
    task = make(
        model={'pan': 'test_resnet', 'ms': 'cmir_small'},
        output_dim=width,
        preset=preset,
        share_classifier=width > 32,
    )
    batch = collate(panms(8, 1))
    task.batch_losses(batch, task(batch))['loss'].backward()
    for m in ('pan', 'ms'):
        assert task.embed(batch, m).shape == (8, width)
        weights = task.model.encoder(m).parameters()
        assert all(w.grad is not None and w.grad.isfinite().all() for w in weights)


@pytest.mark.slow
def test_one_fit_trains_both_stages(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    task = make(pretrain_epochs=3, preset='paper', lr=3e-3)
    stages: list[str] = []
    before: dict[str, Tensor] = {}

    def note(*_: Any) -> None:
        stages.append(task.stage)
        if stages.count('B') == 1:
            state = task.model.stage_a.state_dict()
            before.update({k: v.clone() for k, v in state.items()})

    task.on_train_epoch_end = note
    trainer = make_trainer(max_epochs=8)
    rows = loader(panms(128, 1), shuffle=True, drop_last=True)
    trainer.fit(task, rows, loader(panms(40, 2)))
    assert stages == ['A'] * 3 + ['B'] * 5
    # stage B found the encoders as stage A left them, batch norm too
    after = task.model.stage_a.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert all(p.requires_grad for p in task.model.parameters())
    seen = trainer.callback_metrics
    directions = ('pan_to_ms', 'ms_to_pan', 'pan_to_pan', 'ms_to_ms')
    assert all(seen[f'val_map_{d}'] > 0.6 for d in directions)
    torch.testing.assert_close(
        seen['val_map'], (seen['val_map_pan_to_ms'] + seen['val_map_ms_to_pan']) / 2
    )
    assert 'val_recall@10_pan_to_ms' in seen
    assert {'val_map@10', 'val_map@10_hits', 'val_map@10_R', 'val_map_cmir'} <= set(
        seen
    )

    trainer.save_checkpoint(tmp_path / 'b.ckpt')
    loaded = load_task(tmp_path / 'b.ckpt')
    assert isinstance(loaded, CMIRNet)
    assert loaded.space == task.space
    assert loaded.hparams['freeze_encoders']
    batch = collate(panms(4, 3))
    rows_ = loaded.embed(batch, 'pan')
    torch.testing.assert_close(rows_, task.eval().embed(batch, 'pan'))
    torch.testing.assert_close(rows_.norm(dim=1), torch.ones(4))


@pytest.mark.slow
def test_stage_b_starts_from_a_checkpoint_of_stage_a(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    first, trainer = make(CMIRPretrain), make_trainer()
    trainer.fit(first, loader(panms(64, 1)), loader(panms(12, 2)))
    assert trainer.callback_metrics['val_map'] > 0
    path = tmp_path / 'a.ckpt'
    trainer.save_checkpoint(path)
    second = make(pretrained=str(path), mean=None, std=None)
    assert second.specs['ms']['mean'] == MEAN['ms']
    assert second.hparams['freeze_encoders']
    for k, v in first.model.state_dict().items():
        assert torch.equal(second.model.stage_a.state_dict()[k], v)
    with pytest.raises(ArchiveError, match=r'other encoders than this task'):
        make(pretrained=str(path), feature_dim=64)
    trainer.fit(second, loader(panms(64, 1)), loader(panms(12, 2)))
    trainer.save_checkpoint(path := tmp_path / 'b.ckpt')
    (tmp_path / 'a.ckpt').unlink()
    assert load_task(path).space == second.space
    with pytest.raises(ArchiveError, match='checkpoint of CMIRNet: name one of'):
        make(pretrained=str(path))


@pytest.mark.slow
def test_speech_meets_images(make_trainer: MakeTrainer) -> None:
    task, trainer = make_speech(lr=3e-3), make_trainer(max_epochs=8)
    held_out = spoken(21, 2, same=False)
    # the same image meets two words: it is one item of the gallery all the same
    twice = [*held_out, held_out[0] | {'audio': held_out[0]['audio'] * 0.5}]
    trainer.fit(task, loader(spoken(96, 1), shuffle=True), loader(twice, 8))
    seen = trainer.callback_metrics
    assert seen['val_map_image_to_speech'] > 0.9
    assert seen['val_map_speech_to_image'] > 0.9
    assert 'val_recall@10' not in seen
    assert 'val_alignment' not in seen
    assert 'val_modality_gap' in seen
    scored = trainer.test(task, loader(twice, 8), verbose=False)[0]
    assert scored['test_precision@1_speech_to_image'] > 0.9
    assert scored['test_precision@20_image_to_image'] > 0.1
    assert scored['test_chance_map'] < 0.6
    batch = collate(held_out)
    assert task.eval().embed(batch, 'speech').shape == (21, 64)
    assert task.keys == {'image': 'image_image', 'speech': 'audio'}


def test_items_that_come_twice_count_once(make_trainer: MakeTrainer) -> None:
    task, rows = make_speech(similarity='euclidean').eval(), spoken(6, 2)
    counts: list[int] = []
    metric = task.val_labels
    update = metric.update

    def count(embeddings: Any, labels: Any, numbers: Any = None) -> None:
        counts.append(len(embeddings['image']))
        update(embeddings, labels, numbers)

    metric.update = count
    trainer = make_trainer()
    for _ in range(2):  # and are new again in the next pass
        trainer.validate(task, loader([*rows, *rows], 6), verbose=False)
    assert counts == [6, 0, 6, 0]


@pytest.mark.slow
def test_vectors_of_another_network(make_trainer: MakeTrainer) -> None:
    torch.manual_seed(0)
    y = torch.arange(64) % 4
    centre = torch.randn(2, 4, 128)
    rows = [
        {
            'x': centre[0, c] + 0.1 * torch.randn(128),
            'image_b': centre[1, c],
            'label': c,
        }
        for c in y
    ]
    task = CMIRNet(
        {'a': 128, 'b': 128},
        4,
        {'a': 'mlp', 'b': 'identity'},
        keys={'a': 'x'},
        lr=3e-3,
        output_dim=16,
    )
    trainer = make_trainer(max_epochs=10)
    trainer.fit(task, loader(rows), loader(rows))
    assert trainer.callback_metrics['val_map'] > 0.9
    assert task.embed(collate(rows), 'b').shape == (64, 16)


class Named(LightningDataModule):
    """Data that knows its classes and its sound."""

    def __init__(self, classes: tuple[str, ...], rate: int = 16_000) -> None:
        super().__init__()
        self.classes, self.rate = classes, rate

    def describe(self) -> dict[str, dict[str, Any]]:
        image = {'bands': ['r', 'g', 'b'], 'mean': [0.0] * 3, 'std': [1.0] * 3}
        sound = {'bands': ['audio'], 'mean': [9.0], 'std': [9.0], 'units': 'waveform'}
        return {
            'image': image,
            'speech': sound | {'sample_rate': self.rate, 'seconds': 1},
        }

    def train_dataloader(self) -> DataLoader:
        return loader(spoken(12, 1), 6)

    def val_dataloader(self) -> DataLoader:
        return loader(spoken(6, 2))


def test_classes_and_sound_are_written_down(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    task, trainer = make_speech(mean=None, std=None), make_trainer()
    trainer.fit(task, Named(('red', 'green', 'blue')))
    trainer.save_checkpoint(tmp_path / 'x.ckpt')
    loaded = load_task(tmp_path / 'x.ckpt')
    assert isinstance(loaded, CMIRNet)
    assert loaded.classes == ('red', 'green', 'blue')
    assert loaded.specs['speech']['sample_rate'] == 16_000
    assert loaded.specs['speech']['seconds'] == 1
    # sound is not divided by its loudness: the front end sees to that
    assert loaded.specs['speech']['std'] == [1.0]
    assert 'sample_rate' not in loaded.specs['image']


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (Named(('red', 'green')), 'has 2 classes, found num_classes=3'),
        (
            Named(('a', 'b', 'c'), 8000),
            'speech has 8000 samples per second, but .* 16000',
        ),
    ],
)
def test_refuses_data(data: Named, message: str, make_trainer: MakeTrainer) -> None:
    with pytest.raises(RasterError, match=message):
        make_trainer().fit(make_speech(mean=None, std=None), data)


def test_refuses_a_run_without_stage_b(make_trainer: MakeTrainer) -> None:
    task, rows = make(pretrain_epochs=2), loader(panms(8, 1))
    with pytest.raises(ValueError, match='leaves no epoch of max_epochs=2'):
        make_trainer(max_epochs=2).fit(task, rows, rows)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'audio_label': None}, "no labels 'audio_label', it holds .* label_keys="),
        ({'label': torch.tensor([0, 1, 3])}, 'numbers are 0 to 2, found 0 to 3'),
        ({'label': torch.zeros(3, 2)}, r'shape \(3, 2\), expected \(3, 3\)'),
    ],
)
def test_refuses_labels(change: dict[str, Any], message: str) -> None:
    task, batch = make_speech().eval(), collate(spoken(3, 0))
    outputs = task(batch)
    given = {k: v for k, v in (batch | change).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        task.batch_losses(given, outputs)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'preset': 'slides'}, "'speech_code', found 'slides'"),
        ({'pretrain_epochs': -1}, 'at least 0, or a checkpoint, not both'),
        ({'pretrain_epochs': 1, 'pretrained': 'a'}, 'not both'),
        ({'latent_weight': -1.0}, '0 or more and not all 0'),
        ({'similarity': 'dot'}, "'euclidean', found 'dot'"),
        ({'label_keys': {'mul': 'label'}}, 'label_keys names mul, but'),
        ({'model': {'pan': 'cmir_pan'}}, 'model needs one entry for each of pan, ms'),
    ],
)
def test_refuses_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_refuses_other_settings() -> None:
    with pytest.raises(ValueError, match='num_classes must be at least 1'):
        CMIRNet({'a': 1, 'b': 1}, 0)
    with pytest.raises(ValueError, match='exactly two modalities, found a, b, c'):
        CMIRNet({'a': 4, 'b': 4, 'c': 4}, 2, 'mlp')
    with pytest.raises(ValueError, match='orth_weight is 0 or more'):
        make(CMIRPretrain, orth_weight=-1.0)
    with pytest.raises(NotImplementedError, match=r'use batch_losses\(\)'):
        make().compute_losses({})


@pytest.mark.slow
def test_schedule_starts_anew_with_stage_b(make_trainer: MakeTrainer) -> None:
    task, rates = make(pretrain_epochs=4, schedule='cosine', lr=0.1), []
    trainer = make_trainer(max_epochs=8)
    task.on_train_batch_end = lambda *_: rates.append(
        trainer.optimizers[0].param_groups[0]['lr']
    )
    trainer.fit(task, loader(panms(32, 1), 8), loader(panms(8, 1)))
    assert len(rates) == 32
    assert rates[14] < 0.01  # the end of stage A
    assert rates[17] > 0.09
    assert rates[-2] < 0.01
