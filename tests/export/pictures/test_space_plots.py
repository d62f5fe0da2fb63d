"""Figures of the space of an archive say what was planted in it."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export import plot_gap, plot_hubs
from torchgeo_cmr.export.pictures.space_plots import occurrences

from .test_embedding_map import ALONG, table


def titles(figure: Figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes]


@pytest.mark.parametrize('gap', [0.0, 2.0])
def test_the_gap_is_the_distance_of_the_means(gap: float) -> None:
    made = table(gap)
    means = [
        made.vectors[: ALONG**2].mean(axis=0),
        made.vectors[ALONG**2 :].mean(axis=0),
    ]
    figure = plot_gap(made)
    assert (
        titles(figure)[0] == f'Vectors: gap {np.linalg.norm(means[0] - means[1]):.2f}'
    )
    points = figure.axes[0].collections
    assert [len(np.asarray(p.get_offsets())) for p in points] == [ALONG**2] * 2
    # Means of the points lie as far apart as those of the vectors: the gap is in the first two components.
    drawn = [np.asarray(p.get_offsets()).mean(axis=0) for p in points]
    if gap:
        assert np.linalg.norm(drawn[0] - drawn[1]) == pytest.approx(
            np.linalg.norm(means[0] - means[1]), rel=0.02
        )


def test_pairs_of_one_place_are_told_from_others() -> None:
    made = table(noise=0.2)
    rng = np.random.default_rng(0)
    vectors = np.tile(rng.standard_normal((ALONG**2, 32)), (2, 1))
    made = type(made).from_frame(made.frame, vectors, space='x')
    figure = plot_gap(made)
    labels = figure.axes[1].get_legend_handles_labels()[1]
    assert labels == [
        'different modalities, same place',
        'different modalities, all',
        'one modality, all',
    ]
    # Equal vectors at equal places: all of that heap lies at 1.
    same = np.asarray(figure.axes[1].patches[0].get_path().vertices)
    assert same[same[:, 1] > 0][:, 0].min() > 0.4


def test_occurrences_are_counted() -> None:
    items = np.eye(4)
    queries = np.array([[1, 0.1, 0, 0], [0.9, 0.2, 0, 0], [0, 0, 1, 0.1]])
    assert occurrences(queries, items, 1).tolist() == [2, 0, 1, 0]
    assert occurrences(queries, items, 2).tolist() == [2, 2, 1, 1]
    assert occurrences(queries, items, 9).sum() == 12


def test_a_planted_hub_is_seen() -> None:
    made = table(noise=0.3)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(made), 64))
    vectors[0] = vectors[ALONG**2 :].mean(axis=0) * 50  # close to all rows of s2
    hub = type(made).from_frame(made.frame, vectors, space='x')
    found = titles(plot_hubs(hub, 1))
    assert len(found) == 2
    from_s2 = next(t for t in found if t.startswith('s2'))
    from_s1 = next(t for t in found if t.startswith('s1'))

    def skewness(title: str) -> float:
        return float(title.partition('skewness ')[2].partition(',')[0])

    assert skewness(from_s2) > 2 * skewness(from_s1)


def test_one_modality_has_no_gap() -> None:
    made = table().select(np.arange(ALONG**2))
    for plot in (plot_gap, plot_hubs):
        with pytest.raises(QueryError, match=r'the modality s1 alone, .*concat of two'):
            plot(made)
    with pytest.raises(QueryError, match='k=0 must be at least 1'):
        plot_hubs(table(), 0)
