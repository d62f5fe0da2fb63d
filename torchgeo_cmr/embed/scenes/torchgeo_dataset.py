"""Rasters opened with the TorchGeo dataset that knows their names."""

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from importlib import import_module
from typing import Any

from torchgeo.datasets import DatasetNotFoundError, RasterDataset

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.rasters.raster_files import holds_pixels
from torchgeo_cmr.scenes.bands import explain, find_bands, nameless
from torchgeo_cmr.scenes.files import RASTERS, find_files


def open_dataset(
    name: str, paths: Iterable[str], bands: Sequence[str] | None = None
) -> RasterDataset:
    """Open rasters with the TorchGeo dataset that knows their names.

    Args:
        name: Python path of the class, such as ``'torchgeo.datasets.Sentinel2'``.
        paths: Files, folders or glob patterns.
        bands: Bands to open, in channel order; None, or names that only count
            (``band_1``), for those the class gives by default.

    Returns:
        The dataset.

    Raises:
        RasterError: If there is no such class, it does not have the bands, or none of the
            files is named as it expects.
    """
    module, _, attribute = name.rpartition('.')
    try:
        cls = getattr(import_module(module), attribute) if module else None
    except (AttributeError, ImportError):
        cls = None
    raster = isinstance(cls, type) and issubclass(cls, RasterDataset)
    if not (raster and cls.is_image):
        raise RasterError(
            f'{name} is not a raster dataset of images: give a Python path such as '
            'torchgeo.datasets.Sentinel2'
        )
    found = _safe(find_files(paths, suffixes=('',)))
    options: dict[str, Any] = {}
    if bands and not nameless(bands):
        every = [str(band) for band in getattr(cls, 'all_bands', ())]
        order = find_bands(list(bands), every)
        if order is None:
            raise RasterError(
                f'{cls.__name__} has no band {", ".join(sorted(set(bands) - set(every)))}: '
                f'{explain(list(bands), every)} among {", ".join(every)}; give the dataset '
                'that the encoder was trained with'
            )
        options = {'bands': [every[i] for i in order]}
    try:
        with warnings.catch_warnings():
            # Given all files of a product, TorchGeo warns of all but the first band's.
            warnings.filterwarnings('ignore', 'Could not find any relevant files')
            dataset = cls(found, **options)
    except DatasetNotFoundError as error:
        raise RasterError(
            f'{cls.__name__} recognises no file in {", ".join(paths)}: check the path, and '
            'that files have the names of the product'
        ) from error
    _warn_of_unmatched(dataset, found)
    return dataset


def _safe(files: Sequence[str]) -> list[str]:
    """Drop rasters that are not pixels: TorchGeo opens them with any driver of GDAL."""
    odd = [f for f in files if f.lower().endswith(RASTERS) and not holds_pixels(f)]
    if odd:
        warnings.warn(
            f'{len(odd)} of {len(files)} files do not begin like rasters and are not '
            f'embedded, for example {odd[0]}: check it, or fetch it again',
            UserWarning,
            stacklevel=3,
        )
    return [file for file in files if file not in set(odd)]


def _warn_of_unmatched(dataset: RasterDataset, files: Sequence[str]) -> None:
    """Count and name the rasters that a dataset takes no notice of."""
    cls = type(dataset)
    # TorchGeo fills the first band and its resolution into the patterns of its classes.
    names = cls.filename_glob.replace('{}', '*')
    pattern = cls.filename_regex
    pattern = pattern.format(r'\w+') if '{}' in pattern else pattern
    used = {os.path.abspath(path) for path in dataset.index['filepath']}
    unmatched = [
        file
        for file in files
        if file.lower().endswith(RASTERS)
        and os.path.abspath(file) not in used
        and not (
            fnmatch(os.path.basename(file), names)
            and re.match(pattern, os.path.basename(file), re.VERBOSE)
        )
    ]
    if unmatched:
        warnings.warn(
            f'{cls.__name__} recognises the names of {len(files) - len(unmatched)} '
            f'of {len(files)} files, and {len(unmatched)} rasters are not embedded, for '
            f'example {unmatched[0]}: give them without a dataset, or rename them',
            UserWarning,
            stacklevel=3,
        )
