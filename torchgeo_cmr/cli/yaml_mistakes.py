"""What the parser of YAML and flags complains of, as one sentence that names the key."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentParser, namespace_to_dict

_UNKNOWN = re.compile(
    r"class_path '(?P<cls>[\w.]+)':\s+Option '(?P<name>[\w.]+)' is not accepted"
)
_KEY = re.compile(r'Parser key "(?P<name>[\w.]+)":')
_TYPE = re.compile(
    r"Expected an? <class '(?P<kind>\w+)'>\. Got value: (?P<value>.*)", re.DOTALL
)


def explain(error: BaseException) -> str:
    """Say what was wrong in the first place, and where.

    Args:
        error: What the parser, or a constructor, raised; each is raised from a narrower one.

    Returns:
        One sentence.
    """
    chain = [*causes(error)][::-1]
    reason = str(chain[0]) or type(chain[0]).__name__
    for each in chain:
        if found := _UNKNOWN.search(str(each)):
            return _nearest(found['cls'], found['name'])
    key = next((k['name'] for e in chain if (k := _KEY.match(str(e)))), '')
    if key and (wrong := _TYPE.fullmatch(reason)):
        value = wrong['value'][:80]
        return f'{key} is {value!r}, which is no {wrong["kind"]}: correct it'
    return reason


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


def _nearest(path: str, option: str) -> str:
    """Say which option of a class is meant."""
    name = path.rpartition('.')[2]
    near = get_close_matches(option, defaults(path), n=1)
    cure = (
        f'perhaps {near[0]} is meant' if near else 'see its page in the documentation'
    )
    return f'{name} has no option {option}; {cure}'


def defaults(path: str) -> dict[str, Any]:
    """Give the options of a class with their defaults, those of its parents too.

    Args:
        path: Import path of the class, which was imported before.
    """
    module, _, name = path.rpartition('.')
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(getattr(import_module(module), name))
    return namespace_to_dict(parser.get_defaults())
