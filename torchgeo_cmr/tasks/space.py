"""Fingerprints of weights and numbers: do two tasks place a picture at the same point?"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ('fingerprint', 'select', 'uncompiled')

# how torch.compile prefixes the weights of a network that it wraps
_COMPILED = '_orig_mod.'

# batch norm counts its batches and never uses the count
_COUNTER = 'num_batches_tracked'


def uncompiled(name: str) -> str:
    """Give the name that a weight has in the network that was compiled."""
    return name.replace(_COMPILED, '')


def select(state: Mapping[str, Any], prefixes: Iterable[str]) -> dict[str, Tensor]:
    """Select the tensors of a state dict that decide where a picture lands.

    Args:
        state: State dict of a task.
        prefixes: Names of the parts and tensors that matter.

    Returns:
        Tensors by the name that they have without ``torch.compile``.
    """
    exact = set(prefixes)
    inside = tuple(p if p.endswith('.') else f'{p}.' for p in exact)
    clean = {uncompiled(name): value for name, value in state.items()}
    return {
        name: value
        for name, value in clean.items()
        if isinstance(value, Tensor)
        and (name in exact or name.startswith(inside))
        and name.rpartition('.')[2] != _COUNTER
    }


def fingerprint(words: Iterable[str], tensors: Mapping[str, Tensor]) -> str:
    """Give the SHA-256 over words, and names, types, shapes and bytes of tensors.

    Args:
        words: Choices that are not tensors, in order.
        tensors: Tensors by name.

    Returns:
        16 hexadecimal digits, the same on every device, and the same for half precision
        and for the float32 that such weights become when a checkpoint is loaded.
    """
    digest = hashlib.sha256(':'.join(words).encode())
    for name, tensor in sorted(tensors.items()):
        if tensor.dtype in {torch.float16, torch.bfloat16}:
            tensor = tensor.float()
        digest.update(f'{name}:{tensor.dtype}:{tuple(tensor.shape)};'.encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
