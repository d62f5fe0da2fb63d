"""An approximate index behind a selective filter gives too few rows, or none; a search never does."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex, Where, load_archive
from torchgeo_cmr.search.rank import plan
from torchgeo_cmr.table import EmbeddingTable

pytestmark = pytest.mark.postgres

AREA = shapely.Polygon([(0, 0), (1, 0), (1, 0.2), (0.2, 0.2), (0.2, 1), (0, 1)])
#: The planner's way to HNSW: everything else costs more.
PUSHES = ('enable_seqscan', 'enable_sort', 'enable_bitmapscan')


@pytest.fixture(scope='module')
def table() -> EmbeddingTable:
    """Clusters, so that what lies in the area is far from the query in the graph."""
    rng, n = np.random.default_rng(1), 4_000
    of = rng.integers(0, 20, n)
    x, y = rng.uniform(0, 10, n), rng.uniform(0, 10, n)
    vectors = rng.normal(size=(20, 24))[of] + 0.4 * rng.normal(size=(n, 24))
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{i:05d}' for i in range(n)], 'n': np.arange(n)},
        geometry=shapely.box(x, y, x + 0.01, y + 0.01),
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, vectors, space='w')


@pytest.fixture(scope='module')
def index(
    database: str, table: EmbeddingTable, tmp_path_factory: pytest.TempPathFactory
) -> RetrievalIndex:
    address = f'{database}&archive=trap'
    folder = table.save(tmp_path_factory.mktemp('trap') / 'archive')
    load_archive(folder, address, approximate=True)  # which refreshes statistics
    found = RetrievalIndex.open(address)
    for name in PUSHES:
        found._server.execute(f'SET {name} = off')  # ty: ignore[missing-attribute]
    return found


def test_the_plain_statement_falls_into_the_trap(
    index: RetrievalIndex, table: EmbeddingTable
) -> None:
    """Otherwise the tests below would show nothing."""
    server = index._server  # ty: ignore[missing-attribute]
    words = f'[{",".join(map(str, table.vectors[0].tolist()))}]'
    statement = (
        'SELECT n FROM torchgeo_cmr.trap p JOIN torchgeo_cmr.trap_vector v USING (row_number) '
        'WHERE ST_Intersects(geometry, ST_GeomFromText(%s, 4326)) ORDER BY v <#> %s LIMIT 10'
    )
    found = server.execute(statement, [AREA.wkt, words]).fetchall()
    assert len(found) < min(10, len(Where(AREA, 4326).rows(table)))


@pytest.mark.parametrize(
    'where',
    [
        Where(AREA, 4326),
        Where(AREA, 4326, predicate='within', where='n > 100'),
        Where(where='n >= 300'),  # most rows, so that the database ranks them
        None,
    ],
    ids=str,
)
def test_filtered_answers_are_whole_and_exact(
    index: RetrievalIndex, table: EmbeddingTable, where: Where | None
) -> None:
    memory = RetrievalIndex(table)
    for k in (10, 400):
        wanted = memory.search(table.vectors[:3], k, where)
        hits = index.search(table.vectors[:3], k, where)
        assert hits['patch_id'].tolist() == wanted['patch_id'].tolist()
        assert hits['score'].tolist() == wanted['score'].tolist()
        assert hits['exact'].all()


def test_approximate_only_without_a_filter_and_said_so(
    index: RetrievalIndex, table: EmbeddingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, 'LEAST_ROWS', 0)
    memory, queries = RetrievalIndex(table), table.vectors[::200]
    hits = index.search(queries, 10, exact=False)
    assert not hits['exact'].any()
    wanted = memory.search(queries, 10)
    shared = {*zip(hits['query_id'], hits['patch_id'], strict=True)} & {
        *zip(wanted['query_id'], wanted['patch_id'], strict=True)
    }
    assert len(hits) == len(wanted)
    assert len(shared) >= 0.95 * len(wanted)
    assert index.explain(queries, 10, exact=False).plan == 'approximate hnsw'
    # More than the graph gives, and behind a filter: every row all the same.
    assert len(index.search(queries[:1], 5_000, exact=False)) == len(table)
    few = Where(AREA, 4326)
    hits = index.search(queries[:2], 10, few, exact=False)
    assert (
        hits['patch_id'].tolist()
        == memory.search(queries[:2], 10, few)['patch_id'].tolist()
    )
