"""A frame as the stream of Arrow batches that GDAL writes: its fields and its outlines.

Batch by batch, so that of a million rows only some ten thousand outlines are in memory at
once, besides the frame itself.
"""

import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.table.footprints import WGS84

from .fields import UTC, Field, renamed, to_array
from .layer_outlines import check_layer, footprints

#: Rows per batch.
BATCH = 32_768
#: Name of the geometry in files that name it.
GEOMETRY = 'geom'
#: Prefix of a layer's description that records the original column names.
NAMES = 'torchgeo_cmr: columns '


def stream(
    frame: gpd.GeoDataFrame,
    columns: Sequence[Field],
    *,
    crs: CRS = WGS84,
    text_times: bool = False,
    multi: str | None = None,
) -> pa.RecordBatchReader:
    """Give a layer as Arrow batches with the outlines as WKB in their last column.

    Args:
        frame: The layer.
        columns: What to write, as :func:`fields` decided.
        crs: CRS of the outlines.
        text_times: Write times as ISO 8601 text in UTC.
        multi: Kind of geometry to raise to its multi-part form; None leaves them.

    Raises:
        QueryError: When a batch that cannot be written is requested; see
            :func:`~torchgeo_cmr.export.layers.layer_outlines.footprints`.
    """
    check_layer(frame)
    schema = pa.schema(
        [
            pa.field(f.name, pa.string() if text_times and f.kind == UTC else f.kind)
            for f in columns
        ]
        + [pa.field(_unused(GEOMETRY, columns), pa.binary())]
    )

    def batches() -> Generator[pa.RecordBatch]:
        for begin in steps(range(0, len(frame), BATCH), 'batch', 'write'):
            part = frame.iloc[begin : begin + BATCH]
            arrays = [
                to_array(part[f.column], f, text_times=text_times) for f in columns
            ]
            shapes = footprints(part, crs)
            if multi is not None:
                shapes = _to_multi(shapes, multi)
            arrays.append(pa.array(shapely.to_wkb(shapes), type=pa.binary()))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def description(columns: Sequence[Field]) -> dict[str, str]:
    """Give the layer options that keep names of columns, if the format changed any."""
    names = renamed(columns)
    return {'DESCRIPTION': NAMES + json.dumps(names)} if names else {}


def save(batches: pa.RecordBatchReader, path: Path, **options: Any) -> None:
    """Write batches with GDAL, and raise what went wrong while they were made.

    Args:
        batches: What :func:`stream` gave, or the like.
        path: File to write or, in a format of many layers, to add to.
        **options: As :func:`pyogrio.write_arrow` takes them.

    Raises:
        QueryError: If a batch cannot be written.
    """
    broken: list[Exception] = []

    def watched() -> Generator[pa.RecordBatch]:
        try:
            yield from batches
        except Exception as error:
            # GDAL would only say that there was one.
            broken.append(error)
            raise

    reader = pa.RecordBatchReader.from_batches(batches.schema, watched())
    try:
        outlines = reader.schema.names[-1]
        pyogrio.write_arrow(reader, path, geometry_name=outlines, **options)
    except RuntimeError as error:
        raise (broken or [error])[0] from None


def _unused(name: str, columns: Sequence[Field]) -> str:
    """Lengthen a name until no field has it."""
    while any(field.name == name for field in columns):
        name += '_'
    return name


def _to_multi(shapes: NDArray[np.object_], kind: str) -> NDArray[np.object_]:
    """Raise single geometries to their multi-part form."""
    make = {
        'Polygon': shapely.multipolygons,
        'LineString': shapely.multilinestrings,
        'Point': shapely.multipoints,
    }[kind]
    single = np.flatnonzero(shapely.get_num_geometries(shapes) == 1)
    parts = shapely.get_geometry(shapes[single], 0)
    raised = shapes.copy()
    if len(single):
        raised[single] = make(parts, indices=np.arange(len(single)))
    return raised
