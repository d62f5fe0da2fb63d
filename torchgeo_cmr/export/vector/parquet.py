"""GeoParquet: a result for Python and for databases, with its record among the metadata."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.export.record.record import record_text
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.part_schema import METADATA_KEY


def to_parquet(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a result as GeoParquet 1.1, compressed with zstd.

    Every column keeps its type, lists such as ``native_corners`` too, and the frame its CRS.
    Many builds of QGIS cannot read it, so let it not be the only output.

    Args:
        results: What a search gave, or any GeoDataFrame with a CRS.
        path: File to write.
        queries: Not written: GeoParquet holds one layer.
        area: Not written, for the same reason.
        record: JSON-able; kept in the file's metadata under ``torchgeo_cmr``.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If the frame has no CRS or the record is not JSON-able.
        OutputExistsError: If the file is there and ``overwrite`` is False.
    """
    import pyarrow.parquet as pq

    if not isinstance(results, gpd.GeoDataFrame) or results.crs is None:
        raise QueryError(
            'the layer has no geometry with a CRS; declare it with set_crs(...)'
        )
    options: dict[str, Any] = {
        'index': False,
        'compression': 'zstd',
        'schema_version': '1.1.0',
        'write_covering_bbox': True,
    }
    with new_file(path, overwrite=overwrite) as temporary:
        if record is None:
            results.to_parquet(temporary, **options)
            return Path(path)
        # geopandas has no word for metadata of one's own: written twice, block by block.
        plain = temporary.with_name(f'{temporary.name}.plain')
        try:
            once: dict[str, Any] = {**options, 'compression': None}
            results.to_parquet(plain, **once)
            with pq.ParquetFile(plain) as file:
                known = file.schema_arrow
                metadata = {METADATA_KEY: record_text(record).encode()}
                schema = known.with_metadata({**(known.metadata or {}), **metadata})
                with pq.ParquetWriter(temporary, schema, compression='zstd') as writer:
                    for block in file.iter_batches():
                        writer.write_batch(block)
        finally:
            plain.unlink(missing_ok=True)
    return Path(path)
