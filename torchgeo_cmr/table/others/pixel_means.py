"""Patches from means of pixels: one vector for each window of a raster of vectors."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.table.archive.replacement import replacement
from torchgeo_cmr.table.table import EmbeddingTable

from .vector_raster import Place, VectorRaster

#: Rows of one part of an archive, at least.
_PART = 16_384
#: Bytes of the vectors of pixels that are read at once.
_BLOCK = 2**25


def from_pixels(
    raster: VectorRaster,
    size: int,
    stride: int | None = None,
    *,
    modality: str,
    space: str,
    min_valid: float = 0.5,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> EmbeddingTable | None:
    """Turn windows of pixels into rows, one vector each.

    A vector is the mean of those of the window's pixels, each of length 1, scaled to length 1.
    Windows that reach over the edge of the raster are left out.

    Args:
        raster: An open :class:`VectorRaster`.
        size: Height and width of a window in pixels.
        stride: Step between windows in pixels (default: *size*).
        modality: Name of the modality.
        space: What the vectors may be compared with; one name for all rasters of a model.
        min_valid: Least share of a window's pixels with a vector; ``valid_fraction`` of a row.
        out: Archive folder to write, in parts, so that a raster of any size takes the memory of one
            of them; then nothing is returned. A run that was stopped is begun again.
        overwrite: Replace an archive at *out*.

    Returns:
        The table, or None with *out*. ``patch_id`` is
        ``modality:file:row_column_HEIGHTxWIDTH``.

    Raises:
        RasterError: If no window has a vector, the raster is smaller than a window, or a number is
            not possible.
        OutputExistsError: If *out* is there and is not to be replaced.
    """
    step = size if stride is None else stride
    if size < 1 or step < 1 or not 0 <= min_valid <= 1:
        raise RasterError(
            f'size={size}, stride={step}, min_valid={min_valid}: give pixels from 1 and a share '
            'from 0 to 1'
        )
    if size > min(raster.shape):
        raise RasterError(
            f'{raster.path} has {raster.shape[0]} x {raster.shape[1]} pixels, fewer than a window '
            f'of {size}: give a smaller size'
        )
    cut = _Cut(raster, size, step, modality, space, min_valid)
    if out is None:
        tables = [*cut.tables()]
        _check_some(tables, raster, min_valid)
        return EmbeddingTable.concat(tables)
    header = {'space': space, 'record': cut.record}
    with replacement(out, header, overwrite=overwrite) as sink:
        found = False
        for number, table in enumerate(steps(cut.tables(), 'part', 'cut')):
            sink.commit(f'part {number:06d}', table)
            found = True
        _check_some([found] * found, raster, min_valid)
        sink.finish()
    return None


def _check_some(tables: list[Any], raster: VectorRaster, min_valid: float) -> None:
    if not tables:
        raise RasterError(
            f'no window of {raster.path} has vectors in {min_valid:.0%} of its pixels: give '
            'smaller windows or a smaller min_valid'
        )


@dataclass(frozen=True)
class _Cut:
    """How a raster is cut into windows."""

    raster: VectorRaster
    size: int
    step: int
    modality: str
    space: str
    min_valid: float

    @property
    def record(self) -> dict[str, Any]:
        """Facts about the vectors, for the archive."""
        facts: dict[str, Any] = {
            'file': self.raster.path.name,
            'dequantise': self.raster.method,
            'size': self.size,
            'stride': self.step,
            'min_valid': self.min_valid,
        }
        if self.raster.crs.axis_info[0].unit_name == 'metre':
            facts['gsd'] = abs(self.raster.transform.a)
        return {'pixels': facts}

    def tables(self) -> Iterator[EmbeddingTable]:
        """Give the rows, part by part."""
        waiting: list[tuple[NDArray[Any], ...]] = []
        count = 0
        for group in self._groups():
            waiting.append(group)
            count += len(group[0])
            if count >= _PART:
                yield self._table(waiting)
                waiting, count = [], 0
        if count:
            yield self._table(waiting)

    def _groups(self) -> Iterator[tuple[NDArray[Any], ...]]:
        """Give row, column, share of valid pixels and vector of windows, one piece after the other."""
        height, width = self.raster.shape
        tall, wide = self._piece()
        rows = np.arange(0, height - self.size + 1, self.step)
        columns = np.arange(0, width - self.size + 1, self.step)
        for down in range(0, len(rows), tall):
            for across in range(0, len(columns), wide):
                tops = rows[down : down + tall]
                lefts = columns[across : across + wide]
                place = Place(
                    int(tops[0]),
                    int(lefts[0]),
                    int(tops[-1] - tops[0]) + self.size,
                    int(lefts[-1] - lefts[0]) + self.size,
                )
                vectors = self.raster.read(place)
                for top in tops:
                    strip = vectors[top - tops[0] :][: self.size]
                    sums, counts = self._sums(strip, len(lefts))
                    share = counts / self.size**2
                    # Vectors that cancel out have no direction.
                    turned = np.linalg.norm(sums, axis=1) > 1e-6 * counts
                    good = (share >= self.min_valid) & (counts > 0) & turned
                    if good.any():
                        row = np.full(int(good.sum()), top)
                        yield row, lefts[good], share[good], sums[good]

    def _piece(self) -> tuple[int, int]:
        """Choose how many windows are read together, in rows and columns."""
        most = max(1, _BLOCK // (4 * self.raster.dim))
        tall, wide = (max(self.size, side) for side in self.raster.block)
        wide = max(self.size, min(wide, most // tall))
        tall = max(self.size, min(tall, most // wide))
        tall, wide = ((side - self.size) // self.step + 1 for side in (tall, wide))
        return tall, wide

    def _sums(
        self, vectors: NDArray[np.float32], number: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Add the vectors of each window of one strip, and count them."""
        valid = np.isfinite(vectors[..., 0])
        vectors = np.where(valid[..., None], vectors, 0)
        columns = vectors.sum(axis=0, dtype=np.float64)
        counts = valid.sum(axis=0)
        starts = np.arange(number) * self.step
        inside = starts[:, None] + np.arange(self.size)
        if self.step >= self.size:
            return columns[inside].sum(axis=1), counts[inside].sum(axis=1)
        # Windows overlap: differences of running sums.
        total = np.zeros((len(columns) + 1, columns.shape[1]))
        np.cumsum(columns, axis=0, out=total[1:])
        ends = starts + self.size
        return total[ends] - total[starts], counts[inside].sum(axis=1)

    def _table(self, groups: list[tuple[NDArray[Any], ...]]) -> EmbeddingTable:
        rows, columns, share, vectors = (
            np.concatenate(part) for part in zip(*groups, strict=True)
        )
        raster, size = self.raster, self.size
        t = raster.transform
        corners = np.array([[0, 0], [size, 0], [size, size], [0, size]])
        x = columns[:, None] + corners[:, 0]
        y = rows[:, None] + corners[:, 1]
        points = np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], axis=-1)
        name = raster.path.name
        code = raster.crs.to_authority()
        frame = gpd.GeoDataFrame(
            {
                'patch_id': [
                    f'{self.modality}:{name}:{row}_{column}_{size}x{size}'
                    for row, column in zip(rows, columns, strict=True)
                ],
                'source': name,
                'src_crs': ':'.join(code) if code else raster.crs.to_wkt(),
                'native_corners': list(points.reshape(-1, 8)),
                'valid_fraction': share,
            },
            geometry=shapely.polygons(points),
            crs=raster.crs,
        )
        if raster.period is not None:
            frame['time_start'], frame['time_end'] = raster.period
        return EmbeddingTable.from_frame(
            frame, vectors, space=self.space, modality=self.modality, record=self.record
        )
