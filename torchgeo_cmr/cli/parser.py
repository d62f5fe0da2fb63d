"""The parser of a command: flags, help and mistakes.

It is argparse and not jsonargparse, which ``fit`` uses: commands share flat groups of options
where jsonargparse would write ``--filters.within``, options have the names of GDAL and STAC
clients as well, a word such as ``-98.5,29.5`` is a place, and a command that needs no YAML starts
without the 0.3 s that jsonargparse takes to load.
"""

import argparse
import re
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from .commands import GLOBAL
from .signature import Argument, Command, gather, read_arguments, read_docstring, spread
from .terminal import brief

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

#: How the value of an option is written, where its name does not say it.
_VALUES = {
    'within': 'AREA',
    'crs': 'EPSG:CODE',
    'near': 'LON,LAT,METRES',
    'during': 'START/END',
    'where': 'CONDITION',
    'ckpt': 'CHECKPOINT',
    'exclude_own': 'METRES',
    'spacing': 'METRES',
    'clips': 'FOLDER',
    'and_': 'ARCHIVE',
    'hubs': 'ARCHIVE',
    'refine': 'RESULT',
    'one_per': 'COLUMN',
    'noise': 'LOW,HIGH',
    'reverb': 'LOW,HIGH',
}

#: What may be given as an empty word: a column that is not there.
_MAY_BE_EMPTY = frozenset({'time_column', 'id_column'})

#: Filters of one value -> what to do in place of giving two, of which the first would be lost without
#: a word. Of other options the last one counts, as scripts that add to a command expect.
_SINGLE = {
    'where': 'join conditions with and',
    'during': 'give one window, START/END',
    'months': 'give all in one list',
    'near': 'give one place',
    'within': 'put both areas into one file',
}

#: Options of others -> one of ours, if the command has it, and the hint to print.
_MEANT = {
    '--layer': ('--within', 'write FILE|layername=NAME'),
    '--start': ('--during', 'write --during START/END'),
    '--end': ('--during', 'write --during START/END'),
    '--from': ('--during', 'write --during START/END'),
    '--to': ('--during', 'write --during START/END'),
    '--polygon': ('--within', 'perhaps --within'),
    '--geometry': ('--within', 'perhaps --within'),
    '--intersects': ('--within', 'perhaps --within, with --predicate intersects'),
    '--near': ('--within', 'this command has --within'),
    '-n': ('-k', 'perhaps -k'),
    '--limit': ('-k', 'perhaps -k'),
    '--top': ('-k', 'perhaps -k'),
    '--top-k': ('-k', 'perhaps -k'),
    '--topk': ('-k', 'perhaps -k'),
    '--threshold': ('--min-score', 'perhaps --min-score'),
    '--queries': ('--query', 'perhaps --query'),
    '--patch-size': ('--size', 'perhaps --size'),
    '--chip-size': ('--size', 'perhaps --size'),
    '--res': ('--gsd', 'perhaps --gsd, or --size-metres'),
    '--resolution': ('--gsd', 'perhaps --gsd, or --size-metres'),
    '--cloud-cover': ('--max-cloud', 'perhaps --max-cloud'),
    '--checkpoint': ('--ckpt', 'perhaps --ckpt'),
    '--weights': ('--model', 'write --model MODEL:WEIGHTS'),
    '--backbone': ('--model', 'perhaps --model'),
    '--encoder': ('--model', 'perhaps --model'),
    '--gpu': ('--device', 'write --device cuda'),
    '--cuda': ('--device', 'write --device cuda'),
    '-f': ('--overwrite', 'perhaps --overwrite'),
    '-y': ('--overwrite', 'perhaps --overwrite'),
    '--archive': ('--out', 'archives are named without an option'),
}


def call(function: Command, words: Sequence[str], *, prog: str) -> int:
    """Parse words by a function's signature and call it.

    Args:
        function: A command: annotated arguments, Google docstring.
        words: What the user typed after the command.
        prog: Name shown in the help.

    Returns:
        Exit code: what the command returns, 0 for nothing.
    """
    explained = not {'-h', '--help'}.isdisjoint(words)
    values = vars(build(function, prog, explained).parse_args(list(words)))
    positional, options = gather(function, values)
    return function(*positional, **options) or 0


def build(
    function: Command, prog: str, explained: bool = True
) -> argparse.ArgumentParser:
    """Build the parser of a command.

    Args:
        function: A command: annotated arguments, Google docstring.
        prog: Name shown in the help.
        explained: Whether the help will be shown; without it, docstrings are not read.

    Returns:
        The parser; its namespace holds one value per argument.
    """
    arguments = list(read_arguments(function, explained=explained))
    parser = _Parser(
        prog=prog,
        usage=_usage(arguments),
        description=read_docstring(function)[0] if explained else None,
        epilog=f'Any command takes {", ".join(GLOBAL)} too: torchgeo-cmr --help explains.',
        formatter_class=_Help,
        allow_abbrev=False,
    )
    # A word such as -98.5,29.5 is a place, never a flag: no flag of ours starts with a
    # digit, and argparse on its own only knows plain negative numbers.
    parser._negative_number_matcher = re.compile(r'^-\.?\d')
    groups: dict[str, Any] = {'': parser}
    for argument in arguments:
        if argument.group not in groups:
            groups[argument.group] = parser.add_argument_group(argument.group)
        _add(groups[argument.group], argument)
    return parser


def words(function: Command, given: Mapping[str, Any]) -> list[str]:
    """Write the words that make a command's arguments: the way back from :func:`call`.

    Args:
        function: A command.
        given: Value of each of its parameters; defaults are omitted.

    Returns:
        What :func:`call` reads the same values from.
    """
    options: list[str] = []
    positional: list[str] = []
    values = spread(given)
    for argument in read_arguments(function, explained=False):
        value = values[argument.name]
        if value is None or value == argument.default:
            continue
        items = value if isinstance(value, list | tuple) else [value]
        if argument.positional:
            positional += map(str, items)
            continue
        for item in items:
            options += _typed(argument.flag, item)
    if any(word.startswith('-') for word in positional):
        return [*options, '--', *positional]
    return [*positional, *options]


def _typed(flag: str, value: Any) -> list[str]:
    """Write an option with one value, which may look like a flag itself."""
    if isinstance(value, bool):
        return [flag if value else f'--no-{flag.lstrip("-")}']
    if str(value).startswith('-'):
        return [f'{flag}={value}' if flag.startswith('--') else f'{flag}{value}']
    return [flag, str(value)]


class _Help(argparse.HelpFormatter):
    """Paragraphs are as wide as the terminal, indented lines stay as they are written."""

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns - 2, 98)
        super().__init__(prog, max_help_position=26, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = [
            part
            if part.startswith(' ')
            else textwrap.fill(' '.join(part.split()), width, break_on_hyphens=False)
            for part in text.split('\n\n')
        ]
        return '\n\n'.join(paragraphs)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    #: Value of each filter that takes one, as this call has given it.
    given: dict[str, Any]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse the value ``--``, which Python before 3.13 drops; then parse."""
        self.given = {}
        for word in args or ():
            if match := re.fullmatch(r'(--[a-z][a-z-]*=|-[a-z]=?)--', word):
                self.error(f'argument {match[1].rstrip("=")}: -- is not a value')
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print what was wrong and where to find help, and exit with code 2."""
        message += self._meant(message)
        self.exit(2, f'{self.prog}: {brief(message)}; {self.prog} --help explains\n')

    def _meant(self, message: str) -> str:
        """Guess which options the unrecognised words stood for."""
        _, separator, unknown = message.partition('unrecognized arguments: ')
        if not separator:
            return ''
        known = self._option_string_actions
        words = unknown.split()
        flags = [word.partition('=')[0] for word in words if word.startswith('--')]
        for word in words:
            name = word.partition('=')[0].replace('_', '-')
            option, hint = _MEANT.get(name, ('', ''))
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


class _Single(argparse.Action):
    """Store the value of a filter that takes one, and refuse another."""

    def __call__(
        self, parser: Any, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        first = parser.given.setdefault(self.dest, values)
        if repr(first) != repr(values):  # NaN is no other than NaN
            raise argparse.ArgumentError(
                self,
                f'it takes one value and has {first!r} and {values!r}: {_SINGLE[self.dest]}',
            )
        setattr(namespace, self.dest, values)


def _usage(arguments: Sequence[Argument]) -> str:
    """Name what is required; the help lists the rest."""
    parts = ['%(prog)s']
    for argument in arguments:
        if argument.positional:
            word = argument.name.upper() + (' ...' if argument.many else '')
            parts.append(word if argument.required else f'[{word}]')
    parts += [
        f'{a.flag} {_value(a)}' for a in arguments if a.required and not a.positional
    ]
    return ' '.join([*parts, '[options]'])


def _value(argument: Argument) -> str:
    """Say how the value of an option is written."""
    name = argument.name
    if name == 'out':
        return 'FILE' if argument.many else 'FOLDER'
    if argument.kind in (int, float) and len(name) > 1:
        return _VALUES.get(name, 'N,N' if argument.many else 'N')
    return _VALUES.get(name, name.rstrip('_').upper())


def _add(parser: Any, argument: Argument) -> None:
    """Add one argument to a parser or a group."""
    options: dict[str, Any] = {
        'help': ' '.join(argument.help.split()).replace('%', '%%')
    }
    if not argument.required:
        options['default'] = argument.default
    if argument.positional:
        if argument.many:
            options['nargs'] = '+' if argument.required else '*'
        elif not argument.required:
            options['nargs'] = '?'
        options |= {'type': _kind(argument), 'metavar': argument.name.upper()}
        parser.add_argument(argument.name, **options)
        return
    flags = [argument.flag]
    if len(argument.name) == 1:
        flags.append(f'--{argument.name}')
    if argument.kind is bool:
        on = argument.default is True
        options['action'] = argparse.BooleanOptionalAction if on else 'store_true'
    else:
        options['metavar'] = _value(argument)
        if not argument.many:
            options['type'] = _kind(argument)
            if argument.name in _SINGLE:
                options['action'] = _Single
        elif argument.kind is str:
            options |= {'action': 'append', 'type': _kind(argument)}
        else:
            options |= {'action': 'extend', 'type': _listed(argument.kind)}
    if argument.required:
        options['required'] = True
    elif argument.default not in (None, False) and argument.default != ():
        options['help'] += f' (default: {argument.default})'
    flags += _ALIASES.get(argument.name, ())
    parser.add_argument(*flags, dest=argument.name, **options)


def _kind(argument: Argument) -> Callable[[str], Any]:
    """Give what reads one word: text is taken as it is, unless nothing is there."""
    if argument.kind is not str or argument.name in _MAY_BE_EMPTY:
        return argument.kind
    return _filled


def _filled(word: str) -> str:
    """Refuse what an unset variable of a script leaves: no file, or the folder it runs in."""
    if not word.strip():
        raise argparse.ArgumentTypeError(
            'its value is empty: leave it out, or set the variable that it is taken from'
        )
    return word


def _listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Read several numbers with commas between."""

    def read(word: str) -> list[Any]:
        return [kind(part) for part in word.split(',')]

    read.__name__ = getattr(kind, '__name__', 'number')
    return read
