"""What the parser of YAML and flags complains of, as one sentence that names the key."""

import ast
import linecache
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
_CHOICE = re.compile(
    r'Expected an? typing\.Literal\[(?P<choices>.*)\]\. Got value: (?P<value>.*)',
    re.DOTALL,
)
_SUBTYPES = re.compile(r'Does not validate against any .*\nSubtypes: \[(?P<types>.*)\]')
_STRANGE = re.compile(r"does not accept option '(?P<name>[^']+)'")
_CLASS = re.compile(r"Problem with given class_path '(?P<cls>[\w.]+)'")
#: What values of a type are called.
_KINDS = {
    'bool': 'true or false',
    'int': 'a whole number',
    'float': 'a number',
    'str': 'text in quotes',
    'list': 'a list',
    'dict': 'names with a value each',
}
#: Sections of a configuration.
_SECTIONS = (
    *('trainer', 'model', 'data', 'optimizer', 'lr_scheduler', 'ckpt_path'),
    *('seed_everything', 'verbose', 'weights_only'),
)
#: How complaints begin of a mapping that does not describe an object.
_NO_OBJECT = ('Expected an instantiatable class', 'Not a valid subclass of')
#: What a mapping may hold that stands for an object.
_OBJECT = ('class_path', 'init_args', 'dict_kwargs')


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
        shown = value if wrong['kind'] == 'str' else repr(value)
        return f'{key} is {shown}: give {_kinds(chain, wrong["kind"])}'
    if key and (wrong := _CHOICE.fullmatch(reason)):
        choices = wrong['choices'].replace("'", '')
        return f'{key} is {wrong["value"][:80]!r}: give one of {choices}'
    if reason.startswith(_NO_OBJECT):
        return _not_an_object(error)
    if strange := _STRANGE.search(reason):
        return reason + _meant(strange['name'])
    if isinstance(first, AttributeError) and 'module' in reason:
        near = get_close_matches(str(first.name), dir(first.obj), n=1)
        return reason + (f'; perhaps {near[0]} is meant' if near else '')
    if is_of_others(error) and not isinstance(first, OSError | ImportError):
        return f'{_class_of(error)} cannot be made with what it was given: {_requirement(first)}'
    return reason


def is_of_others(error: BaseException) -> bool:
    """Whether a class of another package refused what the user gave it, in whatever way.

    Args:
        error: What a constructor raised, and jsonargparse reports.
    """
    package = __name__.partition('.')[0]
    name = _class_of(error)
    return (
        bool(name)
        and name.partition('.')[0] != package
        and not _is_ours(reason_of(error))
    )


def _class_of(error: BaseException) -> str:
    """Name the class that could not be made, the innermost of several."""
    found = [m['cls'] for e in causes(error) if (m := _CLASS.match(str(e)))]
    return found[-1] if found else ''


def _requirement(error: BaseException) -> str:
    """Give the words of an error, or the condition of a bare ``assert``."""
    if text := ' '.join(str(error).split()):
        return text
    *_, (frame, line) = walk_tb(error.__traceback__)
    code = linecache.getline(frame.f_code.co_filename, line).strip()
    return code or type(error).__name__


def _kinds(chain: list[BaseException], kind: str) -> str:
    """Say what a value may be, of which the narrowest error names the first type alone."""
    union = next((m for e in chain if (m := _SUBTYPES.match(str(e)))), None)
    kinds = re.findall(r"<class '(\w+)'>", union['types']) if union else []
    kinds = kinds if kind in kinds else [kind]
    return ' or '.join(_KINDS.get(k, k) for k in kinds if k != 'NoneType')


def _not_an_object(error: BaseException) -> str:
    """Say which mapping does not describe an object, and which of its keys is not known."""
    name = next((k['name'] for e in causes(error) if (k := _KEY.match(str(e)))), 'this')
    cure = 'give class_path and, below init_args, its options'
    _, _, text = str(error).rpartition('\n  Given value: ')
    try:
        given = ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        given = None
    path, strange = next(_strange_keys(given), ('', ''))
    found = f' and has {strange}' if strange else ''
    return f'{name}{path} describes no object{found}: {cure}'


def _strange_keys(given: Any, path: str = '') -> Iterator[tuple[str, str]]:
    """Give mappings that are meant as objects and hold other keys: where they are, and a key."""
    if not isinstance(given, dict):
        return
    meant = not {*given}.isdisjoint(_OBJECT)
    for key, value in given.items():
        if meant and key not in _OBJECT:
            yield path, f'{key!s:.80}'
        yield from _strange_keys(value, f'{path}.{key!s:.80}')


def _meant(name: str) -> str:
    """Say which section, or which option of the trainer, is meant."""
    section, _, option = name.partition('.')
    if section == 'trainer' and option:
        known = [*defaults('lightning.pytorch.Trainer')]
        near = get_close_matches(option.partition('.')[0], known, n=1)
        return f'; perhaps trainer.{near[0]} is meant' if near else ''
    near = get_close_matches(section, _SECTIONS, n=1)
    if near and near[0] != section:
        return f'; perhaps {near[0]} is meant'
    return f'; sections are {", ".join(_SECTIONS)}' if section not in _SECTIONS else ''


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
