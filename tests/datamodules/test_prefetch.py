from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from torchgeo_cmr.datamodules.prefetch import EarlyLoader


class Numbers(Dataset[Any]):
    """Says when a batch is started and when it is asked for."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __len__(self) -> int:
        return 7

    def __getitems__(self, indexes: Sequence[int]) -> list[torch.Tensor]:
        return self.start(indexes)()

    def start(self, indexes: Sequence[int]) -> Callable[[], list[torch.Tensor]]:
        self.told.append(f'start {indexes[0]}')

        def finish() -> list[torch.Tensor]:
            self.told.append(f'finish {indexes[0]}')
            return [torch.tensor(i) for i in indexes]

        return finish


def test_the_next_batch_is_started_before_this_one_is_given() -> None:
    numbers = Numbers()
    batches = iter(EarlyLoader(numbers, batch_size=2))
    assert next(batches).tolist() == [0, 1]
    assert numbers.told == ['start 0', 'start 2', 'finish 0']
    assert [batch.tolist() for batch in batches] == [[2, 3], [4, 5], [6]]


def test_batches_and_random_numbers_are_those_of_torch() -> None:
    drawn = []
    for kind in (DataLoader, EarlyLoader):
        torch.manual_seed(3)
        loader = kind(Numbers(), batch_size=2, shuffle=True)
        epochs = [[batch.tolist() for batch in loader] for _ in range(2)]
        drawn.append((epochs, torch.rand(()).item()))
    assert drawn[0] == drawn[1]


def test_worker_processes_read_as_ever() -> None:
    loader = EarlyLoader(Numbers(), batch_size=4, num_workers=1)
    assert [batch.tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 6]]
