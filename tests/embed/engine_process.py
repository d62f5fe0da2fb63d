"""A script: one run in a process of its own, whose encoder kills a process at a chosen moment.

    python engine_process.py FOLDER OUT ENGINE LOG [DIES PARTS]

Every call of the encoder that embeds a scene is a line in LOG with the number of its process.
As soon as PARTS parts are there, it kills itself (DIES is ``worker``: not in the process that
leads) or the process that began the run (``driver``), once: there is a file LOG.killed then. Ranks
that outlive their driver go on when a third process has embedded some scenes.
"""

import os
import signal
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from torchgeo_cmr.embed import embed


class Mortal(nn.Module):
    """Projects pixels at random, but always alike."""

    weights: Tensor

    def __init__(self, out: str, log: str, dies: str, parts: int) -> None:
        super().__init__()
        self.keys, self.in_channels = {'s2': 'image'}, {'s2': 1}
        self.specs = {'s2': {}}
        self.space = '0123456789abcdef'
        generator = torch.Generator().manual_seed(0)
        self.register_buffer('weights', torch.randn(256, 8, generator=generator))
        self.out, self.log, self.dies, self.parts = out, log, dies, parts
        # Under torchrun a run is begun by the parent of all ranks.
        ranks = 'RANK' in os.environ
        self.driver = os.getppid() if ranks else os.getpid()
        self.leader = os.getpid() if os.environ.get('RANK', '0') == '0' else 0

    def embed(self, batch: dict[str, Tensor], modality: str) -> Tensor:
        images = batch['image']
        if images.any():  # no trial
            self.step()
        flat = torch.nan_to_num(images).flatten(1) @ self.weights
        return nn.functional.normalize(flat + 1, dim=1)

    def step(self) -> None:
        with open(self.log, 'a') as file:
            file.write(f'{os.getpid()}\n')
        time.sleep(0.05)
        if self.dies and self.done() >= self.parts:
            mine = self.dies == 'worker'
            if mine and os.getpid() == self.leader:
                return
            with suppress(FileExistsError):
                Path(f'{self.log}.killed').touch(exist_ok=False)
                os.kill(os.getpid() if mine else self.driver, signal.SIGKILL)
            if not mine and 'RANK' in os.environ:
                self.linger()

    def linger(self) -> None:
        """Wait, in a process that outlives its driver, until a third process has embedded scenes."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            processes = Path(self.log).read_text().split()
            if len(processes) > 5 and len({*processes[:-3]}) > 2:
                break
            time.sleep(0.05)

    def done(self) -> int:
        return len(list(Path(self.out).glob('part-*')))


if __name__ == '__main__':
    folder, out, engine, log, dies, parts = [*sys.argv[1:], '', '0'][:6]
    warnings.simplefilter('error')
    warnings.filterwarnings('default', category=UserWarning, message='.*were refused')
    # Of Ray, torch and Lightning about themselves.
    for category in (DeprecationWarning, FutureWarning, ResourceWarning):
        warnings.filterwarnings('ignore', category=category)
    table = embed(
        Mortal(out, log, dies, int(parts)),
        folder,
        's2',
        16,
        out=out,
        engine=engine,  # ty: ignore[invalid-argument-type]
        workers=2 if engine == 'ray' else None,
        progress=False,
    )
    print(len(table))
