"""The console script: picks a command and imports only that command.

A user's mistake is one line on stderr and exit code 2; results go to files or stdout,
progress to stderr.
"""

import os
import sys
from collections.abc import Collection, Sequence
from inspect import signature

from torchgeo_cmr import __version__
from torchgeo_cmr.cli.commands import GLOBAL, VERBS, load_command
from torchgeo_cmr.cli.notes import talk_on_stderr
from torchgeo_cmr.cli.option_names import as_options
from torchgeo_cmr.cli.streams import whole_streams
from torchgeo_cmr.cli.terminal import brief
from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.progress.bars import Mode, drawing

_USAGE = """usage: torchgeo-cmr COMMAND ...

Cross-modal retrieval of georeferenced imagery.

{commands}

`torchgeo-cmr COMMAND --help` explains a command; `torchgeo-cmr demo` runs all steps on one example.
Any command takes these too:

{words}
"""

#: Words that are read here and not by a command; ``--quiet`` is an option of some commands as well.
_READ = ('--debug', '--progress', '-v', '--verbose')


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: Words after the program's name (default: those of the process).

    Returns:
        Exit code: 0 done, 1 done except for scenes that had to be refused, 2 for a mistake that the
        user can fix, 70 for a fault of ours, 130 if interrupted, 141 if whoever reads the output
        closed it.
    """
    words = list(sys.argv[1:] if args is None else args)
    flags = {word for word in words if word in (*_READ, '--quiet')}
    words = [word for word in words if word not in _READ]
    if words[:1] == ['help']:
        words = [*words[1:2], '--help']
    words = words or ['--help']
    with whole_streams():
        try:
            code = _answer(words, flags)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read us, such as head, has seen enough; nothing is left to flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except KeyboardInterrupt:
            sys.stderr.write('stopped; what was committed is kept\n')
            return 130
        except Exception as error:  # noqa: BLE001 - the last net
            if '--debug' in flags:
                import traceback

                traceback.print_exception(error)
            return _ended(error, words)
        return code


def _answer(words: list[str], flags: Collection[str]) -> int:
    """Answer what needs no command, or run one."""
    command = words[0]
    if command in ('-h', '--help'):
        lines = [f'  {name:<11} {summary}' for name, (_, summary) in VERBS.items()]
        others = '\n'.join(f'  {name:<11} {text}' for name, text in GLOBAL.items())
        sys.stdout.write(_USAGE.format(commands='\n'.join(lines), words=others))
        return 0
    if command == '--version':
        sys.stdout.write(f'torchgeo-cmr {__version__}\n')
        return 0
    if command not in VERBS:
        from difflib import get_close_matches

        near = get_close_matches(command, VERBS, n=1)
        hint = f'; perhaps {near[0]} is meant' if near else ''
        return _mistake(
            f'{command!r} is not a command: choose one of {", ".join(VERBS)}{hint}'
        )
    if any('\0' in word for word in words):
        return _mistake('a word holds the character NUL: no name and no value has it')
    talk_on_stderr(command, verbose='-v' in flags or '--verbose' in flags)
    try:
        with drawing(_bars(flags)):
            return _run(command, words)
    except SystemExit as stop:
        # The way out of both parsers: 0 after --help, 2 after a mistake they reported.
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _run(command: str, words: list[str]) -> int:
    """Import a command and run it."""
    code = 0
    if VERBS[command][0] == 'fit_command':
        from torchgeo_cmr.cli.run_files import check_run_files

        check_run_files(words)
        from torchgeo_cmr.cli.fit_command import fit

        fit([word for word in words if word != '--quiet'])
    else:
        from torchgeo_cmr.cli.parser import call

        function, words = load_command(command), words[1:]
        if 'quiet' not in signature(function).parameters:
            words = [word for word in words if word != '--quiet']
        code = call(function, words, prog=f'torchgeo-cmr {command}')
    return code


def _ended(error: Exception, words: list[str]) -> int:
    """Say why a command ended, and give the exit code."""
    if isinstance(error, CMRError | OSError):
        # OSError: a file is missing, the disk is full. The user can fix both.
        return _mistake(as_options(str(error), words[0]))
    if isinstance(error, UnicodeEncodeError) and 'surrogates' in error.reason:
        # So Python reads a name of other bytes, which most libraries do not take.
        name = error.object[max(0, error.start - 60) : error.end + 20]
        return _mistake(f'the name {name!a} is not UTF-8: rename that file or folder')
    if isinstance(error, ModuleNotFoundError):
        from torchgeo_cmr.cli.missing_package import cure

        if sentence := cure(error, words[0]):
            return _mistake(sentence)
    if isinstance(error, MemoryError):  # also those of NumPy and Arrow
        return _mistake(
            f'there is not enough memory ({str(error) or "none was left"}); work on fewer rows, '
            'smaller patches or batches, or free memory'
        )
    from torchgeo_cmr.cli.fault_report import report_fault

    return report_fault(error, words)


def _bars(flags: Collection[str]) -> Mode:
    """Decide when bars are drawn."""
    if '--quiet' in flags:
        return 'never'
    return 'always' if '--progress' in flags else 'command'


def _mistake(message: str) -> int:
    """Write one sentence; people at a terminal are led to the page that says more."""
    sys.stderr.write(f'torchgeo-cmr: {brief(message)}\n')
    if sys.stderr.isatty():
        from torchgeo_cmr.cli.further_reading import read_more

        if place := read_more(message):
            sys.stderr.write(f'more about this: {place}\n')
    return 2


if __name__ == '__main__':
    sys.exit(main())
