"""Running ``torchgeo-cmr``: progress and cancel, and one sentence if it fails.

The program writes results to files and stdout, progress and mistakes to
stderr. It gets a list of arguments and no shell.
"""

from __future__ import annotations

import os
import queue
import re
import shlex
import signal
import subprocess  # nosec B404
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

from qgis.core import QgsProcessingException

from .found_program import NO_WINDOW, environment

#: A bar of tqdm with a known end, and one without.
_BAR = re.compile(r'(?P<percent>\d{1,3})%\|.*\| *(?P<rest>\S+ \[.*)')
_COUNT = re.compile(r'\d+\S* \[\d')
#: How a mistake begins: the program, perhaps its command.
_MISTAKE = re.compile(r'torchgeo-cmr(?: [a-z-]+)?: (?P<sentence>.*)')
_WARNING = 'warning: '
#: A password in an address of a database.
_PASSWORD = re.compile(r'(?<=://)([^:@/\s]*):[^@/\s]*@')
#: Seconds between two looks at the button that cancels.
_PULSE = 0.1
#: Signals, each with the seconds that the program gets to obey it.
_STOPS = (('SIGINT', 10.0), ('SIGTERM', 3.0))


def run(program: str, words: Sequence[str], feedback: Any) -> tuple[int, str]:
    """Run a command to its end.

    Args:
        program: Path of ``torchgeo-cmr``.
        words: Its arguments.
        feedback: Takes progress and messages, and says when to stop.

    Returns:
        The exit code, 0 or 1 (done, but some inputs were refused), and what
        was written to stdout.

    Raises:
        QgsProcessingException: With the program's own sentence if it failed,
            or if it was stopped.
    """
    feedback.pushCommandInfo(shown([program, *words]))
    try:
        process = subprocess.Popen(  # nosec B603
            [program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            # A group of its own, so that its own processes stop as well.
            start_new_session=os.name == 'posix',
            creationflags=NO_WINDOW,
        )
    except OSError as error:
        raise QgsProcessingException(
            f'{program} does not start ({error.strerror}): choose another in '
            'Settings > Options > Cross-modal retrieval'
        ) from error
    try:
        out, sentences = _follow(process, feedback)
    finally:
        _stop(process)
    code = process.returncode
    if code in (0, 1):
        return code, '\n'.join(out)
    raise QgsProcessingException(
        sentences[-1] if sentences else f'torchgeo-cmr ended with code {code}'
    )


def shown(words: Sequence[str]) -> str:
    """Write a command as one would type it, without the password in it.

    Args:
        words: Program and arguments.
    """
    return hidden(' '.join(shlex.quote(word) for word in words))


def hidden(text: str) -> str:
    """Take passwords out of the addresses of databases in a text."""
    return _PASSWORD.sub(r'\1:***@', text)


def _follow(
    process: subprocess.Popen[bytes], feedback: Any
) -> tuple[list[str], list[str]]:
    """Pass on what a process says until it ends; give stdout and mistakes."""
    lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
    streams = {'out': process.stdout, 'err': process.stderr}
    for name, stream in streams.items():
        threading.Thread(
            target=_read, args=(name, stream, lines), daemon=True
        ).start()
    out: list[str] = []
    sentences: list[str] = []
    open_streams = set(streams)
    while open_streams:
        if feedback.isCanceled():
            _stop(process)
            raise QgsProcessingException(
                'cancelled: torchgeo-cmr was stopped, and what it had not '
                'finished was not written'
            )
        with suppress(queue.Empty):
            name, line = lines.get(timeout=_PULSE)
            if line is None:
                open_streams.discard(name)
            elif name == 'out':
                out.append(line)
                feedback.pushInfo(hidden(line))
            else:
                _tell(hidden(line), feedback, sentences)
    process.wait()
    return out, sentences


def _read(name: str, stream: IO[bytes], lines: queue.Queue[Any]) -> None:
    """Put lines of a stream into a queue, and None at its end."""
    with stream:
        for line in _lines(stream):
            lines.put((name, line))
    lines.put((name, None))


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Divide a stream at line ends, and where a bar is drawn anew."""
    rest = b''
    # A pipe gives what is there, not only whole lines.
    while chunk := os.read(stream.fileno(), 65536):
        *whole, rest = re.split(rb'[\r\n]', rest + chunk)
        yield from (_text(line) for line in whole if line.strip())
    if rest.strip():
        yield _text(rest)


def _text(line: bytes) -> str:
    return line.decode('utf-8', 'replace').rstrip()


def _tell(line: str, feedback: Any, sentences: list[str]) -> None:
    """Pass on a line of stderr: a bar, a mistake, a warning or a note."""
    bar = _BAR.search(line)
    mistake = _MISTAKE.fullmatch(line)
    if bar:
        feedback.setProgress(int(bar['percent']))
        feedback.setProgressText(bar['rest'])
    elif mistake:
        sentences.append(mistake['sentence'])
    elif _COUNT.search(line):
        feedback.setProgressText(line.strip())
    elif line.startswith(_WARNING):
        feedback.pushWarning(line.partition(_WARNING)[2])
    else:
        feedback.pushInfo(line)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its own processes, politely first.

    Interrupted, an embedding keeps what it has committed.
    """
    if process.poll() is not None:
        return
    for name, seconds in _STOPS:
        _signal(process, name)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
            break
    # What it has started may not have listened.
    _signal(process, 'SIGKILL')


def _signal(process: subprocess.Popen[bytes], name: str) -> None:
    """Send a signal to a process and its own; on Windows, end it."""
    with suppress(OSError):
        if os.name == 'posix':
            os.killpg(process.pid, getattr(signal, name))
        else:
            process.terminate()
