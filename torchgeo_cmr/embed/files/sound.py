"""Sound files to rows: WAVs as queries, or an archive of spoken labels."""

import os
from collections.abc import Iterable
from functools import partial

import torch

from torchgeo_cmr.datasets.spoken.spoken_labels import read_audio
from torchgeo_cmr.embed.encoder_record import Encoder
from torchgeo_cmr.embed.files.file_kinds import find_files
from torchgeo_cmr.embed.files.file_rows import FileSamples, embed_files, pick_modality
from torchgeo_cmr.embed.run_options import WriteOptions
from torchgeo_cmr.embed.run_report import Errors, Report
from torchgeo_cmr.errors import AudioError
from torchgeo_cmr.speech import RATE
from torchgeo_cmr.table import EmbeddingTable


def embed_sounds(
    task: Encoder,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    modality: str | None = None,
    *,
    seconds: float | None = None,
    out: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    batch_size: int | str = 64,
    device: torch.device | str | None = None,
    errors: Errors = 'refuse',
    overwrite: bool = False,
    progress: bool = True,
    load: bool = True,
) -> EmbeddingTable:
    """Embed WAV files, one row each; none has a place.

    Any rate and number of channels are read. The row is named after the file, and its
    ``label`` is its folder if files lie in one folder per class.

    Args:
        task: A trained task, used in evaluation mode and left as it was.
        paths: WAV files, folders (and what is below them) or patterns.
        modality: Which encoder of the task (default: the one that hears).
        seconds: Length to which sound is cut or padded (default: as in training).
        out: Archive folder to write or to complete.
        root: Folder to which ids are relative (default: the deepest that holds every file).
        batch_size: Files given to the encoder at once; 64 if ``'auto'``.
        device: Where to run, ``'auto'`` for the fastest present (default: where the task is).
        errors: ``'refuse'`` skips files that cannot be used and goes on, with a warning
            and a report next to *out* (:func:`read_report`); ``'raise'`` ends at the first.
        overwrite: Replace an archive at *out* instead of completing it.
        progress: Show a bar on stderr where that is a terminal or a notebook.
        load: Read the whole archive and return it. With False the table has no rows, so that a run
            needs no memory for the rows of *out*, however many there are.

    Returns:
        One row per file, in the order of their names, with null geometry.

    Raises:
        ArchiveError: If *out* holds an archive made with other settings, weights or files.
        AudioError: If there is no file, none (or, by *errors*, not each) can be used, or
            its length is unknown.
        RasterError: If the task has no modality for sound, or not the one named.

    Warns:
        RefusedWarning: If files were refused.
    """
    files = find_files(paths, ('.wav',), 'WAV file', AudioError)
    modality = pick_modality(task, modality, sound=True)
    trained = task.specs.get(modality, {}).get('patch_size')
    samples = trained if seconds is None else round(seconds * RATE)
    if not samples:
        raise AudioError(
            f'the task does not say how long its {modality} was: give `seconds` (embed --seconds 1)'
        )
    read = partial(read_audio, samples=int(samples))
    settings = {'bands': ['audio'], 'sample_rate': RATE, 'samples': int(samples)}
    return embed_files(
        task,
        FileSamples(files, modality, read, settings, root),
        batch_size,
        device,
        WriteOptions(out, overwrite, progress=progress, load=load),
        Report(errors, of='files'),
    )


__all__ = ('embed_sounds',)
