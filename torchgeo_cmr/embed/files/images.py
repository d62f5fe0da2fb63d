"""Plain images to rows: chips without a georeference, whole."""

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from torchgeo_cmr.datasets.benchmarks.chips import read_chip
from torchgeo_cmr.datasets.spoken.class_folders import SUFFIXES, read_image, resized
from torchgeo_cmr.embed.encoder_record import Encoder
from torchgeo_cmr.embed.files.file_kinds import find_files, has_place
from torchgeo_cmr.embed.files.file_rows import FileSamples, embed_files, pick_modality
from torchgeo_cmr.embed.run_options import WriteOptions
from torchgeo_cmr.embed.run_report import Errors, Report
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.table import EmbeddingTable


def embed_images(
    task: Encoder,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    modality: str | None = None,
    *,
    size: int | None = None,
    out: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    batch_size: int | str = 64,
    device: torch.device | str | None = None,
    errors: Errors = 'refuse',
    overwrite: bool = False,
    progress: bool = True,
    load: bool = True,
) -> EmbeddingTable:
    """Embed images without georeferencing, one row each; no place is invented for them.

    Each image is one patch, resized to *size*. The row is named after the file, and its
    ``label`` is its folder if files lie in one folder per class. Scenes that have a place go to
    :func:`embed`, which cuts them into patches with footprints.

    Args:
        task: A trained task, used in evaluation mode and left as it was.
        paths: Images (JPEG, PNG, TIFF and others), folders (and what is below them) or
            patterns.
        modality: Which encoder of the task (default: the only one that sees).
        size: Height and width to which images are resized (default: as in training).
        out: Archive folder to write or to complete.
        root: Folder to which ids are relative (default: the deepest that holds every file).
        batch_size: Files given to the encoder at once; 64 if ``'auto'``.
        device: Where to run, ``'auto'`` for the fastest present (default: where the task is).
        errors: ``'refuse'`` skips images that cannot be used and goes on, with a warning
            and a report next to *out* (:func:`read_report`); ``'raise'`` ends at the first.
        overwrite: Replace an archive at *out* instead of completing it.
        progress: Show a bar on stderr where that is a terminal or a notebook.
        load: Read the whole archive and return it. With False the table has no rows, so that a run
            needs no memory for the rows of *out*, however many there are.

    Returns:
        One row per file, in the order of their names, with null geometry.

    Raises:
        ArchiveError: If *out* holds an archive made with other settings, weights or files.
        RasterError: If there is no file; if none (or, by *errors*, not each) can be read, lacks
            a place and has the bands that the encoder expects; if the task has no modality for
            images or several, or their size is unknown.

    Warns:
        RefusedWarning: If images were refused.
    """
    files = find_files(paths, SUFFIXES, 'image')
    modality = pick_modality(task, modality, sound=False)
    side = task.specs.get(modality, {}).get('patch_size') if size is None else size
    if not side:
        raise RasterError(
            f'the task does not say how wide its {modality} patches were: give the size'
        )
    channels = task.in_channels[modality]

    def read(path: Path) -> Tensor:
        if has_place(path):
            raise RasterError(
                f'{path} says where it lies, and others here do not: embed images with and '
                'without a place into two archives'
            )
        tiff = path.suffix.lower() in ('.tif', '.tiff')
        image = read_chip(path) if tiff else read_image(path)
        if len(image) != channels:
            raise RasterError(
                f'{modality} expects {channels} bands, {path} has {len(image)}: use images '
                'such as those of the training'
            )
        return resized(image, int(side))

    bands = task.specs.get(modality, {}).get('bands') or []
    return embed_files(
        task,
        FileSamples(files, modality, read, {'bands': bands, 'size': int(side)}, root),
        batch_size,
        device,
        WriteOptions(out, overwrite, progress=progress, load=load),
        Report(errors, of='files'),
    )


__all__ = ('embed_images',)
