import pickle

import numpy as np
import torch

from torchgeo_cmr.datasets.spare import Spare


def address(array: np.ndarray) -> int:
    return array.__array_interface__['data'][0]


def test_memory_is_used_again_once_nobody_holds_it() -> None:
    spare = Spare()
    first = spare.empty((4, 3), np.float32)
    assert (first.shape, first.dtype) == ((4, 3), np.float32)
    place = address(first)
    del first
    assert address(spare.empty((3, 4), np.float32)) == place


def test_a_view_or_a_tensor_keeps_its_memory() -> None:
    spare = Spare()
    first = spare.empty((4, 3), np.float32)
    first[:] = 7
    row, tensor = first[1], torch.from_numpy(first)[2:]
    del first
    spare.empty((4, 3), np.float32)[:] = 0
    assert (row == 7).all()
    del row
    spare.empty((4, 3), np.float32)[:] = 0
    assert (tensor == 7).all()


def test_little_is_kept_and_nothing_pickled() -> None:
    spare = Spare()
    held = [spare.empty((n,), np.uint8) for n in range(1, 9)]
    del held
    assert len(spare._waiting) == 4
    assert pickle.loads(pickle.dumps(spare))._waiting == []
