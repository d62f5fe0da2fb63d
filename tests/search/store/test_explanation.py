"""What an explanation and an index show of themselves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from torchgeo_cmr.search import Explanation, RetrievalIndex, Step
from torchgeo_cmr.table import EmbeddingTable


@pytest.fixture
def explanation() -> Explanation:
    steps = (Step('name = \'<b>&"x"\'', 1000, 20, 0.0012), Step('rank', 20, 5, 0.5))
    return Explanation(
        plan='approximate ivf',
        queries=2,
        k=5,
        archive=1000,
        rows=20,
        found=5,
        undated=3,
        steps=steps,
        why='few < many',
        exact=False,
        recall=None,
        again=7.4,
    )


def test_text_has_a_line_for_each_step(explanation: Explanation) -> None:
    assert str(explanation).split('\n') == [
        'plan: approximate ivf; 2 queries, k=5, 1000 rows',
        '  because few < many',
        '  name = \'<b>&"x"\': 1000 -> 20 rows, 1.2 ms',
        '  rank: 20 -> 5 rows, 500.0 ms',
        '  rows scored again per query: 7',
        '  rows without time met by the window: 3',
        '  not exact; expected recall: not measured',
    ]


def test_html_says_the_same_and_is_escaped(explanation: Explanation) -> None:
    html = explanation._repr_html_()
    assert (
        '<td>name = &#x27;&lt;b&gt;&amp;&quot;x&quot;&#x27;</td><td>1,000</td>' in html
    )
    assert '<p>because few &lt; many</p>' in html
    assert '<p>not exact; expected recall: not measured</p>' in html
    assert '<b>&' not in html
    assert html.count('<tr>') == 3


def test_an_index_names_size_and_place(
    make: Callable[..., EmbeddingTable], tmp_path: Path
) -> None:
    archive = make()
    index = RetrievalIndex(archive)
    assert repr(index) == (
        f'RetrievalIndex({len(archive)} rows, dim={archive.dim}, metric=cosine, in memory)'
    )
    path = tmp_path / 'index'
    made = RetrievalIndex.build(archive, path)
    made.delete([archive.frame['patch_id'][0]])
    assert repr(made) == (
        f'RetrievalIndex({len(archive) - 1} rows, dim={archive.dim}, metric=cosine, {path})'
    )
