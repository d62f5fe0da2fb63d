"""Alignment: vectors of two sensors brought into one space by linear maps, without training.

Encoders that never saw pairs place each sensor in a corner of its own. Subtracting the mean of
each sensor removes the largest part of that gap; maps fitted on patches of the same ground remove
what is linear of the rest.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, get_args

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError, check_choice, check_seed
from torchgeo_cmr.search.queries.blend import partner_rows
from torchgeo_cmr.table import EmbeddingTable

from .array_file import read_arrays, write_arrays
from .linear_contrast import contrast

__all__ = ('Alignment',)

type _Floats = NDArray[np.float64]

Statistic = Literal['center', 'whiten']
Method = Literal['procrustes', 'ridge', 'contrastive']

_CURE = 'save one with Alignment.save'
_NOTHING = 'there is nothing to align: the tables have no rows'


@dataclass(frozen=True, eq=False)
class Alignment:
    """A linear map for the vectors of each modality; make one with ``center``, ``whiten`` or ``fit``.

    Args:
        method: How it was made.
        shifts: Modality -> what is subtracted from a vector first (dim,).
        matrices: Modality -> what it is multiplied by then (dim, new dim).
        spaces: Modality -> space of the vectors that it takes; empty if unknown.

    Examples:
        >>> import geopandas as gpd
        >>> import numpy as np
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> rng = np.random.default_rng(0)
        >>> turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
        >>> vectors = rng.normal(size=(40, 8))
        >>> points = gpd.points_from_xy(range(40), [0] * 40).buffer(0.1)
        >>> radar, optical = (
        ...     EmbeddingTable.from_frame(
        ...         gpd.GeoDataFrame(
        ...             {'patch_id': [f'{m}{i}' for i in range(40)]},
        ...             geometry=points,
        ...             crs='EPSG:4326',
        ...         ),
        ...         v,
        ...         modality=m,
        ...         space='x',
        ...     )
        ...     for m, v in (('s1', vectors), ('s2', vectors @ turn))
        ... )
        >>> aligned = Alignment.fit(radar, optical, 'procrustes')
        >>> a, b = aligned.table(radar), aligned.table(optical)
        >>> bool((np.sum(a.vectors * b.vectors, axis=1) > 0.99).all())
        True
    """

    method: str
    shifts: Mapping[str, NDArray[np.float32]]
    matrices: Mapping[str, NDArray[np.float32]]
    spaces: Mapping[str, str]

    @classmethod
    def center(cls, tables: Iterable[EmbeddingTable]) -> Self:
        """Subtract the mean of each modality.

        Args:
            tables: Tables, which are gone through once; rows of one modality may be in several.

        Raises:
            QueryError: If a row has no modality.
        """
        sums: dict[str, _Floats] = {}
        counts: Counter[str] = Counter()

        def counted() -> Iterator[EmbeddingTable]:
            for table in tables:
                for modality, rows in _groups(table):
                    x = table.vectors[rows]
                    total = x.sum(axis=0, dtype=np.float64)
                    sums[modality] = sums.get(modality, 0) + total
                    counts[modality] += len(x)
                yield table

        spaces = _spaces(counted())
        if not sums:
            raise QueryError(_NOTHING)
        shifts = {m: (x / counts[m]).astype(np.float32) for m, x in sums.items()}
        eyes = {m: np.eye(len(s), dtype=np.float32) for m, s in shifts.items()}
        return cls('center', shifts, eyes, spaces)

    @classmethod
    def whiten(
        cls, tables: Iterable[EmbeddingTable], *, shrinkage: float = 0.1
    ) -> Self:
        """Subtract the mean of each modality and give all directions the same variance.

        Args:
            tables: Tables; rows of one modality may be in several.
            shrinkage: Share of the mean variance that each direction is given as well, 0 to 1:
                directions that hardly vary are noise and must not grow without bound.

        Raises:
            QueryError: If a row has no modality, or the shrinkage is not a share.
        """
        if not 0 <= shrinkage <= 1:
            raise QueryError(f'shrinkage is {shrinkage!r}; give a share from 0 to 1')
        tables = list(tables)
        shifts, matrices = {}, {}
        for modality, x in _by_modality(tables).items():
            mean = x.mean(axis=0)
            spread, axes = np.linalg.eigh(np.cov(x - mean, rowvar=False))
            spread = np.maximum(spread, 0)
            scale = (1 - shrinkage) * spread + shrinkage * spread.mean()
            # A single direction would be divided by nothing.
            scale = np.maximum(scale, np.finfo(np.float32).eps)
            shifts[modality] = mean.astype(np.float32)
            matrices[modality] = ((axes / np.sqrt(scale)) @ axes.T).astype(np.float32)
        return cls('whiten', shifts, matrices, _spaces(tables))

    @classmethod
    def fit(
        cls,
        first: EmbeddingTable,
        second: EmbeddingTable,
        method: Method = 'ridge',
        *,
        strength: float = 0.1,
        temperature: float = 0.07,
        steps: int = 300,
        min_overlap: float = 0.5,
        seed: int = 0,
    ) -> Self:
        """Fit a map for each of two sensors on the patches that share their ground.

        Args:
            first: Vectors of one sensor.
            second: Vectors of the other, of any dimension.
            method: ``'procrustes'``: each sensor is turned, and nothing is stretched;
                ``'ridge'``: the first is mapped to the second by regularised least squares;
                ``'contrastive'``: both are mapped so that patches of one ground are told from
                all others (symmetric InfoNCE), as CROMA's and CLOSP's unpublished projections do.
            strength: Of ridge: share of the mean variance that is added to each direction.
            temperature: Of contrastive: divisor of the cosines.
            steps: Of contrastive: steps of Adam, on at most 512 pairs each.
            min_overlap: Least share of the ground of both (intersection over union) of a pair.
            seed: Of contrastive: seed of the batches.

        Raises:
            QueryError: If the tables are not of one modality each, hold codes, or share the
                ground of fewer than two patches.
        """
        check_choice('method', method, Method)
        check_seed(seed, QueryError)
        names = [_only_modality(table) for table in (first, second)]
        if names[0] == names[1]:
            raise QueryError(f'both tables are of {names[0]}: give two modalities')
        partners = partner_rows(first, second, min_overlap)
        rows = np.flatnonzero(partners >= 0)
        if len(rows) < 2:
            raise QueryError(
                f'{len(rows)} patches share the ground of both tables: an alignment is fitted on '
                'pairs; give archives of the same places'
            )
        a = first.vectors[rows].astype(np.float64)
        b = second.vectors[partners[rows]].astype(np.float64)
        shifts = a.mean(axis=0), b.mean(axis=0)
        a, b = a - shifts[0], b - shifts[1]
        if method == 'procrustes':
            left, _, right = np.linalg.svd(a.T @ b, full_matrices=False)
            matrices = left, right.T
        elif method == 'ridge':
            added = strength * np.trace(a.T @ a) / a.shape[1]
            square = a.T @ a + max(added, 1e-12) * np.eye(a.shape[1])
            matrices = np.linalg.solve(square, a.T @ b), np.eye(b.shape[1])
        else:
            matrices = contrast(a, b, temperature, steps, np.random.default_rng(seed))
        return cls(
            method,
            {n: s.astype(np.float32) for n, s in zip(names, shifts, strict=True)},
            {n: w.astype(np.float32) for n, w in zip(names, matrices, strict=True)},
            _spaces((first, second)),
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that it maps."""
        return tuple(self.shifts)

    @property
    def name(self) -> str:
        """Method, and the fingerprint of maps that were fitted on pairs.

        The mean of a modality is taken of any archive of it, so that archives of two sensors that
        were centred one by one are comparable; maps of pairs belong together.
        """
        if self.method in get_args(Statistic):
            return self.method
        digest = hashlib.sha256()
        for modality in sorted(self.shifts):
            digest.update(modality.encode())
            digest.update(self.shifts[modality].tobytes())
            digest.update(self.matrices[modality].tobytes())
            digest.update(self.spaces[modality].encode())
        return f'{self.method}-{digest.hexdigest()[:8]}'

    def vectors(self, vectors: ArrayLike, modality: str) -> NDArray[np.float32]:
        """Map vectors of one modality.

        Args:
            vectors: Vectors (n, dim).
            modality: Their modality.

        Returns:
            Unit vectors (n, new dim).

        Raises:
            QueryError: If the modality is unknown or the dimension is another.
        """
        given = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
        if modality not in self.shifts:
            raise QueryError(
                f'the alignment maps {", ".join(self.modalities)} and not {modality}: fit one with '
                'that sensor'
            )
        shift = self.shifts[modality]
        if given.shape[1] != len(shift):
            raise QueryError(
                f'the vectors have {given.shape[1]} numbers and the alignment takes {len(shift)}; '
                'fit one on these vectors'
            )
        mapped = (given - shift) @ self.matrices[modality]
        length = np.linalg.norm(mapped, axis=1, keepdims=True)
        # A vector at the very mean has no direction; it stays one of length 1.
        flat = length[:, 0] < np.finfo(np.float32).tiny
        mapped[flat], length[flat] = np.eye(1, mapped.shape[1]), 1
        return mapped / length

    def table(self, table: EmbeddingTable) -> EmbeddingTable:
        """Map a table.

        Args:
            table: Vectors of modalities that the alignment knows; not changed.

        Returns:
            The same rows in a space of its own: that of the vectors and this alignment.

        Raises:
            QueryError: If it holds codes, a modality is unknown, or the vectors are of another
                space than those that the alignment was made of.
        """
        groups = dict(_groups(table))
        for modality, space in _spaces((table,)).items():
            expected = self.spaces.get(modality, space)
            if space != expected:
                raise QueryError(
                    f'the vectors of {modality} are in space {space or "unknown"} and the '
                    f'alignment was made in {expected or "an unknown one"}: align what the same '
                    'encoder has embedded'
                )
        dims = {self.matrices[m].shape[1] for m in groups.keys() & self.matrices.keys()}
        mapped = np.zeros((len(table), max(dims, default=table.dim)), np.float32)
        for modality, rows in groups.items():
            mapped[rows] = self.vectors(table.vectors[rows], modality)
        mapped.flags.writeable = False
        kind = table.frame['space'].dtype
        if self.method in get_args(Statistic):
            space = (table.frame['space'].fillna('') + f'+{self.name}').astype(kind)
        else:  # the two sensors may have been in spaces of their own
            space = pd.Series(self.name, index=table.frame.index, dtype=kind)
        frame = gpd.GeoDataFrame(table.frame.assign(space=space))
        return EmbeddingTable(
            frame, mapped, 'cosine', {**table.record, 'alignment': self.name}
        )

    def save(self, path: str | PathLike[str], overwrite: bool = False) -> Path:
        """Write the alignment as an ``.npz`` file, so that later queries can be mapped alike.

        Args:
            path: File to write, appearing whole or not at all.
            overwrite: Replace a file that is there.

        Raises:
            OutputExistsError: If the file is there and is not to be replaced.
        """
        parts = {f'shift_{m}': x for m, x in self.shifts.items()}
        parts |= {f'matrix_{m}': x for m, x in self.matrices.items()}
        parts |= {f'space_{m}': np.array(x) for m, x in self.spaces.items()}
        return write_arrays(path, overwrite=overwrite, method=self.method, **parts)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read an alignment back.

        Raises:
            ArchiveError: If the file is not one.
        """
        parts = read_arrays(path, 'an alignment', _CURE)
        method = str(parts.pop('method', ''))
        shifts, matrices, spaces = (
            {n.removeprefix(kind): x for n, x in parts.items() if n.startswith(kind)}
            for kind in ('shift_', 'matrix_', 'space_')
        )
        fit = bool(shifts) and shifts.keys() == matrices.keys() == spaces.keys()
        fit = fit and all(
            shift.dtype == matrices[m].dtype == np.float32
            and matrices[m].ndim == 2
            and shift.shape == matrices[m].shape[:1]
            and bool(np.isfinite(shift).all() and np.isfinite(matrices[m]).all())
            for m, shift in shifts.items()
        )
        fit = fit and len({x.shape[1] for x in matrices.values()}) == 1
        if not fit or method not in (*get_args(Statistic), *get_args(Method)):
            raise ArchiveError(f'{path} is not an alignment; {_CURE}')
        return cls(method, shifts, matrices, {m: str(x) for m, x in spaces.items()})


def _sensors(table: EmbeddingTable) -> NDArray[Any]:
    """Give the modality of each row.

    Raises:
        QueryError: If one is unknown, or the table holds codes.
    """
    if table.metric != 'cosine':
        raise QueryError(
            f'the table holds {table.metric} codes; align the vectors they came from'
        )
    column = table.frame['modality']
    if column.isna().any():
        raise QueryError('a row has no modality: an alignment has a map for each')
    return column.to_numpy(dtype=object)


def _groups(table: EmbeddingTable) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Give each modality of a table, in the order of their names, and which rows are of it."""
    sensors = _sensors(table)
    for modality in sorted(set(sensors)):
        yield modality, sensors == modality


def _by_modality(tables: Iterable[EmbeddingTable]) -> dict[str, _Floats]:
    """Give the vectors of each modality in double precision."""
    found: dict[str, list[_Floats]] = {}
    for table in tables:
        for modality, rows in _groups(table):
            part = table.vectors[rows].astype(np.float64)
            found.setdefault(modality, []).append(part)
    if not found:
        raise QueryError(_NOTHING)
    return {modality: np.concatenate(parts) for modality, parts in found.items()}


def _spaces(tables: Iterable[EmbeddingTable]) -> dict[str, str]:
    """Give the space of each modality, empty if unknown.

    Raises:
        QueryError: If vectors of one modality are in several.
    """
    found: dict[str, set[str]] = {}
    for table in tables:
        spaces = table.frame['space'].fillna('')
        for modality, group in spaces.groupby(_sensors(table)):
            found.setdefault(str(modality), set()).update(group)
    for modality, several in found.items():
        if len(several) > 1:
            raise QueryError(
                f'the vectors of {modality} are in the spaces {" and ".join(sorted(several))}: '
                'align those of one encoder'
            )
    return {modality: space for modality, (space,) in found.items()}


def _only_modality(table: EmbeddingTable) -> str:
    """Give the one modality of a table."""
    names = sorted(set(_sensors(table)))
    if len(names) != 1:
        raise QueryError(
            f'a table of one modality is needed, found {", ".join(names) or "no rows"}'
        )
    return names[0]
