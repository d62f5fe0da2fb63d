"""The command speak: arguments only."""

import sys


def speak(
    *,
    labels: list[str],
    out: str,
    voice: list[str] | None = None,
    speed: list[int] | None = None,
    pitch: list[int] | None = None,
    takes: int = 3,
    noise: str | None = None,
    reverb: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    r"""Make a spoken corpus: every label, by several voices, speeds and pitches.

    The voices are those of eSpeak NG: the program espeak-ng of your system, or its library
    from PyPI (pip install 'torchgeo-cmr[speech]'). Stop the command at any time; the same
    command resumes where it stopped.

    Speak the classes of a set of images, one folder per class:

        torchgeo-cmr speak --labels images --out speech

    Say a class in other words, in rooms and with noise:

        torchgeo-cmr speak --labels 'storagetanks=storage tanks' --labels harbor --out speech \
            --noise 10,30 --reverb 0.1,0.5

    Files are OUT/LABEL/VOICE_N.wav, 16 kHz mono. Recordings of people in the same layout
    work too; read_wav converts other rates, stereo and 8 bits.

    Args:
        labels: A label, label=words to say, a text file with one of these per line, or a
            folder whose sub-folders are the labels; may be repeated.
        out: Folder to write or to complete.
        voice: eSpeak NG voice, such as en-us+f3; may be repeated. Without it, sixteen of
            four accents.
        speed: Words per minute to draw from, 80 to 450; may be repeated. Without it, 130, 160
            and 190.
        pitch: Pitch to draw from, 0 to 99; may be repeated. Without it, 35, 50 and 65.
        takes: Files per voice and label; each draws its own speed and pitch.
        noise: Add noise: lowest and highest ratio of speech to noise in decibels, such as
            10,30.
        reverb: Add a room: shortest and longest reverberation in seconds, such as 0.1,0.5.
        seed: Seed of all draws.
        overwrite: Synthesise existing files again, and allow other settings.
        quiet: Show no progress bar.
    """
    from torchgeo_cmr.speech import VOICES, read_labels
    from torchgeo_cmr.speech import speak as speak_

    manifest = speak_(
        read_labels(labels),
        out,
        voices=voice or VOICES,
        speeds=speed or (130, 160, 190),
        pitches=pitch or (35, 50, 65),
        takes=takes,
        noise=_range('noise', noise),
        reverb=_range('reverb', reverb),
        seed=seed,
        overwrite=overwrite,
        progress=not quiet,
    )
    sys.stdout.write(f'{manifest}\n')


def _range(name: str, word: str | None) -> tuple[float, float] | None:
    from torchgeo_cmr.errors import AudioError

    if word is None:
        return None
    try:
        low, high = map(float, word.split(','))
    except ValueError as error:
        raise AudioError(
            f'--{name} {word} is not a range: give the lowest and the highest, as in 10,30'
        ) from error
    return low, high
