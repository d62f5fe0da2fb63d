"""Tensors of a file that somebody else wrote: which there are, and whether they fit a network."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ('check_fit', 'plain_tensors')

#: Bytes that a tensor may become in memory even if it repeats a few numbers.
_LEAST = 1 << 26


def plain_tensors(content: Any, path: str | Path) -> dict[str, Tensor]:
    """Pick the tensors of a state dict or a checkpoint; each can be copied into a network.

    Args:
        content: What the file holds.
        path: The file, for messages.

    Raises:
        ValueError: If there are none, or one is sparse, quantised, complex, without numbers, NaN
            or claims more numbers than it has.
    """
    for name in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    found = content if isinstance(content, dict) else {}
    tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
    if not tensors:
        raise ValueError(
            f'{path} holds no weights: expected a state dict or a checkpoint, found '
            f'{type(content).__name__}'
        )
    for name, value in tensors.items():
        if fault := _fault(value):
            raise ValueError(
                f'{path} holds {name[:80]!r} as {fault}: save the state dict of the network with '
                'plain tensors'
            )
    return tensors


def _fault(value: Tensor) -> str | None:
    """Say what keeps a tensor from being copied into a network; None if nothing does."""
    if value.is_nested:
        return 'a nested tensor'
    if value.layout is not torch.strided or value.is_quantized or value.is_complex():
        return f'a tensor of {value.dtype} ({value.layout})'
    if value.is_meta:
        return 'a tensor without numbers (meta)'
    if value.nbytes > max(value.untyped_storage().nbytes(), _LEAST):
        return f'{value.numel()} numbers, of which it has some'
    if value.is_floating_point() and value.isnan().any():
        return 'a tensor with NaN'
    return None


def check_fit(
    part: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    of_bands: Collection[str],
    fault: str,
    cure: str = 'check model=',
) -> None:
    """Refuse tensors of other shapes, and whole numbers where weights belong.

    Args:
        part: Tensors of a file, by their names in the network.
        expected: State dict of the network.
        of_bands: Names of convolutions of four dimensions whose channels are matched later.
        fault: Beginning of the message.
        cure: Its end.

    Raises:
        ValueError: If one does not fit.
    """
    for name, value in part.items():
        wanted = expected[name]
        shapes = [tuple(value.shape), tuple(wanted.shape)]
        if name in of_bands and value.ndim == wanted.ndim == 4:
            shapes = [(first, *rest) for first, _, *rest in shapes]
        whole = wanted.is_floating_point() and not value.is_floating_point()
        if whole or shapes[0] != shapes[1]:
            raise ValueError(
                f'{fault}: {name!r} has shape {tuple(value.shape)}, expected '
                f'{tuple(wanted.shape)} ({value.dtype}, {wanted.dtype}): {cure}'
            )
