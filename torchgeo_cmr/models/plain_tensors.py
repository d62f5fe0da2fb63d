"""Tensors of a file that somebody else wrote: all that is in it, which are weights, and whether they fit."""

import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ('check_fit', 'checked_load', 'plain_tensors')

#: Bytes that a tensor may become in memory even if it repeats a few numbers.
_LEAST = 1 << 26


def checked_load(path: Any, **options: Any) -> Any:
    """Load weights and plain values, with ``weights_only=True``.

    Args:
        path: The file, or one that is open.
        **options: Further arguments of ``torch.load``.

    Raises:
        ValueError: If the file holds fewer numbers than a tensor says, the rest of which torch before 2.10
            takes from whatever is in memory.
        Exception: Whatever ``torch.load`` raises.
    """
    content = torch.load(path, weights_only=True, **options)
    if zipfile.is_zipfile(path):  # what torch wrote before 2020 is checked by torch
        with zipfile.ZipFile(path) as packed:
            kept = Counter(
                i.file_size for i in packed.infolist() if '/data/' in i.filename
            )
        storages = {
            storage.data_ptr(): storage.nbytes()
            for tensor in _tensors(content)
            if (storage := tensor.untyped_storage()).nbytes()
        }
        if missing := Counter(storages.values()) - kept:
            raise ValueError(
                f'{path} has no numbers of {min(missing)} bytes, which a tensor in it says'
            )
    return content


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


def _tensors(content: Any) -> Iterator[Tensor]:
    """Give the dense tensors in nested containers, which may hold themselves."""
    todo, seen = [content], set()
    while todo:
        value = todo.pop()
        if isinstance(value, Tensor):
            if (
                value.layout == torch.strided
                and not value.is_nested
                and not value.is_meta
            ):
                yield value
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            todo += value.values() if isinstance(value, dict) else value


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
