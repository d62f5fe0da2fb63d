"""From files to scenes that an encoder can read: its bands, in its order."""

import glob
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

from torchgeo.datasets import DatasetNotFoundError, RasterDataset

from torchgeo_cmr.datasets.scene import Scene, from_paths
from torchgeo_cmr.errors import RasterError

#: A file, folder or glob pattern, or several.
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

#: How bands on a coarser grid come onto the finest one; part of the plan and the record.
RESAMPLING = 'bilinear'

#: Names that say only a position: the file itself names nothing.
_NAMELESS = re.compile(r'(band_?)?\d+', re.IGNORECASE)

#: Units of radar backscatter, between which nobody may guess.
_BACKSCATTER = frozenset({'db', 'power', 'amplitude'})


def catalogue_of(dataset: RasterDataset | Paths) -> RasterDataset:
    """Check that a dataset lists images; open paths as one.

    Args:
        dataset: A TorchGeo raster dataset, or files, folders or patterns.

    Returns:
        The dataset, or one that lists the files without dates.

    Raises:
        RasterError: If no file matches, one cannot be read or has no CRS.
        TypeError: If it does not list raster images.
    """
    if isinstance(dataset, str | os.PathLike | list | tuple | set):
        return from_paths(dataset)
    index = getattr(dataset, 'index', {})
    if not hasattr(dataset, 'separate_files') or 'filepath' not in index:
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


def open_dataset(
    name: str, paths: Iterable[str], bands: Sequence[str] | None = None
) -> RasterDataset:
    """Open rasters with the TorchGeo dataset that knows their names.

    Args:
        name: Python path of the class, such as ``'torchgeo.datasets.Sentinel2'``.
        paths: Files, folders or glob patterns.
        bands: Bands to ask for, in channel order; None, or names that only count
            (``band_1``), for those the class gives by default.

    Returns:
        The dataset.

    Raises:
        RasterError: If there is no such class, it does not have the bands, or none of the
            files is named as it expects.

    .. versionadded:: 0.1
    """
    module, _, attribute = name.rpartition('.')
    try:
        cls = getattr(import_module(module), attribute) if module else None
    except (AttributeError, ImportError):
        cls = None
    raster = isinstance(cls, type) and issubclass(cls, RasterDataset)
    if not (raster and cls.is_image):
        raise RasterError(
            f'{name} is no raster dataset of images: give a Python path such as '
            'torchgeo.datasets.Sentinel2'
        )
    found: list[str] = []
    for path in paths:
        found += [path] if os.path.exists(path) else sorted(glob.glob(path))
    options = {'bands': list(bands)} if bands and not _nameless(bands) else {}
    unknown = sorted(set(options.get('bands', ())) - set(getattr(cls, 'all_bands', ())))
    if unknown:
        raise RasterError(
            f'{cls.__name__} has no band {", ".join(unknown)}: give the dataset that the '
            'encoder was trained with'
        )
    try:
        with warnings.catch_warnings():
            # Asked with all files of a product, TorchGeo warns of all but the first band's.
            warnings.filterwarnings('ignore', 'Could not find any relevant files')
            return cls(found, **options)
    except DatasetNotFoundError as error:
        raise RasterError(
            f'{cls.__name__} recognises no file in {", ".join(paths)}: check the path, and '
            'that files have the names of the product'
        ) from error


def match_bands(
    scene: Scene,
    modality: str,
    in_channels: int | None,
    spec: Mapping[str, Any],
    transformed: bool = False,
) -> Scene:
    """Pick an encoder's bands: by name if both sides have names, else by count.

    Args:
        scene: What the catalogue offers.
        modality: Modality name, for messages.
        in_channels: Bands the encoder expects; None to accept any.
        spec: ``bands`` (names, in channel order) and ``units`` of the training data, both
            optional.
        transformed: True if the dataset transforms its samples: bands must then come as
            they did in training, and only the result can be counted.

    Returns:
        The scene with the encoder's bands, in its order.

    Raises:
        RasterError: If bands are missing, their number is wrong, or the backscatter is in
            other units.
    """
    wanted = [str(name) for name in spec.get('bands') or ()]
    given = list(scene.bands)
    units = spec.get('units')
    if (
        not transformed
        and {units, scene.units} <= _BACKSCATTER
        and units != scene.units
    ):
        raise RasterError(
            f'{modality} was trained on backscatter in {units}, {scene.path} is in '
            f'{scene.units}: convert it with the `transforms` of the dataset'
        )
    if wanted == given:
        return scene
    if wanted and not _nameless(wanted) and not _nameless(given):
        if (
            not transformed
            and set(wanted) <= set(given)
            and len(set(given)) == len(given)
        ):
            order = [given.index(name) for name in wanted]
            return replace(
                scene,
                sources=tuple(scene.sources[i] for i in order),
                bands=tuple(wanted),
                gsd=tuple(scene.gsd[i] for i in order),
            )
    elif transformed or in_channels is None or len(given) == in_channels:
        return scene
    names = f' ({", ".join(wanted)})' if wanted else ''
    raise RasterError(
        f'{modality} expects {len(wanted) or in_channels} bands{names}, the dataset gives '
        f'{len(given)} ({", ".join(given)}) in {scene.path}: open it with the expected '
        '`bands`'
    )


def _nameless(names: Sequence[str]) -> bool:
    return all(_NAMELESS.fullmatch(name) for name in names)
