"""The command pixels: rasters of vectors in, a similarity raster or an archive out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torchgeo_cmr.cli import values

if TYPE_CHECKING:
    from torchgeo_cmr.table import VectorRaster


def pixels(
    raster: str,
    *,
    out: str,
    like: list[str] | None = None,
    how: str = 'best',
    size: int | None = None,
    stride: int | None = None,
    min_valid: float = 0.5,
    modality: str | None = None,
    space: str | None = None,
    dequantise: str = 'auto',
    scales: str | None = None,
    time: str | None = None,
    within: str | None = None,
    overwrite: bool = False,
) -> None:
    """Use a raster with one vector per pixel, such as AlphaEarth's or Tessera's.

    How similar every pixel is to examples, as a GeoTIFF with a style for QGIS:

        torchgeo-cmr pixels aef.tif --like 9.19,45.46 --out similar.tif

    Patches from the means of their pixels, as an archive to search in:

        torchgeo-cmr pixels aef.tif --size 32 --time 2024 --space alphaearth --out archive

    The raster is read block by block, so it may be larger than memory.

    Args:
        raster: GeoTIFF with a band for each number, or the folder of a Zarr group.
        out: File to write, .tif, with --like; or an archive folder, with --size.
        like: Example: a place LON,LAT, a vector file of points or polygons with a CRS, or an
            archive of the same model; may be repeated.
        how: Score of a pixel with several examples: that of the closest (best) or that of
            their mean (mean).
        size: Height and width of a patch in pixels.
        stride: Step between patches in pixels; size if it is missing.
        min_valid: Least share of a patch's pixels that have a vector.
        modality: Name of the modality of the archive; pixels if it is missing.
        space: What the vectors may be compared with: one name for all rasters of a model.
        dequantise: How stored numbers become vectors: alphaearth, linear, or auto, which decides
            by their type and the names of the bands.
        scales: GeoTIFF of one band with the scale of each pixel, if there is one.
        time: When the vectors are of: a year, month or day; picks the step of a Zarr group.
        within: Box W,S,E,N in EPSG:4326: only this part of the raster.
        overwrite: Replace an existing output.
    """
    from torchgeo_cmr.errors import QueryError, RasterError

    if (like is None) == (size is None):
        raise QueryError(
            'say what to make: a similarity raster with --like, or an archive with --size'
        )
    area = None if within is None else tuple(values.numbers(within))
    if area is not None and len(area) != 4:
        raise QueryError(f'--within {within} is not a box: give W,S,E,N in degrees')
    _check_options(like, how=how, stride=stride, space=space, modality=modality)
    from torchgeo_cmr.export.write import check_places
    from torchgeo_cmr.table import VectorRaster

    if like is not None:
        target = Path(out)
        check_places([target, target.with_suffix('.qml')], overwrite=overwrite)
    try:
        opened = VectorRaster(
            raster,
            dequantise=cast(Any, dequantise),
            scales=scales,
            time=time,
            area=cast(Any, area),
        )
    except RasterError as error:
        message = str(error).replace('dequantise=', '--dequantise ')
        raise RasterError(message.replace('time= (--time)', '--time')) from error
    with opened:
        if like is not None:
            sys.stdout.write(_similarity(opened, like, how, out, overwrite))
            return
        from torchgeo_cmr.table import describe, from_pixels

        from_pixels(
            opened,
            cast(int, size),
            stride,
            modality=modality or 'pixels',
            space=space or '',
            min_valid=min_valid,
            out=out,
            overwrite=overwrite,
        )
    sys.stdout.write(f'{out}: {describe(out)["rows"]} rows\n')


def _check_options(like: list[str] | None, **given: Any) -> None:
    """Refuse options of the other output."""
    from torchgeo_cmr.errors import QueryError

    if like is None:
        if given['how'] != 'best':
            raise QueryError('--how is for --like: drop it')
        if not given['space']:
            raise QueryError(
                'name what the vectors may be compared with: --space alphaearth, for example'
            )
        return
    for name in ('stride', 'space', 'modality'):
        if given[name] is not None:
            raise QueryError(f'--{name} is for --size: drop it')


def _similarity(
    raster: 'VectorRaster', like: list[str], how: str, out: str, overwrite: bool
) -> str:
    """Write the similarity raster and say so."""
    import numpy as np

    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export.pictures.pixel_similarity import (
        example_vectors,
        pixel_similarity,
    )

    if how not in ('best', 'mean'):
        raise QueryError(f'--how {how} is not known; use best or mean')
    found = [example_vectors(raster, _examples(word)) for word in like]
    vectors = np.concatenate(found)
    pixel_similarity(raster, vectors, out, how=cast(Any, how), overwrite=overwrite)
    height, width = raster.shape
    return f'{out}: {width} x {height} pixels, {len(vectors)} examples\n'


def _examples(word: str) -> Any:
    """Read one example: a place, an archive, or a vector file."""
    import geopandas as gpd
    import shapely

    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.search import open_archives
    from torchgeo_cmr.vectors.vector_file import read_frame

    numbers = values.numbers(word)
    if numbers and not Path(word).exists():
        if len(numbers) != 2:
            raise QueryError(
                f'--like {word} has {len(numbers)} numbers: give LON,LAT, a vector file or an '
                'archive'
            )
        return gpd.GeoDataFrame(geometry=[shapely.Point(numbers)], crs='EPSG:4326')
    if Path(word).is_dir():
        return open_archives([word]).table
    return read_frame(word, 'example file')
