"""Optimisers and learning rate schedules: what the published runs used, by name."""

import math
from collections.abc import Iterable
from typing import Literal, get_args

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from torchgeo_cmr.errors import OptionError

__all__ = (
    'OptimizerName',
    'ScheduleName',
    'build_optimizer',
    'build_schedule',
    'check_options',
)

OptimizerName = Literal['adamw', 'adam', 'sgd']
ScheduleName = Literal['cosine', 'constant', 'onecycle']


def check_options(
    optimizer: str,
    schedule: str,
    *,
    lr: float = 0.0,
    weight_decay: float = 0.0,
    warmup_epochs: int = 0,
) -> None:
    """Refuse unknown names and impossible numbers before anything is trained.

    Args:
        optimizer: Name of an optimiser.
        schedule: Name of a schedule.
        lr: Learning rate.
        weight_decay: Weight decay.
        warmup_epochs: Epochs of warm-up.

    Raises:
        ValueError: If a name is unknown, or a number is negative or not finite.
    """
    for option, value in (
        ('lr', lr),
        ('weight_decay', weight_decay),
        ('warmup_epochs', warmup_epochs),
    ):
        if not 0 <= float(value) < math.inf:
            raise ValueError(f'{option} must be finite and at least 0, found {value}')
    if optimizer not in get_args(OptimizerName):
        raise ValueError(
            f"optimizer must be 'adamw', 'adam' or 'sgd', found {optimizer!r}"
        )
    if schedule not in get_args(ScheduleName):
        raise ValueError(
            f"schedule must be 'cosine', 'constant' or 'onecycle', found {schedule!r}"
        )


def build_optimizer(
    parameters: Iterable[nn.Parameter], name: OptimizerName, lr: float, decay: float
) -> Optimizer:
    """Build an optimiser over what is trained.

    ``'adamw'`` has betas (0.9, 0.95) as in the later code of the group; ``'adam'`` torch's own
    and ``'sgd'`` no momentum, as in the precursor.

    Args:
        parameters: Parameters; those without ``requires_grad`` are left out.
        name: Which optimiser.
        lr: Learning rate.
        decay: Weight decay of matrices and kernels; biases and norms have none.

    Returns:
        The optimiser.
    """
    lr, decay = float(lr), float(decay)
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {'params': [p for p in trained if p.ndim > 1], 'weight_decay': decay},
        {'params': [p for p in trained if p.ndim <= 1], 'weight_decay': 0.0},
    ]
    if name == 'sgd':
        return SGD(groups, lr=lr)
    if name == 'adam':
        return Adam(groups, lr=lr)
    return AdamW(groups, lr=lr, betas=(0.9, 0.95))


def build_schedule(
    optimizer: Optimizer,
    name: ScheduleName,
    *,
    steps: float,
    epochs: int,
    warmup_epochs: int,
    restart_epoch: int = 0,
) -> LRScheduler:
    """Build a learning rate schedule that moves with every step.

    The cosine is a function of the step, not torch's ``LinearLR`` and ``CosineAnnealingLR`` in
    sequence: their saved state holds the length of the run, so a run that is resumed with more
    epochs would decay as the shorter one.

    Args:
        optimizer: What it drives.
        name: ``'cosine'``: linear warm-up, then cosine to 0; ``'constant'``: nothing moves;
            ``'onecycle'``: torch's own up and down, with *lr* at its top (and, except for
            ``'sgd'``, the momentum the other way).
        steps: Steps of the whole run; infinite if it has no end.
        epochs: Epochs of the run; not above 0 if it is measured in steps.
        warmup_epochs: Epochs of warm-up for ``'cosine'``, at most a tenth of the run.
        restart_epoch: Epoch at which ``'cosine'`` starts anew with the second stage of a run,
            if that is before its end; each stage then has a warm-up and an end of its own.

    Returns:
        The schedule.

    Raises:
        OptionError: If ``'onecycle'`` is asked for a run without an end.
    """
    endless = math.isinf(steps)
    if name == 'constant':
        return LambdaLR(optimizer, lambda step: 1.0)
    if name == 'onecycle':
        if endless:
            raise OptionError(
                'a onecycle schedule needs to know its end: set max_epochs or max_steps'
            )
        # SGD has no momentum to move, and would be given some
        moves = not isinstance(optimizer, SGD)
        tops = [group['lr'] for group in optimizer.param_groups]
        return OneCycleLR(
            optimizer, tops, total_steps=max(1, int(steps)), cycle_momentum=moves
        )
    # a run that somebody has to stop has no end to decay to
    total = None if endless else int(steps)
    restart = 0
    if total and 0 < restart_epoch < epochs:
        restart = round(total * restart_epoch / epochs)

    def factor(step: int) -> float:
        if total is None:
            return 1.0
        first, end, length = 0, total, epochs
        if restart:
            late = step >= restart
            first, end = (restart, total) if late else (0, restart)
            length = epochs - restart_epoch if late else restart_epoch
        share = warmup_epochs / length if length > 0 else 0.1
        warmup = round((end - first) * min(max(share, 0.0), 0.1))
        step -= first
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min(1.0, (step - warmup) / max(1, end - first - warmup))
        return (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, factor)
