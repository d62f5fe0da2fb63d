"""CSV: a table for spreadsheets and scripts, with the footprint as text.

What it cannot carry: types, lists, several layers, the record of the search.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from torchgeo_cmr.export.layers.arrow_batches import BATCH
from torchgeo_cmr.export.layers.fields import fields, to_array
from torchgeo_cmr.export.layers.layer_outlines import check_layer
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import WGS84

#: The column in which GDAL, and so QGIS, look for geometry.
_OUTLINES = 'WKT'


def to_csv(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a layer as CSV in UTF-8: its columns, then the footprint as WKT in EPSG:4326.

    Columns keep their names; times are ISO 8601 in UTC, nulls are empty. Coordinates have
    seven decimals. The column of the footprint is called ``WKT``, which GDAL and QGIS read as
    geometry. Lists, arrays and bytes are dropped.

    Args:
        results: What a search gave, or any GeoDataFrame with a CRS.
        path: File to write.
        queries: Not written: CSV holds one table.
        area: Not written.
        record: Not written.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If the frame has no CRS.
        OutputExistsError: If the file is there and ``overwrite`` is False.
    """
    check_layer(results)
    columns = fields(results, taken=(_OUTLINES,))
    with new_file(path, overwrite=overwrite) as temporary:
        for begin in range(0, len(results) or 1, BATCH):
            part = results.iloc[begin : begin + BATCH]
            made: dict[str, Any] = {
                f.name: to_array(part[f.column], f, text_times=True).to_pandas()
                for f in columns
            }
            shapes = part.geometry.to_crs(WGS84).to_numpy()
            made[_OUTLINES] = shapely.to_wkt(shapes, rounding_precision=7)
            pd.DataFrame(made).to_csv(
                temporary,
                mode='a' if begin else 'w',
                header=not begin,
                index=False,
                encoding='utf-8',
                lineterminator='\n',
            )
    return Path(path)
