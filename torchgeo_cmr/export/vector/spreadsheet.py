"""CSV: a table for spreadsheets and scripts, with the footprint as text.

What it cannot carry: types, lists, several layers, the record of the search.
"""

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from torchgeo_cmr.export.layers.arrow_batches import BATCH
from torchgeo_cmr.export.layers.fields import Field, fields, to_array
from torchgeo_cmr.export.layers.layer_outlines import check_layer
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import WGS84

#: The column in which GDAL, and so QGIS, look for geometry.
_OUTLINES = 'WKT'
#: How a cell begins that a spreadsheet would compute.
_FORMULA = r'^([=+\-@\t\r\n])'
#: Would end the row, for it is not put in quotes; a line feed is.
_RETURN = r'\r\n?'


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
    seven decimals. Text and names of columns that begin with ``= + - @``, a tab or a line
    end, which spreadsheets compute rather than show, get an apostrophe in front. The column of the footprint is called ``WKT``, which GDAL and QGIS read as
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
                _shown(f.name): _cells(part[f.column], f).to_pandas(
                    integer_object_nulls=True
                )
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


def _shown(text: str) -> str:
    return re.sub(_RETURN, '\n', re.sub(_FORMULA, r"'\1", text))


def _cells(values: pd.Series, field: Field) -> pa.Array:
    """Give the cells of a column, text as text."""
    cells = to_array(values, field, text_times=True)
    if not pa.types.is_string(field.kind):
        return cells
    for pattern, replacement in ((_FORMULA, r"'\1"), (_RETURN, '\n')):
        change = pc.ReplaceSubstringOptions(pattern, replacement)
        cells = pc.call_function('replace_substring_regex', [cells], change)
    return cells
