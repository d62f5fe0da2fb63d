"""An archive in PostgreSQL: loaded by month, searched by its address, hits as a live layer for QGIS.

Run it with an archive that embed wrote and a server with PostGIS and pgvector::

    python examples/08_postgres.py archive postgresql://gis@localhost/gis
"""

import sys

from torchgeo_cmr.export import to_postgres
from torchgeo_cmr.search import RetrievalIndex, Where, load_archive

folder, address = sys.argv[1:]
print(load_archive(folder, address, role='readers', divide='month'))
index = RetrievalIndex.open(address)
query = index.table.frame['patch_id'].iloc[0]
hits = index.search(query, k=10, where=Where(beyond=500))
join = '&' if '?' in address else '?'
print(
    f'{len(hits)} hits in',
    to_postgres(hits, f'{address}{join}table=hits', overwrite=True),
)
