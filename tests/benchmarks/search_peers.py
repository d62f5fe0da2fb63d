"""Lance and PostGIS with pgvector, asked what ``search.py`` asks: ids and scores, one area.

Both get the rows, footprints as WKB, and the spatial index their users would make, and rank
exactly what the area leaves. They come with the extra ``[benchmarks]``; PostgreSQL must have
PostGIS and pgvector, as packaged in Debian 13.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.table import EmbeddingTable

type Answer = tuple[NDArray[np.int64], NDArray[np.float32]]
type Ask = Callable[[NDArray[np.float32], Geometry, int], Answer]

#: Schema of the server that is dropped before and after.
_SCHEMA = 'torchgeo_cmr_benchmark'


def in_lance(table: EmbeddingTable, folder: Path) -> Ask:
    """Write a Lance data set with a spatial index and give how it is asked."""
    lance: Any = import_module('lance')

    n, dim = table.vectors.shape
    # A CRS in the metadata of the column keeps the index from being built.
    kind = {b'ARROW:extension:name': b'geoarrow.wkb'}
    data = pa.table(
        [
            pa.array(np.arange(n)),
            pa.FixedSizeListArray.from_arrays(pa.array(table.vectors.ravel()), dim),
            pa.array(shapely.to_wkb(table.frame.geometry.to_numpy())),
        ],
        schema=pa.schema(
            [
                pa.field('id', pa.int64()),
                pa.field('vector', pa.list_(pa.float32(), dim)),
                pa.field('geometry', pa.binary(), metadata=kind),
            ]
        ),
    )
    rows: Any = lance.write_dataset(data, str(folder / 'peer.lance'))
    rows.create_scalar_index('geometry', index_type='RTREE')

    def ask(queries: NDArray[np.float32], area: Geometry, k: int) -> Answer:
        within = f"st_intersects(geometry, st_geomfromtext('{area.wkt}'))"
        nearest = {
            'column': 'vector',
            'q': queries if len(queries) > 1 else queries[0],
            'k': k,
            'metric': 'dot',
            'use_index': False,
        }
        found = rows.to_table(
            columns=['id', '_distance'], filter=within, prefilter=True, nearest=nearest
        )
        distance = found['_distance'].to_numpy()
        owner = found['query_index'].to_numpy() if len(queries) > 1 else 0 * distance
        order = np.lexsort((distance, owner))
        best = found['id'].to_numpy()[order].reshape(len(queries), -1)
        # Its distance is 1 less the product.
        return best, 1 - distance[order].reshape(len(queries), -1)

    return ask


@contextmanager
def in_postgres(table: EmbeddingTable, dsn: str) -> Generator[Ask]:
    """Load a table into a server and give how it is asked; what was loaded goes with the block.

    Rows are filtered first and ranked exactly within, which a common table expression
    forces. A batch is one statement: the rows of the area once, then each query on them.
    """
    psycopg: Any = import_module('psycopg')

    dim = table.dim
    shapes = shapely.to_wkb(table.frame.geometry.to_numpy(), include_srid=False)
    with psycopg.connect(dsn, autocommit=True) as server:

        def run(statement: str, *values: Any) -> Any:
            return server.execute(statement.encode(), values)

        run('CREATE EXTENSION IF NOT EXISTS postgis')
        run('CREATE EXTENSION IF NOT EXISTS vector')
        run(f'DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE')
        run(f'CREATE SCHEMA {_SCHEMA}')
        run(f'SET search_path TO {_SCHEMA}, public')
        try:
            run(
                f'CREATE TABLE patch (id int PRIMARY KEY, geom geometry(Polygon, 4326), v vector({dim}))'
            )
            run('ALTER TABLE patch ALTER v SET STORAGE PLAIN')
            with (
                server.cursor() as cursor,
                cursor.copy('COPY patch FROM STDIN WITH (FORMAT BINARY)') as copy,
            ):
                copy.write(_binary(table.vectors, shapes))
            run('CREATE INDEX ON patch USING gist (geom)')
            run('VACUUM ANALYZE patch')

            def ask(queries: NDArray[np.float32], area: Geometry, k: int) -> Answer:
                rows = run(
                    'WITH near AS MATERIALIZED ('
                    '  SELECT id, v FROM patch'
                    '  WHERE st_intersects(geom, st_setsrid(st_geomfromwkb(%s), 4326))),'
                    ' asked AS ('
                    '  SELECT number, q FROM unnest(%s::vector[]) WITH ORDINALITY AS a(q, number))'
                    ' SELECT number, id, score FROM asked CROSS JOIN LATERAL ('
                    '  SELECT id, -(v <#> q) AS score FROM near ORDER BY v <#> q LIMIT %s) AS best'
                    ' ORDER BY number, score DESC',
                    shapely.to_wkb(area),
                    [_text(query) for query in queries],
                    k,
                ).fetchall()
                found = np.array([row[1] for row in rows]).reshape(len(queries), -1)
                score = np.array([row[2] for row in rows], np.float32)
                return found, score.reshape(len(queries), -1)

            yield ask
        finally:
            run(f'DROP SCHEMA {_SCHEMA} CASCADE')


def _text(vector: NDArray[np.float32]) -> str:
    return '[' + ','.join(map(str, vector.tolist())) + ']'


def _binary(vectors: NDArray[np.float32], shapes: NDArray[np.object_]) -> bytes:
    """Lay rows out as COPY reads them: text of 10^5 vectors takes minutes."""
    parts = [b'PGCOPY\n\xff\r\n\0' + bytes(8)]
    head = len(vectors[0]).to_bytes(2, 'big') + bytes(2)
    for i, (vector, shape) in enumerate(zip(vectors, shapes, strict=True)):
        fields = i.to_bytes(4, 'big'), shape, head + vector.astype('>f4').tobytes()
        parts.append(b'\0\3')
        parts += [len(field).to_bytes(4, 'big') + field for field in fields]
    return b''.join([*parts, b'\xff\xff'])
