"""The similarity of every place as a raster: scores of hits burnt onto one grid.

Shows where hits are dense, below their outlines. Between and beyond the hits there is no
score, so those cells hold no data, not zero.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.enums import MergeAlg

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.extent import (
    check_drawable,
    metric_crs,
    middle,
    moved,
    placed,
)
from torchgeo_cmr.export.new_file import new_file, together
from torchgeo_cmr.export.styles.style import raster_style
from torchgeo_cmr.table import EmbeddingTable

if TYPE_CHECKING:
    import xarray as xr

#: Most cells of a default grid; one of a given cell size may have up to 16,384 squared.
_MOST, _MOST_ASKED = 2**24, 2**28
#: Cells along the side of a typical footprint.
_ACROSS = 4


def similarity(
    results: gpd.GeoDataFrame,
    *,
    how: Literal['best', 'mean'] = 'best',
    cell: float | None = None,
    crs: Any = None,
) -> 'xr.DataArray':
    """Burn the scores of hits onto a grid.

    A cell takes the hits whose footprint holds its centre; the cell in the middle of a
    footprint takes that hit always, so that none is lost on a coarse grid. Grid lines lie at
    whole multiples of the cell size. Hits without a place are skipped.

    Args:
        results: What a search gave; hits of several queries are taken together.
        how: Score of a cell under several hits: the ``'best'`` or their ``'mean'``.
        cell: Cell width and height in units of the CRS (default: a quarter of the side of a
            typical footprint, more where the grid would have over sixteen million cells).
        crs: CRS of the grid, anything pyproj reads (default: that of the scenes of most
            hits, ``src_crs``; without it the UTM zone of their middle, or EPSG:3413 and
            EPSG:3031 beyond 84 degrees north and 80 south).

    Returns:
        float32 array ``(y, x)`` named ``similarity``, y downwards, NaN where no hit lies,
        with CRS, transform and nodata as rioxarray reads them.

    Raises:
        QueryError: If there is no score, no hit or none with a place, no such way to merge,
            no such CRS, a footprint has no place in it, or the grid would have too many
            cells.

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> from torchgeo_cmr.search import RetrievalIndex
        >>> query = table.select([0])
        >>> hits = RetrievalIndex(table).search(query, 2)
        >>> raster = similarity(hits)
        >>> round(float(raster.max()), 3)
        0.8
    """
    if how not in ('best', 'mean'):
        raise QueryError(f"how={how!r} is not known; use 'best' or 'mean'")
    if 'score' not in results:
        raise QueryError('the frame has no column score; draw what a search gave')
    check_drawable(results)
    results = results[placed(results)]
    grid_crs = _crs(results, crs)
    shapes = moved(results, grid_crs)
    size = _cell(shapes, cell)
    bounds = shapely.total_bounds(shapes)
    # Sides that were straight on another map sag by a little.
    first = np.floor(bounds[:2] / size + 1e-3)
    last = np.maximum(np.ceil(bounds[2:] / size - 1e-3), first + 1)
    width, height = (int(n) for n in last - first)
    if width * height > _MOST_ASKED:
        raise QueryError(
            f'the grid would have {width} x {height} cells; give a larger cell= than '
            f'{size:g} or another crs='
        )
    transform = Affine(size, 0, first[0] * size, 0, -size, last[1] * size)
    values = _burn(
        shapes, results['score'].to_numpy(np.float64), (height, width), transform, how
    )
    return _array(values, transform, grid_crs)


def to_geotiff(
    results: 'gpd.GeoDataFrame | xr.DataArray',
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the similarity raster as a cloud-optimised GeoTIFF with its style next to it.

    float32, nodata NaN, one band named ``similarity``, and a ``.qml`` of the same stem that
    QGIS applies automatically.

    Args:
        results: What a search gave, drawn with the defaults of :func:`similarity`; or what
            :func:`similarity` gave.
        path: File to write.
        queries: Not written.
        area: Not written.
        record: Not written; taken so that all writers are called in the same way.
        overwrite: Replace files that are there.

    Returns:
        The path.

    Raises:
        QueryError: As :func:`similarity`, or if an array has no CRS.
        OutputExistsError: If a file is there and ``overwrite`` is False.

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> import tempfile
        >>> from torchgeo_cmr.search import RetrievalIndex
        >>> folder = tempfile.TemporaryDirectory()
        >>> hits = RetrievalIndex(table).search(table.select([0]), 2)
        >>> to_geotiff(hits, f'{folder.name}/hits.tif').name
        'hits.tif'
        >>> folder.cleanup()
    """
    import rioxarray  # noqa: F401  # registers .rio

    drawn = similarity(results) if isinstance(results, gpd.GeoDataFrame) else results
    if drawn.rio.crs is None:
        raise QueryError(
            'the array has no CRS; declare it with array.rio.write_crs(...)'
        )
    values = drawn.to_numpy()[None].astype(np.float32)
    sidecar = Path(path).with_suffix('.qml')
    lowest = 0.0 if np.isnan(values).all() else float(np.nanmin(values))
    with together():
        with new_file(path, overwrite=overwrite) as temporary:
            write_cog(
                temporary,
                values,
                crs=drawn.rio.crs,
                transform=drawn.rio.transform(),
                nodata=np.nan,
                names=('similarity',),
            )
        with new_file(sidecar, overwrite=overwrite) as style:
            style.write_text(raster_style(lowest), encoding='utf-8')
    return Path(path)


def write_cog(
    path: Path,
    pixels: NDArray[Any],
    *,
    crs: Any,
    transform: Affine,
    nodata: float | None,
    names: tuple[str | None, ...],
    tags: Mapping[str, str] | None = None,
    mask: NDArray[np.uint8] | None = None,
    scales: Sequence[float] = (),
    offsets: Sequence[float] = (),
) -> None:
    """Write pixels as a cloud-optimised GeoTIFF, losslessly compressed.

    Args:
        path: File to write.
        pixels: Array (bands, height, width); its type is kept.
        crs: CRS of the grid, as rasterio reads it.
        transform: Pixel (column, row) to CRS (x, y).
        nodata: Value of pixels without data, if there is one.
        names: Description of each band.
        tags: Metadata of the file.
        mask: Which pixels are there (height, width), 0 where missing; None to use *nodata*.
        scales: What values of each band are multiplied by, if the source states it.
        offsets: What is added to that.
    """
    with rasterio.open(
        path,
        'w',
        driver='COG',
        count=pixels.shape[0],
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype=pixels.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
        compress='deflate',
        predictor='yes',
        # A mean of neighbours is not a score of any hit.
        overview_resampling='nearest',
    ) as file:
        file.write(pixels)
        file.descriptions = names
        file.update_tags(**(tags or {}))
        if mask is not None:
            file.write_mask(mask)
        if any(scale != 1 for scale in scales) or any(offsets):
            file.scales, file.offsets = scales, offsets


def _crs(results: gpd.GeoDataFrame, crs: Any) -> CRS:
    """Give the CRS of the grid: the one given, that of most scenes, or a projected one."""
    given = crs
    if given is None and 'src_crs' in results:
        counts = results['src_crs'].dropna().value_counts()
        most = sorted(counts.index[counts == counts.max()])
        given = most[0] if most else None
    if given is not None:
        try:
            return CRS.from_user_input(given)
        except CRSError as error:
            raise QueryError(
                f'{str(given)[:60]} is not a CRS ({error}); give one such as EPSG:32632'
            ) from error
    return metric_crs(*middle(results))


def _cell(shapes: NDArray[np.object_], cell: float | None) -> float:
    if cell is not None:
        if not (cell > 0 and np.isfinite(cell)):
            raise QueryError(
                f'cell={cell} is not a size; give units of the CRS above 0'
            )
        return float(cell)
    side = float(np.sqrt(np.median(shapely.area(shapes))))
    west, south, east, north = shapely.total_bounds(shapes)
    size = side / _ACROSS
    if size <= 0:
        size = max(east - west, north - south, 1.0) / 100
    # Footprints that were moved come back as 319.99 m: a round size is meant.
    size = float(f'{size:.3g}')
    if (cells := (east - west) * (north - south) / size**2) > _MOST:
        size = float(f'{size * np.sqrt(cells / _MOST):.2g}')
    return size


def _burn(
    shapes: NDArray[np.object_],
    scores: NDArray[np.float64],
    shape: tuple[int, int],
    transform: Affine,
    how: str,
) -> NDArray[np.float32]:
    """Burn footprints, and the cell in the middle of each, merged by *merge*."""
    # Worst first: what is burnt later lies on top.
    order = np.argsort(scores, kind='stable')
    shapes, scores = shapes[order], scores[order]
    bounds = shapely.bounds(shapes)
    # Nearly all footprints are boxes on the grid; those are filled a hundred times faster.
    boxed = shapely.area(shapes) >= (1 - 1e-3) * np.prod(
        bounds[:, 2:] - bounds[:, :2], axis=1
    )
    corners = _cells(bounds[:, [0, 3]], transform), _cells(bounds[:, [2, 1]], transform)
    # From the first cell whose centre lies inside to the first beyond.
    first, last = (np.ceil(c - 0.5).astype(np.int64) for c in corners)
    first, last = np.maximum(first, 0), np.minimum(last, shape[::-1])
    boxes = np.column_stack([first, last])[boxed].tolist()

    middles = _cells(
        shapely.get_coordinates(shapely.point_on_surface(shapes)), transform
    )
    middles = np.clip(np.floor(middles).astype(np.int64), 0, np.array(shape[::-1]) - 1)
    cells = middles[:, 1], middles[:, 0]
    irregular = shapes[~boxed]
    if how == 'best':
        burnt, boxed_burnt = np.full(shape, np.nan), np.full(shape, np.nan)
        for (left, top, right, bottom), score in zip(boxes, scores[boxed], strict=True):
            boxed_burnt[top:bottom, left:right] = score
        _rasterize(irregular, scores[~boxed], burnt, transform, MergeAlg.replace)
        # fmax passes over NaN; each hit on its own, as several may share a cell.
        burnt = np.fmax(burnt, boxed_burnt)
        np.fmax.at(burnt, cells, scores)
        return burnt.astype(np.float32)
    total, count = np.zeros(shape), np.zeros(shape)
    for (left, top, right, bottom), score in zip(boxes, scores[boxed], strict=True):
        total[top:bottom, left:right] += score
        count[top:bottom, left:right] += 1
    _rasterize(irregular, scores[~boxed], total, transform, MergeAlg.add)
    _rasterize(irregular, np.ones(len(irregular)), count, transform, MergeAlg.add)
    # Whoever does not hold the centre of the cell in its middle was not burnt there.
    covered = ((middles >= first) & (middles < last)).all(axis=1)
    x = transform.c + transform.a * (middles[:, 0] + 0.5)
    y = transform.f + transform.e * (middles[:, 1] + 0.5)
    covered[~boxed] = shapely.contains_xy(irregular, x[~boxed], y[~boxed])
    missed = tuple(axis[~covered] for axis in cells)
    np.add.at(total, missed, scores[~covered])
    np.add.at(count, missed, 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _cells(points: NDArray[np.float64], transform: Affine) -> NDArray[np.float64]:
    """Give points as (column, row), counted in cells."""
    origin, size = (transform.c, transform.f), (transform.a, transform.e)
    return (points - np.array(origin)) / np.array(size)


def _rasterize(
    shapes: NDArray[np.object_],
    values: NDArray[np.float64],
    out: NDArray[np.float64],
    transform: Affine,
    merge: MergeAlg,
) -> None:
    """Burn shapes of any form into an array."""
    if len(shapes):
        rasterio.features.rasterize(
            zip(shapes, values, strict=True),
            out=out,
            transform=transform,
            merge_alg=merge,
        )


def _array(values: NDArray[np.float32], transform: Affine, crs: CRS) -> 'xr.DataArray':
    """Give a grid of cells the coordinates of their centres."""
    import rioxarray  # noqa: F401  # registers .rio
    import xarray as xr

    height, width = values.shape
    array = xr.DataArray(
        values,
        dims=('y', 'x'),
        coords={
            'y': transform.f + transform.e * (np.arange(height) + 0.5),
            'x': transform.c + transform.a * (np.arange(width) + 0.5),
        },
        name='similarity',
        attrs={'long_name': 'similarity'},
    )
    return (
        array.rio.write_crs(crs.to_wkt())
        .rio.write_transform(transform)
        .rio.write_nodata(np.nan)
    )
