import numpy as np
import pytest
from geopandas import GeoDataFrame
from shapely import box

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.evaluate import (
    evaluate,
    make_report,
    near_place,
    same_label,
    same_patch,
    same_place,
)
from torchgeo_cmr.search import Hash
from torchgeo_cmr.table import EmbeddingTable


def table(
    places: list[tuple[float, float]],
    vectors: np.ndarray | None = None,
    *,
    modality: str = 's2',
    epsg: int = 32632,
    labels: list[object] | None = None,
    space: str = 'one',
) -> EmbeddingTable:
    """Patches of 320 m whose lower left corners are counted in patch widths."""
    x0, y0 = 500_000, 5_000_000
    outlines = [
        box(x0 + 320 * x, y0 + 320 * y, x0 + 320 * (x + 1), y0 + 320 * (y + 1))
        for x, y in places
    ]
    frame = GeoDataFrame(
        {
            'patch_id': [f'{modality}:{i}' for i in range(len(places))],
            'src_crs': f'EPSG:{epsg}',
        },
        geometry=outlines,
        crs=f'EPSG:{epsg}',
    )
    if labels is not None:
        frame['label'] = labels
    if vectors is None:
        vectors = np.eye(len(places), 8) + 1e-3
    return EmbeddingTable.from_frame(frame, vectors, space=space, modality=modality)


GRID: list[tuple[float, float]] = [(x, y) for y in range(5) for x in range(5)]


class TestRules:
    def test_same_place_is_overlap_of_half(self) -> None:
        # IoU of a shift by s widths is (1 - s) / (1 + s): one half at a third of a width
        archive = table([(0, 0), (0.3, 0), (0.36, 0), (0, 1), (50, 50)])
        found = same_place(table([(0, 0)], modality='s1'), archive)
        assert found.tolist() == [[True, True, False, False, False]]

    def test_same_place_over_the_border_of_two_zones(self) -> None:
        here = table([(750, 0)], modality='s1')
        frame = here.frame.to_crs(32633)
        frame['src_crs'] = 'EPSG:32633'
        frame[['patch_id', 'modality']] = 's2:0', 's2'
        there = EmbeddingTable.from_frame(frame, here.vectors, space='one')
        assert same_place(here, there).tolist() == [[True]]

    @pytest.mark.parametrize('share', [1.0, 1 / 3, 0.5])
    def test_a_share_that_is_met_exactly_counts(self, share: float) -> None:
        shift = (1 - share) / (1 + share)
        many = [(i * 1.37, i * 0.61) for i in range(40)]
        frame = table(many, modality='s1').frame
        moved = table([(x + shift, y) for x, y in many]).frame
        for made in (
            frame,
            moved,
        ):  # brought to degrees and back to a zone of their place
            made['src_crs'] = None
        queries, archive = (
            EmbeddingTable.from_frame(f, np.eye(40), space='one')
            for f in (frame, moved)
        )
        assert same_place(queries, archive, iou=share).diagonal().all()
        assert (
            not same_place(queries, archive, iou=min(share + 1e-3, 1))
            .diagonal()[: 40 * (share < 1)]
            .any()
        )

    def test_near_place_is_touching_or_one_width_away(self) -> None:
        archive = table(GRID)
        near = near_place(table([(0, 0)], modality='s1'), archive)[0].reshape(5, 5)
        expected = np.zeros((5, 5), bool)
        expected[:3, :3] = True
        expected[2, 2] = False  # the square root of two away
        assert (near == expected).all()

    def test_same_label_ignores_the_unlabelled(self) -> None:
        queries = table(
            [(0, 0), (1, 0), (2, 0)], labels=['a', 'b', None], modality='s1'
        )
        archive = table([(0, 0), (1, 0), (2, 0)], labels=['a', None, None])
        assert same_label(queries, archive, 'label').tolist() == [
            [True, False, False],
            [False, False, False],
            [False, False, False],
        ]

    def test_same_label_needs_the_column(self) -> None:
        with pytest.raises(
            ArchiveError, match=r"archive have no column 'label': found patch_id"
        ):
            same_label(table([(0, 0)], labels=['a']), table([(0, 0)]), 'label')

    def test_same_patch_is_the_id(self) -> None:
        both = table([(0, 0), (0, 0)])
        assert same_patch(both, both).tolist() == [[True, False], [False, True]]

    def test_a_patch_of_another_sensor_is_not_the_same_whatever_its_id(self) -> None:
        frames = [table(GRID, modality=m).frame for m in ('s1', 's2')]
        vectors = np.random.default_rng(0).normal(size=(25, 8))
        queries, archive = (
            EmbeddingTable.from_frame(
                GeoDataFrame(frame.assign(patch_id=[f'cell {i}' for i in range(25)])),
                vectors,
                space='one',
            )
            for frame in frames
        )
        assert not same_patch(queries, archive).any()
        assert same_patch(queries, queries).diagonal().all()
        found = make_report(queries, archive, relevance='place', k=(1,))
        assert found.directions['s1->s2']['queries'] == 25
        assert found.directions['s1->s2']['scores']['recall@1']['value'] == 1
        unknown = EmbeddingTable.from_frame(
            GeoDataFrame(archive.frame.assign(modality=None)), vectors, space='one'
        )
        assert same_patch(queries, unknown).diagonal().all()


class TestEvaluate:
    def test_planted_ranking(self) -> None:
        archive = table([(i, 0) for i in range(4)], np.eye(4))
        queries = table(
            [(0, 0), (1, 0)],
            np.array([[1, 0.5, 0.4, 0.3], [0.9, 0.5, 0.7, 0.1]]),
            modality='s1',
        )
        scores = evaluate(queries, archive, relevance=same_place, k=2)
        # ranks 1 and 3 of the own place
        assert scores['recall@2'] == pytest.approx(0.5)
        assert scores['map'] == pytest.approx((1 + 1 / 3) / 2)
        assert scores['chance']['recall@2'] == pytest.approx(0.5)
        assert scores['chance']['map'] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
        assert (scores['queries'], scores['empty'], scores['gallery']) == (2, 0, 4)

    def test_own_patch_never_counts(self) -> None:
        both = table(GRID, np.random.default_rng(0).normal(size=(25, 8)))
        scores = evaluate(both, both, relevance=same_place, k=10)
        assert scores['recall@10'] is None
        assert scores['empty'] == 25
        near = evaluate(both, both, relevance=near_place, k=24)
        assert near['recall@24'] == 1
        assert near['chance']['recall@24'] == 1

    def test_random_vectors_score_chance(self) -> None:
        generator = np.random.default_rng(0)
        archive = table(GRID * 8, generator.normal(size=(200, 16)))
        queries = table(GRID * 8, generator.normal(size=(200, 16)), modality='s1')
        scores = evaluate(queries, archive, relevance=same_place, k=10)
        assert scores['map'] == pytest.approx(scores['chance']['map'], rel=0.15)
        assert scores['recall@10'] == pytest.approx(
            scores['chance']['recall@10'], rel=0.2
        )

    def test_constant_encoder_earns_no_more_than_the_order(self) -> None:
        archive = table(GRID, np.ones((25, 4)))
        queries = table(GRID, np.ones((25, 4)), modality='s1')
        scores = evaluate(queries, archive, relevance=same_place, k=10)
        assert scores['recall@10'] == pytest.approx(0.4)

    def test_queries_without_answer_are_counted(self) -> None:
        queries = table([(0, 0), (99, 99)], modality='s1')
        scores = evaluate(queries, table(GRID), relevance=same_place)
        assert (scores['queries'], scores['empty']) == (1, 1)

    def test_permutation_of_the_archive_changes_nothing(self) -> None:
        generator = np.random.default_rng(1)
        archive = table(GRID, generator.normal(size=(25, 8)))
        queries = table(GRID, generator.normal(size=(25, 8)), modality='s1')
        order = generator.permutation(25)
        one, other = (
            evaluate(queries, t, relevance=near_place)
            for t in (archive, archive.select(order))
        )
        assert one.pop('chance') == pytest.approx(other.pop('chance'))
        assert one == pytest.approx(other)

    def test_spaces_must_agree(self) -> None:
        with pytest.raises(ArchiveError, match='different weights: embed both'):
            evaluate(table(GRID), table(GRID, space='two'), relevance=same_place)

    def test_mixed_spaces_are_refused_as_in_a_search(self) -> None:
        one, two = table(GRID, modality='s1'), table(GRID, space='two')
        mixed = EmbeddingTable.concat([one, two])
        for queries, archive in ((mixed, mixed), (one, mixed), (mixed, one)):
            with pytest.raises(ArchiveError, match='found space one and two'):
                evaluate(queries, archive, relevance=same_place)
            with pytest.raises(ArchiveError, match='found space one and two'):
                make_report(queries, archive, relevance='place')

    def test_null_spaces_fit_any(self) -> None:
        one = table(GRID, modality='s1')
        frame = GeoDataFrame(one.frame.assign(space=None))
        null = EmbeddingTable.from_frame(frame, one.vectors)
        right = evaluate(one, one, relevance=near_place)
        for queries, archive in ((null, one), (one, null), (null, null)):
            assert evaluate(queries, archive, relevance=near_place) == right


def test_codes_are_judged_by_their_bits() -> None:
    rng = np.random.default_rng(0)
    places = [(float(x), 0.0) for x in range(12)]
    vectors = rng.normal(size=(12, 8))
    noisy = vectors + 0.8 * rng.normal(size=(12, 8))
    both = [table(places, v, modality=m) for v, m in ((noisy, 's1'), (vectors, 's2'))]
    hashed = Hash.lsh(8, 64)
    codes = [hashed.table(t) for t in both]
    bits = [np.unpackbits(t.vectors, axis=1).astype(float) * 2 - 1 for t in codes]
    signs = [
        table(places, b, modality=m, space=t.space)
        for b, m, t in zip(bits, ('s1', 's2'), codes, strict=True)
    ]
    found, expected = (evaluate(*t, relevance=same_place) for t in (codes, signs))
    assert found == expected
    with pytest.raises(
        ArchiveError, match='queries are compared by cosine and the arch'
    ):
        evaluate(signs[0], codes[1], relevance=same_place)
