"""A command's arguments, read from the signature and the docstring of its function.

Positional arguments of the function are positional words, keyword-only arguments are
options: ``bool`` is a flag, ``list[str]`` may be repeated. An argument whose type is a dataclass
stands for a group of options, one per field, which several commands share. A default is
written once, in the signature or the dataclass.
"""

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

type Command = Callable[..., int | None]


@dataclass(frozen=True)
class Argument:
    """One positional word or option of a command.

    Args:
        name: Name of the parameter or field.
        kind: Type of one word.
        many: Whether there may be several.
        default: Value without it; ``inspect.Parameter.empty`` if it is required.
        positional: Whether it is a word without a flag.
        help: Its line of help.
        group: Title of the group in the help; empty for the command's own.
    """

    name: str
    kind: Any
    many: bool
    default: Any
    positional: bool = False
    help: str = ''
    group: str = ''

    @property
    def required(self) -> bool:
        """Whether the command cannot do without it."""
        return self.default is inspect.Parameter.empty

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        dashes = '-' if len(self.name) == 1 else '--'
        return dashes + self.name.rstrip('_').replace('_', '-')


def read_arguments(function: Command, *, explained: bool = True) -> Iterator[Argument]:
    """Give the arguments of a command in the order of its help.

    Args:
        function: The command: annotated arguments, Google docstring.
        explained: Whether to read the docstrings, which takes longer than the rest.

    Yields:
        Each argument, those of a group one by one.
    """
    helps = read_docstring(function)[1] if explained else {}
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(hints[name]):
            yield from _fields(hints[name], explained)
            continue
        positional = parameter.kind is not parameter.KEYWORD_ONLY
        kind, many = _kind(hints[name])
        text = helps.get(name, '')
        yield Argument(name, kind, many, parameter.default, positional, text)


def gather(
    function: Command, values: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Turn one value per argument into what the function is called with.

    Args:
        function: The command.
        values: Value of each argument, by name.

    Returns:
        Positional and keyword arguments; fields of a group are in their dataclass.
    """
    places, options = [], {}
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        kind = hints[name]
        if is_dataclass(kind):
            value: Any = kind(**{f.name: values[f.name] for f in fields(kind)})
        else:
            value = values[name]
        if parameter.kind is parameter.KEYWORD_ONLY:
            options[name] = value
        else:
            places.append(value)
    return places, options


def spread(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give one value per argument: the way back from :func:`gather`.

    Args:
        given: Value of each parameter of a command, by name.

    Returns:
        The same with the fields of dataclasses in place of the dataclasses.
    """
    values = {}
    for name, value in given.items():
        values |= vars(value) if is_dataclass(value) else {name: value}
    return values


def read_docstring(documented: Command | type) -> tuple[str | None, dict[str, str]]:
    """Read a Google docstring.

    Args:
        documented: A function or class.

    Returns:
        What stands before the arguments, and the text of each argument.
    """
    from docstring_parser import DocstringStyle, parse

    parsed = parse(inspect.getdoc(documented) or '', style=DocstringStyle.GOOGLE)
    return parsed.description, {p.arg_name: p.description or '' for p in parsed.params}


def _fields(kind: Any, explained: bool) -> Iterator[Argument]:
    title, helps = '', {}
    if explained:
        for base in reversed(kind.__mro__[:-1]):
            title, texts = read_docstring(base)
            helps |= texts
    hints = typing.get_type_hints(kind)
    for field in fields(kind):
        default = field.default
        if default is MISSING:
            default = inspect.Parameter.empty
        type_, many = _kind(hints[field.name])
        text = helps.get(field.name, '')
        group = (title or kind.__name__).split('\n')[0].rstrip('.')
        yield Argument(field.name, type_, many, default, help=text, group=group)


def _kind(hint: Any) -> tuple[Any, bool]:
    """Type of one word, and whether there may be several."""
    if isinstance(hint, types.UnionType):
        (hint,) = (arm for arm in typing.get_args(hint) if arm is not types.NoneType)
    if typing.get_origin(hint) in (list, Sequence):
        return typing.get_args(hint)[0], True
    return hint, False
