"""Arguments as plain values, which a checkpoint can hold without pickling objects."""

from collections.abc import Mapping
from enum import Enum
from os import PathLike, fspath
from typing import Any

from torch import nn

__all__ = ('plain',)


def plain(value: Any) -> Any:
    """Turn an argument into numbers, strings, lists and dictionaries.

    Args:
        value: Anything that a task takes.

    Returns:
        Lists for arrays, tensors, tuples and sets, Python's numbers for those of NumPy, a
        string for a path, and the import path of its class for a network; other values as
        they are.
    """
    if isinstance(value, nn.Module):
        return f'{type(value).__module__}.{type(value).__qualname__}'
    if isinstance(value, Enum):
        return value
    if hasattr(value, 'tolist'):
        return value.tolist()
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, PathLike):
        return fspath(value)
    return value
