"""What a vector layer holds, from its header."""

import os
from pathlib import Path
from typing import Any

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from torchgeo_cmr.errors import ArchiveError


def describe_layer(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say what a layer of results, or any other vector file, holds.

    Args:
        path: Any format that GDAL reads.

    Returns:
        JSON-able: ``kind``, ``path``, ``format``, ``rows``, ``geometry``, ``crs``, ``bounds``
        (in that CRS; null if empty), ``columns`` and ``bytes``.

    Raises:
        ArchiveError: If it is no vector file.

    .. versionadded:: 0.1
    """
    file = Path(path)
    try:
        told = pyogrio.read_info(file, force_total_bounds=True)
    except (DataLayerError, DataSourceError) as error:
        raise ArchiveError(
            f'{file} is no archive, checkpoint or layer ({" ".join(str(error).split())})'
        ) from error
    return {
        'kind': 'layer',
        'path': str(file),
        'format': told['driver'],
        'rows': int(told['features']),
        'geometry': told['geometry_type'],
        'crs': told['crs'],
        'bounds': None
        if told['total_bounds'] is None
        else [float(side) for side in told['total_bounds']],
        'columns': [str(name) for name in told['fields']],
        'bytes': file.stat().st_size,
    }
