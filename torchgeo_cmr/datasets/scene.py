"""Scenes: what a raster dataset catalogues, read on the grid the files have.

TorchGeo warps every file of a dataset into the CRS of the first and mosaics all dates.
Retrieval needs the opposite: one date, one grid, exact footprints. A :class:`Scene` is one
row of a raster dataset's index, that is one file or one set of single-band files, on the
finest grid among them; :mod:`torchgeo_cmr.datasets.reader` reads windows of it.
"""

import glob
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.warp import calculate_default_transform
from shapely import Polygon
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.errors import RasterError

#: Band names that only a radar has: their scale (dB, power, amplitude) must be known.
SAR_BANDS = frozenset({'VV', 'VH', 'HH', 'HV'})

#: What pixel values can be.
UNITS = ('db', 'power', 'amplitude', 'reflectance', 'dn')

#: The letter in the name of a terrain-corrected Sentinel-1 product -> unit of the pixels.
SAR_SCALES = {'d': 'db', 'p': 'power', 'a': 'amplitude'}


@dataclass(frozen=True)
class Scene:
    """One acquisition on one grid: a file, or one file a band.

    .. versionadded:: 0.1
    """

    #: Path of the index row's file (for a band set, the file of one of its bands).
    path: str
    #: One (file, 1-based band index) per band, in the order of ``bands``.
    sources: tuple[tuple[str, int], ...]
    #: Band names, in channel order.
    bands: tuple[str, ...]
    #: CRS of ``transform``.
    crs: CRS
    #: Pixel to CRS coordinates of the grid that is read.
    transform: Affine
    #: Rows and columns of that grid.
    shape: tuple[int, int]
    #: Nominal pixel size of each band's own file in metres, in channel order.
    gsd: tuple[float, ...]
    #: Value that marks missing pixels besides NaN and what each file says; None if none.
    nodata: float | None = None
    #: First and last moment of the acquisition, UTC; None if unknown.
    time_start: pd.Timestamp | None = None
    time_end: pd.Timestamp | None = None
    #: 'db', 'power', 'amplitude', 'reflectance' or 'dn'; None if nothing says it.
    units: str | None = None
    #: True if the files are in another CRS and pixels are warped while reading.
    warped: bool = field(default=False)

    @property
    def res(self) -> tuple[float, float]:
        """Pixel size ``(x, y)`` in units of the CRS."""
        t = self.transform
        return float(np.hypot(t.a, t.d)), float(np.hypot(t.b, t.e))

    @property
    def footprint(self) -> Polygon:
        """Outline of the grid, in :attr:`crs`."""
        return Polygon(_corners(self.transform, self.shape))

    def to_crs(self, crs: CRS) -> 'Scene':
        """Return this scene on a north-up grid in another CRS, at its own resolution.

        Args:
            crs: CRS to warp into when pixels are read.

        Returns:
            A scene whose pixels will be warped (bilinear); this one if nothing changes.
        """
        if crs == self.crs and self.transform.b == self.transform.d == 0:
            return self
        height, width = self.shape
        left, bottom, right, top = self.footprint.bounds
        transform, columns, rows = calculate_default_transform(
            self.crs.to_wkt(), crs.to_wkt(), width, height, left, bottom, right, top
        )
        assert rows is not None
        assert columns is not None
        return replace(
            self, crs=crs, transform=transform, shape=(rows, columns), warped=True
        )


def scenes(dataset: RasterDataset) -> list[Scene]:
    """Read the catalogue of a raster dataset: one scene an index row, in index order.

    The dataset is never indexed, so nothing is warped and no dates are merged. Files are
    opened once to learn their grid.

    Args:
        dataset: Any TorchGeo raster dataset.

    Returns:
        The scenes, each in the CRS of its own files.

    Raises:
        RasterError: If a file has no CRS, cannot be read or lacks a band.
    """
    times = dataset.index.index
    return [
        _scene(dataset, str(path), interval)
        for path, interval in zip(dataset.index['filepath'], times, strict=True)
    ]


def from_paths(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> RasterDataset:
    """Open plain raster files as a dataset, checking first what TorchGeo would skip.

    Args:
        paths: Files, folders or glob patterns.

    Returns:
        A raster dataset without dates, all bands, named by their descriptions.

    Raises:
        RasterError: If nothing matches, a file has no CRS or cannot be read.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    given = [str(path) for path in paths]
    files: list[str] = []
    for path in given:
        if os.path.isdir(path):
            path = os.path.join(glob.escape(path), '**', '*.tif*')
        files += sorted(f for f in glob.glob(path, recursive=True) if os.path.isfile(f))
    if not files:
        raise RasterError(
            f'no raster matches {", ".join(given)}: check the path, and put quotes round '
            'a pattern so that it reaches us unchanged'
        )
    files = list(dict.fromkeys(files))
    for file in files:
        with open_raster(file) as source:
            _check_crs(source)
    return RasterDataset(files)


def find_units(path: str, bands: Sequence[str], source: Any, regex: str) -> str | None:
    """Say what the pixel values are, from what the file itself states.

    Args:
        path: File that is asked.
        bands: Band names.
        source: The open file.
        regex: The dataset's pattern for file names.

    Returns:
        'db', 'power', 'amplitude', 'reflectance' or 'dn'; None for radar bands of unknown
        scale, which must never be guessed.
    """
    stated = {str(unit).strip().lower() for unit in source.units if unit}
    if len(stated) == 1:
        unit = stated.pop()
        unit = 'db' if unit == 'decibel' else unit
        if unit in UNITS:
            return unit
    match = re.match(regex, os.path.basename(path), re.VERBOSE)
    scale = match.groupdict().get('scale') if match else None
    if scale in SAR_SCALES:
        return SAR_SCALES[scale]
    if np.issubdtype(np.dtype(source.dtypes[0]), np.integer):
        return 'dn'
    return None if set(bands) & SAR_BANDS else 'reflectance'


def open_raster(path: str) -> Any:
    """Open a raster file, or say in one sentence that it is none."""
    try:
        with warnings.catch_warnings():
            # What has no CRS is refused with a sentence of our own.
            warnings.simplefilter('ignore', NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioIOError as error:
        raise RasterError(
            f'{path} cannot be read as a raster ({error}): replace or remove the file'
        ) from error


def _check_crs(source: Any) -> CRS:
    if source.crs is None:
        raise RasterError(
            f'{source.name} has no CRS: declare it, for example with `gdal_edit.py '
            '-a_srs EPSG:CODE`, because no place is ever guessed'
        )
    with rasterio.Env(OSR_WKT_FORMAT='WKT2_2018'):
        return CRS.from_user_input(source.crs)


def _scene(dataset: RasterDataset, path: str, interval: Any) -> Scene:
    known = interval.left != pd.Timestamp.min and interval.right != pd.Timestamp.max
    wanted = tuple(dataset.bands or ())
    with open_raster(path) as source:
        crs = _check_crs(source)
        if dataset.separate_files:
            bands = wanted
            sources = [(dataset._update_filepath(band, path), 1) for band in bands]
            missing = [file for file, _ in sources if not os.path.isfile(file)]
            if missing:
                raise RasterError(
                    f'{os.path.basename(path)} belongs to a set of {len(bands)} bands, but '
                    f'{os.path.basename(missing[0])} is missing: add the file or ask for '
                    'fewer bands'
                )
        else:
            indexes = dataset.band_indexes or list(source.indexes)
            if max(indexes) > source.count:
                raise RasterError(
                    f'{path} has {source.count} bands, band {max(indexes)} was asked: check '
                    'the file or the `bands` of the dataset'
                )
            names = source.descriptions
            bands = wanted or tuple(names[i - 1] or f'band_{i}' for i in indexes)
            sources = [(path, i) for i in indexes]
    grids = _grids(list(dict.fromkeys(file for file, _ in sources)), crs)
    # The smallest pixel wins; among equals, the file of the first band.
    finest = min(grids, key=lambda file: abs(grids[file][0].determinant))
    transform, shape = grids[finest]
    gsd = {file: _gsd(*grid, crs) for file, grid in grids.items()}
    with open_raster(finest) as source:
        return Scene(
            path=path,
            sources=tuple(sources),
            bands=bands,
            crs=crs,
            transform=transform,
            shape=shape,
            gsd=tuple(gsd[file] for file, _ in sources),
            nodata=_nodata(source, dataset.nodata),
            time_start=_utc(interval.left) if known else None,
            time_end=_utc(interval.right) if known else None,
            units=find_units(finest, bands, source, dataset.filename_regex),
        )


def _grids(files: list[str], crs: CRS) -> dict[str, tuple[Affine, tuple[int, int]]]:
    """Grid of each file of a scene, once it is sure that they show one ground."""
    grids: dict[str, tuple[Affine, tuple[int, int]]] = {}
    for file in files:
        with open_raster(file) as source:
            same = _check_crs(source).equals(crs, ignore_axis_order=True)
            grids[file] = source.transform, source.shape
        if not same:
            raise RasterError(
                f'{file} is not in the CRS of the other bands of its scene ({crs.name}): the '
                'bands of one scene must share one'
            )
    first, *others = grids
    outline = _corners(*grids[first])
    finest = min(abs(transform.determinant) ** 0.5 for transform, _ in grids.values())
    for file in others:
        if np.abs(_corners(*grids[file]) - outline).max() > 0.01 * finest:
            raise RasterError(
                f'{file} does not cover the same ground as {first}, a band of the same '
                'scene: crop them to one extent'
            )
    return grids


def _corners(transform: Affine, shape: tuple[int, int]) -> NDArray[np.float64]:
    height, width = shape
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    return np.array([apply(transform, *corner) for corner in corners])


def _gsd(transform: Affine, shape: tuple[int, int], crs: CRS) -> float:
    """Nominal pixel size in metres: in the CRS, or on the ellipsoid if in degrees."""
    if not crs.is_geographic:
        metres = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        return float(np.sqrt(abs(transform.determinant)) * metres)
    row, column = shape[0] // 2, shape[1] // 2
    geod = crs.get_geod() or Geod(ellps='WGS84')
    here = apply(transform, column, row)
    across = geod.inv(*here, *apply(transform, column + 1, row))[2]
    down = geod.inv(*here, *apply(transform, column, row + 1))[2]
    return float(np.sqrt(across * down))


def _utc(time: pd.Timestamp) -> pd.Timestamp:
    return time.tz_localize('UTC') if time.tzinfo is None else time.tz_convert('UTC')


def apply(transform: Affine, x: float, y: float) -> tuple[float, float]:
    """Map a point: pixel ``(column, row)`` to coordinates, or back with the inverse."""
    # Written out because the operator for points differs between versions of affine.
    t = transform
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def _nodata(source: Any, override: float | None) -> float | None:
    value = source.nodata if override is None else override
    return None if value is None or np.isnan(value) else float(value)
