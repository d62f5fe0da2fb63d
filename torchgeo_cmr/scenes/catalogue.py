"""Headers of rasters in one GeoParquet, so that a second run opens no file to learn its grid.

Processes share it: whichever comes first writes what it had to read, the others take it from
there. A file that changed in size or time of modification is read again.
"""

import json
import logging
import os
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import shapely
from affine import Affine
from pyproj.exceptions import ProjError

from torchgeo_cmr.drafts import new_draft
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.regular_files import is_address
from torchgeo_cmr.scenes.header import Header, Stamped, known_headers
from torchgeo_cmr.scenes.scene import apply
from torchgeo_cmr.typed_json import convert, decode

_LOG = logging.getLogger(__name__)

_CURE = 'it is written again'
#: A header as it is stored, with the types that it has in memory.
_Facts: Any = TypedDict(
    '_Facts',
    get_type_hints(Header) | {'transform': tuple[float, ...]},  # ty: ignore[invalid-argument-type]
)
#: Fields of a header that have an entry per band.
_PER_BAND = (
    *('descriptions', 'nodata', 'units', 'scales', 'offsets', 'colours', 'masks'),
    *('blocks', 'band_tags'),
)
_Stamps = tuple[tuple[int, int] | None, ...]


@contextmanager
def header_catalogue(path: str | os.PathLike[str] | None) -> Generator[None]:
    """Take headers from a catalogue while the context lasts, and write those that are new.

    Args:
        path: GeoParquet to read and to complete; its folder must exist. None for nothing.

    Yields:
        Nothing; every header that is read meanwhile is looked up first.

    Raises:
        RasterError: If the catalogue cannot be written.

    Warns:
        UserWarning: If the file that is there is not a catalogue; it is replaced.
    """
    if path is None:
        yield
        return
    file = Path(path).absolute()
    known = _load(file) if file.exists() else {}
    before = dict(known)
    with known_headers(known):
        yield
    # Equal stamps mean equal headers.
    if known != before:
        _save(known, file)
    _LOG.info('%d of %d headers were in %s already', len(before), len(known), file)


def _load(file: Path) -> dict[str, Stamped]:
    known: dict[str, Stamped] = {}
    try:
        frame = pd.read_parquet(file, columns=['path', 'stamps', 'header'])
        for path, stamps, header in frame.itertuples(index=False):
            place = path if is_address(path) else os.path.normpath(file.parent / path)
            known[place] = (
                decode(stamps, _Stamps, path, _CURE, RasterError),
                _header(header, place),
            )
    except (
        *(pa.ArrowException, OSError, ValueError, TypeError, KeyError),
        RecursionError,
    ) as error:
        warnings.warn(
            f'{file} is not a catalogue of headers ({type(error).__name__}): files are read '
            'again and it is replaced',
            UserWarning,
            stacklevel=4,
        )
        return {}
    return known


def _header(text: str, path: str) -> Header:
    """Read a header.

    Raises:
        RasterError: If it is not one.
    """
    # NaN is JSON to Python only, and may be a value of missing pixels.
    facts: Any = convert(json.loads(text), _Facts, path, _CURE, RasterError)
    facts |= {'path': path, 'transform': Affine(*facts['transform'])}
    made = Header(**facts)
    if any(len(getattr(made, name)) != made.count for name in _PER_BAND):
        raise RasterError(f'{path} has lists of bands of different lengths')
    return made


def _save(known: Mapping[str, Stamped], file: Path) -> None:
    """Write the catalogue under another name and rename it: others may be reading."""
    rows = [
        {
            'path': path
            if is_address(path)
            else Path(os.path.relpath(path, file.parent)).as_posix(),
            'crs': _name(header),
            'rows': header.shape[0],
            'columns': header.shape[1],
            'bands': header.count,
            'stamps': json.dumps(stamps),
            'header': json.dumps({**asdict(header), 'transform': header.transform[:6]}),
            'geometry': _outline(header),
        }
        for path, (stamps, header) in sorted(known.items())
    ]
    frame = gpd.GeoDataFrame(pd.DataFrame(rows), geometry='geometry', crs='EPSG:4326')
    try:
        file.parent.stat()  # a folder that is missing is more likely a slip than a wish
        with new_draft(file, overwrite=True) as temporary:
            frame.to_parquet(temporary)
    except OSError as error:
        raise RasterError(
            f'the catalogue {file} cannot be written ({error}): give a place that '
            'can be written to, or none'
        ) from error


def _name(header: Header) -> str | None:
    return header.crs.name if header.wkt else None


def _outline(header: Header) -> shapely.Polygon | None:
    """Outline in EPSG:4326, for maps of what is there; None if it has none."""
    if not header.wkt:
        return None
    height, width = header.shape
    edges = ((0, 0), (width, 0), (width, height), (0, height))
    corners = [apply(header.transform, *edge) for edge in edges]
    outline = gpd.GeoSeries([shapely.Polygon(corners)], crs=header.crs)
    try:
        (found,) = outline.to_crs('EPSG:4326')
    except ProjError:
        return None
    return found if shapely.is_valid(found) else None
