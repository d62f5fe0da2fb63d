"""Two processes under DDP are one process on the whole batch, weights and all."""

import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

# batch norm would see one share at a time: layer norm in the encoder, none in the head
SCRIPT = textwrap.dedent(
    """
    import sys
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel
    from torchgeo_cmr.tasks import SSCMRSIR

    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group(
            'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=world
        )

    class Step(nn.Module):
        def __init__(self, task):
            super().__init__()
            self.task = task

        def forward(self, batch):
            return self.task.compute_losses(self.task(batch))['loss']

    answers = {}
    for variant in ('separate', 'joint'):
        torch.manual_seed(0)
        task = SSCMRSIR(
            {'s1': 2, 's2': 3}, 'test_convnext', variant=variant, head='linear_relu',
            output_dim=16, temperature=0.1, num_neighbors=2, weight_schedule='constant',
            mean={'s1': [0.0] * 2, 's2': [0.0] * 3}, std={'s1': [1.0] * 2, 's2': [1.0] * 3},
        )
        assert not any('BatchNorm' in type(m).__name__ for m in task.modules())
        task.train()
        step = Step(task)
        if world > 1:
            step = DistributedDataParallel(step)
        optimizer = torch.optim.SGD(task.parameters(), lr=0.05)
        losses = []
        for number in range(4):
            torch.manual_seed(100 + number)
            batch = {'image_s1': torch.randn(8, 2, 32, 32),
                     'image_s2': torch.randn(8, 3, 32, 32)}
            size = 8 // world
            part = slice(rank * size, (rank + 1) * size)
            loss = step({name: x[part] for name, x in batch.items()})
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        answers[variant] = {'losses': torch.stack(losses), 'weights': task.state_dict()}
    torch.save(answers, f'{folder}/{world}-{rank}.pt')
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()
    """
)


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-c', SCRIPT, rank, world, str(tmp_path)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, world in (('0', '2'), ('1', '2'), ('0', '1'))
    ]
    try:
        for worker in workers:
            _, complaint = worker.communicate(timeout=240)
            assert worker.returncode == 0, complaint
    finally:
        for worker in workers:
            worker.kill()
    one, first, second = (
        torch.load(tmp_path / f'{name}.pt', weights_only=True)
        for name in ('1-0', '2-0', '2-1')
    )
    for variant in ('separate', 'joint'):
        losses = (first[variant]['losses'] + second[variant]['losses']) / 2
        torch.testing.assert_close(losses, one[variant]['losses'], atol=1e-5, rtol=0)
        # something has been learned, or equality would prove nothing
        assert one[variant]['losses'].std() > 1e-3
        for name, weight in one[variant]['weights'].items():
            for rank in (first, second):
                torch.testing.assert_close(
                    rank[variant]['weights'][name], weight, atol=1e-5, rtol=0, msg=name
                )


# every task with batch norm, under the trainer's plain DDP; the last batch is one row per rank
TRAINED = textwrap.dedent(
    """
    import logging
    import os
    import sys
    import warnings

    rank, folder = int(sys.argv[1]), sys.argv[2]
    os.environ.update(
        MASTER_ADDR='127.0.0.1', MASTER_PORT=sys.argv[3], RANK=str(rank),
        LOCAL_RANK=str(rank), WORLD_SIZE='2', LOCAL_WORLD_SIZE='2', GROUP_RANK='0',
        TORCHELASTIC_RUN_ID='1',
    )
    warnings.simplefilter('ignore')
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    import torch
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader
    sys.path.insert(0, sys.argv[4])
    import test_everywhere as everywhere

    torch.set_num_threads(1)
    answers = {}
    for name, make in everywhere.NAMES.items():
        torch.manual_seed(0)
        task = make()
        trainer = Trainer(
            max_epochs=2, accelerator='cpu', devices=2, strategy='ddp', logger=False,
            enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0,
        )
        trainer.fit(task, everywhere.Data(10, batch_size=4))
        assert all(p.isfinite().all() for p in task.parameters()), name
        answers[name] = {k: v for k, v in task.named_parameters()}
    torch.save(answers, f'{folder}/{rank}.pt')
    """
)


@pytest.mark.enable_socket  # the two processes meet on this machine
def test_every_task_trains_under_plain_ddp(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    here = str(Path(__file__).parent)
    workers = [
        subprocess.Popen(
            [sys.executable, '-c', TRAINED, rank, str(tmp_path), port, here],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in '01'
    ]
    try:
        for worker in workers:
            _, complaint = worker.communicate(timeout=300)
            assert worker.returncode == 0, complaint
    finally:
        for worker in workers:
            worker.kill()
    first, second = (
        torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in '01'
    )
    for name, weights in first.items():
        for key, weight in weights.items():
            assert torch.equal(weight, second[name][key]), f'{name} {key}'
