"""EmbeddingTable: footprints and vectors, row by row, in memory and as a folder.

The one object that both halves of the package know. Everything is checked once, in
:meth:`EmbeddingTable.from_frame`; behind that door rows are trusted.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Self

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.durable import read_unreplaced
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.spool import spooled

from .archive.archive_reader import Parts, read_archive
from .archive.records import merge_records
from .archive.replacement import write_archive
from .footprints import WGS84
from .frame import read_frame, read_ids
from .kinds import filled as fill
from .kinds import kinds_of, united
from .provenance import Content, row_digests
from .schema import METRICS, STANDARD
from .table_html import table_html
from .unit_vectors import read_vectors

#: Rows whose digests are made together.
_BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Embedding vectors with the ground they describe.

    Make one with :meth:`from_frame` or :meth:`load`; the constructor itself checks nothing
    but the lengths. Row i of ``frame`` belongs to row i of ``vectors``. Two tables may be
    searched with one another if their ``space`` is the same.

    Args:
        frame: EPSG:4326, one footprint per row, columns ``patch_id`` (text, unique),
            ``modality``, ``space``, ``source`` (text), ``time_start``, ``time_end`` (UTC),
            ``src_crs`` (text), ``native_corners`` (eight float64 in ``src_crs``: upper left,
            upper right, lower right, lower left, x before y), ``valid_fraction``, the user's
            own columns, ``geometry``. Any standard column but the first and last may hold nulls;
            the geometry is null only where a row has no place.
        vectors: Array (n, dim), float32, finite, unit norm, read-only; of binary codes
            (n, dim / 8), uint8, eight bits per byte.
        metric: How vectors are compared: ``'cosine'`` by their inner product, ``'hamming'`` by
            the share of bits that agree; in both a score is in -1..1, higher is closer.
        record: JSON-able facts about how the vectors were made.

    Examples:
        >>> from shapely import box
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': ['a', 'b'], 'modality': 's2'},
        ...     geometry=[box(10, 46, 11, 47), box(11, 46, 12, 47)],
        ...     crs='EPSG:4326',
        ... )
        >>> table = EmbeddingTable.from_frame(frame, [[3, 4], [0, 2]])
        >>> table
        EmbeddingTable(2 rows, dim=2, modality=s2, metric=cosine)
        >>> table.vectors
        array([[0.6, 0.8],
               [0. , 1. ]], dtype=float32)
        >>> table.select([1]).frame['patch_id'].tolist()
        ['b']
    """

    frame: gpd.GeoDataFrame
    vectors: NDArray[Any]
    metric: str = 'cosine'
    record: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a frame and vectors of different lengths."""
        if len(self.frame) != len(self.vectors):
            raise ArchiveError(
                f'{len(self.frame)} rows and {len(self.vectors)} vectors do not form a table; '
                'give one vector per row'
            )
        if missing := [name for name in STANDARD if name not in self.frame]:
            raise ArchiveError(
                f'the frame lacks {", ".join(missing)}; make a table of it with '
                'EmbeddingTable.from_frame(frame, vectors), which adds them'
            )

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.frame)

    def __repr__(self) -> str:
        """Name size and content in one line."""
        kinds = ', '.join(self.frame['modality'].dropna().unique()) or 'unknown'
        return f'EmbeddingTable({len(self)} rows, dim={self.dim}, modality={kinds}, metric={self.metric})'

    def _repr_html_(self) -> str:
        """Say in a notebook what the rows are, and show the first of them."""
        return table_html(self, self.boxes[self.placed])

    @property
    def dim(self) -> int:
        """Length of a vector; of binary codes, their bits."""
        width = int(self.vectors.shape[1])
        return 8 * width if self.metric == 'hamming' else width

    @property
    def space(self) -> str:
        """Fingerprint of the weights that made the vectors, if all rows share one."""
        return self._unique('space')

    @property
    def modality(self) -> str:
        """Name of the modality, if all rows share one."""
        return self._unique('modality')

    @property
    def spaces(self) -> tuple[str, ...]:
        """The distinct spaces of the rows, sorted, without nulls."""
        return tuple(sorted(self.frame['space'].dropna().unique()))

    @cached_property
    def placed(self) -> NDArray[np.bool_]:
        """Which rows have a place (n,); sound and plain images have none."""
        return ~shapely.is_missing(self.frame.geometry.to_numpy())

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """Bounds of each footprint (n, 4): xmin, ymin, xmax, ymax in degrees, computed once.

        NaN where a row has no place, which no area touches.
        """
        return shapely.bounds(self.frame.geometry.to_numpy()).reshape(-1, 4)

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """A digest of the id and the vector of each row (n, 16), computed once."""
        return np.concatenate(
            [
                row_digests(
                    self.frame['patch_id'].iloc[begin : begin + _BLOCK].tolist(),
                    self.vectors[begin : begin + _BLOCK],
                )
                for begin in range(0, max(1, len(self)), _BLOCK)
            ]
        )

    @cached_property
    def content(self) -> Content:
        """Identity of the rows; a loaded table has it from its archive."""
        return Content.of(self.digests)

    def unit_rows(
        self, rows: slice | NDArray[np.int64] = slice(None)
    ) -> NDArray[np.float32]:
        """Give rows (m, dim) of unit norm whose inner product is the score.

        These are the vectors; of packed codes, their bits as +1 and -1 over the root of
        their number, so that the product is ``1 - 2 * hamming / bits``.

        Args:
            rows: Which; all without it.
        """
        if self.metric != 'hamming':
            return self.vectors[rows]
        bits = np.unpackbits(self.vectors[rows], axis=1).astype(np.float32)
        return (2 * bits - 1) / np.float32(np.sqrt(self.dim))

    def _unique(self, column: str) -> str:
        values = self.frame[column].unique()
        if len(values) != 1 or pd.isna(values[0]):
            found = (
                ', '.join('null' if pd.isna(v) else str(v) for v in values) or 'none'
            )
            raise ArchiveError(
                f'the rows do not share one {column} (found: {found}); '
                f"look at frame['{column}'] or select the rows of one"
            )
        return str(values[0])

    @classmethod
    def from_frame(
        cls,
        frame: gpd.GeoDataFrame,
        vectors: ArrayLike,
        *,
        space: str | None = None,
        modality: str | None = None,
        metric: str = 'cosine',
        record: Mapping[str, Any] | None = None,
        placeless: bool = False,
    ) -> Self:
        """Check footprints and vectors and make a table of copies of them.

        Footprints are brought to EPSG:4326 without densifying and cut at the antimeridian (a
        footprint's edge longer than 180 degrees is read as the short way round). Vectors are
        divided by their norm in float64 and kept as float32; packed codes stay as they are. Columns of Python objects take
        the type they would have after saving and loading: words become text.

        Args:
            frame: One row per patch with at least ``patch_id`` and a geometry with CRS; any
                index, any CRS. Times may be text; naive times are read as UTC.
            vectors: Array (n, dim) of numbers, one row for each row of the frame; for
                ``'hamming'`` (n, bytes) of uint8.
            space: Fills rows whose ``space`` is null; must agree with the others.
            modality: Fills rows whose ``modality`` is null; must agree with the others.
            metric: ``'cosine'`` or ``'hamming'``.
            record: JSON-able facts, copied.
            placeless: Whether a row may have no geometry, because it has no place: sound, or
                an image without georeference. No place is invented for it, and no area
                finds it.

        Returns:
            The table. Neither the frame nor the vectors given are changed.

        Raises:
            ArchiveError: If anything of the above does not hold; the message names the first
                patch at fault.
        """
        if metric not in METRICS:
            raise ArchiveError(
                f'metric {metric!r} is not known; use {" or ".join(METRICS)}'
            )
        ids = read_ids(frame)
        unit = read_vectors(vectors, ids, metric)
        rows = read_frame(
            frame, ids, space=space, modality=modality, placeless=placeless
        )
        return cls(rows, unit, metric, _json(record))

    @classmethod
    def from_parquet(
        cls,
        path: str | PathLike[str] | Sequence[str | PathLike[str]],
        *,
        vector: str | None = None,
        geometry: str | None = None,
        time: str | None = None,
        id: str | None = None,
        scale: float | Sequence[float] | str | None = None,
        offset: float | Sequence[float] | None = None,
        metres: float | None = None,
        crs: Any = None,
        area: tuple[float, float, float, float] | None = None,
        modality: str | None = None,
        space: str | None = None,
        drop_missing: bool = False,
        placeless: bool = False,
    ) -> Self:
        """Read embeddings that others have published as Parquet or GeoParquet.

        Columns are found by their names, and which were taken is logged and stands in
        ``record['parquet']``; each can be named. Files are read one row group at a time;
        with an *area*, vectors of row groups that it does not touch are not read. Vectors are scaled to
        length 1, and how many were not is recorded. Other plain columns are kept, those with
        lists or structs are not.

        Args:
            path: A file, a folder, which is searched for ``.parquet`` and the like at any
                depth, or several.
            vector: Column of the vectors: lists of floats or integers. Or how columns of single
                numbers begin: ``'emb_'`` for ``emb_0``, ``emb_1``, ... (default: the one
                called embedding, embeddings, vector, vec or emb).
            geometry: Column of the places: WKB, WKT, a struct or list of xmin, ymin, xmax,
                ymax, a point; or two columns, ``'lon,lat'`` (default: the primary column of
                GeoParquet, geometry, bbox, or a pair such as lon and lat or x and y).
            time: Column of the times, or two, ``'start,end'``: timestamps, dates, ISO 8601 text
                or years. A date or a year is the whole of it. ``''`` for none (default: datetime,
                timestamp, time, date, t or year).
            id: Column that becomes ``patch_id`` (default: patch_id, id, unique_id, chip_id,
                item_id and the like, the first that identifies rows; else, and with ``''``, file
                and row number).
            scale: What stored numbers are multiplied by: one number, one per component, or a
                column with one per row. Direction, which is all that a table keeps, does
                not change with one positive number.
            offset: What is added to that, one number or one per component. Unsigned integers
                need it.
            metres: Width of the square that a point becomes, in its UTM zone; without it points
                stay points.
            crs: CRS of the places where the file does not state it. Columns that are called
                longitude and latitude are EPSG:4326; nothing else is guessed.
            area: West, south, east, north in EPSG:4326: only rows whose bounding box it
                touches are read.
            modality: Name of the modality of all rows.
            space: What the vectors may be compared with. Null fits any: give one name to
                all vectors of a model.
            drop_missing: Leave out rows whose vector is null, NaN or only zeros, or that have no
                place, and count them; else they are refused.
            placeless: Whether rows may have no place.

        Returns:
            The table.

        Raises:
            ArchiveError: If a column is not found or several could be meant (the message lists
                the columns of the file), if values do not form a table, or a file is broken.

        Examples:
            >>> import tempfile
            >>> folder = tempfile.TemporaryDirectory()
            >>> file = f'{folder.name}/theirs.parquet'
            >>> points = gpd.points_from_xy([9.0, 9.1], [45.0, 45.0])
            >>> theirs = gpd.GeoDataFrame(
            ...     {'id': [7, 8], 'embedding': [[3.0, 4.0], [0.0, 2.0]]},
            ...     geometry=points,
            ...     crs='EPSG:4326',
            ... )
            >>> theirs.to_parquet(file)
            >>> table = EmbeddingTable.from_parquet(file, metres=320, space='theirs')
            >>> table.frame['patch_id'].tolist(), table.frame.geom_type.tolist()
            (['7', '8'], ['Polygon', 'Polygon'])
            >>> table.record['parquet']['rescaled_to_length_1']
            2
            >>> folder.cleanup()
        """
        from .others.parquet_rows import Reading, read_rows
        from .others.place_columns import read_area

        rows = read_rows(
            path,
            Reading(
                vector=vector,
                geometry=geometry,
                time=time,
                id_=id,
                scale=scale,
                offset=offset,
                metres=metres,
                crs=crs,
                area=read_area(area),
                drop_missing=drop_missing,
                placeless=placeless,
            ),
        )
        return cls.from_frame(
            rows.frame,
            rows.vectors,
            space=space,
            modality=modality,
            record={'parquet': rows.facts},
            placeless=placeless,
        )

    def select(self, rows: ArrayLike) -> Self:
        """Give the table of some rows, in the given order.

        Args:
            rows: Row numbers, or a boolean mask with one value per row.

        Raises:
            ArchiveError: If a row is selected twice (``patch_id`` stays unique) or is not there,
                as negative numbers are not.
        """
        numbers = np.asarray(rows)
        if numbers.dtype == bool:
            if numbers.shape != (len(self),):
                raise ArchiveError(
                    f'a mask of shape {numbers.shape} does not fit {len(self)} rows; '
                    'give one value per row'
                )
            numbers = np.flatnonzero(numbers)
        if numbers.size and numbers.dtype.kind not in 'iu':
            raise ArchiveError(
                f'rows have the type {numbers.dtype}; give row numbers or a mask'
            )
        numbers = numbers.astype(np.int64).reshape(-1)
        if len(np.unique(numbers)) != len(numbers):
            raise ArchiveError('a row is selected twice; select each row once')
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(self)):
            raise ArchiveError(
                f'row numbers go from 0 to {len(self) - 1}; select only those'
            )
        vectors = self.vectors[numbers]
        vectors.flags.writeable = False
        frame = self.frame.iloc[numbers].reset_index(drop=True)
        return type(self)(frame, vectors, self.metric, self.record)

    @classmethod
    def concat(cls, tables: Iterable['EmbeddingTable'], *, strict: bool = True) -> Self:
        """Put tables below one another.

        Args:
            tables: At least one table; same dimension and metric, no ``patch_id`` twice.
                Spaces may differ: a search then refuses, until rows of one are selected.
            strict: Refuse tables whose records name different files for one scene, as two
                archives of two folders may; else the record lists those scenes.

        Returns:
            The table, its record merged: scenes of all, other facts side by side if they differ.

        Raises:
            ArchiveError: If the tables do not fit together.
        """
        parts = list(tables)
        if not parts:
            raise ArchiveError('there is no table to concatenate; give at least one')
        for part in parts[1:]:
            for name in ('dim', 'metric'):
                if getattr(part, name) != getattr(parts[0], name):
                    raise ArchiveError(
                        f'tables of different {name} ({getattr(parts[0], name)} and '
                        f'{getattr(part, name)}) cannot be concatenated; embed them with one model'
                    )
        filled = [p.frame for p in parts if len(p)] or [parts[0].frame]
        if len(filled) > 1:
            dtypes = united([kinds_of(part) for part in filled])
            rows = [fill(part, dtypes) for part in filled]
            together = pd.concat(rows, ignore_index=True)
            frame = gpd.GeoDataFrame(together, geometry='geometry', crs=WGS84)
        else:
            frame = gpd.GeoDataFrame(filled[0].reset_index(drop=True))
        if (twice := frame['patch_id'].duplicated()).any():
            raise ArchiveError(
                f'patch_id {frame["patch_id"][twice].iloc[0]!r} is in two of the tables; '
                'leave one of them out'
            )
        vectors = np.concatenate([p.vectors for p in parts])
        vectors.flags.writeable = False
        return cls(
            frame,
            vectors,
            parts[0].metric,
            merge_records([p.record for p in parts], strict=strict),
        )

    def save(self, path: str | PathLike[str], overwrite: bool = False) -> Path:
        """Write the table as an archive folder of one part.

        Args:
            path: Folder to make; its parents are made too.
            overwrite: Replace an archive that is there. The new one is complete before the
                old one goes; a folder that holds anything but an archive is never touched.

        Returns:
            The folder.

        Raises:
            OutputExistsError: If the path is there and may not be replaced.
        """
        return write_archive(path, self, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | PathLike[str], *, spool: bool = False) -> Self:
        """Read an archive folder back, row for row and bit for bit.

        Args:
            path: Folder that :meth:`save`, ``embed`` or a :class:`ParquetSink` wrote. Parts
                are put in the order of their keys, rows in the order they had in their part. If
                the archive is replaced meanwhile, the new one is read.
            spool: Keep the vectors in a temporary file that goes with the table, for more than
                memory holds. Footprints and columns stay in memory.

        Raises:
            ArchiveError: If the folder is not an archive, broken, mixed or of a newer format, or
                the folder of temporary files lacks the room.
        """
        make = spooled if spool else np.empty
        frame, vectors, metric, record, content = read_unreplaced(
            Path(path), lambda: read_archive(path, make)
        )
        table = cls(frame, vectors, metric, record)
        if content is not None:
            table.__dict__['content'] = content
        return table

    @classmethod
    def load_parts(cls, path: str | PathLike[str]) -> Parts[Self]:
        """Read an archive folder part by part, for more than memory holds.

        Args:
            path: Folder of the archive. A part that is replaced before it was read is refused.

        Returns:
            Key and rows of each part, in the order of :meth:`load`, read when it is wanted, one after the
            other or by its number; the record of each is that of the archive and of its own rows. Whether
            a ``patch_id`` is in two parts is not looked at.

        Raises:
            ArchiveError: If the folder is not an archive, incomplete, broken or of a newer format.
        """
        return Parts(path, cls)


def _json(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Copy a record through JSON, so that it is what an archive gives back."""
    try:
        return json.loads(json.dumps(dict(record or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArchiveError(
            f'the record cannot be written as JSON ({error}); use plain values'
        ) from error
