"""Files without a place, sound and plain images: one vector a file, and no footprint."""

import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import batched
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from torch import Tensor
from tqdm import tqdm

import torchgeo_cmr
from torchgeo_cmr.datasets.spoken.class_folders import SUFFIXES
from torchgeo_cmr.embed.device import evaluating
from torchgeo_cmr.embed.inference import check_batch_size
from torchgeo_cmr.embed.run import _remove
from torchgeo_cmr.embed.run_report import Errors, Report
from torchgeo_cmr.embed.scenes.item import Encoder, _versions
from torchgeo_cmr.errors import AudioError, CMRError, RasterError
from torchgeo_cmr.scenes import files as listing
from torchgeo_cmr.scenes.files import CUBES, RASTERS, Paths
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

Kind = Literal['sound', 'image', 'raster']

#: Suffixes that no plain image and no sound has.
_PLACED = ('.jp2', '.json', *CUBES, '.parquet', '.vrt')

#: Suffixes of sound that is not read.
_OTHER_SOUND = ('.aac', '.aiff', '.flac', '.m4a', '.mp3', '.ogg', '.opus', '.wma')

#: Files given to the encoder at once, if nobody says.
_BATCH = 64

#: Files that are committed together.
_PART = 1024

_LOG = logging.getLogger(__name__)


def kind_of(words: Paths) -> Kind:
    """Say what files are: sound, plain images, or rasters that have a place.

    Args:
        words: Files, folders or patterns.

    Returns:
        Rasters if a TIFF, or the first file of another suffix, has a place. An image is plain
        if nothing says where it lies: neither a CRS nor a geotransform, ground control points
        or RPCs. A raster that only lost its CRS is still a raster, for which that has to be
        declared.

    Raises:
        AudioError: If they are sound of another format than WAV.
    """
    suffixes = ('.wav', *SUFFIXES, *RASTERS, *CUBES, *_PLACED, *_OTHER_SOUND)
    try:
        files = find_files(words, suffixes)
    except RasterError:
        return 'raster'  # whose reader says which word matches nothing
    # Products hold quicklooks beside their bands: one file with a place tells what they are.
    first = {path.suffix.lower(): path for path in reversed(files)}
    if '.wav' in first:
        return 'sound'  # beside which speak leaves JSON
    for path in (first[suffix] for suffix in _OTHER_SOUND if suffix in first):
        raise AudioError(
            f'{path} is sound but not WAV: convert it, as ffmpeg -i {path.name} '
            f'{path.stem}.wav does'
        )
    listed = first.pop('.json', None)
    if not first or not first.keys().isdisjoint(_PLACED):
        return 'raster'
    if listed is not None and b'"stac_version"' in listed.read_bytes():
        return 'raster'
    if any(s not in SUFFIXES or has_place(path) for s, path in first.items()):
        return 'raster'
    # A scene that lost its place must not make plain images of those beside it.
    tiffs = (path for path in files if path.suffix.lower() in ('.tif', '.tiff'))
    return 'raster' if any(map(has_place, tiffs)) else 'image'


def find_files(
    words: Paths,
    suffixes: Sequence[str],
    what: str = 'file',
    error: type[CMRError] = RasterError,
) -> list[Path]:
    """List files: those named, those of folders and below, those that match a pattern.

    Args:
        words: Files, folders or patterns.
        suffixes: What files of folders end in, lower case.
        what: What is looked for, for the message.
        error: What to raise.

    Returns:
        Each once, in the order of their names.

    Raises:
        RasterError: If one of the words matches nothing.
    """
    return sorted(map(Path, listing.find_files(words, suffixes, what, error)))


def has_place(path: str | os.PathLike[str]) -> bool:
    """Say whether anything in a raster tells where it lies.

    Args:
        path: The file.

    Returns:
        True also for what cannot be opened: the raster reader says why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as file:
                points, _ = file.gcps
                told = file.crs, points, file.rpcs
                return any(told) or not file.transform.is_identity
        except RasterioError:
            return Path(path).suffix.lower() in ('.tif', '.tiff')


def embed_files(
    task: Encoder,
    files: Sequence[Path],
    modality: str,
    read: Callable[[Path], Tensor],
    settings: dict[str, Any],
    *,
    out: str | os.PathLike[str] | None,
    root: str | os.PathLike[str] | None,
    batch_size: int | str,
    device: torch.device | str | None,
    errors: Errors,
    overwrite: bool,
    progress: bool,
) -> EmbeddingTable:
    """Embed files one by one, resumable if there is an *out*.

    Files are committed 1,024 at a time. Those among which one was refused are all embedded
    again by the next run, for it may have been mended.

    Args:
        task: The encoder.
        files: What to embed, each once.
        modality: Which encoder of the task.
        read: Gives the sample of a file, all of one shape.
        settings: What else decides the vectors, for the record.
        out: Archive folder to write or to complete.
        root: Folder to which ids are relative (default: the deepest that holds every file).
        batch_size: Files given to the encoder at once; 64 if ``'auto'``.
        device: Where to run (default: where the task is).
        errors: Whether files that cannot be used are left out, or the first ends the run.
        overwrite: Replace an archive at *out*.
        progress: Show a bar on stderr.

    Returns:
        One row a file with null geometry, in the order of the files.
    """
    report = Report(errors, of='files')
    number = check_batch_size(batch_size) or _BATCH
    home = _home(files, root)
    names = [path.absolute().relative_to(home).as_posix() for path in files]
    record = {
        'model': type(task).__name__,
        'normalisation': _statistics(task, modality),
        **settings,
        'batch_size': number,
        'versions': {'torchgeo_cmr': torchgeo_cmr.__version__, **_versions()},
        'root': home.as_posix(),
        'placeless': True,
    }
    with evaluating(task, device) as where:
        space = task.space
        sink, done = None, set()
        if out is not None:
            if overwrite:
                _remove(Path(out))
            digest = hashlib.sha256('\n'.join(names).encode()).hexdigest()[:16]
            header = {
                'space': space,
                'modality': modality,
                'files': f'{len(names)} files, {digest}',
                **settings,
            }
            sink = ParquetSink(out, header)
            done = {k for k, lacks in sink.fingerprints().items() if lacks is None}
        tables: list[EmbeddingTable] = []
        with tqdm(
            total=len(files), unit='file', disable=not progress, file=sys.stderr
        ) as bar:
            for start in range(0, len(files), _PART):
                part = slice(start, start + _PART)
                key = f'files-{start // _PART:06d}'
                if key in done:
                    report.skipped += names[part]
                    bar.update(len(files[part]))
                    continue
                given = dict(zip(names[part], files[part], strict=True))
                vectors = _encode(
                    task, given, modality, read, number, where, bar, report
                )
                if not vectors:
                    continue
                report.done += vectors
                report.patches += len(vectors)
                table = EmbeddingTable.from_frame(
                    _rows([*vectors], modality),
                    np.stack([*vectors.values()]),
                    space=space,
                    modality=modality,
                    record=record,
                    placeless=True,
                )
                if sink is None:
                    tables.append(table)
                else:
                    lacks = len(given) - len(vectors)
                    fingerprint = f'{lacks} files refused' if lacks else None
                    sink.commit(key, table, fingerprint=fingerprint)
    if sink is not None:
        report.write(sink.path)
    report.check()
    table = EmbeddingTable.concat(tables) if out is None else EmbeddingTable.load(out)
    _LOG.info(
        '%d files without a place%s: they are found by what they hold, not by area',
        len(table),
        '' if out is None else f' in {out}',
    )
    return table


def pick_modality(task: Encoder, modality: str | None, *, sound: bool) -> str:
    """Choose the modality of files that only one encoder of a task can take.

    Args:
        task: The encoder.
        modality: What the user said; None to choose.
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
    files: Mapping[str, Path],
    modality: str,
    read: Callable[[Path], Tensor],
    batch_size: int,
    device: torch.device,
    bar: Any,
    report: Report,
) -> dict[str, np.ndarray]:
    """Give the vector of each file that can be read, by name."""
    rows: dict[str, np.ndarray] = {}
    for asked in batched(files.items(), batch_size):
        samples = {}
        for name, path in asked:
            with report.trying(name):
                samples[name] = read(path)
        if samples:
            batch = torch.stack([*samples.values()]).to(device)
            with torch.inference_mode():
                found = task.embed({task.keys[modality]: batch}, modality)
            vectors = found.float().cpu().numpy()
            for name, vector in zip(samples, vectors, strict=True):
                with report.trying(name):
                    rows[name] = _usable(vector)
        bar.update(len(asked))
    return rows


def _usable(vector: np.ndarray) -> np.ndarray:
    """Refuse a vector without a direction."""
    if not np.isfinite(vector).all() or not vector.any():
        raise RasterError(
            'its vector holds only zeros, or NaN or infinite numbers: train the encoder '
            'further, or leave the file out'
        )
    return vector


def _rows(names: Sequence[str], modality: str) -> gpd.GeoDataFrame:
    """What is known of files: their names, their class if that is their folder, no place."""
    folders = [name.split('/')[:-1] for name in names]
    columns = {
        'patch_id': [f'{modality}:{name}' for name in names],
        'source': list(names),
    }
    if all(len(folder) == 1 for folder in folders):
        columns['label'] = [folder[0] for folder in folders]
    nowhere = gpd.GeoSeries([None] * len(names), crs='EPSG:4326')
    return gpd.GeoDataFrame(pd.DataFrame(columns), geometry=nowhere)


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


def _statistics(task: Encoder, modality: str) -> dict[str, Any] | None:
    spec = task.specs.get(modality) or {}
    known = {name: spec[name] for name in ('mean', 'std') if spec.get(name)}
    return known or None


__all__ = ('Kind', 'embed_files', 'find_files', 'has_place', 'kind_of', 'pick_modality')
