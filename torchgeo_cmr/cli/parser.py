"""Turns the signature and docstring of a verb into its command line.

Positional arguments of the function are positional words, keyword-only arguments are
options: ``bool`` is a flag, ``list[str]`` may be repeated. A default is written once, in
the signature, and shown in the help.
"""

import argparse
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

#: Other names of options, by which GDAL, STAC clients and others know them.
_ALIASES = {
    'within': ('--bbox', '--area', '--aoi'),
    'out': ('-o', '--output'),
    'overwrite': ('--force',),
    'query': ('-q',),
    'during': ('--datetime', '--date'),
    'where': ('--filter',),
    'metric': ('--metrics',),
    'directions': ('--direction',),
}


#: Options of others -> one of ours, if the verb has it, and the hint to print.
_MEANT = {
    '--layer': ('--within', 'write FILE|layername=NAME'),
    '--start': ('--during', 'write --during START/END'),
    '--end': ('--during', 'write --during START/END'),
    '--from': ('--during', 'write --during START/END'),
    '--to': ('--during', 'write --during START/END'),
    '--polygon': ('--within', 'perhaps --within'),
    '--geometry': ('--within', 'perhaps --within'),
    '--intersects': ('--within', 'perhaps --within, with --predicate intersects'),
    '--near': ('--within', 'this verb has --within'),
    '-n': ('-k', 'perhaps -k'),
    '--limit': ('-k', 'perhaps -k'),
    '--top': ('-k', 'perhaps -k'),
    '--top-k': ('-k', 'perhaps -k'),
    '-f': ('--overwrite', 'perhaps --overwrite'),
    '-y': ('--overwrite', 'perhaps --overwrite'),
    '--archive': ('--out', 'archives are named without an option'),
}


def call(
    function: Callable[..., int | None], words: Sequence[str], *, prog: str
) -> int:
    """Parse words by a function's signature and call it.

    Args:
        function: A verb: annotated arguments, Google docstring.
        words: What the user typed after the verb.
        prog: Name shown in the help.

    Returns:
        Exit code: what the verb returns, 0 for nothing.
    """
    explained = not {'-h', '--help'}.isdisjoint(words)
    arguments = vars(build(function, prog, explained).parse_args(list(words)))
    signature = inspect.signature(function)
    positional = [
        arguments.pop(name)
        for name, parameter in signature.parameters.items()
        if parameter.kind is not parameter.KEYWORD_ONLY
    ]
    return function(*positional, **arguments) or 0


def build(
    function: Callable[..., int | None], prog: str, explained: bool = True
) -> argparse.ArgumentParser:
    """Build the parser of a verb.

    Args:
        function: A verb: annotated arguments, Google docstring.
        prog: Name shown in the help.
        explained: Whether the help will be shown; without it, docstrings are not read, which
            takes longer than the rest.

    Returns:
        The parser; its namespace holds one value for each argument of the function.
    """
    description, helps = _told(function) if explained else (None, {})
    parser = _Parser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    # A word such as -98.5,29.5 is a place, never a flag: no flag of ours starts with a
    # digit, and argparse on its own only knows plain negative numbers.
    parser._negative_number_matcher = re.compile(r'^-\.?\d')
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        _add(parser, parameter, hints[name], helps.get(name, ''))
    return parser


def _told(function: Callable[..., int | None]) -> tuple[str | None, dict[str, str]]:
    """Read a docstring: what the verb does, and what each argument is."""
    from docstring_parser import DocstringStyle, parse

    parsed = parse(inspect.getdoc(function) or '', style=DocstringStyle.GOOGLE)
    return parsed.description, {p.arg_name: p.description or '' for p in parsed.params}


def words(function: Callable[..., None], arguments: Mapping[str, Any]) -> list[str]:
    """Write the words that make a verb's arguments: the way back from :func:`call`.

    Args:
        function: A verb.
        arguments: Value of each of its arguments; defaults are omitted.

    Returns:
        What :func:`call` reads the same values from.
    """
    options: list[str] = []
    places: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        value = arguments[name]
        if value is None or value == parameter.default:
            continue
        several = value if isinstance(value, list | tuple) else [value]
        if parameter.kind is not parameter.KEYWORD_ONLY:
            places += map(str, several)
            continue
        flag = (
            f'-{name}' if len(name) == 1 else '--' + name.rstrip('_').replace('_', '-')
        )
        for item in several:
            if isinstance(item, bool):
                options.append(flag if item else f'--no-{flag.lstrip("-")}')
            elif str(item).startswith('-'):
                options.append(f'{flag}={item}' if len(name) > 1 else f'{flag}{item}')
            else:
                options += [flag, str(item)]
    if any(place.startswith('-') for place in places):
        return [*options, '--', *places]
    return [*places, *options]


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Print what was wrong and where to find help, and exit with code 2."""
        message += self._meant(message)
        self.exit(2, f'{self.prog}: {message}; {self.prog} --help explains\n')

    def _meant(self, message: str) -> str:
        """Guess which options the unrecognised words stood for."""
        _, left, unknown = message.partition('unrecognized arguments: ')
        if not left:
            return ''
        known = self._option_string_actions
        words = unknown.split()
        flags = [word.partition('=')[0] for word in words if word.startswith('--')]
        for word in words:
            option, hint = _MEANT.get(word.partition('=')[0], ('', ''))
            if option in known:
                return f' ({hint})'
        if flags:
            near = get_close_matches(flags[0], known, n=1, cutoff=0.7)
            return f' (perhaps {near[0]})' if near else ''
        if '--out' in known and re.fullmatch(r'\S+\.[a-z]+', unknown):
            return f' (a file to write is --out {unknown})'
        return (
            ': a value is one word, so join numbers with commas, quote what holds spaces, and '
            'repeat an option for several values'
        )


def _add(
    parser: argparse.ArgumentParser, parameter: inspect.Parameter, hint: Any, text: str
) -> None:
    kind, many = _kind(hint)
    name = parameter.name
    has_default = parameter.default is not parameter.empty
    text = ' '.join(text.split()).replace('%', '%%')
    options: dict[str, Any] = {'help': text}
    if parameter.kind is not parameter.KEYWORD_ONLY:
        options['type'] = kind
        if many:
            options['nargs'] = '*' if has_default else '+'
        elif has_default:
            options['nargs'] = '?'
        if has_default:
            options['default'] = parameter.default
        parser.add_argument(name, metavar=name.upper(), **options)
        return
    flags = [f'-{name}'] if len(name) == 1 else []
    flags.append('--' + name.rstrip('_').replace('_', '-'))
    flags += _ALIASES.get(name, ())
    if kind is bool:
        options['action'] = (
            argparse.BooleanOptionalAction if parameter.default else 'store_true'
        )
    else:
        options['type'] = kind
        options['metavar'] = name.rstrip('_').upper()
        if many:
            options['action'] = 'append' if kind is str else 'extend'
            options['type'] = kind if kind is str else _listed(kind)
    if has_default:
        options['default'] = parameter.default
        if parameter.default not in (None, False) and parameter.default != ():
            options['help'] += f' (default: {parameter.default})'
    else:
        options['required'] = True
    parser.add_argument(*flags, dest=name, **options)


def _listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Read several numbers with commas between."""

    def read(word: str) -> list[Any]:
        return [kind(part) for part in word.split(',')]

    read.__name__ = getattr(kind, '__name__', 'number')
    return read


def _kind(hint: Any) -> tuple[Any, bool]:
    """Type of one word, and whether there may be several."""
    if isinstance(hint, types.UnionType):
        (hint,) = (arm for arm in typing.get_args(hint) if arm is not types.NoneType)
    if typing.get_origin(hint) in (list, Sequence):
        return typing.get_args(hint)[0], True
    return hint, False
