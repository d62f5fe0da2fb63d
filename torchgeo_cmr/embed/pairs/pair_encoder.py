"""Pairs and a task in, rows of a table out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchgeo_cmr.embed.inference import Encoding
from torchgeo_cmr.embed.pairs.chip_pairs import Ground
from torchgeo_cmr.embed.pairs.part import Part
from torchgeo_cmr.errors import QueryError, RasterError
from torchgeo_cmr.models.fusion import Fusion, check_fusion
from torchgeo_cmr.table import EmbeddingTable


@dataclass(frozen=True)
class PairOptions:
    """Which rows are made of a pair.

    Args:
        members: Name of a modality in the archive -> those of the task that make it.
        fusion: How a row of several is made.
        raw: Whether features are fused before any scaling and keep their length.

    Raises:
        QueryError: If the fusion is unknown.
    """

    members: Mapping[str, Sequence[str]]
    fusion: Fusion = 'concat'
    raw: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown fusion."""
        try:
            check_fusion(self.fusion)
        except ValueError as error:
            raise QueryError(str(error)) from error

    @property
    def used(self) -> list[str]:
        """Modalities that make the rows, each once."""
        return list(dict.fromkeys(m for names in self.members.values() for m in names))

    @property
    def settings(self) -> dict[str, Any]:
        """Facts for the header and the record of an archive."""
        fused = any(len(names) > 1 for names in self.members.values())
        return {
            'modalities': list(self.members),
            'fusion': self.fusion if fused else None,
            'raw': self.raw,
        }


@dataclass(frozen=True)
class PairEncoder:
    """How pairs become rows, and what stays the same from part to part."""

    #: From pixels by key, and names of modalities, to rows.
    embed: Callable[..., Tensor]
    keys: Mapping[str, str]
    options: PairOptions
    min_valid: float
    device: torch.device
    encoding: Encoding
    space: str
    record: Mapping[str, Any] = field(default_factory=dict)

    def table(
        self, ground: Ground, part: Part, batches: Iterator[Mapping[str, Any]]
    ) -> EmbeddingTable:
        """Embed one part."""
        vectors: dict[str, list[NDArray[np.float32]]] = {
            n: [] for n in self.options.members
        }
        valid: dict[str, list[NDArray[np.float64]]] = {
            n: [] for n in self.options.members
        }
        labels: list[Any] = []
        classes = ground.classes(part.split)
        for batch in batches:
            for name, rows, shares in self.rows(batch):
                vectors[name].append(rows)
                valid[name].append(shares)
            labels += _labels(batch.get('label'), classes)
        widths = {name: rows[0].shape[1] for name, rows in vectors.items()}
        if len(set(widths.values())) > 1:
            lengths = ', '.join(f'{name} of {width}' for name, width in widths.items())
            raise QueryError(
                f'one archive holds vectors of one length, found {lengths}: give each its own '
                "archive, or fuse by 'mean', 'sum' or 'max'"
            )
        frame, sides = ground.frame(part.split, part.keys)
        frame['split'] = part.split
        apart = _days_apart([sides[m] for m in self.options.used if m in sides])
        if apart is not None:
            frame['days_apart'] = apart
        if labels:
            frame['label'] = pd.Series(labels, dtype=object).infer_objects()
        tables = []
        for name, names in self.options.members.items():
            share = np.concatenate(valid[name])
            features = np.concatenate(vectors[name])
            # Only zeros, which a ReLU can give, point nowhere.
            kept = (share > 0) & (share >= self.min_valid) & features.any(axis=1)
            columns = _joined([sides[m] for m in names if m in sides])
            if self.options.raw:
                columns['length'] = np.linalg.norm(features.astype(np.float64), axis=1)
            rows = frame.assign(
                patch_id=f'{name}:' + frame['pair'], valid_fraction=share, **columns
            )
            table = EmbeddingTable.from_frame(
                rows[kept],
                features[kept],
                space=self.space,
                modality=name,
                record=self.record,
                placeless=True,
            )
            tables.append(table)
        return EmbeddingTable.concat(tables)

    def check(self, sample: Mapping[str, Any]) -> dict[str, str]:
        """Give the key of each modality that makes rows, or say that a sample lacks one."""
        keys = {m: self.keys[m] for m in self.options.used}
        missing = [m for m, key in keys.items() if key not in sample]
        if missing:
            raise RasterError(
                f'the pairs hold no {", ".join(missing)}, only {", ".join(sample)}: open the '
                'data with the modalities of the task'
            )
        return keys

    def rows(
        self, batch: Mapping[str, Any]
    ) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float64]]]:
        """Give vectors and shares of valid pixels of a batch, name by name."""
        keys = self.check(batch)
        shares = {
            m: batch[key].isfinite().all(dim=1).double().mean(dim=(1, 2))
            for m, key in keys.items()
        }
        for name, names in self.options.members.items():
            rows = self.encoding.together(
                partial(self.embed, names=names),
                {keys[m]: batch[keys[m]] for m in names},
                self.device,
                raw=self.options.raw,
            )
            valid = torch.stack([shares[m] for m in names]).amin(dim=0)
            yield name, rows.cpu().numpy(), valid.numpy()


def _days_apart(sides: Sequence[pd.DataFrame]) -> pd.Series | None:
    """Days between the acquisitions of each pair, the most of several; None if undated."""
    if len(sides) < 2 or any('time_start' not in side for side in sides):
        return None
    starts = pd.concat([side['time_start'] for side in sides], axis=1)
    ends = pd.concat([side['time_end'] for side in sides], axis=1)
    gap = starts.max(axis=1, skipna=False) - ends.min(axis=1, skipna=False)
    return (gap / pd.Timedelta(days=1)).clip(lower=0)


def _joined(sides: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Source and times of a row made of several; undated if one of them is."""
    columns: dict[str, Any] = {}
    for column, reduce in (('time_start', 'min'), ('time_end', 'max')):
        parts = [side[column] for side in sides if column in side]
        if parts:
            times = pd.concat(parts, axis=1)
            columns[column] = times.agg(reduce, axis=1, skipna=False)
    sources = [side['source'] for side in sides if 'source' in side]
    if sources:
        columns['source'] = sources[0].str.cat(sources[1:], sep='+')
    return columns


def _labels(label: Tensor | None, classes: Sequence[str]) -> list[Any]:
    """Labels of a batch, one cell per pair: names of classes where they are known."""
    if label is None:
        return []
    if label.ndim == 2 and label.shape[1] == len(classes):
        return [[classes[i] for i in row.nonzero().flatten()] for row in label]
    return label.tolist()
