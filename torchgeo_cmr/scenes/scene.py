"""Scenes: what a raster dataset catalogues, read on the grid the files have.

TorchGeo warps every file of a dataset into the CRS of the first and mosaics all dates.
Retrieval needs the opposite: one date, one grid, exact footprints. A :class:`Scene` is one
row of a raster dataset's index, that is one file or one set of single-band files, on the
finest grid among them; :mod:`torchgeo_cmr.reading.converting` finds the reader for it.
Products, STAC items and cubes become scenes in the modules of those names, through
:func:`assemble`. The module is long because every check of the files of a scene stands
next to it, with its own sentence.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod
from rasterio.warp import calculate_default_transform
from shapely import Polygon
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset, RasterDataset

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.iso8601 import read_period
from torchgeo_cmr.rasters.orientation import AS_STORED, Turn, north_up
from torchgeo_cmr.scenes.bands import is_radar
from torchgeo_cmr.scenes.files import RASTERS, Paths, find_files
from torchgeo_cmr.scenes.header import Header, read_header
from torchgeo_cmr.scenes.outlines import (
    clips,
    degrees_of,
    project,
    project_near,
    same_crs,
)
from torchgeo_cmr.scenes.remote_files import RemoteFile
from torchgeo_cmr.scenes.scales import (
    SENTINEL2,
    UNKNOWN,
    Scales,
    common_steps,
    find_scales,
)
from torchgeo_cmr.scenes.sources.product_names import Times
from torchgeo_cmr.scenes.units import BACKSCATTER, find_units

_LOG = logging.getLogger(__name__)

#: A variable of a cube, and the position along each of its other dimensions.
type Layer = tuple[str, tuple[tuple[str, int], ...]]


@dataclass(frozen=True)
class Scene:
    """One acquisition on one grid: a file, or one file per band."""

    #: Path of the index row's file (for a band set, the file of one of its bands).
    path: str
    #: One (file, 1-based band index) per band, in the order of ``bands``.
    sources: tuple[tuple[str, int], ...]
    #: Band names, in channel order.
    bands: tuple[str, ...]
    #: CRS of ``transform``.
    crs: CRS
    #: Pixel to CRS coordinates of the grid that is read, which has north at the top.
    transform: Affine
    #: Rows and columns of that grid.
    shape: tuple[int, int]
    #: Nominal pixel size of each band's own file in metres, in channel order.
    gsd: tuple[float, ...]
    #: Value that marks missing pixels besides NaN and what each file states; None if none.
    nodata: float | None = None
    #: First and last moment of the acquisition, UTC; None if unknown.
    time_start: pd.Timestamp | None = None
    time_end: pd.Timestamp | None = None
    #: 'db', 'power', 'amplitude', 'reflectance' or 'dn'; None if it is unknown.
    units: str | None = None
    #: True if the files are in another CRS and pixels are warped while reading.
    warped: bool = field(default=False)
    #: True if the grid has other pixels than the finest file, and pixels are resampled.
    resampled: bool = False
    #: Name of the sensor, such as ``'sentinel-2'`` or ``'landsat-8'``; None if unknown.
    sensor: str | None = None
    #: Which of the scenes of one file this is, such as the date in a cube; '' if the only.
    part: str = ''
    #: In a cube: variable and position along other dimensions, per band; None for rasters.
    layers: tuple[Layer, ...] | None = None
    #: Unit into which backscatter is converted when it is read; None to read it as it is.
    read_as: str | None = None
    #: True if the files mark no pixels as missing, by nodata or a mask.
    unmarked: bool = False
    #: True if they cannot hold NaN either.
    complete: bool = False
    #: What the stored numbers of each band mean; None if nothing states it of any.
    scales: Scales = None
    #: Physical value of one step in which each band is read; None for its own.
    steps: tuple[float | None, ...] | None = None
    #: One band that marks which pixels are missing or cloud, on its own grid; None if none.
    quality: 'Scene | None' = None
    #: How the stored pixels become those of the grid, before anything is resampled.
    turn: Turn = AS_STORED
    #: Part of the grid that may be used, in ``crs``; None for all of it.
    clip: BaseGeometry | None = None
    #: How pixels are moved to another grid, by GDAL's name.
    resampling: str = 'bilinear'
    #: CRS of the files if it is not ``crs``.
    source_crs: CRS | None = None

    @property
    def remote(self) -> bool:
        """Whether a file of it, or of its quality mask, is on a server."""
        files = (*self.sources, *(self.quality.sources if self.quality else ()))
        return any(isinstance(file, RemoteFile) for file, _ in files)

    @property
    def grid_gsd(self) -> float:
        """Nominal pixel size of the grid that is read, in metres.

        In a geographic CRS it is the north-south spacing, as in training.
        """
        return _gsd(self.transform, self.shape, self.crs, down_only=True)

    @property
    def res(self) -> tuple[float, float]:
        """Pixel size ``(x, y)`` in units of the CRS."""
        t = self.transform
        return float(np.hypot(t.a, t.d)), float(np.hypot(t.b, t.e))

    @property
    def scale(self) -> list[float | None] | None:
        """Physical value of one step of each band as it is read; None if all are unknown."""
        scales = self.scales or (UNKNOWN,) * len(self.bands)
        wanted = self.steps or (None,) * len(self.bands)
        found = [
            scale.step if scale.step is None or step is None else step
            for scale, step in zip(scales, wanted, strict=True)
        ]
        return found if any(step is not None for step in found) else None

    @property
    def stated_nodata(self) -> float | None:
        """Value that marks missing pixels of the first band; None if there is none."""
        value = self.nodata
        if value is None and self.layers is None:
            path, index = self.sources[0]
            value = read_header(path).nodata[index - 1]
        return None if value is None or np.isnan(value) else float(value)

    @property
    def footprint(self) -> Polygon:
        """Outline of the grid, in :attr:`crs`."""
        return Polygon(_corners(self.transform, self.shape))

    @property
    def outline(self) -> BaseGeometry:
        """Ground that may be used, in :attr:`crs`."""
        return self.footprint if self.clip is None else self.clip

    def pick(self, order: Sequence[int], names: Sequence[str] | None = None) -> 'Scene':
        """Return this scene with some of its bands.

        Args:
            order: Positions in ``bands``, in the order wanted.
            names: What to call them (default: as they are called).

        Returns:
            The same scene and grid with those bands.
        """
        return replace(
            self,
            sources=tuple(self.sources[i] for i in order),
            bands=tuple(names or (self.bands[i] for i in order)),
            gsd=tuple(self.gsd[i] for i in order),
            layers=None
            if self.layers is None
            else tuple(self.layers[i] for i in order),
            scales=None
            if self.scales is None
            else tuple(self.scales[i] for i in order),
            steps=None if self.steps is None else tuple(self.steps[i] for i in order),
        )

    def at_gsd(self, gsd: float) -> 'Scene':
        """Return this scene on a grid with other pixels, over the same ground.

        Pixels are resampled (bilinear) while they are read.

        Args:
            gsd: Pixel size in metres; the grid takes the nearest that divides the scene
                into whole pixels.

        Returns:
            A scene with the same corners; this one if its grid does not change.
        """
        ratio = self.grid_gsd / gsd
        rows, columns = (max(1, round(pixels * ratio)) for pixels in self.shape)
        if (rows, columns) == self.shape:
            return self
        down, across = self.shape[0] / rows, self.shape[1] / columns
        t = self.transform
        return replace(
            self,
            transform=Affine(
                t.a * across, t.b * down, t.c, t.d * across, t.e * down, t.f
            ),
            shape=(rows, columns),
            resampled=True,
        )

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

    def on_lattice(
        self,
        crs: CRS,
        res: tuple[float, float],
        origin: tuple[float, float],
        *,
        nearest: bool = False,
        within: BaseGeometry | None = None,
    ) -> 'Scene':
        """Return this scene as it is read on a north-up lattice of a stated pixel size.

        Args:
            crs: CRS of the lattice.
            res: Width and height of a pixel in units of *crs*.
            origin: A corner of the lattice, from which pixels count if they are resampled;
                pixels that have the right size stay where they are.
            nearest: Whether pixels that are moved take the nearest value, as classes must;
                otherwise they are moved as :attr:`resampling` says.
            within: Ground in *crs* outside of which nothing will be read.

        Returns:
            A scene with north up and pixels of that size; this one if it is so already.
        """
        scene = replace(self, resampling='nearest') if nearest else self
        same = same_crs(self.crs, crs)
        t = self.transform
        if same and t.b == t.d == 0 and t.a > 0 > t.e:
            ratios = t.a / res[0], -t.e / res[1]
            columns, rows = (
                n * ratio for n, ratio in zip(self.shape[::-1], ratios, strict=True)
            )
            shape = max(1, round(rows)), max(1, round(columns))
            if abs(rows - shape[0]) < _WHOLE and abs(columns - shape[1]) < _WHOLE:
                if shape == self.shape:
                    return scene
                grid = Affine(res[0], 0, t.c, 0, -res[1], t.f)
                return replace(scene, transform=grid, shape=shape, resampled=True)
        outline = np.array([self.footprint], object)
        ground = project_near(outline, self.crs, crs, within)[0]
        if within is not None:
            ground = ground & within
        bounds = (*origin, *origin) if ground.is_empty else ground.bounds
        left, bottom, right, top = bounds
        first = np.floor((left - origin[0]) / res[0] + 1e-6)
        last = np.ceil((right - origin[0]) / res[0] - 1e-6)
        upper = np.ceil((top - origin[1]) / res[1] - 1e-6)
        lower = np.floor((bottom - origin[1]) / res[1] + 1e-6)
        clip = np.array([self.clip], object)
        return replace(
            scene,
            crs=crs,
            source_crs=None if same else self.source_crs or self.crs,
            transform=Affine(
                res[0],
                0,
                origin[0] + first * res[0],
                0,
                -res[1],
                origin[1] + upper * res[1],
            ),
            shape=(max(1, int(upper - lower)), max(1, int(last - first))),
            clip=None if self.clip is None else project(clip, self.crs, crs)[0],
            warped=True,
        )


#: Part of a pixel by which a grid may miss a whole number of pixels.
_WHOLE = 0.01


def scenes(dataset: RasterDataset) -> list[Scene]:
    """Read the catalogue of a raster dataset: one scene an index row, in index order.

    The dataset is never indexed, so nothing is warped and no dates are merged. Files are
    opened once to learn their grid. A geometry of the index that is smaller than its file,
    as TorchGeo's splits leave it, becomes the clip of the scene.

    Args:
        dataset: Any TorchGeo raster dataset.

    Returns:
        The scenes, each in the CRS of its own files. If they state several scales, all are
        read in the steps of the first.

    Raises:
        RasterError: If a file has no CRS, cannot be read or lacks a band.
    """
    times = dataset.index.index
    found = [
        _scene(dataset, path, interval)
        for path, interval in zip(index_paths(dataset), times, strict=True)
    ]
    found = clipped(dataset, found)
    if not dataset.is_image:
        # Numbers of classes are names.
        return [replace(scene, scales=None) for scene in found]
    # Other bands, or another order, have to be matched first.
    return in_steps(found) if len({scene.bands for scene in found}) == 1 else found


def index_paths(dataset: GeoDataset) -> list[str]:
    """Return the file of each row of an index, also where its columns lost their names.

    Args:
        dataset: A dataset of files; TorchGeo's ``random_grid_cell_assignment`` leaves one
            whose columns only count.

    Returns:
        One path for each row.
    """
    index = dataset.index
    column = 'filepath' if 'filepath' in index else index.columns[0]
    return [str(path) for path in index[column]]


def clipped(dataset: GeoDataset, listed: Sequence[Scene]) -> list[Scene]:
    """Cut scenes to the ground that an index lists of them.

    Args:
        dataset: The dataset with the index.
        listed: One scene for each row of the index.

    Returns:
        The scenes, with :attr:`Scene.clip` where the index lists a part of their grid.
    """
    if not listed:
        return []
    found = clips(
        np.array([scene.footprint for scene in listed], object),
        [scene.crs for scene in listed],
        np.array(dataset.index.geometry, object),
        dataset.crs,
        min(map(abs, dataset.res)),
    )
    return [
        scene if clip is None else replace(scene, clip=clip)
        for scene, clip in zip(listed, found, strict=True)
    ]


def in_steps(catalogue: Sequence[Scene]) -> list[Scene]:
    """Have scenes of one sensor read in the same steps, whatever scales they state.

    Args:
        catalogue: Scenes with the same bands in one order.

    Returns:
        The scenes in their order.

    Warns:
        UserWarning: If some state an offset and others nothing.
    """
    catalogue = [physical(scene) for scene in catalogue]
    steps = common_steps([s.scales for s in catalogue if s.steps is None])
    unknown = [scene for scene in catalogue if scene.scales is None]
    moved = [s for s in catalogue if any(b.shift for b in s.scales or ())]
    if unknown and moved:
        warnings.warn(
            f'{moved[0].path} states an offset, which is applied, and '
            f'{unknown[0].path} (one of {len(unknown)}) states no scale, so its numbers are '
            'read as they are stored: add its metadata, or set scale and offset of the file',
            UserWarning,
            stacklevel=3,
        )
    return [
        replace(scene, steps=steps)
        if steps is not None and scene.scales is not None and scene.steps is None
        else scene
        for scene in catalogue
    ]


def physical(scene: Scene) -> Scene:
    """Have radar with a stated scale read in steps of 1: its units are physical ones."""
    radar = scene.units in BACKSCATTER or any(map(is_radar, scene.bands))
    if scene.scales is None or not radar:
        return scene
    return replace(scene, steps=(1.0,) * len(scene.bands))


def from_paths(paths: Paths) -> RasterDataset:
    """Open plain raster files as a dataset, checking first what TorchGeo would skip.

    Args:
        paths: Files, folders or glob patterns.

    Returns:
        A raster dataset without dates, all bands, named by their descriptions.

    Raises:
        RasterError: If nothing matches, a file has no CRS or cannot be read.
    """
    files = find_files(paths, RASTERS)
    for file in files:
        # Refuses files without a CRS, which TorchGeo would skip.
        assert read_header(file).crs
    return RasterDataset(files)


def _scene(dataset: RasterDataset, path: str, interval: Any) -> Scene:
    known = interval.left != pd.Timestamp.min and interval.right != pd.Timestamp.max
    wanted = tuple(dataset.bands or ())
    if dataset.separate_files:
        bands = wanted
        sources = [(_file_of_band(dataset, band, path), 1) for band in bands]
        missing = [file for file, _ in sources if not os.path.isfile(file)]
        if missing:
            raise RasterError(
                f'{os.path.basename(path)} belongs to a set of {len(bands)} bands, but '
                f'{os.path.basename(missing[0])} is missing: add the file or request '
                'fewer bands'
            )
    else:
        bands, sources = bands_of(path, dataset.band_indexes, wanted)
    return assemble(
        sources,
        bands,
        path=path,
        nodata=dataset.nodata,
        times=(interval.left, interval.right) if known else (None, None),
        regex=dataset.filename_regex,
    )


def _file_of_band(dataset: RasterDataset, band: str, path: str) -> str:
    """Find the file of a band where TorchGeo expects it, or next to a given file.

    TorchGeo looks for each resolution of Sentinel-2 in a folder of its own; in flat folders
    all lie together, and some products repeat a band at coarser pixels only.
    """
    expected: str = dataset._update_filepath(band, path)
    folder, name = os.path.split(expected)
    names = [name, *(re.sub(r'_\d+m(?=\.)', f'_{r}m', name) for r in (10, 20, 60))]
    places = [folder, os.path.dirname(path)]
    files = (os.path.join(place, name) for name in names for place in places)
    return next((file for file in files if os.path.isfile(file)), expected)


def bands_of(
    path: str, indexes: Sequence[int] | None = None, names: Sequence[str] = ()
) -> tuple[tuple[str, ...], list[tuple[str, int]]]:
    """Name the bands of one file: as requested, by their descriptions, else by counting.

    Args:
        path: The file.
        indexes: 1-based bands to take (default: all).
        names: What to call them (default: their descriptions).

    Returns:
        Band names, and one ``(path, 1-based band)`` for each.

    Raises:
        RasterError: If the file cannot be read or lacks a band.
    """
    header = read_header(path)
    chosen = list(indexes or range(1, header.count + 1))
    if max(chosen, default=0) > header.count:
        raise RasterError(
            f'{path} has {header.count} bands, band {max(chosen)} was requested: check '
            'the file or the `bands` of the dataset'
        )
    named = tuple(names) or tuple(
        header.descriptions[i - 1] or f'band_{i}' for i in chosen
    )
    return named, [(path, i) for i in chosen]


def assemble(
    sources: Sequence[tuple[str, int]],
    bands: Sequence[str],
    *,
    path: str | None = None,
    nodata: float | None = None,
    times: Times = (None, None),
    regex: str = '(?!)',
    sensor: str | None = None,
    crs: CRS | None = None,
) -> Scene:
    """Make one scene of bands that lie in one file or in several.

    Args:
        sources: ``(file, 1-based band)`` of each band.
        bands: Names of the bands.
        path: File that names the scene (default: that of the first band).
        nodata: Value that marks missing pixels besides what each file states.
        times: First and last moment, naive times are UTC (default: what the files state).
        regex: Pattern whose group ``scale`` states the unit of backscatter.
        sensor: Name of the sensor.
        crs: CRS of files that state none.

    Returns:
        The scene, on the finest grid among its files.

    Raises:
        RasterError: If a file has no CRS or cannot be read, or the files do not lie on one
            ground.
    """
    path = sources[0][0] if path is None else path
    stated = crs is not None
    header = read_header(path)
    if header.wkt or crs is None:
        crs = header.crs
    grids = _grids(list(dict.fromkeys(file for file, _ in sources)), crs, stated)
    # The smallest pixel wins; among equals, the file of the first band.
    finest = min(grids, key=lambda file: abs(grids[file][1].determinant))
    turn, transform, shape = grids[finest]
    gsd = {file: _gsd(grid, size, crs) for file, (_, grid, size) in grids.items()}
    headers = {file: read_header(file) for file in grids}
    if times == (None, None):
        times = _stated_moments(headers.values())
    start, end = (None if time is None else _utc(time) for time in times)
    used = [(headers[file], index - 1) for file, index in sources]
    unmarked = nodata is None and all(h.masks[i] == ('all_valid',) for h, i in used)
    made = Scene(
        path=path,
        sources=tuple(sources),
        bands=tuple(bands),
        crs=crs,
        transform=transform,
        shape=shape,
        gsd=tuple(gsd[file] for file, _ in sources),
        nodata=None if nodata is None or np.isnan(nodata) else float(nodata),
        unmarked=unmarked,
        complete=unmarked and all(np.dtype(h.dtypes[i]).kind in 'iub' for h, i in used),
        time_start=start,
        time_end=end,
        units=find_units(headers[finest], bands, regex),
        scales=find_scales(sources, bands),
        sensor=sensor,
        turn=turn,
    )
    return without_zeros(made)


def without_zeros(scene: Scene) -> Scene:
    """Have zeros be missing where Sentinel-2 has an offset and its files mark nothing.

    Products keep 0 for pixels without data, and since there is an offset no dark pixel is
    stored as 0; but the JPEG 2000 files do not say so.
    """
    if not scene.unmarked or SENTINEL2 not in (scene.scales or ()):
        return scene
    return replace(scene, nodata=0.0, unmarked=False, complete=False)


def _grids(
    files: list[str], crs: CRS, stated: bool
) -> dict[str, tuple[Turn, Affine, tuple[int, int]]]:
    """Grid of each file of a scene, north up, once it is sure that they show one ground."""
    grids: dict[str, tuple[Turn, Affine, tuple[int, int]]] = {}
    for file in files:
        header = read_header(file)
        system = crs if stated and not header.wkt else header.crs
        _check_pixels(header, system)
        grids[file] = north_up(header.transform, header.shape)
        if system is not crs and not system.equals(crs, ignore_axis_order=True):
            raise RasterError(
                f'{file} is not in the CRS of the other bands of its scene ({crs.name}): the '
                'bands of one scene must share one'
            )
    first, *others = grids
    outline = _corners(*grids[first][-2:])
    finest = min(abs(grid.determinant) ** 0.5 for _, grid, _ in grids.values())
    for file in others:
        if np.abs(_corners(*grids[file][-2:]) - outline).max() > 0.01 * finest:
            raise RasterError(
                f'{file} does not cover the same ground as {first}, a band of the same '
                'scene: crop them to one extent'
            )
    return grids


def _check_pixels(header: Header, crs: CRS) -> None:
    """Refuse pixels that lie nowhere, and numbers that no encoder takes."""
    if header.transform.is_identity and header.has_gcps:
        raise RasterError(
            f'{header.path} has a CRS, and ground control points or RPCs in place of a '
            'grid: warp it first, for example with `gdalwarp`'
        )
    if header.transform.is_identity:
        raise RasterError(
            f'{header.path} has a CRS but no geotransform: state it, for example with '
            '`gdal_edit.py -a_ullr`, because no place is ever guessed'
        )
    if (
        not np.isfinite(tuple(header.transform)).all()
        or not header.transform.determinant
    ):
        raise RasterError(
            f'{header.path} has pixels without a width or a height '
            f'({tuple(header.transform)[:6]}): correct its geotransform'
        )
    if crs.is_geocentric:
        raise RasterError(
            f'{header.path} is in the geocentric CRS {crs.name}: warp it to a CRS with '
            'two axes, for example with `gdalwarp -t_srs EPSG:4326`'
        )
    if any(kind.startswith('complex') for kind in header.dtypes):
        raise RasterError(
            f'{header.path} holds complex numbers: write their amplitude or power first'
        )


def _corners(transform: Affine, shape: tuple[int, int]) -> NDArray[np.float64]:
    height, width = shape
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    return np.array([apply(transform, *corner) for corner in corners])


def _gsd(
    transform: Affine, shape: tuple[int, int], crs: CRS, down_only: bool = False
) -> float:
    """Nominal pixel size in metres: in the CRS, or on the ellipsoid if in angles."""
    if not crs.is_geographic:
        metres = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        return float(np.sqrt(abs(transform.determinant)) * metres)
    row, column = shape[0] // 2, shape[1] // 2
    geod = crs.get_geod() or Geod(ellps='WGS84')
    corners = (
        apply(transform, *place)
        for place in ((column, row), (column + 1, row), (column, row + 1))
    )
    degrees = degrees_of(crs)
    corner, right, below = ((x * degrees, y * degrees) for x, y in corners)
    across, down = geod.inv(*corner, *right)[2], geod.inv(*corner, *below)[2]
    return float(down if down_only else np.sqrt(across * down))


def _utc(time: pd.Timestamp) -> pd.Timestamp:
    return time.tz_localize('UTC') if time.tzinfo is None else time.tz_convert('UTC')


def moments(
    value: str | datetime | None,
) -> tuple[pd.Timestamp, pd.Timestamp] | tuple[None, None]:
    """Read a date as files and catalogues write it.

    Args:
        value: ISO 8601, or a time without a zone in UTC; None or empty if unknown.

    Returns:
        First and last moment, to the microsecond: a year, month or day is the whole of it.

    Raises:
        ValueError: If it is something else, or text in another form.
    """
    if value is None or value == '':
        return None, None
    if isinstance(value, str):
        period = read_period(value)
        first = pd.Timestamp(np.datetime64(period.start // 1000, 'us'), tz='UTC')
        last = pd.Timestamp(np.datetime64((period.end - 1) // 1000, 'us'), tz='UTC')
        assert isinstance(first, pd.Timestamp)  # only NaT becomes NaT
        assert isinstance(last, pd.Timestamp)
        return first, last
    if not isinstance(value, datetime):
        # Also wrong text is a ValueError: one kind for whoever reads a file.
        raise ValueError(f'{value!r:.60} is not a date; write it in ISO 8601')  # noqa: TRY004
    moment = pd.Timestamp(value)
    if not isinstance(moment, pd.Timestamp):
        return None, None
    return _utc(moment), _utc(moment)


def _stated_moments(headers: Iterable[Header]) -> Times:
    """First and last moment of what files state in GDAL's domain for imagery."""
    found: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    for header in headers:
        try:
            first, last = moments(header.imagery.get('ACQUISITIONDATETIME'))
        except ValueError as error:
            _LOG.warning(
                '%s is taken as undated: its ACQUISITIONDATETIME %s', header.path, error
            )
            continue
        if first is not None and last is not None:
            found.append((first, last))
    if not found:
        return None, None
    firsts, lasts = zip(*found, strict=True)
    return min(firsts), max(lasts)


def apply[T: (float, NDArray[np.float64])](
    transform: Affine, x: T, y: T
) -> tuple[T, T]:
    """Map points: pixels ``(column, row)`` to coordinates, or back with the inverse."""
    # Written out because the operator for points differs between versions of affine.
    t = transform
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f
