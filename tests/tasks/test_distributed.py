"""Two processes under DDP are one process on the whole batch, weights and all."""

import os
import socket
import textwrap
from pathlib import Path
from typing import Any

import forked
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
        forked.Program('-c', SCRIPT, rank, world, tmp_path)
        for rank, world in (('0', '2'), ('1', '2'), ('0', '1'))
    ]
    try:
        for worker in workers:
            done = worker.wait(timeout=240)
            assert done.returncode == 0, done.stderr
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
        forked.Program('-c', TRAINED, rank, tmp_path, port, here) for rank in '01'
    ]
    try:
        for worker in workers:
            done = worker.wait(timeout=300)
            assert done.returncode == 0, done.stderr
    finally:
        for worker in workers:
            worker.kill()
    first, second = (
        torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in '01'
    )
    for name, weights in first.items():
        for key, weight in weights.items():
            assert torch.equal(weight, second[name][key]), f'{name} {key}'


# tasks without batch norm and dropout, the whole batch in each step; nine pairs to validate, so that the
# sampler of two ranks repeats one
LAUNCHED = textwrap.dedent(
    """
    import logging
    import os
    import sys
    import warnings

    folder, here = sys.argv[1:]
    warnings.simplefilter('ignore')
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    import torch
    import torch.distributed as dist
    from lightning.pytorch import Callback, Trainer
    from torch import nn
    from torch.utils.data import DataLoader
    from torchgeo_cmr.tasks import SSCMRSIR, CMIRNet, CMIRPretrain
    sys.path.insert(0, here)
    import test_everywhere as everywhere

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rank, world = (int(os.environ.get(n, d)) for n, d in (('RANK', '0'), ('WORLD_SIZE', '1')))
    local = int(os.environ.get('LOCAL_WORLD_SIZE', '1'))

    class Data(everywhere.Data):
        def train_dataloader(self):
            return DataLoader(self.rows[:16], 16 // world)

        def val_dataloader(self):
            return DataLoader(self.rows[:9], 2)

        test_dataloader = val_dataloader

    class Losses(Callback):
        def __init__(self):
            self.seen = []

        def on_train_batch_end(self, trainer, task, outputs, *_):
            self.seen.append(outputs['loss'].detach())

    def net(channels):
        return nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2))

    nets = {m: net(n) for m, n in everywhere.CHANNELS.items()}
    common = dict(lr=0.02, optimizer='sgd', schedule='constant', warmup_epochs=0)
    one = (everywhere.CHANNELS, 4, nets)
    makers = {
        'SSCMRSIR': lambda: SSCMRSIR(
            everywhere.CHANNELS, nets, output_dim=8, head='linear_relu', temperature=0.1,
            num_neighbors=2, weight_schedule='constant', **common
        ),
        'CMIRPretrain': lambda: CMIRPretrain(*one, feature_dim=8, dropout=0.0, **common),
        'CMIRNet': lambda: CMIRNet(
            *one, feature_dim=8, output_dim=4, dropout=0.0, pretrain_epochs=1, **common
        ),
    }
    answers = {}
    for name, make in makers.items():
        torch.manual_seed(0)
        task, losses = make(), Losses()
        trainer = Trainer(
            max_epochs=3, accelerator='cpu', devices=local, num_nodes=world // local,
            strategy='ddp' if world > 1 else 'auto', logger=False,
            enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, callbacks=[losses],
        )
        trainer.fit(task, Data(18))
        steps = torch.stack(losses.seen)
        if world > 1:
            dist.all_reduce(steps)
        scores = dict(trainer.callback_metrics)
        trainer.test(task, Data(18), verbose=False)
        scores |= dict(trainer.callback_metrics)
        answers[name] = {
            'losses': steps / world, 'weights': dict(task.named_parameters()),
            'specs': {m: torch.tensor(s['mean']) for m, s in task.specs.items()},
            'scores': scores,
        }
    torch.save(answers, f'{folder}/{rank}.pt')
    """
)


def launched(folder: Path, *words: str) -> forked.Program:
    """Start the script, under torchrun if there are words for that."""
    folder.mkdir(exist_ok=True)
    script = folder.parent / 'script.py'
    script.write_text(LAUNCHED)
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'GLOO_SOCKET_IFNAME': 'lo'}
    here = Path(__file__).parent
    return forked.Program(*words, script, folder, here, env=environment)


@pytest.mark.enable_socket  # the processes meet on this machine
def test_torchrun_trains_as_one_process(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    torchrun = forked.TORCHRUN
    node = (*torchrun, '--nnodes=2', '--nproc-per-node=1', f'--master-port={port}')
    node = (*node, '--master-addr=127.0.0.1')
    workers = [
        launched(tmp_path / 'alone'),
        launched(tmp_path / 'ranks', *torchrun, '--standalone', '--nproc-per-node=2'),
        launched(tmp_path / 'nodes', *node, '--node-rank=0'),
        launched(tmp_path / 'nodes', *node, '--node-rank=1'),
    ]
    try:
        for worker in workers:
            done = worker.wait(timeout=400)
            assert done.returncode == 0, done.stderr
    finally:
        for worker in workers:
            worker.kill()
    alone = torch.load(tmp_path / 'alone' / '0.pt', weights_only=True)
    assert [*alone] == ['SSCMRSIR', 'CMIRPretrain', 'CMIRNet']
    for way in ('ranks', 'nodes'):
        for rank in '01':
            found = torch.load(tmp_path / way / f'{rank}.pt', weights_only=True)
            for name, answer in alone.items():
                compare(answer, found[name], f'{name}, {way}, rank {rank}')


def compare(one: Any, found: Any, where: str) -> None:
    """Compare losses, weights, statistics and scores of two runs."""
    # something has been learned, or equality would prove nothing
    assert one['losses'].std() > 1e-3, where
    for kind in ('losses', 'weights', 'specs'):
        torch.testing.assert_close(
            found[kind], one[kind], atol=1e-5, rtol=0, msg=lambda m: f'{where}: {m}'
        )
    scores = {n: v for n, v in one['scores'].items() if '@' in n or 'rank' in n}
    assert len(scores) > 10, where
    for name, score in scores.items():
        torch.testing.assert_close(
            found['scores'][name],
            score,
            atol=1e-4,
            rtol=1e-4,
            equal_nan=True,
            msg=lambda m, name=name: f'{where}, {name}: {m}',
        )
