"""Styles: well-formed, and every score in a class."""

import itertools
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.errors import OutputExistsError
from torchgeo_cmr.export.layers.extent import label_scale
from torchgeo_cmr.export.styles.style import (
    OUTLINES,
    picture_style,
    plain_style,
    raster_style,
    results_style,
    score_classes,
    write_qml,
)


@pytest.mark.parametrize(
    'scores',
    [
        [0.1, 0.9],
        [-0.9, -0.1],
        [-1.0, 1.0],
        [1e-12, 2e-12],
        [0.3, 0.3 + 1e-16],
        [1e6, 1e6 + 1],
        np.random.default_rng(0).normal(size=1000).tolist(),
        np.array([0.1, 0.7, 0.3], dtype=np.float32).tolist(),
    ],
)
def test_every_score_is_in_a_class(scores: list[float]) -> None:
    classes = score_classes(scores)
    assert all(any(low <= s <= high for low, high in classes) for s in scores)
    assert classes[0][0] < min(scores)
    assert max(scores) < classes[-1][1]
    for (_, end), (begin, _) in itertools.pairwise(classes):
        assert end == begin
    # Only the ends of all scores are needed.
    assert score_classes([min(scores), max(scores)]) == classes


def test_number_of_classes() -> None:
    assert len(score_classes([0.2, 0.8])) == 5
    for score in (0.5, -0.5, 0.0, 1e9):
        ((low, high),) = score_classes([score, score])
        assert low < score < high
    assert score_classes([]) == [(-1.0, 1.0)]


def test_results() -> None:
    root = ET.fromstring(results_style([0.1, 0.9]))
    assert root.tag == 'qgis'
    assert root.get('labelsEnabled') == '1'
    renderer = root.find('renderer-v2')
    assert renderer is not None
    assert renderer.attrib['type'] == 'graduatedSymbol'
    assert renderer.attrib['attr'] == 'score'
    ranges = renderer.findall('ranges/range')
    assert [r.get('symbol') for r in ranges] == ['0', '1', '2', '3', '4']
    assert ranges[1].get('label') == '0.26 - 0.42'
    fills = [
        o.get('value')
        for o in renderer.findall('symbols/symbol/layer/Option/Option')
        if o.get('name') == 'color'
    ]
    assert fills == [
        '68,1,84,102',
        '59,82,139,102',
        '33,145,140,102',
        '94,201,98,102',
        '253,231,37,102',
    ]
    tip = root.findtext('mapTip') or ''
    for name in ('rank', 'score', 'modality', 'source', 'time_start', 'time_end'):
        assert f'"{name}"' in tip
    widget = root.find("fieldConfiguration/field[@name='relevant']/editWidget")
    assert widget is not None
    assert widget.get('type') == 'ValueMap'
    # Hits of one query share its name, so that is not what lists of them show.
    assert '"patch_id"' in (root.findtext('previewExpression') or '')


def test_temporal() -> None:
    for timed in (True, False):
        root = ET.fromstring(results_style([0.0], timed=timed))
        temporal = root.find('temporal')
        assert temporal is not None
        assert temporal.get('enabled') == str(int(timed))
        assert temporal.get('startField') == ('time_start' if timed else '')
        assert ('time_start' in (root.findtext('mapTip') or '')) == timed


@pytest.mark.parametrize('name', OUTLINES)
@pytest.mark.parametrize(
    ('kind', 'symbol'),
    [('Polygon', 'fill'), ('LineString', 'line'), ('Point', 'marker')],
)
def test_plain(name: str, kind: str, symbol: str) -> None:
    root = ET.fromstring(plain_style(name, kind=kind))
    (found,) = root.findall('renderer-v2/symbols/symbol')
    assert found.get('type') == symbol
    options = {
        o.get('name'): o.get('value') for o in found.findall('layer/Option/Option')
    }
    colour = ','.join(map(str, (*OUTLINES[name], 255)))
    assert colour in options.values()
    assert kind != 'Polygon' or options['style'] == 'no'


def test_raster() -> None:
    for lowest, begin in ((0.2, 0.0), (-0.01, -1.0)):
        root = ET.fromstring(raster_style(lowest))
        renderer = root.find('pipe/rasterrenderer')
        assert renderer is not None
        assert renderer.attrib['type'] == 'singlebandpseudocolor'
        items = renderer.findall('rastershader/colorrampshader/item')
        values = [float(i.attrib['value']) for i in items]
        assert values == np.linspace(begin, 1, 5).tolist()
        assert [float(i.attrib['label']) for i in items] == values
        assert items[0].get('color') == '#000004'


def test_picture() -> None:
    colour = ET.fromstring(picture_style([3, 2, 1], [(0, 1), (0, 2), (0, 3)]))
    renderer = colour.find('pipe/rasterrenderer')
    assert renderer is not None
    assert renderer.attrib['type'] == 'multibandcolor'
    assert renderer.attrib['redBand'] == '3'
    assert renderer.findtext('blueContrastEnhancement/maxValue') == '3.0'
    grey = ET.fromstring(picture_style([2], [(0.5, 1)])).find('pipe/rasterrenderer')
    assert grey is not None
    assert grey.attrib['grayBand'] == '2'
    assert grey.findtext('contrastEnhancement/minValue') == '0.5'


def test_sidecar(tmp_path: Path) -> None:
    path = write_qml(raster_style(), tmp_path / 'a_similarity.tif')
    assert path == tmp_path / 'a_similarity.qml'
    assert ET.parse(path).getroot().tag == 'qgis'
    with pytest.raises(OutputExistsError, match='is there already'):
        write_qml(raster_style(), path)
    write_qml(plain_style('query'), path, overwrite=True)
    assert 'singleSymbol' in path.read_text()


def test_labels_are_drawn_where_they_can_be_read() -> None:
    root = ET.fromstring(results_style([0.1, 0.9], scale=36_000))
    drawn = root.find('labeling/settings/rendering')
    assert drawn is not None
    assert drawn.attrib == {
        'drawLabels': '1',
        'scaleVisibility': '1',
        'scaleMin': '0',
        'scaleMax': '36000',
    }
    always = ET.fromstring(results_style([0.1, 0.9]))
    assert always.find('labeling/settings/rendering') is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ('count', 'spread', 'expected'),
    [
        # One footprint of 1.1 km: while it takes 8 mm.
        (1, 0.0, 140_000),
        # Twenty in a degree: the whole of it fits a screen of 30 cm at 1 : 370,000.
        (20, 1.0, 3_100_000),
        # Twenty thousand in a degree hide one another long before.
        (20_000, 1.0, 140_000),
    ],
)
def test_the_scale_of_labels(count: int, spread: float, expected: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (2, count)) * spread
    frame = gpd.GeoDataFrame(geometry=shapely.box(x, y, x + 0.01, y + 0.01), crs=4326)
    scale = label_scale(frame)
    assert scale == pytest.approx(expected, rel=0.15)
    north = frame.translate(0, 60).to_frame('geometry').set_geometry('geometry')
    assert label_scale(north.to_crs(32632)) == pytest.approx(scale, rel=0.4)
    assert label_scale(frame.iloc[:0]) is None
    assert label_scale(frame.iloc[:1].set_geometry([None], crs=4326)) is None
