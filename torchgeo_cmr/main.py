"""The console script: picks a command and imports only that command.

A user's mistake is one line on stderr and exit code 2; results go to files or stdout,
progress to stderr.
"""

import logging
import os
import sys
import warnings
from collections.abc import Sequence

from torchgeo_cmr import __version__
from torchgeo_cmr.cli.commands import VERBS, load_command
from torchgeo_cmr.cli.terminal import brief, printable, printable_lines
from torchgeo_cmr.errors import CMRError

_USAGE = """usage: torchgeo-cmr COMMAND ...

Cross-modal retrieval of georeferenced imagery.

{commands}

`torchgeo-cmr COMMAND --help` explains a command; `torchgeo-cmr demo` runs all steps on one example.
With --debug, any command shows the traceback of its error.
"""


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
    debug = '--debug' in words
    words = [word for word in words if word != '--debug']
    if words[:1] == ['help']:
        words = [*words[1:2], '--help']
    command = words[0] if words else '--help'
    if command in ('-h', '--help'):
        lines = [f'  {name:<11} {summary}' for name, (_, summary) in VERBS.items()]
        sys.stdout.write(_USAGE.format(commands='\n'.join(lines)))
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
    _talk_on_stderr()
    # Read when torch is loaded: features in huge pages, for fetching them in small ones takes
    # up to a third of the time in which a CPU embeds.
    os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
    try:
        return _run(command, words)
    except SystemExit as stop:
        # The way out of both parsers: 0 after --help, 2 after a mistake they reported.
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:
        # Whoever read us, such as head, has seen enough; nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        sys.stderr.write('stopped; what was committed is kept\n')
        return 130
    except Exception as error:  # noqa: BLE001 - the last net
        if debug:
            import traceback

            traceback.print_exception(error)
        return _ended(error, words)


def _run(command: str, words: list[str]) -> int:
    """Import a command and run it."""
    code = 0
    if VERBS[command][0] == 'fit_command':
        from torchgeo_cmr.cli.fit_command import fit

        fit(words)
    else:
        from torchgeo_cmr.cli.parser import call

        code = call(load_command(command), words[1:], prog=f'torchgeo-cmr {command}')
    sys.stdout.flush()
    return code


def _ended(error: Exception, words: list[str]) -> int:
    """Say why a command ended, and give the exit code."""
    if isinstance(error, CMRError | OSError):
        # OSError: a file is missing, the disk is full. The user can fix both.
        return _mistake(str(error))
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


class _Plain(logging.Formatter):
    """Notes quote names of files and archives."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _talk_on_stderr() -> None:
    """Show our own notes, and warnings as plain lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain('%(message)s'))
    logger = logging.getLogger('torchgeo_cmr')
    logger.setLevel(logging.INFO)
    logger.handlers = [handler]
    warnings.showwarning = _show  # ty: ignore[invalid-assignment]
    # Not for us to fix: Lightning uses a class of torch that torch means to rename.
    warnings.filterwarnings('ignore', message=r'`isinstance\(treespec, LeafSpec\)`')
    # The words are those of the process, handed on.
    warnings.filterwarnings('ignore', message="LightningCLI's args parameter")


def _show(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f'warning: {printable(" ".join(str(message).split()))}\n')


def _mistake(message: str) -> int:
    sys.stderr.write(f'torchgeo-cmr: {brief(message)}\n')
    return 2


if __name__ == '__main__':
    sys.exit(main())
