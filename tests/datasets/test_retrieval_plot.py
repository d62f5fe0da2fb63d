from typing import Any

import matplotlib.colors
import numpy as np
import pytest

from torchgeo_cmr.datasets import plot_retrieval

PICTURE = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
SOUND = np.zeros((1, 100), np.float32)


def test_frames_say_what_is_relevant() -> None:
    figure = plot_retrieval(
        SOUND, [PICTURE, PICTURE[:1]], relevant=[True, False], suptitle='tanks'
    )
    query, first, second = figure.axes
    assert len(query.lines) == 1
    assert [len(axis.images) for axis in (first, second)] == [1, 1]
    assert [axis.get_title() for axis in figure.axes] == ['query', '1', '2']
    for axis, colour in ((first, 'tab:green'), (second, 'tab:red')):
        frame = axis.spines['left'].get_edgecolor()
        assert matplotlib.colors.same_color(frame, colour)
    figure.canvas.draw()


def test_titles_are_those_given() -> None:
    figure = plot_retrieval(PICTURE, [SOUND], titles=['pond'], query_title='lake')
    assert [axis.get_title() for axis in figure.axes] == ['lake', 'pond']


@pytest.mark.parametrize(
    ('results', 'options', 'message'),
    [
        ([], {}, 'no result to plot'),
        ([PICTURE], {'relevant': []}, 'relevant needs one entry for each of 1 results'),
        ([PICTURE], {'titles': ['a', 'b']}, 'found 2'),
        ([PICTURE[0]], {}, r'found shape \(8, 8\)'),
    ],
)
def test_refuses(results: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot_retrieval(PICTURE, results, **options)
