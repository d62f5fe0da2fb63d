"""Pairs of a data module to rows: each sensor on its own, or several fused into one row."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor
from torchgeo.datamodules import BaseDataModule

from torchgeo_cmr.embed.destination import Destination
from torchgeo_cmr.embed.encoder_record import encoder_versions
from torchgeo_cmr.embed.inference import Precision
from torchgeo_cmr.embed.onnx import onnx_encoder
from torchgeo_cmr.embed.pairs.chip_pairs import Ground, ground_of
from torchgeo_cmr.embed.pairs.pair_encoder import PairEncoder, PairOptions
from torchgeo_cmr.embed.pairs.part import (
    Part,
    cut_parts,
    pairs_fingerprint,
    part_marks,
    read_parts,
)
from torchgeo_cmr.embed.run_options import EncoderOptions, PatchOptions, WriteOptions
from torchgeo_cmr.errors import QueryError, RasterError
from torchgeo_cmr.models.fusion import Fusion
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import CrossModalTask

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
    runtime: Literal['auto', 'torch', 'onnx'] = 'auto',
    update: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    load: bool = True,
) -> EmbeddingTable:
    """Embed the pairs of a data module: benchmark chips, or the grid over paired scenes.

    The archive is an ordinary one with three more columns: ``split``, ``pair`` (the same for
    all rows of one place) and, if the data is labelled, ``label``: the names of the classes
    of a patch, or what the benchmark has for them. So one archive of all splits and sensors is
    enough for all directions.

    Several modalities joined with ``+`` give one row per pair, fused from all of them: its
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
            modality of the task on its own). All must give vectors of one length.
        splits: Any of ``'train'``, ``'val'``, ``'test'`` (default: those that there are).
        fusion: ``'concat'``, ``'mean'``, ``'sum'`` or ``'max'``, as in the task's ``embed``;
            without effect for rows of one sensor.
        raw: Fuse features as the network makes them, and keep the length of each in the
            column ``length``: what distances that are not the cosine compare. Features of
            only zeros, which a ReLU head can give, are skipped.
        out: Archive folder to write or to complete.
        batch_size: Pairs given to the encoder at once; ``'auto'`` as in
            :func:`~torchgeo_cmr.embed.embed`.
        min_valid: Patches with a smaller share of valid pixels are skipped, and those
            without any always; 0 to 1.
        device: Where to run, ``'auto'`` for the fastest present (default: where the task
            is).
        precision: As in :func:`~torchgeo_cmr.embed.embed`.
        flips: Give each row the mean over the four flips of its patches, which are mirrored
            together.
        compile: As in :func:`~torchgeo_cmr.embed.embed`.
        runtime: ``'onnx'`` as in :func:`~torchgeo_cmr.embed.embed`, every sensor on its own, never
            fused or raw; ``'auto'`` is ``'torch'``.
        update: Complete an archive whose pairs are no longer those it was begun with: blocks
            whose pairs changed are embedded again, and pairs that are gone lose their rows.
            Pairs are identified by their names: changed pixels go unseen.
        overwrite: Replace an archive at *out* instead of completing it.
        progress: Show a bar on stderr where that is a terminal or a notebook.
        load: Read the whole archive and return it. With False the table has no rows, so that a run
            needs no memory for the rows of *out*, however many there are.

    Returns:
        One row per pair and modality: splits in the order train, val, test, pairs in their
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
    options = PairOptions(_members(task, modality), fusion, raw)
    patches = PatchOptions(min_valid=min_valid)
    running = EncoderOptions(batch_size, device, precision, flips, compile, runtime)
    writing = WriteOptions(out, overwrite, update, progress=progress, load=load)
    ground = ground_of(data)
    parts = cut_parts(ground, [splits] if isinstance(splits, str) else splits)
    with running.running(task) as where:
        encoder, number = _prepare(
            task, ground, parts, options, patches, running, where, writing.begun
        )
        settings = {
            **options.settings,
            'min_valid': min_valid,
            'batch_size': number,
            **encoder.encoding.record,
        }
        encoder = replace(encoder, record=_record(task, data, options, settings))
        destination = _work(encoder, ground, parts, settings, writing, data.num_workers)
    rows = sum(destination.rows().values())
    if rows == 0:
        raise RasterError(
            f'no patch holds a share of {min_valid} valid pixels: lower min_valid, or check '
            'the nodata value of the files'
        )
    _summarise(rows, destination.placeless(), parts, options, writing)
    return destination.conclude()


def _prepare(
    task: CrossModalTask,
    ground: Ground,
    parts: Sequence[Part],
    options: PairOptions,
    patches: PatchOptions,
    running: EncoderOptions,
    device: torch.device,
    begun: Mapping[str, Any],
) -> tuple[PairEncoder, int]:
    """Give the encoder of pairs, and how many it takes at once."""
    encoder = PairEncoder(
        partial(_embed, task, fusion=options.fusion, raw=options.raw),
        task.keys,
        options,
        patches.min_valid,
        device,
        running.encoding(device, begun),
        task.space,
    )

    @cache
    def first() -> Mapping[str, Any]:
        return ground.dataset(parts[0].split)[parts[0].keys[0]]

    if running.runtime not in ('auto', 'torch'):
        embed = _on_runtime(task, encoder, first(), running.runtime)
        encoder = replace(encoder, embed=embed)

    def run(number: int) -> None:
        sample = first()
        keys = encoder.check(sample).values()
        batch = {key: sample[key].expand(number, *sample[key].shape) for key in keys}
        for _ in encoder.rows(batch):
            pass

    return encoder, running.size(begun, run, device, 'pairs')


def _work(
    encoder: PairEncoder,
    ground: Ground,
    parts: Sequence[Part],
    settings: Mapping[str, Any],
    writing: WriteOptions,
    num_workers: int,
) -> Destination:
    """Embed the parts that are missing, and commit each."""
    marks = part_marks(ground, parts)
    header = {
        **settings,
        'space': encoder.space,
        'pairs': pairs_fingerprint(parts, marks),
    }
    destination = Destination(writing, header, replacing=('pairs',))
    done = destination.fingerprints()
    if writing.update:
        # Pairs move from part to part: what changed goes first, so that none is ever in two.
        splits = {part.split for part in parts}
        changed = [
            key
            for key, mark in done.items()
            if key.split(':')[1] in splits and marks.get(key) != mark
        ]
        destination.remove(*changed)
        done = {key: mark for key, mark in done.items() if key not in changed}
    missing = [part for part in parts if part.key not in done]
    if len(missing) < len(parts):
        _LOG.info('%d of %d parts are there', len(parts) - len(missing), len(parts))
    with writing.bar(sum(len(part.keys) for part in missing), 'pair') as bar:
        for part, batches in read_parts(
            ground, missing, settings['batch_size'], num_workers
        ):
            table = encoder.table(ground, part, batches)
            destination.commit(part.key, table, marks[part.key])
            bar.update(len(part.keys))
    destination.finish()
    return destination


def _summarise(
    rows: int,
    placeless: int,
    parts: Sequence[Part],
    options: PairOptions,
    writing: WriteOptions,
) -> None:
    """Log what the archive holds and what was skipped."""
    count = sum(len(part.keys) for part in parts)
    _LOG.info(
        '%d rows of %d pairs%s; skipped: %d with too few valid pixels%s%s',
        rows,
        count,
        writing.suffix,
        count * len(options.members) - rows,
        ' or without a feature' if options.raw else '',
        f'; {placeless} rows have no place, and are found by what they hold, not by area'
        if placeless
        else '',
    )


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
            f'no modality is named: choose one of {", ".join(task.modalities)}'
        )
    return members


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
    task: CrossModalTask, encoder: PairEncoder, sample: Mapping[str, Any], runtime: str
) -> Callable[..., Tensor]:
    """Have ONNX Runtime run the encoders, each on its own."""
    settings = encoder.options.settings
    if settings['fusion'] is not None or settings['raw']:
        raise QueryError(
            f'the runtime {runtime!r} embeds each sensor on its own: drop the fusion, raw '
            'features or the runtime'
        )
    encoders = {
        name: onnx_encoder(
            task,
            name,
            {sample[key].shape[-1]},
            encoder.device,
            encoder.encoding,
            runtime,
        )
        for name, key in encoder.check(sample).items()
    }
    return lambda images, names: encoders[names[0]].embed(images, names[0])


def _record(
    task: CrossModalTask,
    data: BaseDataModule,
    options: PairOptions,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Give the facts of how the rows were made, for the archive."""
    used = {m: task.specs[m] for m in options.used}
    return {
        'model': type(task).__name__,
        'data': type(data).__name__,
        'bands': {m: spec['bands'] for m, spec in used.items()},
        'normalisation': {
            m: {'mean': spec['mean'], 'std': spec['std']} for m, spec in used.items()
        },
        **settings,
        'versions': encoder_versions(),
    }
