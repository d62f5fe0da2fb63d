"""Rasters below the hits in a project: the similarity raster and the scenes they come from."""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.export.new_file import as_written
from torchgeo_cmr.export.pictures.named_pixels import shown_bands
from torchgeo_cmr.export.styles.style import picture_style, raster_style

if TYPE_CHECKING:
    from rasterio import DatasetReader

#: Pixels an edge that are read to choose the stretch.
_SAMPLE = 512
#: Scenes shown.
_SCENES = 8


class ProjectLayer(NamedTuple):
    """How a project describes a layer."""

    name: str
    kind: str
    source: str
    crs: CRS
    style: str


def heat_layer(path: Path, folder: Path) -> ProjectLayer:
    """Describe a similarity raster.

    Args:
        path: The raster.
        folder: Folder of the project.

    Raises:
        RasterError: If it cannot be opened or has no CRS.
    """
    with _opened(as_written(path)) as file:
        sample = _sample(file, [1])[0]
        style = raster_style(float(sample.min()) if len(sample) else 0.0)
        return ProjectLayer(
            'similarity', 'raster', relative_path(path, folder), _crs_of(file), style
        )


def picture_layer(path: Path, bands: Sequence[int], folder: Path) -> ProjectLayer:
    """Describe a source raster.

    Args:
        path: The raster.
        bands: Bands to show; without any, those that its descriptions suggest.
        folder: Folder of the project.

    Raises:
        RasterError: If it cannot be opened or has no CRS.
    """
    with _opened(path) as file:
        if not bands:
            named = [
                (path, i, name, None)
                for i, name in enumerate(file.descriptions, start=1)
            ]
            bands = [number for _, number, *_ in shown_bands(named)]
        # Two bands are a radar pair; QGIS draws three or one.
        chosen = bands if len(bands) == 3 else bands[:1]
        ends = [
            tuple(np.percentile(v, [2, 98]).tolist()) if len(v) else (0.0, 1.0)
            for v in _sample(file, chosen)
        ]
        style = picture_style(chosen, ends)
        return ProjectLayer(
            path.stem, 'raster', relative_path(path, folder), _crs_of(file), style
        )


def scene_files(
    results: gpd.GeoDataFrame, record: Mapping[str, Any] | None
) -> list[tuple[Path, list[int]]]:
    """Find the rasters that the best hits lie in, and the bands of each to show.

    Args:
        results: What a search gave.
        record: Its record; ``scenes`` locates the rasters. Missing files are skipped.
    """
    found: dict[Path, list[int]] = {}
    known = (record or {}).get('scenes')
    if not isinstance(known, Mapping) or not {'modality', 'source'} <= set(results):
        return []
    best = results.sort_values('rank', kind='stable') if 'rank' in results else results
    for modality, scene in (
        best[['modality', 'source']].drop_duplicates().itertuples(index=False)
    ):
        entry = known.get(modality, {})
        bands = entry.get('sources', {}).get(scene)
        if not bands:
            continue
        shown = shown_bands(bands)
        # Bands in files of their own cannot be shown together: one in grey, then.
        same = [b for b in shown if b[0] == shown[0][0]]
        path = Path(entry.get('root') or '.') / shown[0][0]
        if path.is_file():
            found[path] = [b[1] for b in same]
        if len(found) == _SCENES:
            break
    return list(found.items())


def relative_path(path: Path, folder: Path) -> str:
    """Give a path relative to a folder, with forward slashes.

    Args:
        path: File.
        folder: Folder of the project.
    """
    relative = PurePath(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
    return relative if relative.startswith('..') else f'./{relative}'


@contextmanager
def _opened(path: Path) -> Generator['DatasetReader']:
    # Loaded here, since a project without rasters needs none.
    from rasterio.errors import RasterioError

    from torchgeo_cmr.rasters.raster_files import open_pixels

    try:
        with open_pixels(path) as file:
            yield file
    except RasterioError as error:
        raise RasterError(
            f'{path} cannot be opened as a raster ({error}); check its name'
        ) from error


def _crs_of(file: 'DatasetReader') -> CRS:
    if file.crs is None:
        raise RasterError(
            f'{file.name} has no CRS; declare it in the program that wrote it'
        )
    return CRS.from_wkt(file.crs.to_wkt())


def _sample(file: 'DatasetReader', bands: Sequence[int]) -> list[NDArray[np.float64]]:
    """Read the finite values of some bands, at most a quarter of a million each."""
    shape = (min(file.height, _SAMPLE), min(file.width, _SAMPLE))
    planes = file.read(list(bands), out_shape=(len(bands), *shape), masked=True)
    values = [plane.compressed().astype(np.float64) for plane in planes]
    return [v[np.isfinite(v)] for v in values]
