"""From samples to a batch, without copying what was read together."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import default_collate


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join samples as torch does; patches that are rows of one tensor stay there.

    A paired dataset reads the patches of a batch into one tensor per modality and gives views
    of it. Stacking them again would copy every pixel.

    Args:
        samples: Samples with the same keys.

    Returns:
        Key -> tensor ``(batch, ...)``, or whatever torch makes of other values.
    """
    batch = {key: _whole([sample[key] for sample in samples]) for key in samples[0]}
    rest = [key for key, whole in batch.items() if whole is None]
    joined: dict[str, Any] = batch | default_collate(
        [{k: s[k] for k in rest} for s in samples]
    )
    if 'days_apart' in joined:
        # One number for each pair.
        joined['days_apart'] = joined['days_apart'].flatten()
    return joined


def _whole(values: Sequence[Any]) -> Tensor | None:
    """The tensor of which some values are the rows, all of them and in order."""
    base = getattr(values[0], '_base', None)
    if base is None or len(base) != len(values) or not base.is_contiguous():
        return None
    step, *strides = base.stride()
    row = base.shape[1:], tuple(strides)
    place = base.storage_offset()
    for value in values:
        if not isinstance(value, Tensor) or value._base is not base:
            return None
        if value.storage_offset() != place or (value.shape, value.stride()) != row:
            return None
        place += step
    return base
