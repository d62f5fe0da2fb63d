"""eSpeak NG, as a program on the path or as a library from PyPI: words in, samples out."""

import ctypes
import importlib
import re
import shutil
import subprocess
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import AudioError

#: Numbers of eSpeak NG's C interface, from its header speak_lib.h.
_SPEED, _PITCH = 1, 3
_SYNCHRONOUS, _BY_CHARACTER, _UTF8 = 2, 1, 1

#: Seconds after which the program must have spoken a few words.
_PATIENCE = 60

#: Bytes before the samples of the WAV that the program streams.
_HEADER = 44


class Engine(Protocol):
    """Speaks words."""

    #: Name and version, for the record.
    name: str

    def say(
        self, words: str, voice: str, speed: int, pitch: int
    ) -> tuple[NDArray[np.float32], int]:
        """Give samples from -1 to 1 and how many there are per second."""
        ...


def open_engine() -> Engine:
    """Find eSpeak NG: the program ``espeak-ng`` first, then the library of the extra.

    Returns:
        The engine.

    Raises:
        AudioError: If there is neither.
    """
    program = shutil.which('espeak-ng')
    if program is not None:
        return _Program(program)
    try:
        loader = importlib.import_module('espeakng_loader')
        return _Library(loader.get_library_path(), loader.get_data_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise AudioError(
            'eSpeak NG is not here, and speaking needs it: install the program espeak-ng of '
            "your system, or its library with pip install 'torchgeo-cmr[speech]'"
        ) from error


class _Program:
    """The program, one process per utterance; the same words always sound the same."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = self._run(['--version'], '').decode().split('Data at')[0].strip()

    def say(
        self, words: str, voice: str, speed: int, pitch: int
    ) -> tuple[NDArray[np.float32], int]:
        options = ['-v', voice, '-s', str(speed), '-p', str(pitch), '-b', '1']
        # Through standard input, words that begin with a dash are not options.
        wav = self._run([*options, '--stdin', '--stdout'], words)
        rate = int.from_bytes(wav[24:28], 'little')
        # The length in the header of a stream is a guess: all that follows are samples.
        samples = np.frombuffer(wav[_HEADER:], '<i2')
        return _scaled(samples), rate

    def _run(self, options: list[str], text: str) -> bytes:
        done = subprocess.run(
            [self.path, *options],
            input=text.encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
        if done.returncode:
            reason = ' '.join(done.stderr.decode(errors='replace').split())
            raise AudioError(
                f'{self.path} {" ".join(options)} failed ({reason}): check the voice, '
                '`espeak-ng --voices` lists them'
            )
        return done.stdout


class _Library:
    """The shared library, in this process.

    It carries its oscillators from one utterance to the next, so the same words differ by
    less than one hears.
    """

    def __init__(self, path: str, data: str) -> None:
        self.library: Any = ctypes.CDLL(path)
        self.library.espeak_Info.restype = ctypes.c_char_p
        self.rate = self.library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), 0)
        if self.rate <= 0:
            raise OSError(f'eSpeak NG cannot read its data in {data}')
        version = self.library.espeak_Info(None).decode()
        self.name = f'eSpeak NG library: {version}'
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self.pieces: list[NDArray[np.int16]] = []
        # Kept here: C holds no reference to it.
        self.callback = kind(self._take)

    def _take(self, samples: Any, count: int, _: Any) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(
        self, words: str, voice: str, speed: int, pitch: int
    ) -> tuple[NDArray[np.float32], int]:
        self.pieces.clear()
        self.library.espeak_SetSynthCallback(self.callback)
        # The library knows British English by the name of its file alone; the program takes the language too.
        name = re.sub(r'en-gb(?=\+|$)', 'en', voice)
        if self.library.espeak_SetVoiceByName(name.encode()):
            raise AudioError(
                f'eSpeak NG has no voice {voice!r}: name a language, such as en-us, with or '
                'without a variant, such as en-us+f3'
            )
        self.library.espeak_SetParameter(_SPEED, speed, 0)
        self.library.espeak_SetParameter(_PITCH, pitch, 0)
        text = words.encode() + b'\0'
        self.library.espeak_Synth(
            text, len(text), 0, _BY_CHARACTER, 0, _UTF8, None, None
        )
        self.library.espeak_Synchronize()
        if not self.pieces:
            return np.zeros(0, np.float32), self.rate
        return _scaled(np.concatenate(self.pieces)), self.rate


def _scaled(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return np.divide(samples, 32768, dtype=np.float32)


__all__ = ('Engine', 'open_engine')
