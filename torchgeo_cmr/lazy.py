"""Names of a package that are loaded when they are first used."""

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: str, homes: Mapping[str, str], names: Collection[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Its ``__name__``.
        homes: Name -> the module of the package that has it.
        names: All public names, lazy or not.

    Returns:
        The two functions.
    """

    def load(name: str) -> Any:
        if name in homes:
            return getattr(import_module(f'{package}.{homes[name]}'), name)
        raise AttributeError(f'module {package!r} has no attribute {name!r}')

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return load, listed
