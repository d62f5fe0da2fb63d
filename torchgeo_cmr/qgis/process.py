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
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

from qgis.core import QgsProcessingException

from .found_program import NO_WINDOW, environment, other_version, read_version

#: A bar of tqdm with a known end, and one without.
_BAR = re.compile(r'(?P<percent>\d{1,3})%\|.*\| *(?P<rest>\S+ \[.*)')
_COUNT = re.compile(r'\d+\S* \[\d')
#: How a mistake begins: the program, perhaps its command.
_MISTAKE = re.compile(r'torchgeo-cmr(?: [a-z-]+)?: (?P<sentence>.*)')
_WARNING = 'warning: '
#: A password in an address of a database, before the host or as a setting.
_PASSWORD = re.compile(r'(?<=://)([^:@/\s]*):[^@/\s]*@')
_SETTING = re.compile(r'(?<=password=)[^&\s\'"]+')
#: Seconds between two looks at the button that cancels.
_PULSE = 0.1
#: Seconds between two words of progress in the log.
_PAUSE = 5.0
#: Signals, each with the seconds that the program gets to obey it.
_STOPS = (('SIGINT', 10.0), ('SIGTERM', 3.0))


def run(
    program: str,
    words: Sequence[str],
    feedback: Any,
    accepted: Sequence[int] = (0,),
) -> None:
    """Run a command to its end.

    Args:
        program: Path of ``torchgeo-cmr``.
        words: Its arguments.
        feedback: Takes progress and messages, and says when to stop.
        accepted: Exit codes of a run that has done its work.

    Raises:
        QgsProcessingException: With the program's own sentence if it failed,
            or if it was stopped.
    """
    feedback.pushCommandInfo(shown([program, *words]))
    try:
        process = subprocess.Popen(  # nosec B603
            # Bars are for terminals, unless a program says that it reads them.
            [program, *words[:1], '--progress', *words[1:]],
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
        sentence = _follow(process, feedback)
    finally:
        _stop(process)
    if process.returncode not in accepted:
        ended = f'torchgeo-cmr ended with code {process.returncode}'
        raise QgsProcessingException(
            (sentence or ended) + _other_version(program)
        )


def _other_version(program: str) -> str:
    """Explain a failure by versions that differ, if they do.

    Only then is the program started once more: it takes a second.
    """
    with suppress(ValueError):
        note = other_version(read_version(program))
        return f' ({note})' if note else ''
    return ''


def shown(words: Sequence[str]) -> str:
    """Write a command as one would type it, without the password in it.

    Args:
        words: Program and arguments.
    """
    return hidden(' '.join(shlex.quote(word) for word in words))


def hidden(text: str) -> str:
    """Take passwords out of the addresses of databases in a text."""
    return _SETTING.sub('***', _PASSWORD.sub(r'\1:***@', text))


def _follow(process: subprocess.Popen[bytes], feedback: Any) -> str:
    """Pass on what a process says until it ends; give the last sentence."""
    lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
    streams = {'out': process.stdout, 'err': process.stderr}
    for name, stream in streams.items():
        threading.Thread(
            target=_read, args=(name, stream, lines), daemon=True
        ).start()
    teller = _Teller(feedback)
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
                feedback.pushInfo(hidden(line))
            else:
                teller.tell(hidden(line))
    process.wait()
    return teller.mistake or teller.note


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


class _Teller:
    """Passes on lines of stderr: bars, mistakes, warnings and notes.

    The log keeps each word of progress, and a bar is drawn ten times in a
    second, so only some are passed on.
    """

    def __init__(self, feedback: Any) -> None:
        self.feedback = feedback
        #: The last of each: a mistake as the program says it, and any other
        #: line, such as that of a Python which does not start.
        self.mistake = self.note = ''
        self._next = 0.0

    def tell(self, line: str) -> None:
        bar = _BAR.search(line)
        mistake = _MISTAKE.fullmatch(line)
        if bar:
            self.feedback.setProgress(int(bar['percent']))
            self._progress(bar['rest'])
        elif mistake:
            self.mistake = mistake['sentence']
        elif _COUNT.search(line):
            self._progress(line.strip())
        elif line.startswith(_WARNING):
            self.feedback.pushWarning(line.partition(_WARNING)[2])
        else:
            self.note = line
            self.feedback.pushInfo(line)

    def _progress(self, words: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PAUSE
            self.feedback.setProgressText(words)


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
