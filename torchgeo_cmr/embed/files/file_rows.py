"""Files without a place, sound and plain images: one vector per file, and no footprint."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from torchgeo_cmr.embed.destination import Destination
from torchgeo_cmr.embed.device import evaluating
from torchgeo_cmr.embed.encoder_record import Encoder, encoder_versions, statistics_of
from torchgeo_cmr.embed.inference import check_batch_size
from torchgeo_cmr.embed.run_options import WriteOptions
from torchgeo_cmr.embed.run_report import Report
from torchgeo_cmr.errors import CMRError, RasterError
from torchgeo_cmr.table import EmbeddingTable

#: Files given to the encoder at once, unless a number is given.
_BATCH = 64

#: Files that are committed together.
_PART = 1024

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileSamples:
    """Files of one modality, and how each becomes a sample of the encoder.

    Args:
        files: What to embed, each once.
        modality: Which encoder of the task.
        read: Gives the sample of a file, all of one shape.
        settings: What else decides the vectors, for the record.
        root: Folder to which ids are relative (default: the deepest that holds every file).
    """

    files: Sequence[Path]
    modality: str
    read: Callable[[Path], Tensor]
    settings: Mapping[str, Any]
    root: str | os.PathLike[str] | None = None


def embed_files(
    task: Encoder,
    samples: FileSamples,
    batch_size: int | str,
    device: torch.device | str | None,
    writing: WriteOptions,
    report: Report,
) -> EmbeddingTable:
    """Embed files one by one; a run with an archive can be resumed.

    Files are committed 1,024 at a time. Those among which one was refused are all embedded
    again by the next run, for it may have been repaired.

    Args:
        task: The encoder.
        samples: The files.
        batch_size: Files given to the encoder at once; 64 if ``'auto'``.
        device: Where to run (default: where the task is).
        writing: Where rows go.
        report: What is done with each file, and whether the first refusal ends the run.

    Returns:
        One row per file with null geometry, in the order of the files.
    """
    number = check_batch_size(batch_size) or _BATCH
    files, modality = samples.files, samples.modality
    home = _home(files, samples.root)
    names = [path.absolute().relative_to(home).as_posix() for path in files]
    record = {
        'model': type(task).__name__,
        'normalisation': statistics_of(task, modality),
        **samples.settings,
        'batch_size': number,
        'versions': encoder_versions(),
        'root': home.as_posix(),
        'placeless': True,
    }
    digest = hashlib.sha256('\n'.join(names).encode()).hexdigest()[:16]
    with evaluating(task, device) as where, writing.bar(len(files), 'file') as bar:
        header = {
            'space': task.space,
            'modality': modality,
            'files': f'{len(names)} files, {digest}',
            **samples.settings,
        }
        destination = Destination(writing, header)
        complete = {k for k, gaps in destination.fingerprints().items() if gaps is None}
        for start in range(0, len(files), _PART):
            span = slice(start, start + _PART)
            part = dict(zip(names[span], files[span], strict=True))
            key = f'files-{start // _PART:06d}'
            if key in complete:
                report.skipped += part
                bar.update(len(part))
                continue
            vectors: dict[str, np.ndarray] = {}
            for batch in batched(part.items(), number):
                vectors |= _encode(task, samples, dict(batch), where, report)
                bar.update(len(batch))
            if not vectors:
                continue
            report.done += vectors
            report.patches += len(vectors)
            table = _table(vectors, modality, task.space, record)
            gaps = len(part) - len(vectors)
            destination.commit(key, table, f'{gaps} files refused' if gaps else None)
    destination.write(report)
    report.check()
    destination.finish()
    _LOG.info(
        '%d files without a place%s: they are found by what they hold, not by area',
        sum(destination.rows().values()),
        writing.suffix,
    )
    return destination.conclude()


def pick_modality(task: Encoder, modality: str | None, *, sound: bool) -> str:
    """Choose the modality of files that only one encoder of a task can take.

    Args:
        task: The encoder.
        modality: As the user gave it; None to choose.
        sound: Whether the files are sound.

    Returns:
        The modality.

    Raises:
        RasterError: If the task does not have it, or several or none would do.
    """
    heard = [m for m, key in task.keys.items() if key == 'audio']
    able = heard if sound else [m for m in task.keys if m not in heard]
    kind = 'sound' if sound else 'images'
    if modality is None and len(able) == 1:
        return able[0]
    if modality is None or modality not in task.keys:
        fault = (
            'a modality has to be named' if modality is None else f'not {modality!r}'
        )
        raise RasterError(
            f'for {kind} the task has {", ".join(able) or "no modality"}, {fault}: choose '
            'with --modality, or another checkpoint'
        )
    if modality not in able:
        raise RasterError(
            f'{modality} of the task does not take {kind}: for these it has '
            f'{", ".join(able) or "no modality"}'
        )
    return modality


def _encode(
    task: Encoder,
    samples: FileSamples,
    files: Mapping[str, Path],
    device: torch.device,
    report: Report,
) -> dict[str, np.ndarray]:
    """Give the vector of each file of a batch that can be read, by name."""
    pixels = {}
    for name, path in files.items():
        with report.trying(name):
            pixels[name] = samples.read(path)
    rows: dict[str, np.ndarray] = {}
    if pixels:
        key = task.keys[samples.modality]
        with torch.inference_mode():
            batch = torch.stack([*pixels.values()]).to(device)
            vectors = task.embed({key: batch}, samples.modality)
        for name, vector in zip(pixels, vectors.float().cpu().numpy(), strict=True):
            with report.trying(name):
                rows[name] = _usable(vector)
    return rows


def _usable(vector: np.ndarray) -> np.ndarray:
    """Refuse a vector without a direction."""
    if not np.isfinite(vector).all() or not vector.any():
        raise RasterError(
            'its vector holds only zeros, or NaN or infinite numbers: train the encoder '
            'further, or drop the file'
        )
    return vector


def _table(
    vectors: Mapping[str, np.ndarray],
    modality: str,
    space: str,
    record: Mapping[str, Any],
) -> EmbeddingTable:
    """Make rows of files: their names, their class if that is their folder, and no place."""
    names = list(vectors)
    folders = [name.split('/')[:-1] for name in names]
    columns = {'patch_id': [f'{modality}:{name}' for name in names], 'source': names}
    if all(len(folder) == 1 for folder in folders):
        columns['label'] = [folder[0] for folder in folders]
    nowhere = gpd.GeoSeries([None] * len(names), crs='EPSG:4326')
    return EmbeddingTable.from_frame(
        gpd.GeoDataFrame(pd.DataFrame(columns), geometry=nowhere),
        np.stack([*vectors.values()]),
        space=space,
        modality=modality,
        record=record,
        placeless=True,
    )


def _home(files: Sequence[Path], root: str | os.PathLike[str] | None) -> Path:
    home = Path(
        os.path.commonpath([path.absolute().parent for path in files])
        if root is None
        else os.path.abspath(root)
    )
    outside = [path for path in files if not path.absolute().is_relative_to(home)]
    if outside:
        raise CMRError(
            f'{outside[0]} is not inside the root {home}: give a folder that holds every file'
        )
    return home


__all__ = ('FileSamples', 'embed_files', 'pick_modality')
