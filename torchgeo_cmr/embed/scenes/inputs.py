"""What a user gives to embed, as scenes: datasets, rasters, products, cubes, STAC items."""

import math
import os
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, cast

from torchgeo.datasets import RasterDataset, XarrayDataset

from torchgeo_cmr.datasets.listing import row_scenes
from torchgeo_cmr.embed.run_report import Trying
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.regular_files import is_address, shown
from torchgeo_cmr.scenes.bands import nameless
from torchgeo_cmr.scenes.files import CUBES, LISTS, Paths, find_files
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.mask_files import mask_of_file
from torchgeo_cmr.scenes.quality import is_mask, judged
from torchgeo_cmr.scenes.remote_access import RemoteAccess, all_at_once
from torchgeo_cmr.scenes.remote_files import RemoteFile, unallowed
from torchgeo_cmr.scenes.scene import Scene, index_paths
from torchgeo_cmr.scenes.sources.cubes import cube_scenes
from torchgeo_cmr.scenes.sources.products import find_products, sensor_of
from torchgeo_cmr.scenes.sources.stac import Opening, find_items


def list_scenes(
    inputs: RasterDataset | XarrayDataset | Paths,
    bands: Sequence[str] | None = None,
    nodata: float | None = None,
    trying: Trying = nullcontext,
    *,
    remote: bool = False,
) -> list[Scene]:
    """List the scenes of a dataset, or of paths of any kind that is known.

    Of a dataset, the index is the list. Paths may be mixed: rasters (products are recognised by
    their file names), cubes (``.nc``, ``.zarr``) and lists of STAC items (``.json``,
    ``.parquet``). Nothing is read but headers.

    Args:
        inputs: A TorchGeo dataset of raster files or of cubes; or files, folders or glob
            patterns.
        bands: Names of the bands of the training, to pick them by; None or names that only
            count (``band_1``) for those that are there.
        nodata: Value that marks missing pixels, besides those that files state.
        trying: Context in which each input is opened, given its name: what it swallows
            skips that input alone.
        remote: Whether addresses (``http(s)://``, ``s3://``) may be fetched: those among the paths, and
            those that lists of STAC items name.

    Returns:
        The scenes, with their quality masks.

    Raises:
        RasterError: If no file matches, one cannot be read or has no CRS, or a band of a
            set is missing.
        TypeError: If a dataset does not list images.
    """
    names = [str(name) for name in bands or ()]
    names = [] if nameless(names) else names
    access = RemoteAccess() if remote else None
    if isinstance(inputs, str | os.PathLike | list | tuple | set):
        openings = _of_paths(_files(inputs, access, trying), names, trying, access)
    elif remote:
        raise RasterError(
            'remote is for paths and addresses: a TorchGeo dataset lists files of this disk'
        )
    elif isinstance(inputs, XarrayDataset):
        openings = _judging(_of_cubes(inputs))
        nodata = inputs.nodata if nodata is None else nodata
    else:
        openings = _judging(_of_rasters(_checked(inputs)))
    if access is not None:
        with warnings.catch_warnings(
            action='ignore'
        ):  # they come when it is done again
            all_at_once(opening for _, opening in openings)
    found: list[Scene] = []
    masks: list[Scene] = []
    for name, opening in openings:
        with trying(name):
            for scene in opening():
                (masks if is_mask(scene, names) else found).append(scene)
    if masks and not found:
        raise RasterError(
            f'{masks[0].path} is a quality mask ({", ".join(masks[0].bands)}), which is not '
            'embedded: give the images that it belongs to'
        )
    if nodata is not None and not math.isnan(nodata):  # NaN is missing anyway
        if math.isinf(nodata):
            raise RasterError(
                f'nodata is {nodata}, which marks no missing pixels: give a finite number'
            )
        found = [replace(scene, nodata=float(nodata)) for scene in found]
    return found


def _files(inputs: Paths, access: RemoteAccess | None, trying: Trying) -> list[str]:
    """Find the files on this disk, and allow those on servers."""
    words = [inputs] if isinstance(inputs, str | os.PathLike) else [*inputs]
    addresses = [os.fspath(word) for word in words if is_address(os.fspath(word))]
    if addresses and access is None:
        raise RasterError(unallowed(addresses[0]))
    paths = [word for word in words if not is_address(os.fspath(word))]
    found = find_files(paths) if paths or not addresses else []
    for address in addresses:
        assert access is not None
        with trying(shown(address)):
            found.append(access.file(address))
    return list(dict.fromkeys(found))


def _of_paths(
    files: Sequence[str],
    bands: Sequence[str],
    trying: Trying,
    access: RemoteAccess | None,
) -> list[Opening]:
    rasters: list[str] = []
    cubes: list[Opening] = []
    items: list[Opening] = []
    for file in files:
        suffix = os.path.splitext(file.rstrip('/\\'))[1].lower()
        if isinstance(file, RemoteFile) and suffix in (*CUBES, *LISTS[2:]):
            with trying(file):
                raise RasterError(
                    f'{file} is a {suffix} on a server, which is not read: download it'
                )
        elif suffix in CUBES:
            cubes.append((file, lambda file=file: cube_scenes(file, bands)))
        elif suffix in LISTS:
            with trying(file):
                items += find_items(file, bands, access)
        else:
            rasters.append(file)
    # The names of files of one band are compared with their headers.
    all_at_once(
        partial(read_header, file) for file in rasters if isinstance(file, RemoteFile)
    )
    products: list[Opening] = [
        (name, lambda opening=opening: [opening()])
        for name, opening in find_products(rasters, bands)
    ]
    # A STAC item names its own masks.
    return [*_judging([*products, *cubes]), *_judging(items, next_to=False)]


def _judging(openings: Sequence[Opening], next_to: bool = True) -> list[Opening]:
    return [
        (name, lambda opening=opening: [judged(scene, next_to) for scene in opening()])
        for name, opening in openings
    ]


def _of_rasters(dataset: RasterDataset) -> list[Opening]:
    sensor = sensor_of(dataset)

    def opening(number: int) -> list[Scene]:
        return [replace(s, sensor=sensor) for s in row_scenes(dataset, number)]

    return [
        (path, lambda number=number: opening(number))
        for number, path in enumerate(index_paths(dataset))
        if mask_of_file(path) is None
    ]


def _of_cubes(dataset: XarrayDataset) -> list[Opening]:
    return [
        (path, lambda number=number: row_scenes(dataset, number))
        for number, path in enumerate(index_paths(dataset))
    ]


def _checked(dataset: Any) -> RasterDataset:
    if not hasattr(dataset, 'separate_files') or not hasattr(dataset, 'index'):
        raise TypeError(
            f'{type(dataset).__name__} does not list raster files: give a TorchGeo '
            'RasterDataset, or paths'
        )
    catalogue = cast(RasterDataset, dataset)
    if not catalogue.is_image:
        raise TypeError(
            f'{type(dataset).__name__} holds labels (is_image is False): give a dataset of '
            'images'
        )
    return catalogue
