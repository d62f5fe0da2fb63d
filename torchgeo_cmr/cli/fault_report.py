"""The last net around a command: what no one foresaw is a fault of ours, with a file to report."""

import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence

from torchgeo_cmr import __version__

from .terminal import brief, printable

#: Exit code of a fault of ours, as EX_SOFTWARE of sysexits.h.
FAULT = 70


def report_fault(error: BaseException, command: Sequence[str]) -> int:
    """Say that an error is a fault of ours, and write down what is needed to find it.

    Args:
        error: What no one foresaw.
        command: The words after the program's name.

    Returns:
        The exit code, 70.
    """
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = ''.join(f' at {os.path.basename(p.filename)}:{p.lineno}' for p in place)
    reason = brief(f'{type(error).__name__}: {error}'[:300])
    file = _write(error, command)
    report = f'{file}, which holds the traceback' if file else 'what --debug prints'
    sys.stderr.write(
        f'torchgeo-cmr: a fault of ours in torchgeo_cmr {__version__}, not yours: '
        f'{reason}{printable(where)}; please report it with {report}\n'
    )
    return FAULT


def _write(error: BaseException, command: Sequence[str]) -> str | None:
    """Write a report to a new file among the temporary ones; None if that is not possible."""
    versions = f'torchgeo_cmr {__version__}, Python {platform.python_version()}, {platform.platform()}'
    words = ['torchgeo-cmr', *command]
    report = '\n'.join(
        [versions, shlex.join(words), '', *traceback.format_exception(error)]
    )
    try:
        descriptor, name = tempfile.mkstemp('.txt', 'torchgeo-cmr-fault-')
        with open(descriptor, 'w', encoding='utf-8', errors='backslashreplace') as file:
            file.write(report)
    except OSError:
        return None
    return name
