"""What a raster file states about itself, learnt with one open.

Grid, types, masks, names and scales of a file are needed in several places while scenes are
set up. Opening a file costs far more than everything else there, so all of it is read at
once and remembered for as long as neither the file nor its sidecars change.
"""

import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import rasterio
from affine import Affine
from pyproj import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.rasters.alpha import unused_alpha, with_mask
from torchgeo_cmr.rasters.raster_files import open_pixels, open_virtual
from torchgeo_cmr.regular_files import PACKED, head_of
from torchgeo_cmr.scenes.remote_access import first_opened, identify
from torchgeo_cmr.scenes.remote_files import RemoteFile, fetched

#: Headers that are remembered, of about 2 kB each: set-up needs those of one scene several
#: times in a row, and reading needs them once more, when those of all scenes have been read.
_REMEMBERED = 65_536

#: Files next to a raster in which GDAL keeps what the raster itself cannot hold.
_SIDECARS = ('.aux.xml', '.msk')

#: Setting of GDAL that decides whether it looks for them.
_LISTING = 'GDAL_DISABLE_READDIR_ON_OPEN'


@dataclass(frozen=True)
class Header:
    """What one raster file states about itself; one entry per band where it states one."""

    path: str
    driver: str
    #: CRS as WKT 2; '' if the file has none.
    wkt: str
    transform: Affine
    #: Rows and columns.
    shape: tuple[int, int]
    #: NumPy type of each band.
    dtypes: tuple[str, ...]
    #: Name of each band; None if it has none.
    descriptions: tuple[str | None, ...]
    #: Value of missing pixels in each band; None if it has none.
    nodata: tuple[float | None, ...]
    #: Unit of each band, as the file writes it; None if it has none.
    units: tuple[str | None, ...]
    #: Physical values are ``stored * scale + offset``; 1 and 0 where nothing is stated.
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    #: Colour interpretation of each band, such as ``'gray'`` or ``'alpha'``.
    colours: tuple[str, ...]
    #: Names of GDAL's mask flags of each band, such as ``'per_dataset'`` or ``'nodata'``; an
    #: alpha band counts whatever the number of bands.
    masks: tuple[tuple[str, ...], ...]
    #: Rows and columns of the blocks of each band.
    blocks: tuple[tuple[int, int], ...]
    #: Metadata of the file.
    tags: dict[str, str]
    #: Metadata of GDAL's domain for imagery, which holds the moment of acquisition.
    imagery: dict[str, str]
    #: Metadata of each band.
    band_tags: tuple[dict[str, str], ...]
    #: Whether ground control points or RPCs stand in place of a grid.
    has_gcps: bool

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)

    @property
    def crs(self) -> CRS:
        """CRS of the file.

        Raises:
            RasterError: If it has none.
        """
        if not self.wkt and self.has_gcps:
            raise RasterError(
                f'{self.path} has ground control points or RPCs in place of a grid: warp '
                'it first, for example with `gdalwarp`'
            )
        if not self.wkt:
            raise RasterError(
                f'{self.path} has no CRS: declare it, for example with `gdal_edit.py '
                '-a_srs EPSG:CODE`, because no place is ever guessed'
            )
        return _crs(self.wkt)


#: Size and time of modification of a file and its sidecars, None where there is none; and
#: what it stated then.
type Stamped = tuple[tuple[tuple[int, int] | None, ...], Header]

_KNOWN: ContextVar[dict[str, Stamped] | None] = ContextVar('known', default=None)


@contextmanager
def known_headers(known: dict[str, Stamped]) -> Generator[None]:
    """Look headers up in a mapping while the context lasts, and add those that are read.

    Args:
        known: Absolute path -> stamps and header; changed in place.

    Yields:
        Nothing.
    """
    token = _KNOWN.set(known)
    try:
        yield
    finally:
        _KNOWN.reset(token)


def read_header(path: str) -> Header:
    """Read what a raster states about itself.

    Args:
        path: Any name that GDAL opens.

    Returns:
        The header; the same object as before if the file has not changed since.

    Raises:
        RasterError: If it cannot be opened as a raster.
    """
    if isinstance(path, RemoteFile):
        return fetched(partial(_of_remote, path))
    try:
        changed = tuple(_stamp(path + end) for end in ('', *_SIDECARS))
    except ValueError as error:
        raise RasterError(f'{path!r} cannot be the name of a file ({error})') from error
    if changed[0] is None:
        # Not a file but a name of GDAL's, such as one inside an archive.
        return _read(path)
    return _looked_up(path, os.path.abspath(path), changed)


def _of_remote(path: RemoteFile) -> Header:
    """Read what a raster on a server states; it has no sidecars."""
    return _looked_up(path, str(path), (identify(path),))


def _looked_up(
    path: str, place: str, changed: tuple[tuple[int, int] | None, ...]
) -> Header:
    known = _KNOWN.get()
    if known is None:
        known_here = _remembered(path, changed)
        # The one that is remembered may have another password.
        return (
            replace(known_here, path=path)
            if isinstance(path, RemoteFile)
            else known_here
        )
    if place not in known or known[place][0] != changed:
        known[place] = changed, _remembered(path, changed)
    return replace(known[place][1], path=path)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=_REMEMBERED)
def _remembered(path: str, _: Any) -> Header:
    return _read(path)


def _read(path: str) -> Header:
    with (
        file_settings(path),
        open_raster(path) as source,
        rasterio.Env(OSR_WKT_FORMAT='WKT2_2018'),
    ):
        indexes = source.indexes
        alpha = unused_alpha(source)
        return Header(
            path=path,
            driver=source.driver,
            wkt=_shared('' if source.crs is None else source.crs.to_wkt()),
            transform=source.transform,
            shape=source.shape,
            dtypes=_shared(tuple(source.dtypes)),
            descriptions=_shared(tuple(source.descriptions)),
            nodata=_shared(tuple(source.nodatavals)),
            units=_shared(tuple(source.units)),
            scales=_shared(tuple(source.scales)),
            offsets=_shared(tuple(source.offsets)),
            colours=_shared(tuple(colour.name for colour in source.colorinterp)),
            masks=_shared(
                tuple(
                    tuple(flag.name for flag in flags)
                    if alpha in (None, index)
                    else ('per_dataset', 'alpha')
                    for index, flags in enumerate(source.mask_flag_enums, 1)
                )
            ),
            blocks=_shared(tuple(source.block_shapes)),
            tags=source.tags(),
            imagery=source.tags(ns='IMAGERY'),
            band_tags=tuple(source.tags(i) for i in indexes),
            has_gcps=bool(source.gcps[0])
            or (source.transform.is_identity and source.rpcs is not None),
        )


@lru_cache(maxsize=1024)
def _shared[T](value: T) -> T:
    """Give the first value that equals this one: files that belong together state the same."""
    return value


@lru_cache(maxsize=256)
def _crs(wkt: str) -> CRS:
    """Parse a CRS once: thousands of files share one."""
    return CRS.from_wkt(wkt)


def open_raster(path: str) -> Any:
    """Open a raster file, or say in one sentence why it cannot be opened."""
    if isinstance(path, RemoteFile):
        # In several threads at once, which share the filters of warnings.
        return _without_alpha(path, first_opened(path))
    with warnings.catch_warnings():
        # What has no CRS is refused with a sentence of our own.
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        return _opened(path)


def _without_alpha(path: RemoteFile, file: Any) -> Any:
    """Refuse an alpha band of which GDAL makes no mask: what we make of it opens files anew."""
    if unused_alpha(file) is not None:
        file.close()
        path.fault = RasterError(
            f'{path} has an alpha band next to {file.count - 1} others, which is honoured in local '
            'files only: download it'
        )
        raise path.fault
    return file


@contextmanager
def file_settings(path: str) -> Generator[None]:
    """Set GDAL up for a file: let it look for sidecars, or fetch, while the context lasts.

    Args:
        path: Any name that GDAL opens, or a file on a server.

    Yields:
        Nothing.
    """
    with path.settings() if isinstance(path, RemoteFile) else sidecars_seen(path):
        yield


@contextmanager
def sidecars_seen(path: str) -> Generator[None]:
    """Let GDAL look for files next to a local one, while the context lasts.

    TorchGeo's command line tells GDAL not to, in the environment, because listing remote
    folders is slow; next to a local file it would miss the mask, overviews and georeference.

    Args:
        path: Any name that GDAL opens.

    Yields:
        Nothing.
    """
    if _LISTING not in os.environ or not os.path.exists(path):
        yield
        return
    # The outer one, because the outermost leaves behind what it found in the environment.
    with rasterio.Env(), rasterio.Env(**{_LISTING: 'FALSE'}):
        yield


def reopen(path: str) -> Any:
    """Open a raster file to read pixels and masks, in any thread: warnings are left alone.

    Args:
        path: The file, or the description of a virtual one made of it.
    """
    if path.startswith('<VRTDataset'):  # of our own making, over a file that was opened
        with sidecars_seen(path):
            return open_virtual(path)
    if isinstance(path, RemoteFile):
        return path.open()
    file = _opened(path)
    alpha = unused_alpha(file)
    if alpha is None:
        return file
    with file, sidecars_seen(path):
        return open_virtual(with_mask(file, path, alpha))


def _opened(path: str) -> Any:
    try:
        with sidecars_seen(path):
            return open_pixels(path)
    except RasterioIOError as error:
        cure = 'replace or remove the file'
        if head_of(path, 8).startswith(PACKED):
            cure = 'it is an archive, so unpack it, and name what was in it'
        raise RasterError(
            f'{path} cannot be read as a raster ({error}): {cure}'
        ) from error
