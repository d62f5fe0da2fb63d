"""Optimisers and learning rate schedules: what the published runs used, by name."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from torchgeo_cmr.errors import OptionError, check_choice

__all__ = ('Optimisation', 'OptimizerName', 'ScheduleName')

OptimizerName = Literal['adamw', 'adam', 'sgd']
ScheduleName = Literal['cosine', 'constant', 'onecycle']


@dataclass(frozen=True)
class Optimisation:
    """How weights are trained: the options that all tasks share, checked.

    Args:
        lr: Learning rate after warm-up.
        weight_decay: Weight decay of matrices and kernels; biases and norms have none.
        warmup_epochs: Epochs of warm-up for ``'cosine'``, at most a tenth of the run.
        optimizer: ``'adamw'`` with betas (0.9, 0.95) as in the later code of the group;
            ``'adam'`` torch's own and ``'sgd'`` without momentum, as in the precursor.
        schedule: ``'cosine'``: linear warm-up, then cosine to 0; ``'constant'``: nothing
            moves; ``'onecycle'``: torch's own up and down, with *lr* at its top (and, except
            for ``'sgd'``, the momentum the other way).

    Raises:
        ValueError: If a name is unknown, or a number is negative or not finite.
    """

    lr: float
    weight_decay: float = 0.0
    warmup_epochs: int = 0
    optimizer: OptimizerName = 'adamw'
    schedule: ScheduleName = 'cosine'

    def __post_init__(self) -> None:
        """Refuse unknown names and impossible numbers before anything is trained."""
        for option in ('lr', 'weight_decay', 'warmup_epochs'):
            value = getattr(self, option)
            if not 0 <= float(value) < math.inf:
                raise ValueError(
                    f'{option} must be finite and at least 0, found {value}'
                )
        check_choice('optimizer', self.optimizer, OptimizerName)
        check_choice('schedule', self.schedule, ScheduleName)

    def build_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Build an optimiser over what is trained.

        Args:
            parameters: Parameters; those without ``requires_grad`` are skipped.

        Returns:
            The optimiser.
        """
        trained = [p for p in parameters if p.requires_grad]
        groups = [
            {
                'params': [p for p in trained if p.ndim > 1],
                'weight_decay': float(self.weight_decay),
            },
            {'params': [p for p in trained if p.ndim <= 1], 'weight_decay': 0.0},
        ]
        lr = float(self.lr)
        if self.optimizer == 'sgd':
            return SGD(groups, lr=lr)
        if self.optimizer == 'adam':
            return Adam(groups, lr=lr)
        return AdamW(groups, lr=lr, betas=(0.9, 0.95))

    def build_schedule(
        self, optimizer: Optimizer, *, steps: float, epochs: int, restart_epoch: int = 0
    ) -> LRScheduler:
        """Build a learning rate schedule that moves with every step.

        The cosine is a function of the step, not torch's ``LinearLR`` and
        ``CosineAnnealingLR`` in sequence: their saved state holds the length of the run, so a
        run that is resumed with more epochs would decay as the shorter one.

        Args:
            optimizer: What it drives.
            steps: Steps of the whole run; infinite if it has no end.
            epochs: Epochs of the run; not above 0 if it is measured in steps.
            restart_epoch: Epoch at which ``'cosine'`` starts anew with the second stage of a
                run, if that is before its end; each stage then has its own warm-up and end.

        Returns:
            The schedule.

        Raises:
            OptionError: If the schedule is ``'onecycle'`` and the run has no end.
        """
        endless = math.isinf(steps)
        if self.schedule == 'onecycle':
            if endless:
                raise OptionError(
                    'a onecycle schedule needs to know its end: set max_epochs or max_steps'
                )
            return OneCycleLR(
                optimizer,
                [group['lr'] for group in optimizer.param_groups],
                total_steps=max(1, int(steps)),
                # SGD has no momentum to move, and would be given some.
                cycle_momentum=not isinstance(optimizer, SGD),
            )
        # A run without an end has nothing to decay to.
        if self.schedule == 'constant' or endless:
            return LambdaLR(optimizer, lambda step: 1.0)
        total, restart = int(steps), 0
        if 0 < restart_epoch < epochs:
            restart = round(total * restart_epoch / epochs)

        def factor(step: int) -> float:
            if not restart:
                return self._cosine(step, total, epochs)
            if step < restart:
                return self._cosine(step, restart, restart_epoch)
            return self._cosine(step - restart, total - restart, epochs - restart_epoch)

        return LambdaLR(optimizer, factor)

    def _cosine(self, step: int, steps: int, epochs: int) -> float:
        """Factor of the learning rate at a step of a stage with warm-up."""
        share = self.warmup_epochs / epochs if epochs > 0 else 0.1
        warmup = round(steps * min(share, 0.1))
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return (1 + math.cos(math.pi * progress)) / 2
