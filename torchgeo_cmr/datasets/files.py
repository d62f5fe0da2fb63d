"""Which files a user means by files, folders and patterns."""

import glob
import os
from collections.abc import Iterable

from torchgeo_cmr.errors import RasterError

#: Suffixes of rasters looked for in a folder. A VRT there most often points at the files
#: beside it, so it must be named.
RASTERS = ('.tif', '.tiff', '.jp2')
#: Suffixes of cubes, which xarray reads.
CUBES = ('.nc', '.nc4', '.zarr')
#: Suffixes of lists of STAC items; a folder may hold other JSON, so they must be named.
LISTS = ('.json', '.geojson', '.parquet', '.geoparquet')


def find_files(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[str]:
    """Find the files meant by paths, each once, in the order given.

    A Zarr store is a folder on disk and one file here. In folders, rasters and cubes are
    looked for at any depth.

    Args:
        paths: Files, folders or glob patterns.

    Returns:
        Paths of files and Zarr stores; those of one folder or pattern are sorted.

    Raises:
        RasterError: If nothing matches.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    given = [str(path) for path in paths]
    found: list[str] = []
    for path in given:
        if os.path.isdir(path) and not _is_cube(path):
            found += _inside(path)
            continue
        for match in sorted(glob.glob(path, recursive=True)):
            if os.path.isfile(match) or _is_cube(match):
                found.append(match)
            elif os.path.isdir(match) and match != path:
                # A pattern may match products that are folders, such as *.SAFE.
                found += _inside(match)
    if not found:
        raise RasterError(
            f'no raster matches {", ".join(given)}: check the path, and put quotes round '
            'a pattern so that it reaches us unchanged'
        )
    return list(dict.fromkeys(found))


def _inside(folder: str) -> list[str]:
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        stores = sorted(name for name in folders if _is_cube(name))
        folders[:] = sorted(set(folders) - set(stores))
        names = [n for n in names if n.lower().endswith((*RASTERS, *CUBES))]
        found += [os.path.join(parent, name) for name in [*names, *stores]]
    return sorted(found)


def _is_cube(path: str) -> bool:
    return path.rstrip('/\\').lower().endswith(CUBES)
