"""Flips of masks and images of several pixel sizes."""

import kornia.augmentation as K
import torch

from torchgeo_cmr.datamodules.flips import Flips


def test_masks_are_flipped_as_their_images_are() -> None:
    torch.manual_seed(0)
    small = torch.arange(16.0).reshape(4, 4).repeat(64, 1, 1)
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    big = 2**32 - 20
    batch = {
        'image_a': large[:, None],
        'image_b': small[:, None],
        'mask_c': small.long() + big,
        'mask_d': large.to(torch.uint8),
        'days_apart': torch.arange(64.0)[:, None],
    }
    flipped = Flips()(dict(batch))
    a, b = flipped['image_a'][:, 0], flipped['image_b'][:, 0]
    assert torch.equal(a[:, ::2, ::2], b)
    assert torch.equal(flipped['mask_c'], b.long() + big)
    assert torch.equal(flipped['mask_d'], a.to(torch.uint8))
    assert torch.equal(flipped['days_apart'], batch['days_apart'])
    corners = {tuple(row.tolist()) for row in b[:, 0, [0, 3]]}
    assert corners == {(0, 3), (3, 0), (12, 15), (15, 12)}


def test_the_same_samples_are_flipped_as_kornia_would() -> None:
    batch = {'image_a': torch.randn(32, 3, 8, 8), 'image_b': torch.randn(32, 1, 6, 4)}
    theirs = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5), K.RandomVerticalFlip(p=0.5), data_keys=None
    )
    for seed in range(3):
        torch.manual_seed(seed)
        wanted, after = theirs(dict(batch)), torch.rand(1)
        torch.manual_seed(seed)
        flipped = Flips()(batch)
        assert torch.rand(1) == after
        assert all(flipped[key].equal(wanted[key]) for key in batch)
    assert flipped['image_a'] is not batch['image_a']
