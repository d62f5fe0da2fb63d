"""What the parser of YAML and flags complains of, as one sentence that names the key."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from traceback import walk_tb
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
    first = reason_of(error)
    reason = str(first) or type(first).__name__
    for each in chain:
        if found := _UNKNOWN.search(str(each)):
            return _nearest(found['cls'], found['name'])
    key = next((k['name'] for e in chain if (k := _KEY.match(str(e)))), '')
    if key and (wrong := _TYPE.fullmatch(reason)):
        value = wrong['value'][:80]
        return f'{key} is {value!r}, which is no {wrong["kind"]}: correct it'
    return reason


def reason_of(error: BaseException) -> BaseException:
    """Give the error that says what was wrong.

    Args:
        error: What the parser, or a constructor, raised; each is raised from a narrower one.

    Returns:
        The one that this package raised, whose sentence names what the library below it met;
        else the narrowest.
    """
    chain = [*causes(error)]
    return next(filter(_is_ours, chain), chain[-1])


def _is_ours(error: BaseException) -> bool:
    """Whether an error was raised by this package, but for its command line."""
    names = [
        frame.f_globals.get('__name__', '') for frame, _ in walk_tb(error.__traceback__)
    ]
    package = __name__.partition('.')[0]
    return names[-1:] != [] and (
        f'{names[-1]}.'.startswith(f'{package}.')
        and not names[-1].startswith(f'{package}.cli.')
    )


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
