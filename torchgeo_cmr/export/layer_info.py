"""What a vector layer holds, from its header."""

import os
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pyarrow.parquet as pq
import pyogrio
from pyproj import CRS

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.export.record.record_summary import saved_record
from torchgeo_cmr.regular_files import check_regular
from torchgeo_cmr.typed_json import decode
from torchgeo_cmr.vectors.vector_contents import check_vector
from torchgeo_cmr.vectors.vector_file import locate


class _Column(TypedDict):
    geometry_types: NotRequired[list[str]]
    bbox: NotRequired[list[float]]
    crs: NotRequired[str | dict[str, Any] | None]


class _Geo(TypedDict):
    primary_column: str
    columns: dict[str, _Column]


def describe_layer(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say what a layer of results, or any other vector file, holds.

    Args:
        path: Any format that GDAL reads; ``FILE|layername=NAME`` for one of several layers.
            Of a saved search without a name that is the layer of its results, of any other
            file the first.

    Returns:
        JSON-able: ``kind``, ``path``, ``layer``, ``layers`` (all of the file, with their
        rows), ``format``, ``rows``, ``geometry``, ``crs``, ``bounds`` (in that CRS; null if
        empty), ``columns`` and ``bytes``; of a saved search also ``search``: how it was made, see
        :func:`~torchgeo_cmr.export.record.record_summary.describe_record`.

    Raises:
        ArchiveError: If it is not a vector file.
    """
    source, named = locate(path, 'file')
    try:
        if source.lower().endswith(('.parquet', '.geoparquet')):
            check_regular(source, ArchiveError)
            facts = _describe_geoparquet(source)
        else:
            facts = _describe(source, named)
    except Exception as error:  # GDAL and Arrow raise kinds of their own
        # What GDAL advises then is for those who call it.
        reason = ' '.join(str(error).split()).partition('; It might help')[0] or 'empty'
        raise ArchiveError(
            f'{path} is not an archive, a checkpoint or a layer ({reason})'
        ) from error
    search = saved_record(source)
    return facts | ({'search': search} if search else {})


def _describe(source: str, named: str | None) -> dict[str, Any]:
    """Let GDAL list the layers."""
    opened = check_vector(source, ArchiveError)
    layers = [str(name) for name, _ in pyogrio.list_layers(opened)]
    layer = named or ('results' if 'results' in layers else layers[0])
    rows = {name: pyogrio.read_info(opened, layer=name)['features'] for name in layers}
    info = pyogrio.read_info(opened, layer=layer, force_total_bounds=True)
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


def _describe_geoparquet(path: str) -> dict[str, Any]:
    """Read the footer of a GeoParquet file, which not every GDAL opens."""
    footer = pq.read_metadata(path)
    text = (footer.metadata or {})[b'geo']
    geo = decode(text, _Geo, f'the metadata geo of {path}', 'write the file again')
    column = geo['columns'][geo['primary_column']]
    names = footer.schema.to_arrow_schema().names
    kinds = column.get('geometry_types') or ['Unknown']
    box = column.get('bbox')
    crs = CRS.from_user_input(column.get('crs') or 'OGC:CRS84')
    return {
        'kind': 'layer',
        'path': path,
        'layer': Path(path).stem,
        'layers': {Path(path).stem: footer.num_rows},
        'format': 'Parquet',
        'rows': footer.num_rows,
        'geometry': ', '.join(kinds),
        'crs': ':'.join(crs.to_authority() or ()) or crs.name,
        'bounds': None if box is None else [float(side) for side in box],
        'columns': [name for name in names if name not in geo['columns']],
        'bytes': Path(path).stat().st_size,
    }
