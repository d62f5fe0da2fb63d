"""How much the second and third loss count as training goes on."""

from typing import Literal

from torchgeo_cmr.errors import check_choice

__all__ = ('ramp_weight',)

WeightSchedule = Literal['log_ramp', 'constant']


def ramp_weight(
    step: int,
    num_steps: int,
    schedule: WeightSchedule = 'log_ramp',
    *,
    start: float = 1e-4,
) -> float:
    r"""Weigh an auxiliary loss by the progress of training.

    ``'log_ramp'`` climbs from *start* to 1 evenly in the logarithm,
    :math:`\mathrm{start}^{\,1 - e/(E-1)}`; most of training therefore belongs to the main
    loss, and the weight passes 0.1 only in the last quarter. ``'constant'`` is 1 throughout.

    From the published code of the group behind https://arxiv.org/abs/2202.11429, where *e*
    counts epochs.

    Args:
        step: Where training stands, *e*: 0 for the first epoch (or step). Values beyond the
            end count as the end.
        num_steps: Number of epochs (or steps) in all, *E*, at least 1. With 1 the weight is 1.
        schedule: ``'log_ramp'`` or ``'constant'``.
        start: Weight of the first epoch, above 0 and at most 1.

    Returns:
        A weight in [*start*, 1].

    Raises:
        ValueError: If *schedule* is unknown or a number is out of its range.

    Examples:
        >>> [round(ramp_weight(e, 5), 6) for e in range(5)]
        [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    check_choice('schedule', schedule, WeightSchedule)
    if num_steps < 1:
        raise ValueError(f'num_steps must be at least 1, found {num_steps}')
    if step < 0:
        raise ValueError(f'step must be at least 0, found {step}')
    if not 0 < start <= 1:
        raise ValueError(f'start must be above 0 and at most 1, found {start}')
    if schedule == 'constant' or num_steps == 1:
        return 1.0
    return float(start ** (1 - min(step, num_steps - 1) / (num_steps - 1)))
