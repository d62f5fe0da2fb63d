"""Arguments as plain values, which a checkpoint can hold without pickling objects, and their types."""

import re
from collections.abc import Mapping
from enum import Enum
from os import PathLike, fspath
from typing import Any, NotRequired, TypedDict

from torch import Tensor, nn

from torchgeo_cmr import __version__
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.typed_json import convert, decode

__all__ = ('check_section', 'plain', 'read_facts')

_CURE = 'take another checkpoint, or train again'


class Specification(TypedDict, total=False):
    """What a checkpoint says of the training data of a modality."""

    bands: list[str] | None
    mean: list[float] | None
    std: list[float] | None
    gsd: float | list[float] | None
    patch_size: int | list[int] | None
    units: str | list[str] | None
    nodata: float | list[float | None] | None
    scale: float | list[float] | None
    sample_rate: float | None
    seconds: float | None


class Section(TypedDict):
    """What a checkpoint says of its task."""

    task: NotRequired[Any]
    version: NotRequired[str]
    modalities: list[str]
    space: NotRequired[str | None]
    specs: dict[str, Specification | None]
    keys: dict[str, str]
    classes: NotRequired[list[str] | None]


class Facts(TypedDict):
    """What a state dict says in addition to its weights."""

    specs: dict[str, Specification | None]
    classes: NotRequired[list[str] | None]


def check_section(section: Mapping[str, Any], source: str) -> None:
    """Check what a checkpoint says of its task.

    Args:
        section: Its section ``torchgeo_cmr``.
        source: Where it comes from, for the message.

    Raises:
        ArchiveError: If a later release wrote it, or it is broken; the message names the key.
    """
    version = section.get('version')
    if _release(version) > _release(__version__):
        raise ArchiveError(
            f'{source} was written by a newer torchgeo_cmr, {version!s:.20}; this is {__version__}: '
            'install a newer one'
        )
    convert(section, Section, source, _CURE)
    if {*section['keys']} != {*section['modalities']}:
        raise ArchiveError(
            f'{source} is broken (keys are not those of its modalities); {_CURE}'
        )
    _check_sizes(section['specs'], source)


def read_facts(state: Tensor) -> dict[str, Any]:
    """Read what a state dict says in addition to its weights.

    Args:
        state: JSON as bytes, shape (length,).

    Raises:
        ArchiveError: If it is broken; the message names the key.
    """
    source = 'the entry _extra_state of the weights'
    text = bytes(state.cpu().reshape(-1).byte().tolist())
    facts = decode(text, dict[str, Any], source, _CURE)
    convert(facts, Facts, source, _CURE)
    _check_sizes(facts['specs'], source)
    return facts


def _check_sizes(specs: Mapping[str, Mapping[str, Any] | None], source: str) -> None:
    """Refuse sizes of pixels and patches that cannot be."""
    for modality, spec in specs.items():
        for name in ('gsd', 'patch_size', 'sample_rate', 'seconds'):
            value = (spec or {}).get(name)
            numbers = value if isinstance(value, list) else [value]
            if not all(n is None or 0 < n < float('inf') for n in numbers):
                raise ArchiveError(
                    f'{source} is broken ({name} of {modality} is {value}); {_CURE}'
                )


def _release(version: Any) -> tuple[int, ...]:
    """Give the numbers of a version that stand for changes of formats."""
    found = re.match(r'(\d{1,9})(?:\.(\d{1,9}))?', str(version))
    return tuple(int(number or 0) for number in found.groups()) if found else ()


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
