import torch
from torch.utils.data import default_collate

from torchgeo_cmr.datamodules.collate import collate


def test_patches_of_one_tensor_are_not_copied() -> None:
    whole = torch.rand(4, 2, 3, 3)
    samples = [{'image_s1': image, 'place': i} for i, image in enumerate(whole)]
    batch = collate(samples)
    assert batch['image_s1'].data_ptr() == whole.data_ptr()
    assert torch.equal(batch['image_s1'], whole)
    assert batch['place'].tolist() == [0, 1, 2, 3]


def test_anything_else_is_joined_as_torch_does() -> None:
    whole = torch.rand(4, 2, 3, 3)
    for images in (
        [whole[i] for i in (1, 0, 2, 3)],  # another order
        [whole[i] for i in (0, 1, 2)],  # not all
        [whole[i] for i in (0, 1, 2, 2)],  # one twice
        [whole[i, :1] for i in range(4)],  # other bands
        [whole[i].flip(-1) for i in range(4)],
        [whole[i].transpose(-1, -2) for i in range(4)],
        [whole[i].clone() for i in range(4)],
        list(whole.transpose(0, 1).transpose(0, 1)[:, :, ::2]),
    ):
        samples = [{'image_s1': image} for image in images]
        expected = default_collate(samples)['image_s1']
        assert torch.equal(collate(samples)['image_s1'], expected)
        assert collate(samples)['image_s1'].shape == expected.shape
