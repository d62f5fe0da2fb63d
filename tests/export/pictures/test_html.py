"""The page: everything told, everything escaped, nothing fetched, nothing run."""

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import scenes_of, to_html
from torchgeo_cmr.export.pictures.svg_map import _nice, draw_map, score_colour
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., EmbeddingTable]

NASTY = '</td><script>alert("1")</script> & \'ü\' <b>'


class Page(HTMLParser):
    """Collects tags with their attributes, and the text of table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == 'td':
            self.cells.append('')

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if 'td' in self._open:
            self.cells[-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(path: Path) -> Page:
    return Page(path.read_text(encoding='utf-8'))


def test_a_line_a_hit(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    page = read(to_html(hits, tmp_path / 'hits.html'))
    cells = np.array(page.cells).reshape(len(hits), 8)
    assert cells[:, 0].tolist() == hits['query_id'].tolist()
    assert cells[:, 1].tolist() == hits['rank'].astype(str).tolist()
    assert cells[:, 2].tolist() == [f'{score:.4f}' for score in hits['score']]
    assert set(cells[:, 4]) == {'2024-06-01 10:30'}
    assert float(cells[0, 5]) == pytest.approx(
        hits.geometry.iloc[0].centroid.x, abs=1e-5
    )
    # Each line leads to its box on the map.
    marks = [a['id'] for a in page.named('path') if 'id' in a]
    links = [str(a['href']) for a in page.named('a')]
    assert sorted(links) == sorted(f'#{mark}' for mark in marks)
    assert len(links) == len(hits)


def test_nothing_is_fetched_and_nothing_runs(
    make: Make, hits: gpd.GeoDataFrame, scenes: Path, tmp_path: Path
) -> None:
    record = {'scenes': scenes_of([make('s1'), make('s2')]), 'command': ['x', NASTY]}
    for told in record['scenes'].values():
        told['root'] = str(scenes)
    hits['source'] = hits['source'].where(hits['rank'] > 1, 's2.tif')
    hits['query_id'] = NASTY
    path = to_html(hits, tmp_path / 'hits.html', record=record)
    page = read(path)
    assert not {'script', 'iframe', 'object', 'embed', 'base', 'b'} & {
        t for t, _ in page.tags
    }
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith('on')]
        for name in ('src', 'href', 'xlink:href', 'action', 'data'):
            value = attributes.get(name)
            assert value is None or value.startswith(('#', 'data:')), value
    assert 'url(' not in path.read_text()
    assert '@import' not in path.read_text()
    (policy,) = [a['content'] for a in page.named('meta') if a.get('http-equiv')]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert page.cells[0] == NASTY
    pictures = [a['src'] or '' for a in page.named('img')]
    assert len(pictures) == 2 * len(hits)
    for picture in pictures:
        kind, _, data = picture.partition(',')
        assert kind == 'data:image/png;base64'
        assert base64.b64decode(data).startswith(b'\x89PNG')


def test_pictures_by_a_function_of_ones_own(
    hits: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    def read_one(hit: pd.Series, modality: str) -> np.ndarray | None:
        return np.full((4, 4, 3), 0.5) if hit['rank'] == 1 else None

    page = read(to_html(hits, tmp_path / 'hits.html', read=read_one))
    assert len(page.named('img')) == 2


def test_scenes_that_are_gone(
    make: Make, hits: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    record = {'scenes': scenes_of([make('s2')])}
    record['scenes']['s2']['root'] = '/nowhere'
    path = to_html(hits, tmp_path / 'hits.html', record=record)
    assert not read(path).named('img')
    text = path.read_text()
    assert text.count('Pictures are missing: /nowhere/s2.tif cannot be opened') == 1


def test_gaps_and_limits(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    hits.loc[0, ['time_start', 'time_end', 'source', 'modality']] = None
    hits.loc[1, 'time_end'] = pd.Timestamp('2024-06-03T00:00Z')
    path = to_html(hits, tmp_path / 'hits.html', max_hits=4)
    page = read(path)
    assert '6 hits of 2 queries, the best 4 shown.' in path.read_text()
    cells = np.array(page.cells).reshape(4, 8)
    assert cells[0, [3, 4, 7]].tolist() == ['', '', '']
    assert cells[1, 4] == '2024-06-01 10:30 to 2024-06-03 00:00'
    # The best ranks, in the order of the result.
    assert cells[:, 1].tolist() == ['1', '2', '1', '2']


def test_no_row_and_one_row(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = to_html(hits.head(0), tmp_path / 'none.html')
    assert '0 hits of 0 queries.' in path.read_text()
    assert not read(path).named('svg')
    one = read(to_html(hits.head(1), tmp_path / 'one.html'))
    assert len([a for a in one.named('path') if 'id' in a]) == 1


def test_refuses(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match='the result lacks score'):
        to_html(gpd.GeoDataFrame(hits.drop(columns='score')), tmp_path / 'a.html')
    assert not list(tmp_path.iterdir())
    (tmp_path / 'a.html').touch()
    with pytest.raises(OutputExistsError, match='is there already'):
        to_html(hits, tmp_path / 'a.html')


def boxes(*shapes: Any) -> gpd.GeoDataFrame:
    scores = np.linspace(-0.5, 0.5, len(shapes))
    ranks = np.arange(len(shapes), 0, -1)
    return gpd.GeoDataFrame(
        {'score': scores, 'rank': ranks, 'source': 'x'}, geometry=list(shapes), crs=4326
    )


def outlines(frame: gpd.GeoDataFrame, **others: Any) -> dict[str, np.ndarray]:
    """Points of each hit on the map, by id."""
    found = {}
    for path in draw_map(frame, **others).iter('path'):
        if name := path.get('id'):
            numbers = re.findall(r'-?\d+\.\d', path.get('d') or '')
            found[name] = np.array(numbers, dtype=float).reshape(-1, 2)
    return found


class TestMap:
    def test_places(self) -> None:
        drawn = outlines(
            boxes(
                shapely.box(9, 45, 9.1, 45.1),
                shapely.box(9.3, 45, 9.4, 45.1),
                shapely.box(9, 45.3, 9.1, 45.4),
            )
        )
        west, east, north = (drawn[f'hit-{i}'].mean(axis=0) for i in range(3))
        assert west[0] < east[0]
        assert west[1] == pytest.approx(east[1], abs=2)
        assert north[1] < west[1]
        # A degree of longitude is shorter than one of latitude, by the cosine.
        ratio = (east[0] - west[0]) / (west[1] - north[1])
        assert ratio == pytest.approx(np.cos(np.radians(45.2)), rel=0.02)

    @pytest.mark.parametrize(
        'shape',
        [
            shapely.MultiPolygon(
                [
                    shapely.box(179.95, -17, 180, -16.9),
                    shapely.box(-180, -17, -179.95, -16.9),
                ]
            ),
            shapely.box(-180, 89.9, 180, 90),
            shapely.box(10, -90, 11, -89.9),
        ],
        ids=['antimeridian', 'round the pole', 'at the pole'],
    )
    def test_places_where_degrees_break(self, shape: shapely.Geometry) -> None:
        (points,) = outlines(boxes(shape)).values()
        width, height = np.ptp(points, axis=0)
        # It fills the map, in one piece, and is no line across it.
        assert max(width, height) > 250
        assert min(width, height) > 2

    def test_the_best_lies_on_top(self) -> None:
        drawn = outlines(boxes(*[shapely.box(9, 45, 9.1, 45.1)] * 3))
        assert list(drawn) == ['hit-0', 'hit-1', 'hit-2']
        frame = boxes(*[shapely.box(9, 45, 9.1, 45.1)] * 3)
        assert list(outlines(frame[::-1])) == ['hit-2', 'hit-1', 'hit-0']

    def test_queries_and_area(self, make: Make, hits: gpd.GeoDataFrame) -> None:
        area = shapely.box(8.99, 45.14, 9.03, 45.16)
        svg = draw_map(hits, make('s1', 2).frame, area)
        strokes = [p.get('stroke') for p in svg.iter('path') if p.get('fill') == 'none']
        assert strokes.count('#d7191c') == 2
        assert strokes.count('#232323') == 1

    def test_an_area_as_large_as_the_world_makes_no_specks(self) -> None:
        frame = boxes(shapely.box(9, 45, 9.1, 45.1))
        alone = outlines(frame)['hit-0']
        within = outlines(frame, area=shapely.box(-180, -90, 180, 90))['hit-0']
        assert np.ptp(within[:, 0]) == pytest.approx(np.ptp(alone[:, 0]))

    def test_half_the_world(self) -> None:
        drawn = outlines(boxes(shapely.box(0, 0, 1, 1), shapely.box(120, 10, 121, 11)))
        assert all(np.isfinite(points).all() for points in drawn.values())

    def test_colours(self) -> None:
        assert score_colour(0.1, 0.1, 0.9) == '#440154'
        assert score_colour(0.9, 0.1, 0.9) == '#fde725'
        assert score_colour(0.5, 0.5, 0.5) == '#fde725'
        assert score_colour(-0.5, -0.7, -0.3) == '#21918c'

    @pytest.mark.parametrize(
        ('value', 'nice'),
        [(0.9, 1), (1, 1), (1.1, 2), (3, 5), (6, 10), (0.0021, 0.005)],
    )
    def test_round_numbers(self, value: float, nice: float) -> None:
        assert _nice(value) == pytest.approx(nice)
