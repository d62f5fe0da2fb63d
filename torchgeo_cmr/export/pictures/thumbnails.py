"""PatchReader: small pictures of patches, read from the scenes an archive remembers."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import shapely.affinity
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from torchgeo_cmr.errors import QueryError, RasterError
from torchgeo_cmr.export.layers.extent import moved
from torchgeo_cmr.rasters.alpha import unused_alpha
from torchgeo_cmr.rasters.orientation import NorthUp
from torchgeo_cmr.rasters.raster_files import open_pixels
from torchgeo_cmr.regular_files import check_regular, is_address, shown
from torchgeo_cmr.table.footprints import WGS84, unwrap

from .named_pixels import Band, is_cube, parse_window, shown_bands

#: Pixels of one picture; a patch of an encoder has thousands.
_LARGEST = 2**24

#: Row, column, height and width in pixels.
type Area = tuple[float, float, float, float]


class PatchReader:
    """Reads the picture of a patch, in its own modality or in another at the same place.

    Two bands are treated as a radar pair, averaged over three by three pixels and shown with
    their difference. The patch's own picture is the window that its ``patch_id`` names, in pixels of the
    scene's finest band. In another modality it is the ground under the footprint, cut
    along the axes of the scene found there: good enough to look at, nothing to measure on.

    Args:
        records: The ``record`` of an embedding table for each modality; ``sources``,
            ``grids``, ``nodata`` and ``root`` are used. Scenes of a cube (NetCDF, Zarr) have no picture.
        root: Folder that the paths are relative to, in place of the records' own.
        north_up: Whether pictures of scenes that are stored in another orientation are
            turned until north is at the top; without it they show rows and columns as the
            file has them.
    """

    def __init__(
        self,
        records: Mapping[str, Mapping[str, Any]],
        root: str | PathLike[str] | None = None,
        *,
        north_up: bool = False,
    ) -> None:
        """Remember where the scenes are; files are opened when a picture is requested."""
        self._root, self._north_up = root, north_up
        self._records = {
            modality: {**record, 'sources': _with_bands(record.get('sources') or {})}
            for modality, record in records.items()
        }
        self._places: dict[str, list[tuple[CRS, list[str], NDArray[np.object_]]]] = {}

    def __call__(self, patch: pd.Series, modality: str) -> NDArray[np.float64] | None:
        """Read one picture.

        Args:
            patch: Row of an embedding table's frame or of a result.
            modality: Modality to show the place in.

        Returns:
            Floats in 0..1, shape (height, width, 3), black where there are no data; None if
            no scene of that modality covers the place.

        Raises:
            QueryError: If the patch or its scene's files cannot be found.
        """
        record = self._records.get(modality)
        if record is None or not record.get('sources'):
            return None
        if patch['modality'] == modality:
            scene = patch['source']
            if scene not in record['sources'] or is_cube(record['sources'][scene]):
                return None
            if scene in (record.get('grids') or {}):
                # The window counts pixels of a grid that no file has.
                return self._ground(record, scene, patch)
            found = parse_window(patch['patch_id'])
            if found is None:
                raise QueryError(
                    f'patch_id {patch["patch_id"]!r} does not end in row_col_HEIGHTxWIDTH'
                )
            every = record['sources'][scene]
            finest = min(every, key=lambda band: band[3] or np.inf)
            with NorthUp(self.open(record, finest)) as file:
                area = file.turn.presented(found, file.shape)
            windows = [_scaled(area, finest[3], band[3]) for band in shown_bands(every)]
            return self._picture(record, scene, windows, (int(area[2]), int(area[3])))
        scene = self.scene_at(patch, modality, record)
        if scene is None:
            return None
        return self._ground(record, scene, patch)

    def scene_at(
        self, patch: pd.Series, modality: str, record: Mapping[str, Any]
    ) -> str | None:
        """Find the scene that covers most of a footprint.

        Args:
            patch: Row of an embedding table's frame or of a result.
            modality: A modality that has a record.
            record: That record.

        Returns:
            Scene id; None if no scene does, or the patch has no place.

        Raises:
            QueryError: If a scene's file cannot be opened.
        """
        if patch['geometry'] is None:
            return None
        if modality not in self._places:
            self._places[modality] = self._outlines(record)
        shares: dict[str, float] = {}
        for crs, scenes, outlines in self._places[modality]:
            try:
                outline = _outline(patch, crs)
            except QueryError:
                # The patch has no place on that map.
                continue
            covered = (
                shapely.area(shapely.intersection(outlines, outline)) / outline.area
            )
            shares |= zip(scenes, covered.tolist(), strict=True)
        best, chosen = 0.0, None
        for scene in sorted(shares):
            if shares[scene] > best + 1e-9:
                best, chosen = shares[scene], scene
        return chosen

    def _outlines(
        self, record: Mapping[str, Any]
    ) -> list[tuple[CRS, list[str], NDArray[np.object_]]]:
        """Outlines of the scenes of a record, by their CRS."""
        found: dict[str, dict[str, shapely.Polygon]] = {}
        for scene, bands in record['sources'].items():
            if is_cube(bands):
                continue
            with self.open(record, bands[0]) as file:
                if file.crs is None:
                    continue
                height, width = file.shape
                corners = [(0, 0), (width, 0), (width, height), (0, height)]
                ring = shapely.Polygon(on(file.transform, np.array(corners)))
                found.setdefault(file.crs.to_wkt(), {})[scene] = ring
        return [
            (CRS.from_wkt(wkt), [*rings], np.array([*rings.values()]))
            for wkt, rings in found.items()
        ]

    def path_of(self, record: Mapping[str, Any], band: Band) -> Path:
        """Give the file of a band.

        Args:
            record: Record of its modality.
            band: One of the scene's bands.
        """
        root = self._root if self._root is not None else record.get('root') or '.'
        return Path(root) / band[0]

    def open(self, record: Mapping[str, Any], band: Band) -> Any:
        """Open the file of a band with rasterio.

        Args:
            record: Record of its modality.
            band: One of the scene's bands.

        Raises:
            QueryError: If it cannot be opened.
        """
        if is_address(band[0]):
            raise QueryError(
                f'{shown(band[0])} cannot be opened: it is on a server, and pixels of hits are cut '
                'from files on this disk only; download the scenes, embed the files and search there'
            )
        path = self.path_of(record, band)
        try:
            # The record may be anybody's: what it names is a file on this disk, or nothing.
            check_regular(path, QueryError)
            file = open_pixels(path)
        except (RasterError, RasterioError, QueryError) as error:
            raise QueryError(
                f'{path!s:.200} cannot be opened; say where the scenes are with root= ({error})'
            ) from error
        if not 1 <= band[1] <= file.count:
            file.close()
            raise QueryError(
                f'{path} has {file.count} bands and no band {band[1]}: it is another file than '
                'that which was embedded; say where the scenes are with root='
            )
        return file

    def _ground(
        self, record: Mapping[str, Any], scene: str, patch: pd.Series
    ) -> NDArray[np.float64] | None:
        """Show the ground of a patch, whatever the grid of the files."""
        windows = []
        for band in shown_bands(record['sources'][scene]):
            with NorthUp(self.open(record, band)) as file:
                if file.crs is None:
                    return None
                outline = _outline(patch, CRS.from_wkt(file.crs.to_wkt()))
                if outline.geom_type == 'MultiPolygon':
                    # Cut at the antimeridian: join the parts on the side of the scene.
                    outline = shapely.affinity.translate(
                        unwrap(outline), 0 if file.transform.c > 0 else -360
                    )
                pixels = on(~file.transform, shapely.get_coordinates(outline))
                low, high = pixels.min(axis=0), pixels.max(axis=0)
                windows.append((low[1], low[0], *(high - low)[::-1].tolist()))
        shape = max(1, round(windows[0][2])), max(1, round(windows[0][3]))
        return self._picture(record, scene, windows, shape)

    def _picture(
        self,
        record: Mapping[str, Any],
        scene: str,
        windows: Sequence[Area],
        shape: tuple[int, int],
    ) -> NDArray[np.float64] | None:
        if shape[0] * shape[1] > _LARGEST:
            raise QueryError(
                f'a patch of {scene} claims {shape[0]} x {shape[1]} pixels, too many for a '
                'picture; check the archive or the saved search'
            )
        planes = []
        every = record['sources'][scene]
        nodata = (record.get('nodata') or {}).get(scene)
        for band, window in zip(shown_bands(every), windows, strict=True):
            with NorthUp(self.open(record, band)) as file:
                taken = [other[1] for other in every if other[0] == band[0]]
                plane = _read(
                    file, band[1], window, shape, is_masked(file, band[1], taken)
                )
                plane[plane == nodata] = np.nan
                alpha = unused_alpha(file)
                if alpha is not None and alpha not in taken:
                    plane[_read(file, alpha, window, shape, False) == 0] = np.nan
                planes.append(plane)
                turn = file.turn
        if not self._north_up:
            # As the file of the last band is; those of one scene rarely differ.
            planes = [turn.back(plane) for plane in planes]
        pixels = np.stack(planes)
        if not np.isfinite(pixels).any():
            return None
        if len(pixels) == 2:
            # Two bands are a radar pair: speckle hides what the eye should compare.
            pixels = np.stack([_calmed(plane) for plane in pixels])
            pixels = np.stack([pixels[0], pixels[1], pixels[0] - pixels[1]])
        return np.moveaxis(np.stack([stretch(p) for p in pixels]), 0, -1)[
            ..., [0] * 3 if len(pixels) == 1 else [0, 1, 2]
        ]


def _with_bands(sources: Mapping[str, Sequence[Band]]) -> dict[str, Sequence[Band]]:
    return {scene: bands for scene, bands in sources.items() if bands}


def stretch(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """Stretch one band between its 2nd and 98th percentile.

    Args:
        plane: Array (height, width), NaN where there are no data.

    Returns:
        Array (height, width) in 0..1; 0 where there are no data, 0.5 where all is equal.
    """
    valid = np.isfinite(plane)
    if not valid.any():
        return np.zeros(plane.shape)
    low, high = np.percentile(plane[valid], [2, 98])
    scaled = (plane - low) / (high - low) if high > low else np.full(plane.shape, 0.5)
    return np.where(valid, np.clip(scaled, 0, 1), 0.0)


def _calmed(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """Average each pixel with its neighbours that hold data."""
    height, width = plane.shape
    padded = np.pad(plane, 1, constant_values=np.nan)
    shifted = [
        padded[i : i + height, j : j + width] for i in range(3) for j in range(3)
    ]
    counts = np.isfinite(shifted).sum(axis=0)
    mean = np.nansum(shifted, axis=0) / np.maximum(counts, 1)
    return np.where(np.isfinite(plane), mean, np.nan)


def _scaled(area: Area, finest: Any, gsd: Any) -> Area:
    """Give a window of the finest band in pixels of a coarser one."""
    ratio = float(finest) / float(gsd) if finest and gsd else 1.0
    row, column, height, width = area
    return row * ratio, column * ratio, height * ratio, width * ratio


def is_masked(file: Any, number: int, taken: Sequence[int]) -> bool:
    """Whether a mask marks which pixels of a band are missing.

    Args:
        file: An open raster.
        number: The band, from 1.
        taken: Bands of the file that a scene takes: an alpha band among them is not a mask.
    """
    flags = file.mask_flag_enums[number - 1]
    alpha = any(file.colorinterp[i - 1] == ColorInterp.alpha for i in taken)
    return MaskFlags.all_valid not in flags and not (MaskFlags.alpha in flags and alpha)


def _read(
    file: Any, number: int, area: Area, shape: tuple[int, int], masked: bool
) -> NDArray[np.float64]:
    """Pixels nearest to the centres of so many cells; NaN where there are none."""
    row, column, height, width = area
    rows = np.floor(row + (np.arange(shape[0]) + 0.5) * height / shape[0] + 1e-6)
    columns = np.floor(column + (np.arange(shape[1]) + 0.5) * width / shape[1] + 1e-6)
    out = np.full(shape, np.nan)
    inside = (rows >= 0) & (rows < file.height), (columns >= 0) & (columns < file.width)
    rows, columns = (
        axis[inside_axis].astype(np.int64)
        for axis, inside_axis in zip((rows, columns), inside, strict=True)
    )
    if rows.size and columns.size:
        window = Window.from_slices(
            (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
        )
        plane = file.read(number, window=window, masked=masked).astype(np.float64)
        pixels = np.ma.filled(plane, np.nan)
        out[np.ix_(*inside)] = pixels[np.ix_(rows - rows[0], columns - columns[0])]
    return out


def on(transform: Affine, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bring points (n, 2) of (column, row) to (x, y), or back with the inverse transform.

    Args:
        transform: The transform.
        points: The points.
    """
    a, b, c, d, e, f = tuple(transform)[:6]
    u, v = np.asarray(points, dtype=np.float64).T
    return np.column_stack([a * u + b * v + c, d * u + e * v + f])


def _outline(patch: pd.Series, crs: CRS) -> shapely.Geometry:
    """Give a footprint in another CRS."""
    corners = patch.get('native_corners')
    source_crs, shape = WGS84, patch['geometry']
    if isinstance(corners, np.ndarray) and isinstance(patch.get('src_crs'), str):
        source_crs = CRS.from_user_input(patch['src_crs'])
        shape = shapely.Polygon(corners.reshape(4, 2))
    return moved(gpd.GeoDataFrame(geometry=[shape], crs=source_crs), crs)[0]
