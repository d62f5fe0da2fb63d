"""What a vector layer holds, from its header."""

import os
from pathlib import Path
from typing import Any

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search.where.vector_file import locate


def describe_layer(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say what a layer of results, or any other vector file, holds.

    Args:
        path: Any format that GDAL reads; ``FILE|layername=NAME`` for one of several layers.
            Of a saved search without a name that is the layer of its results, of any other
            file the first.

    Returns:
        JSON-able: ``kind``, ``path``, ``layer``, ``layers`` (all of the file, with their
        rows), ``format``, ``rows``, ``geometry``, ``crs``, ``bounds`` (in that CRS; null if
        empty), ``columns`` and ``bytes``.

    Raises:
        ArchiveError: If it is not a vector file.
    """
    source, named = locate(path, 'file')
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(source)]
        layer = named or ('results' if 'results' in layers else layers[0])
        rows = {
            name: pyogrio.read_info(source, layer=name)['features'] for name in layers
        }
        info = pyogrio.read_info(source, layer=layer, force_total_bounds=True)
    except (DataLayerError, DataSourceError, IndexError) as error:
        raise ArchiveError(
            f'{path} is not an archive, a checkpoint or a layer ({" ".join(str(error).split())})'
        ) from error
    return {
        'kind': 'layer',
        'path': source,
        'layer': layer,
        'layers': {name: int(count) for name, count in rows.items()},
        'format': info['driver'],
        'rows': int(info['features']),
        'geometry': info['geometry_type'],
        'crs': info['crs'],
        'bounds': None
        if info['total_bounds'] is None
        else [float(side) for side in info['total_bounds']],
        'columns': [str(name) for name in info['fields']],
        'bytes': Path(source).stat().st_size,
    }
