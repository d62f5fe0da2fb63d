"""Running :mod:`~torchgeo_cmr.doctor.import_probe`, again after whatever ended it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from . import import_probe


def probe(names: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Import modules in a process of their own and try what they are needed for.

    Args:
        names: Modules.

    Yields:
        Each name with what was found: ``version`` and facts, or ``error``, a sentence. A module that
        ends its process has the signal or exit code as its error, and the others are tried
        without it.
    """
    left = list(names)
    while left:
        begun = ''
        # -P: the folder in which the command is run is no place to import from.
        words = [sys.executable, '-P', import_probe.__file__, *left]
        with subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors='replace',
        ) as process:
            assert process.stdout is not None
            for facts in _facts(process.stdout):
                begun = facts.get('begins', begun)
                if facts.get('name') in left:
                    left.remove(facts['name'])
                    yield facts['name'], facts
        if begun in left:
            left.remove(begun)
            yield begun, {'error': f'importing it {_ended(process.returncode)}'}
        elif left and not begun:
            # Python itself does not start.
            for name in left:
                yield name, {'error': f'Python {_ended(process.returncode)}'}
            return


def _facts(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith(import_probe.MARK):
            yield json.loads(line.removeprefix(import_probe.MARK))


def _ended(code: int) -> str:
    """Say how a process ended."""
    try:
        return f'ends Python by {signal.Signals(-code).name}'
    except ValueError:
        return f'ends Python with code {code}'
