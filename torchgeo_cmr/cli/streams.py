"""stdout and stderr of the process, so that what is printed arrives whole or is an error.

Python leaves gaps. Without a buffer (``python -u``, ``PYTHONUNBUFFERED``, which images of
containers set) it drops what a full disk did not take, and nobody hears of it. With one it
notices when the process ends, and no sentence can be said. A stream that was closed before the
program began is None, and its number goes to the next file that is opened. Letters that an
encoding lacks are an error.
"""

import io
import os
import select
import sys
from collections.abc import Buffer, Generator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TextIO, cast

from torchgeo_cmr.errors import CMRError


@contextmanager
def whole_streams() -> Generator[None]:
    """Exchange the streams of this process while a command runs; those of a caller stay.

    Raises:
        CMRError: Where stdout is written or flushed, if it does not take all of it.
        BrokenPipeError: There, if its reader has left.
    """
    kept = sys.stdout, sys.stderr
    if None in (sys.stdin, *kept):
        _fill_numbers()
    sys.stdout = _exchanged(sys.stdout, sys.__stdout__, _Output)
    sys.stderr = _exchanged(sys.stderr, sys.__stderr__, _Notes)
    try:
        yield
    finally:
        with suppress(CMRError, OSError):  # said when it came first
            sys.stdout.flush()
        sys.stdout, sys.stderr = kept


class _Bytes(io.BufferedIOBase):
    """Hands all bytes on to a file that may take a part of them."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def write(self, data: Buffer) -> int:
        rest = memoryview(data).cast('B')
        size = len(rest)
        while rest:
            taken = self._file.write(rest)
            if taken is None:  # a pipe that does not wait, and is full
                select.select([], [self._file], [])
            rest = rest[taken or 0 :]
        return size


class _Output(_Bytes):
    """What a command answers."""

    def write(self, data: Buffer) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CMRError(
                f'what is printed could not be written ({error.strerror}): make room where it '
                'goes, or send it to another place'
            ) from error


class _Notes(_Bytes):
    """Notes and bars: a log that takes no more does not end the work."""

    def write(self, data: Buffer) -> int:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def _exchanged(
    stream: TextIO | None, original: TextIO | None, kind: type[_Bytes]
) -> TextIO:
    """Give a stream of this process without the gaps."""
    if stream is None:
        return open(os.devnull, 'w', encoding='utf-8')
    if stream is not original or not isinstance(stream, io.TextIOWrapper):
        return stream
    with suppress(OSError):  # then Python says it when the process ends
        stream.flush()
    buffer = stream.buffer
    file = getattr(buffer, 'raw', buffer)
    if not isinstance(file, io.RawIOBase):
        return stream
    lossless = stream.encoding.lower().replace('-', '') == 'utf8'
    return io.TextIOWrapper(
        cast('BinaryIO', kind(file)),
        encoding=stream.encoding,
        # Python does so for stderr: names of foreign files hold letters of any script.
        errors=stream.errors if lossless else 'backslashreplace',
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _fill_numbers() -> None:
    """Keep the numbers of closed streams from the next files, which libraries would print into."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
