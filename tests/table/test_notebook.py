"""What tables and hits show in a notebook."""

from html.parser import HTMLParser
from pathlib import Path

import geopandas as gpd
import matplotlib as mpl
import numpy as np
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable


@pytest.fixture
def table() -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'p{i}' for i in range(8)],
            'modality': ['s1'] * 3 + ['<script>alert(1)</script>'] * 5,
            'time_start': ['2024-06-01'] * 8,
            'native_corners': [np.arange(8.0)] * 8,
            'note': ['<img src=x onerror=alert(1)>'] * 8,
        },
        geometry=shapely.box(9 + np.arange(8), 45, 10 + np.arange(8), 46),
        crs=4326,
    )
    vectors = np.random.default_rng(0).normal(size=(8, 4))
    return EmbeddingTable.from_frame(frame, vectors, space='abc')


def tags(html: str) -> set[str]:
    found: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.add(tag)
    parser.feed(html)
    return found


def test_a_table_shows_itself(table: EmbeddingTable) -> None:
    html = table._repr_html_()
    assert '<td>8</td>' in html
    assert '<td>4 numbers, cosine</td>' in html
    assert '(5), s1 (3)</td>' in html
    assert '<td>9.0000, 45.0000, 17.0000, 46.0000</td>' in html
    assert 'p4' in html
    assert 'p5' not in html
    assert tags(html) <= {'div', 'b', 'table', 'thead', 'tbody', 'tr', 'th', 'td'}


def test_tables_without_rows_dates_or_places(table: EmbeddingTable) -> None:
    html = table.select([])._repr_html_()
    assert html.count('<td>unknown</td>') == 2
    assert '<td>no place</td>' in html


def test_hits_are_drawn_without_a_background(table: EmbeddingTable) -> None:
    mpl.use('Agg')
    hits = RetrievalIndex(table).search('p0', k=3)
    axes = table.frame.plot(facecolor='none', edgecolor='lightgrey', linewidth=0.5)
    assert hits.plot(column='score', legend=True, ax=axes) is axes
    assert len(axes.collections) == 2


@pytest.mark.slow
def test_hits_in_folium_and_lonboard(table: EmbeddingTable, tmp_path: Path) -> None:
    """Unchanged, with times and corners."""
    hits = RetrievalIndex(table).search('p0', k=3)
    pytest.importorskip('mapclassify')
    pytest.importorskip('folium')
    drawn = hits.explore(column='score', tiles=None)
    page = drawn.get_root().render()
    assert hits['patch_id'][0] in page
    lonboard = pytest.importorskip('lonboard')
    assert len(lonboard.viz(hits).layers) == 1
