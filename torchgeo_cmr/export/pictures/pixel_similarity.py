"""The similarity of every pixel of a raster of vectors to examples, as a raster.

Pixels are read, scored and written block by block: memory does not grow with the raster.
"""

from os import PathLike
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import geometry_mask

# A compiled module, which the type checker does not see.
from rasterio.shutil import copy  # ty: ignore[import-not-found]
from rasterio.windows import Window

from torchgeo_cmr.drafts import draft_file
from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.new_file import new_file, together
from torchgeo_cmr.export.styles.style import raster_style
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.others.vector_raster import Place, VectorRaster


def pixel_similarity(
    raster: VectorRaster,
    examples: Any,
    path: str | PathLike[str],
    *,
    how: Literal['best', 'mean'] = 'best',
    overwrite: bool = False,
) -> Path:
    """Write how similar every pixel is to examples, as a styled GeoTIFF.

    The score is the cosine of the pixel's vector with the closest example, or with the mean of all. A
    cloud-optimised GeoTIFF on the grid of the raster: float32, nodata NaN where a
    pixel has no vector, one band named ``similarity``, and a ``.qml`` of the same stem that QGIS applies
    automatically.

    Args:
        raster: An open :class:`~torchgeo_cmr.table.VectorRaster`.
        examples: What to look like: a GeoDataFrame with a CRS, whose points stand for the pixel that
            they lie in and whose polygons for the mean of the pixels whose centres they hold;
            an :class:`EmbeddingTable` of the same model; or vectors (n, dim).
        path: File to write, ``.tif``.
        how: ``'best'``: the score of the closest example; ``'mean'``: the score of their mean.
        overwrite: Replace files that are there.

    Returns:
        The path.

    Raises:
        QueryError: If there is no example, one lies where the raster has no vector, or lengths of
            vectors differ.
        OutputExistsError: If a file is there and ``overwrite`` is False.
        RasterError: If the raster is broken.
    """
    if how not in ('best', 'mean'):
        raise QueryError(f"how={how!r} is not known; use 'best' or 'mean'")
    if Path(path).suffix.lower() not in ('.tif', '.tiff'):
        raise QueryError(f'{path} is not a GeoTIFF by its name; end it in .tif')
    wanted = example_vectors(raster, examples)
    if how == 'mean':
        wanted = _unit(wanted.mean(axis=0, keepdims=True))
    with together():
        with new_file(path, overwrite=overwrite) as temporary:
            # GDAL writes a cloud-optimised file from a whole one only.
            plain = draft_file(Path(path))
            try:
                lowest = _write(raster, wanted, plain)
                copy(
                    plain,
                    temporary,
                    driver='COG',
                    compress='deflate',
                    predictor='yes',
                    # A mean of neighbours is not a score of any pixel.
                    overview_resampling='nearest',
                )
            finally:
                plain.unlink(missing_ok=True)
        with new_file(Path(path).with_suffix('.qml'), overwrite=overwrite) as style:
            style.write_text(raster_style(lowest), encoding='utf-8')
    return Path(path)


def _write(raster: VectorRaster, wanted: NDArray[np.float32], path: Path) -> float:
    """Score all pixels block by block, and give the lowest score."""
    height, width = raster.shape
    profile: dict[str, Any] = {
        'driver': 'GTiff',
        'count': 1,
        'height': height,
        'width': width,
        'dtype': 'float32',
        'crs': raster.crs.to_wkt(),
        'transform': raster.transform,
        'nodata': np.nan,
        'tiled': True,
        'bigtiff': 'if_safer',
    }
    lowest = np.inf
    with rasterio.open(path, 'w', **profile) as file:
        file.descriptions = ('similarity',)
        for place in steps(raster.blocks(), 'block', 'compare'):
            scores = _scores(raster.read(place), wanted)
            lowest = float(np.fmin(lowest, np.fmin.reduce(scores, axis=None)))
            row, column, tall, wide = place
            # ty does not know the fields of this class.
            window = Window(column, row, wide, tall)  # ty: ignore[too-many-positional-arguments]
            file.write(scores, 1, window=window)
    return lowest if np.isfinite(lowest) else 0.0


def _scores(
    vectors: NDArray[np.float32], wanted: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give the cosine with the closest example (height, width)."""
    height, width, dim = vectors.shape
    flat = vectors.reshape(-1, dim)
    best = flat @ wanted[0]
    for example in wanted[1:]:
        np.maximum(best, flat @ example, out=best)
    return best.reshape(height, width)


def example_vectors(raster: VectorRaster, examples: Any) -> NDArray[np.float32]:
    """Give the vectors of examples, each of length 1.

    Args:
        raster: The open raster.
        examples: As for :func:`pixel_similarity`.

    Returns:
        float32 (n, dim).

    Raises:
        QueryError: As :func:`pixel_similarity`.
    """
    if isinstance(examples, gpd.GeoDataFrame):
        found = _of_places(raster, examples)
    else:
        table = isinstance(examples, EmbeddingTable)
        try:
            given = examples.unit_rows() if table else np.asarray(examples, np.float64)
        except (TypeError, ValueError) as error:
            raise QueryError(
                f'the examples are not vectors ({error}); give places or (n, dim)'
            ) from error
        found = np.atleast_2d(np.asarray(given, np.float64))
    if found.ndim != 2 or not len(found):
        raise QueryError('there is no example; give at least one place or vector')
    if found.shape[1] != raster.dim:
        raise QueryError(
            f'the examples have {found.shape[1]} numbers and the pixels of {raster.path} '
            f'{raster.dim}; give vectors of the same model'
        )
    lengths = np.linalg.norm(found, axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise QueryError('an example holds NaN or only zeros; leave it out')
    return _unit(found)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (lengths < 1e-6).any():
        raise QueryError("the examples cancel each other out; use how='best'")
    return (vectors / lengths).astype(np.float32)


def _of_places(raster: VectorRaster, places: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """Give the mean vector of the pixels of each place."""
    if places.crs is None:
        raise QueryError('the examples have no CRS; declare it with set_crs(...)')
    moved = places.geometry.to_crs(raster.crs.to_wkt())
    found = []
    for number, shape in enumerate(moved):
        mean = None
        if shape is not None and not shape.is_empty:
            mean = _of_place(raster, shape)
        if mean is None:
            raise QueryError(
                f'example {number} of {len(moved)} lies where {raster.path} has no vector; move it '
                'or leave it out'
            )
        found.append(mean)
    return np.array(found)


def _of_place(
    raster: VectorRaster, shape: shapely.Geometry
) -> NDArray[np.float64] | None:
    """Add the unit vectors of the pixels of one place; None if there are none."""
    points = ~raster.transform
    corners = shapely.get_coordinates(
        shapely.transform(
            shape,
            lambda xy: np.column_stack(
                [
                    points.a * xy[:, 0] + points.b * xy[:, 1] + points.c,
                    points.d * xy[:, 0] + points.e * xy[:, 1] + points.f,
                ]
            ),
        )
    )
    if not np.isfinite(corners).all():
        return None
    first = np.floor(corners.min(axis=0)).astype(int)[::-1]
    last = np.floor(corners.max(axis=0)).astype(int)[::-1] + 1
    first, last = np.maximum(first, 0), np.minimum(last, raster.shape)
    if (last <= first).any():
        return None
    area = shapely.get_dimensions(shape) == 2
    total = np.zeros(raster.dim)
    for block in raster.blocks() if area else [Place(*first, *(last - first))]:
        top = np.maximum(first, block[:2])
        bottom = np.minimum(last, np.add(block[:2], block[2:]))
        if (bottom <= top).any():
            continue
        place = Place(*map(int, top), *map(int, bottom - top))
        vectors = raster.read(place)
        corner = Affine.translation(place.column, place.row)
        inside = geometry_mask(
            [shape],
            vectors.shape[:2],
            raster.transform @ corner,
            invert=True,
            all_touched=not area,
        )
        known = vectors[inside & np.isfinite(vectors[..., 0])]
        total += known.sum(axis=0, dtype=np.float64)
    if not total.any() and area and max(last - first) <= 2:
        # A polygon that holds no centre of a pixel stands for the pixel in its middle.
        return _of_place(raster, shapely.point_on_surface(shape))
    return total if total.any() else None
