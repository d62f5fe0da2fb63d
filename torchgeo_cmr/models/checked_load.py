"""Loading what torch.save wrote, without running anything and without inventing numbers."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


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
