"""Published protocols: what each fixes, what it refuses, and which splits are known to leak."""

import json
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import box

from torchgeo_cmr.datasets import BEN14K
from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.evaluate import PROTOCOLS, Report, make_report
from torchgeo_cmr.evaluate.measure import check_measures
from torchgeo_cmr.table import EmbeddingTable

SPLITS = ('train', 'val', 'test')


def table(
    number: int = 24, modalities: tuple[str, ...] = ('s1', 's2'), **columns: Any
) -> EmbeddingTable:
    """Patches of three label sets and three splits; pairs have one place."""
    parts = []
    for name in modalities:
        frame = {
            'patch_id': [f'{name}:p_{i}' for i in range(number)],
            'modality': name,
            'kind': [['a'], ['a', 'b'], ['b']] * (number // 3),
            'split': [SPLITS[i // 3 % 3] for i in range(number)],
        }
        boxes = [box(1000 * i, 0, 1000 * i + 320, 320) for i in range(number)]
        parts.append(gpd.GeoDataFrame(frame | columns, geometry=boxes, crs=32632))
    frame = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=32632)
    vectors = np.abs(np.random.default_rng(0).normal(size=(len(frame), 8)))
    return EmbeddingTable.from_frame(frame, vectors, space='one')


def report(name: str, both: EmbeddingTable, **options: Any) -> Report:
    column = 'exact:kind' if PROTOCOLS[name].match == 'exact' else 'label:kind'
    return make_report(both, both, relevance=column, protocol=name, **options)


@pytest.mark.parametrize('name', PROTOCOLS)
def test_every_protocol_makes_a_report_that_names_its_source(name: str) -> None:
    protocol = PROTOCOLS[name]
    check_measures(protocol.metrics)
    assert protocol.source
    made = report(name, table(tile='34TCS'))
    page = made.to_markdown()
    assert f'Protocol {name}. {protocol.source}.' in page
    assert ('Not known: ' in page) == bool(protocol.unknown)
    cross, same = 's1->s2' in made.directions, 's1->s1' in made.directions
    assert (cross, same) == {
        'all': (True, True),
        'cross': (True, False),
        'same': (False, True),
    }[str(protocol.directions)]
    data = json.loads(made.to_json())['protocol']
    assert data['source'] == protocol.source
    assert data['unknown'] == protocol.unknown
    assert {*data['formulas']} == {*protocol.metrics}
    queries, items = made.counts['queries'], made.counts['archive']
    per_split = {'train': 9, 'val': 9, 'test': 6}
    assert {*queries.values()} == {per_split[str(protocol.query_split)]}
    assert {*items.values()} == {per_split[str(protocol.archive_split)]}


def test_x_jepa_is_the_mean_f1_of_five_without_the_query_itself() -> None:
    both = table()
    found = report('ben14k-x-jepa', both).directions
    rows = np.flatnonzero(both.frame['split'] == 'test')
    part = both.select(rows)
    kinds = [{*kind} for kind in part.frame['kind']]
    modality = part.frame['modality'].to_numpy()
    vectors = np.asarray(part.vectors)
    for direction, result in found.items():
        a, b = direction.split('->')
        values = []
        for q in np.flatnonzero(modality == a):
            items = [i for i in np.flatnonzero(modality == b) if i != q]
            items = sorted(items, key=lambda i: -float(vectors[q] @ vectors[i]))[:5]
            pairs = [(kinds[q], kinds[i]) for i in items]
            f1 = [2 * len(x & y) / (len(x) + len(y)) for x, y in pairs]
            values.append(sum(f1) / 5)
        assert [*result['scores']] == ['f1@5']
        assert result['scores']['f1@5']['value'] == pytest.approx(np.mean(values))


def test_ibm_judges_by_any_or_by_all_labels() -> None:
    both = table()
    anything = report('bigearthnet-ibm-any', both)
    exactly = report('bigearthnet-ibm-exact', both)
    assert [*anything.directions['s1->s1']['scores']] == ['map@20_hits', 'precision@20']
    # two of three label sets share a label with another; one of three is the same
    chances = [
        r.directions['s1->s1']['scores']['precision@20']['chance']
        for r in (anything, exactly)
    ]
    assert chances == pytest.approx([(2 / 3 + 1 + 2 / 3) / 3 * 6 / 20, 6 / 20 / 3])
    with pytest.raises(QueryError, match="labels by 'exact', found 'any': use exact:"):
        make_report(
            both, both, relevance='label:kind', protocol='bigearthnet-ibm-exact'
        )
    with pytest.raises(QueryError, match='not by ground: use exact:COLUMN'):
        make_report(both, both, relevance='place', protocol='bigearthnet-ibm-exact')


def test_a_word_is_relevant_to_images_that_have_its_label() -> None:
    def of(modality: str, labels: list[Any]) -> EmbeddingTable:
        frame = gpd.GeoDataFrame(
            {
                'patch_id': [f'{modality}:{i}' for i in range(len(labels))],
                'modality': modality,
                'label': labels,
            },
            geometry=[None] * len(labels),
            crs='EPSG:4326',
        )
        vectors = np.eye(len(labels) + 3)[: len(labels)]
        return EmbeddingTable.from_frame(
            frame, vectors[:, :6], space='one', placeless=True
        )

    spoken = of('speech', ['sea', 'trees', 'sea'])
    images = of('image', [['sea', 'ship'], ['sea', 'trees'], ['cars']])
    options: dict[str, Any] = {
        'relevance': 'label:label',
        'protocol': 'ucmerced-speech',
    }
    report = make_report(spoken, images, **options)
    found = report.directions['speech->image']
    # word i finds image i first: right, right, wrong; the others are tied
    assert [*found['scores']] == ['map', 'precision@10', 'map_cmir']
    first = (1 + (2 / 2 + 2 / 3) / 2) / 2
    assert found['scores']['map']['value'] == pytest.approx(
        np.mean([first, 1, 7 / 12]), abs=1e-6
    )
    back = make_report(images, spoken, **options).directions['image->speech']
    assert (back['queries'], back['empty']) == (2, 1)


class TestLeak:
    def test_ben14k_is_called_optimistic_next_to_its_numbers(self) -> None:
        made = report('ben14k-csmae', table())
        assert made.notes == ()
        for found in made.directions.values():
            assert 'BEN-14K leak' in found['caution']
            assert 'bigearthnet-v2' in found['caution']
        for section in made.to_markdown().split('\n## ')[1:5]:
            assert '**Caution.** The published splits of BEN-14K leak' in section

    @pytest.mark.parametrize('acquisition', BEN14K.acquisitions)
    def test_its_patches_are_known_without_a_protocol(self, acquisition: str) -> None:
        names = [f's2:{acquisition}_{i}_45' for i in range(6)]
        both = table(6, ('s2',), patch_id=names)
        made = make_report(both, both, relevance='label:kind')
        assert 'optimistic' in made.directions['s2->s2']['caution']

    def test_other_data_is_not_accused(self) -> None:
        names = [f's2:S2B_MSIL2A_20170825T093029_N9999_{i}_45' for i in range(6)]
        both = table(6, ('s2',), patch_id=names)
        made = make_report(both, both, relevance='label:kind')
        assert 'caution' not in made.directions['s2->s2']
        assert 'Caution' not in made.to_markdown()
        made = report('bigearthnet-v2', table())
        assert 'caution' not in made.directions['s1->s2']


class TestTile:
    def test_only_its_tile_is_judged(self) -> None:
        tiles = ['34TCS', '34TEQ', '34TEQ'] * 2 + ['34TCS'] * 6
        splits = ['train', 'val', 'test'] * 2 + ['test'] * 6
        made = report('ben14k-34tcs', table(12, tile=tiles, split=splits))
        assert made.counts['queries'] == {'s1': 6, 's2': 6}
        # a third of its pairs were trained on
        caution = made.directions['s1->s2']['caution']
        assert caution.startswith('Training pairs lie in tile 34TCS: it was not held')
        assert caution in made.to_markdown()

    def test_a_tile_that_was_held_out_is_not_accused(self) -> None:
        tiles = ['34TEQ'] * 6 + ['34TCS'] * 6
        splits = ['train'] * 6 + ['test'] * 6
        made = report('ben14k-34tcs', table(12, tile=tiles, split=splits))
        assert made.counts['archive'] == {'s1': 6, 's2': 6}
        assert 'caution' not in made.directions['s1->s2']

    @pytest.mark.parametrize('columns', [{}, {'tile': '34TEQ'}])
    def test_a_table_without_it_is_refused(self, columns: dict[str, Any]) -> None:
        with pytest.raises(ArchiveError, match="no row of the queries has '34TCS'"):
            report('ben14k-34tcs', table(**columns))


class TestNamesOfF1:
    def test_two_of_them_are_told_apart(self) -> None:
        names = ['f1@k', 'f1@k_of_means', 'f1@k_capped']
        made = make_report(
            table(), table(), relevance='label:kind', metrics=names, k=[5, 10]
        )
        page = made.to_markdown()
        assert page.count('Not the same F1: `f1@5` is the mean F1') == 4
        assert '`f1@5_of_means` joins' in page
        assert '(CSMAE)' in page
        assert '- `f1@k_of_means`: harmonic mean of mean item precision' in page

    def test_a_single_one_needs_no_remark(self) -> None:
        made = make_report(
            table(), table(), relevance='label:kind', metrics=['f1@k', 'map']
        )
        assert 'Not the same F1' not in made.to_markdown()
