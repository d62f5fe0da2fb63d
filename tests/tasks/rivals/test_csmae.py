"""CSMAE: its layout and weights, its losses, and that it learns."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.nn.functional import interpolate, mse_loss
from torch.utils.data import DataLoader

from torchgeo_cmr.models.csmae_decoder import patchify
from torchgeo_cmr.models.csmae_encoder import CSMAE_BANDS, CSMAEEncoder, positions
from torchgeo_cmr.tasks import CSMAE, load_task

pytestmark = [
    pytest.mark.filterwarnings('ignore:.*does not have many workers'),
    pytest.mark.filterwarnings('ignore:.*have no `val_dataloader`'),
]

CHANNELS = {'s1': 2, 's2': 10}
SMALL: dict[str, Any] = {
    'size': 'tiny',
    'image_size': 12,
    'patch_size': 3,
    'specific_depth': 1,
    'common_depth': 1,
    'decoder_dim': 64,
    'decoder_depth': 1,
    'mean': {m: [0.0] * n for m, n in CHANNELS.items()},
    'std': {m: [1.0] * n for m, n in CHANNELS.items()},
}


def make(**options: Any) -> CSMAE:
    torch.manual_seed(0)
    return CSMAE(CHANNELS, **(SMALL | options))


def planted(num: int, seed: int) -> list[dict[str, Tensor]]:
    """Pairs that are two linear images of one smooth hidden field."""
    views = torch.Generator().manual_seed(0)
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num, 2, 3, 3, generator=generator)
    hidden = interpolate(hidden, 12, mode='bilinear')
    images = {
        m: torch.einsum('cd,ndhw->nchw', torch.randn(n, 2, generator=views), hidden)
        for m, n in CHANNELS.items()
    }
    return [
        {'image_s1': a, 'image_s2': b}
        for a, b in zip(images['s1'], images['s2'], strict=True)
    ]


def batch(num: int = 6) -> Any:
    return next(iter(DataLoader(planted(num, 3), num)))  # ty: ignore[invalid-argument-type]


@pytest.mark.slow
def test_learns_and_a_checkpoint_is_enough(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    task = make(lr=2e-3, temperature=0.1, patch_size=4, specific_depth=0)
    test: Any = DataLoader(planted(100, 2), 100)  # ty: ignore[invalid-argument-type]
    train: Any = DataLoader(planted(128, 1), 32)  # ty: ignore[invalid-argument-type]
    trainer = make_trainer(max_epochs=8)
    before = trainer.validate(task, test, verbose=False)[0]
    trainer.fit(task, train)
    after = trainer.validate(task, test, verbose=False)[0]
    for name in ('loss', 'uni_modal', 'cross_modal', 'mim'):
        assert after[f'val_{name}'] < 0.9 * before[f'val_{name}']
    for direction in ('s1_to_s2', 's2_to_s1'):
        # chance is 10 of 100
        assert before[f'val_recall@10_{direction}'] < 0.2
        assert after[f'val_recall@10_{direction}'] > 0.4
    trainer.save_checkpoint(tmp_path / 'task.ckpt')
    loaded, task = load_task(tmp_path / 'task.ckpt'), task.eval()
    assert type(loaded) is CSMAE
    assert loaded.space == task.space
    assert torch.equal(loaded.embed(batch(), 's2'), task.embed(batch(), 's2'))


@pytest.mark.parametrize('decoder', ['common', 'specific'])
def test_every_parameter_gets_a_gradient(decoder: Any) -> None:
    task = make(decoder=decoder)
    losses = task.batch_losses(batch(), task(batch()))
    losses['loss'].backward()
    assert not [n for n, p in task.named_parameters() if p.grad is None]
    terms = losses['uni_modal'] + losses['cross_modal'] + losses['mim']
    torch.testing.assert_close(losses['loss'], terms)
    shared = task.decoders['s1'] is task.decoders['s2']
    assert shared == (decoder == 'common')


def test_errors_are_those_of_hidden_pixels() -> None:
    """A decoder that gives constants has the mean square of what was hidden."""
    task = make(mim_weight=0.0)
    with torch.no_grad():
        for layer in task.decoders['s1'].pixels.values():  # ty: ignore
            layer.weight.zero_()
            layer.bias.fill_(0.5)
    rows, outputs = batch(), task(batch())
    losses = task.batch_losses(rows, outputs)
    expected = {'uni_modal': 0.0, 'cross_modal': 0.0}
    for source in CHANNELS:
        hidden = outputs[source]['hidden'].bool()
        assert hidden.sum(dim=1).tolist() == [8] * 6
        for target in CHANNELS:
            goal = patchify(rows[f'image_{target}'], 3)[hidden]
            error = mse_loss(goal, torch.full_like(goal, 0.5)).item()
            expected['uni_modal' if source == target else 'cross_modal'] += error
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4)


def test_tokens_return_to_their_places() -> None:
    encoder = make().model
    x = batch()['image_s1']
    shown = encoder.encode(x, 's1', 0.5)
    assert shown.tokens.shape == (6, 9, 192)
    places = torch.cat([torch.arange(8), torch.full((8,), -1)])
    back = places.expand(6, -1).gather(1, shown.order)
    assert torch.equal(back < 0, shown.hidden.bool())
    whole = encoder.encode(x, 's1', 0.0)
    assert not whole.hidden.any()
    assert torch.equal(whole.order, torch.arange(16).expand(6, -1))


def test_patches_are_cut_in_the_order_of_tokens() -> None:
    x = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    cut = patchify(x, 2)
    assert cut.shape == (1, 6, 8)
    assert cut[0, 1].tolist() == [
        int(x[0, c, r, k]) for r in (0, 1) for k in (2, 3) for c in (0, 1)
    ]


def test_positions_are_sines_and_cosines_of_column_and_row() -> None:
    found = positions(3, 8)
    assert found.shape == (1, 10, 8)
    assert not found[0, 0].any()
    for row in range(3):
        for column in range(3):
            expected = [
                wave(place / 10_000 ** (k / 2))
                for place in (column, row)
                for wave in (math.sin, math.cos)
                for k in range(2)
            ]
            assert found[0, 1 + 3 * row + column].tolist() == pytest.approx(expected)


class TestWeights:
    """Files with the names of the published code, random numbers in them."""

    def save(self, folder: Path, **options: Any) -> tuple[str, CSMAEEncoder]:
        donor = make(**options).model
        state = {f'backbone.{name}': x for name, x in donor.state_dict().items()}
        state['decoder.mask_token'] = torch.zeros(1)
        torch.save({'state_dict': state, 'epoch': 3}, folder / 'csmae.ckpt')
        return str(folder / 'csmae.ckpt'), donor

    def test_names_are_the_published_ones(self) -> None:
        names = {n.split('.')[0] for n in make().model.state_dict()}
        assert names == {
            *('patch_embed', 'patch_embed_s2', 'cls_token', 'cls_token_s2'),
            *('blocks_s1', 'norm_s1', 'blocks_s2', 'norm_s2'),
            *('pos_embed', 'blocks', 'norm', 'fc_norm'),
        }
        blocks = make().model.blocks[0].state_dict()
        assert {n.removesuffix('.weight').removesuffix('.bias') for n in blocks} == {
            *('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')
        }

    def test_a_checkpoint_loads_as_it_is(self, tmp_path: Path) -> None:
        path, donor = self.save(tmp_path)
        torch.manual_seed(5)
        task = CSMAE(CHANNELS, path, **SMALL).eval()
        rows = batch()
        for m in CHANNELS:
            expected = donor.eval()(rows[f'image_{m}'], m)[0]
            assert torch.equal(task.model(rows[f'image_{m}'], m)[0], expected)
        assert task.assumed_bands == dict(zip(CHANNELS, CSMAE_BANDS, strict=True))
        with pytest.raises(ValueError, match='were taken in the order VH, VV'):
            task.set_specs({'s1': {'bands': ['VV', 'VH']}})

    def test_bands_are_matched_by_name(self, tmp_path: Path) -> None:
        path, donor = self.save(tmp_path)
        bands = {'s1': ['VV', 'VH'], 's2': [*CSMAE_BANDS[1][::-1]]}
        task = CSMAE(CHANNELS, path, bands=bands, **SMALL).eval()
        for m, x in (('s1', batch()['image_s1']), ('s2', batch()['image_s2'])):
            expected = donor.eval()(x, m)[0]
            torch.testing.assert_close(task.model(x.flip(1), m)[0], expected)
        bands['s2'][0] = 'B01'
        with pytest.raises(ValueError, match='no weights for the bands B01 for s2'):
            CSMAE(CHANNELS, path, bands=bands, **SMALL)

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'specific_depth': 0, 'common_depth': 2}, 'of another layout of CSMAE'),
            ({'common_depth': 0}, 'and 12 too many'),
            ({'size': 'small'}, 'has shape .1, 1, 192., expected .1, 1, 384.'),
            ({'image_size': 24}, "'pos_embed' has shape"),
        ],
    )
    def test_another_layout_is_refused(
        self, tmp_path: Path, options: dict[str, Any], message: str
    ) -> None:
        path, _ = self.save(tmp_path)
        with pytest.raises(ValueError, match=message):
            CSMAE(CHANNELS, path, **(SMALL | options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'mask_ratio': 1.0}, 'mask_ratio is above 0 and below 1'),
        (
            {'mim_weight': 0.0, 'uni_modal_weight': 0.0, 'cross_modal_weight': 0.0},
            'not all 0',
        ),
        ({'size': 'huge'}, "size must be 'tiny'"),
        ({'decoder': 'none'}, "decoder must be 'common' or 'specific'"),
        ({'decoder_dim': 100}, 'decoder_dim is a multiple of 64'),
        ({'patch_size': 5}, 'multiple of patch_size'),
        ({'specific_depth': 0, 'common_depth': 0}, 'CSMAE needs blocks'),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_refuses_patches_of_another_size() -> None:
    with pytest.raises(ValueError, match='takes patches of 12 pixels, found 9 by 9'):
        make().eval().embed({'image_s1': torch.zeros(2, 2, 9, 9)}, 's1')
