"""FlatGeobuf: one layer with an index, which maps in a browser read piece by piece.

What it cannot carry: several layers, the record of the search, the order of the rows, which
lie as the index has them.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd

from torchgeo_cmr.drafts import check_new
from torchgeo_cmr.export.layers.arrow_batches import description, save, stream
from torchgeo_cmr.export.layers.extent import label_scale, placed
from torchgeo_cmr.export.layers.fields import fields, is_result, with_both_times
from torchgeo_cmr.export.layers.layer_outlines import check_layer, kind_of
from torchgeo_cmr.export.new_file import new_file, together
from torchgeo_cmr.export.styles.style import results_style, write_qml
from torchgeo_cmr.search.results import check_result
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import WGS84


@together()
def to_flatgeobuf(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a layer as FlatGeobuf, and for results its style as ``.qml`` next to it.

    EPSG:4326, cut at the antimeridian, edges divided into eight; times are UTC. Columns keep
    their names. Lists, arrays and bytes are dropped.

    Args:
        results: What a search gave, or any GeoDataFrame with a CRS.
        path: File to write.
        queries: Not written: FlatGeobuf holds one layer.
        area: Not written.
        record: Not written.
        overwrite: Replace files that are there.

    Returns:
        The path.

    Raises:
        QueryError: If the frame has no CRS or a geometry cannot be expressed in EPSG:4326.
        OutputExistsError: If a file is there and ``overwrite`` is False.
    """
    check_layer(results)
    kind = kind_of(results.geometry.to_numpy(), 'results')
    styled = is_result(results)
    if styled:
        check_result(results)
        check_new(Path(path).with_suffix('.qml'), overwrite=overwrite)
    frame = with_both_times(results)
    columns = fields(frame)
    with new_file(path, overwrite=overwrite) as temporary:
        save(
            stream(frame, columns, multi=kind),
            temporary,
            driver='FlatGeobuf',
            layer=Path(path).stem,  # and not that of the draft
            geometry_type=f'Multi{kind}',
            crs=WGS84.to_wkt(),
            # An index has a box for each row, and a row without a place has none.
            layer_options={
                'SPATIAL_INDEX': 'YES' if placed(frame).all() else 'NO',
                **description(columns),
            },
        )
    if styled:
        ends = results['score'].agg(['min', 'max']).tolist() if len(results) else []
        style = results_style(ends, kind=kind, scale=label_scale(results))
        write_qml(style, path, overwrite=overwrite)
    return Path(path)
