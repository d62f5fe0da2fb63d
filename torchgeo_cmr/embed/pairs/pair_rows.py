"""Pairs of a data module to rows: each sensor by itself, or several fused into one row."""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datamodules import BaseDataModule
from tqdm import tqdm

import torchgeo_cmr
from torchgeo_cmr.datamodules.split import SPLITS
from torchgeo_cmr.embed.device import evaluating, prepared
from torchgeo_cmr.embed.inference import (
    Encoding,
    Precision,
    check_batch_size,
    find_batch_size,
    settle_precision,
)
from torchgeo_cmr.embed.pairs.chip_pairs import Ground, ground_of
from torchgeo_cmr.embed.pairs.part import PairEncoder, Part
from torchgeo_cmr.embed.run import _remove, check_update, with_onnx
from torchgeo_cmr.embed.scenes.item import _versions
from torchgeo_cmr.errors import PairingError, QueryError, RasterError
from torchgeo_cmr.models.fusion import Fusion, check_fusion
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, read_header
from torchgeo_cmr.table.sink import is_archive
from torchgeo_cmr.tasks import CrossModalTask

#: Pairs that are committed together.
_PART = 1024

_LOG = logging.getLogger(__name__)


def embed_pairs(
    task: CrossModalTask,
    data: BaseDataModule,
    modality: str | Sequence[str] | None = None,
    *,
    splits: str | Sequence[str] | None = None,
    fusion: Fusion = 'concat',
    raw: bool = False,
    out: str | os.PathLike[str] | None = None,
    batch_size: int | Literal['auto'] = 64,
    min_valid: float = 0.5,
    device: torch.device | str | None = None,
    precision: Precision = 'auto',
    flips: bool = False,
    compile: bool = False,
    engine: Literal['torch', 'onnx'] = 'torch',
    update: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> EmbeddingTable:
    """Embed the pairs of a data module: benchmark chips, or the grid over paired scenes.

    The archive is an ordinary one with three more columns: ``split``, ``pair`` (the same for
    all rows of one place) and, if the data is labelled, ``label``: the names of the classes
    of a patch, or what the benchmark has for them. That is what a protocol asks for:
    one archive of all splits and sensors is enough for all directions.

    Several modalities joined with ``+`` give one row a pair, fused from all of them: its
    modality is called ``'s1+s2'``, its time spans both acquisitions, and its share of valid
    pixels is the smallest of theirs.

    Chips of which no file says where they lie, as those of So2Sat and MMEarth, give rows
    without a place: their geometry is null, and they are searched by all but area.

    Args:
        task: A trained task, used in evaluation mode and left as it was.
        data: A :class:`~torchgeo_cmr.datamodules.ChipDataModule` or
            :class:`~torchgeo_cmr.datamodules.PairedDataModule`; pixels are read as they
            are, without augmentation.
        modality: Names such as ``'s1'``, or ``'s1+s2'`` for a fused row (default: every
            modality of the task by itself). All must give vectors of one length.
        splits: Any of ``'train'``, ``'val'``, ``'test'`` (default: those that there are).
        fusion: ``'concat'``, ``'mean'``, ``'sum'`` or ``'max'``, as in the task's ``embed``;
            without effect for rows of one sensor.
        raw: Fuse features as the network makes them, and keep the length of each in the
            column ``length``: what distances that are not the cosine compare. Features of
            only zeros, which a ReLU head can give, are left out.
        out: Archive folder to write or to complete.
        batch_size: Pairs given to the encoder at once; ``'auto'`` as in
            :func:`~torchgeo_cmr.embed.embed`.
        min_valid: Patches with a smaller share of valid pixels are left out, and those
            without any always; 0 to 1.
        device: Where to run, ``'auto'`` for the fastest present (default: where the task
            is).
        precision: As in :func:`~torchgeo_cmr.embed.embed`.
        flips: Give each row the mean over the four flips of its patches, which are mirrored
            together.
        compile: As in :func:`~torchgeo_cmr.embed.embed`.
        engine: As in :func:`~torchgeo_cmr.embed.embed`; ONNX Runtime embeds every sensor by
            itself, never fused or raw.
        update: Complete an archive whose pairs are no longer those it was begun with: blocks
            whose pairs changed are embedded again, and pairs that are gone lose their rows.
            Pairs are told by their names: that pixels changed goes unseen.
        overwrite: Replace an archive at *out* instead of completing it.
        progress: Show a bar on stderr.

    Returns:
        One row a pair and modality: splits in the order train, val, test, pairs in their
        order in blocks of 1024, and in each block one modality after the other.

    Raises:
        ArchiveError: If *out* holds an archive made with other settings, weights or pairs, or
            there is none to update.
        OutputExistsError: If *out* is to be replaced but holds no archive.
        PairingError: If there is no such split, no pair in it, two pairs have one name, or
            the data module is not one of this package.
        QueryError: If the task has no such modality, *fusion* is unknown, or vectors differ
            in length.
        RasterError: If the pixels of a pair are not what the task expects, nothing is left to
            embed, or a number is out of range.
    """
    try:
        check_fusion(fusion)
    except ValueError as error:
        raise QueryError(str(error)) from error
    number = check_batch_size(batch_size)
    check_update(out, update, False, overwrite)
    if not 0 <= min_valid <= 1:
        raise RasterError(f'min_valid is {min_valid}: give a share between 0 and 1')
    members = _members(task, modality)
    ground = ground_of(data)
    parts = _parts(ground, [splits] if isinstance(splits, str) else splits)
    begun: dict[str, Any] = {}
    if out is not None and not overwrite and is_archive(out):
        begun = read_header(out)
    with evaluating(task, device) as where, prepared(task, where, compiled=compile):
        if precision == 'auto':
            precision = begun.get('precision', precision)
        settings = {
            'modalities': list(members),
            'fusion': fusion if any(len(m) > 1 for m in members.values()) else None,
            'raw': raw,
            'min_valid': min_valid,
        }
        space = task.space
        encoder = PairEncoder(
            partial(_embed, task, fusion=fusion, raw=raw),
            task.keys,
            members,
            raw,
            min_valid,
            where,
            Encoding(settle_precision(precision, where), flips),
            space,
            {},
        )
        if engine != 'torch':
            sample = _first(ground, parts)
            embed = _on_runtime(task, encoder, sample, precision, engine, settings)
            encoder = replace(encoder, embed=embed)
        if number is None:
            number = begun.get('batch_size')
            number = number or _batch_size(encoder, _first(ground, parts))
        settings |= {'batch_size': number, **encoder.encoding.record}
        encoder = replace(encoder, record=_record(task, data, members, settings))
        marks = _marks(ground, parts)
        sink, done = None, dict[str, str | None]()
        if out is not None:
            if overwrite:
                _remove(Path(out))
            sink = ParquetSink(
                out,
                {**settings, 'space': space, 'pairs': _fingerprint(parts, marks)},
                replacing=('pairs',) if update else (),
            )
            done = sink.fingerprints()
            if update:
                # Pairs move from block to block: what changed goes first, so that none is
                # ever in two.
                mine = {part.split for part in parts}
                for key, mark in list(done.items()):
                    if key.split(':')[1] in mine and marks.get(key) != mark:
                        sink.remove(key)
                        del done[key]
        todo = [part for part in parts if part.key not in done]
        if len(todo) < len(parts):
            _LOG.info('%d of %d parts are there', len(parts) - len(todo), len(parts))
        tables: list[EmbeddingTable] = []
        read = _read(ground, todo, number, data.num_workers)
        with tqdm(
            total=sum(len(part.keys) for part in todo),
            unit='pair',
            disable=not (progress and todo),
            file=sys.stderr,
        ) as bar:
            for part, batches in read:
                table = encoder.table(ground, part, batches)
                if sink is None:
                    tables.append(table)
                else:
                    sink.commit(part.key, table, fingerprint=marks[part.key])
                bar.update(len(part.keys))
        if sink is not None:
            sink.finish()
    table = EmbeddingTable.concat(tables) if out is None else EmbeddingTable.load(out)
    if len(table) == 0:
        raise RasterError(
            f'no patch holds a share of {min_valid} valid pixels: lower min_valid, or check '
            'the nodata value of the files'
        )
    count = sum(len(part.keys) for part in parts)
    lost = int((~table.placed).sum())
    _LOG.info(
        '%d rows of %d pairs%s; left out: %d with too few valid pixels%s%s',
        len(table),
        count,
        '' if out is None else f' in {out}',
        count * len(members) - len(table),
        ' or without a feature' if raw else '',
        f'; {lost} rows have no place, and are found by what they hold, not by area'
        if lost
        else '',
    )
    return table


def _members(
    task: CrossModalTask, modality: str | Sequence[str] | None
) -> dict[str, list[str]]:
    """Name of each modality of the archive -> those of the task that make it."""
    given = [modality] if isinstance(modality, str) else modality
    members: dict[str, list[str]] = {}
    for word in list(task.modalities) if given is None else given:
        names = word.split('+')
        if len(set(names)) < len(names) or not set(names) <= set(task.modalities):
            raise QueryError(
                f'the task cannot embed {word!r}: it knows {", ".join(task.modalities)}, '
                f'and {"+".join(task.modalities)} for one row out of all'
            )
        # One name for one thing: the order is that of the task.
        names.sort(key=task.modalities.index)
        members['+'.join(names)] = names
    if not members:
        raise QueryError(
            f'no modality is named: choose of {", ".join(task.modalities)}'
        )
    return members


def _parts(ground: Ground, splits: Sequence[str] | None) -> list[Part]:
    """Cut the pairs of the splits into parts, in the order in which they are loaded."""
    unknown = sorted(set(splits or ()) - set(SPLITS))
    if unknown:
        raise PairingError(
            f'there is no split {", ".join(unknown)}: choose of {", ".join(SPLITS)}'
        )
    parts = []
    for number, split in enumerate(SPLITS):
        if splits is not None and split not in splits:
            continue
        keys = ground.keys(split)
        if not keys and splits is not None:
            raise PairingError(
                f'the data has no {split} pairs: leave that split out, or hold some out'
            )
        for start in range(0, len(keys), _PART):
            name = f'{number}:{split}:{start:09d}'
            parts.append(Part(name, split, keys[start : start + _PART]))
    if not parts:
        raise PairingError('the data holds no pair: check its root and splits')
    return parts


def _read(
    ground: Ground, parts: Sequence[Part], batch_size: int, num_workers: int
) -> Iterator[tuple[Part, Iterator[Mapping[str, Any]]]]:
    """Read part after part; workers start once a split and read ahead across parts."""
    for split in SPLITS:
        mine = [part for part in parts if part.split == split]
        batches = [
            part.keys[start : start + batch_size]
            for part in mine
            for start in range(0, len(part.keys), batch_size)
        ]
        if not batches:
            continue
        loader = DataLoader(
            ground.dataset(split), batch_sampler=batches, num_workers=num_workers
        )
        stream = iter(loader)
        for part in mine:
            count = -(-len(part.keys) // batch_size)
            yield part, (next(stream) for _ in range(count))


def _marks(ground: Ground, parts: Sequence[Part]) -> dict[str, str]:
    """Say by key which pairs are in each part, in which order."""
    known: set[str] = set()
    marks = {}
    for part in parts:
        names = ground.names(part.split, part.keys)
        twice = [name for name in names if name in known]
        known.update(names)
        if twice or len(set(names)) < len(names):
            twice += [name for name in names if names.count(name) > 1]
            raise PairingError(
                f'two pairs of the data are called {twice[0]}: leave one of them out, or one '
                'of the splits'
            )
        marks[part.key] = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]
    return marks


def _fingerprint(parts: Sequence[Part], marks: Mapping[str, str]) -> str:
    """Say which pairs there are, in which order and split."""
    digest = hashlib.sha256(json.dumps(list(marks.items())).encode()).hexdigest()
    return f'{sum(len(part.keys) for part in parts)} pairs, {digest[:16]}'


def _first(ground: Ground, parts: Sequence[Part]) -> Mapping[str, Any]:
    return ground.dataset(parts[0].split)[parts[0].keys[0]]


def _embed(
    task: CrossModalTask,
    images: dict[str, Tensor],
    names: Sequence[str],
    *,
    fusion: Fusion,
    raw: bool,
) -> Tensor:
    return task.embed(images, names, fusion, raw=raw)


def _on_runtime(
    task: CrossModalTask,
    encoder: PairEncoder,
    sample: Mapping[str, Any],
    precision: str,
    engine: str,
    settings: Mapping[str, Any],
) -> Callable[..., Tensor]:
    """Have ONNX Runtime run the encoders, each by itself."""
    if settings['fusion'] is not None or settings['raw']:
        raise QueryError(
            f'the engine {engine!r} embeds each sensor by itself: leave out the fusion, raw '
            'features or the engine'
        )
    made = {
        name: with_onnx(
            task, name, {sample[key].shape[-1]}, encoder.device, precision, engine
        )
        for name, key in encoder.check(sample).items()
    }
    return lambda images, names: made[names[0]].embed(images, names[0])


def _batch_size(encoder: PairEncoder, sample: Mapping[str, Any]) -> int:
    """Find how many pairs to encode at once."""

    def run(number: int) -> None:
        keys = encoder.check(sample).values()
        batch = {key: sample[key].expand(number, *sample[key].shape) for key in keys}
        for _ in encoder.rows(batch):
            pass

    found = find_batch_size(run, encoder.device)
    _LOG.info('batches of %d pairs', found)
    return found


def _record(
    task: CrossModalTask,
    data: BaseDataModule,
    members: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Say how the rows were made, for the archive."""
    used = {m: task.specs[m] for names in members.values() for m in names}
    return {
        'model': type(task).__name__,
        'data': type(data).__name__,
        'bands': {m: spec['bands'] for m, spec in used.items()},
        'normalisation': {
            m: {'mean': spec['mean'], 'std': spec['std']} for m, spec in used.items()
        },
        **settings,
        'versions': {'torchgeo_cmr': torchgeo_cmr.__version__, **_versions()},
    }
