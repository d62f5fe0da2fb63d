"""Words of foreign archives in every output: shown as they are, run by nothing, written nowhere else."""

import csv
import json
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.export import (
    clip_hits,
    make_record,
    read_search,
    to_project,
    to_sheet,
    write,
)
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable

#: What a word of a stranger may be.
WORDS = {
    'tags': '<script>alert(1)</script><img src=x onerror=alert(1)>',
    'ends of elements': '</td></style></title>--><!--]]>',
    'expression of QGIS': "[% eval('1') %] @x \"y\" 'z'",
    'SQL': '\'; DROP TABLE results; -- "',
    'formula': "=cmd|' /C calc'!A0",
    'formula behind a sign': '+1+1;@SUM(1)',
    'line ends': 'a\r\nb\n\rc\u2028d',
    'zero byte': 'a\0b',
    'control characters': '\x01\x02\x1b[2J\x7f\x9b',
    'backwards': '\u202eabc\u202c\ufeff\ufffe',
    'path': '../../../../ESCAPED',
    'absolute path': '/tmp/ESCAPED',
    'path of Windows': 'C:\\ESCAPED\\con',
    'path of GDAL': '/vsicurl/http://127.0.0.1:9/x',
    'entity': '&lt;&amp;&#0;&xxe;',
    'formula of TeX': 'a$\\bad{$b',
    'template': '{{7*7}} ${7*7} %s %(x)s {0}',
    'long': 'x' * 5000,
    'emoji': '\U0001f600\u0301',
}


def hits_of(word: str) -> tuple[gpd.GeoDataFrame, EmbeddingTable, dict[str, Any]]:
    """Hits of which every text is a word: ids, sources, sensors, labels, names of columns."""
    boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f's2:{word}{i}:0_0_8x8' for i in range(3)],
            'source': [f'{word}{i}' for i in range(3)],
            'sensor': word,
            'label': word,
            f'own {word}': word,
            'time_start': '2024-06-01T10:00:00Z',
        },
        geometry=boxes,
        crs=4326,
    )
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]])
    table = EmbeddingTable.from_frame(
        frame, vectors, space=word[:200] or 'x', modality='s2', record={'model': word}
    )
    hits = RetrievalIndex(table).search(table.select([0]), 2)
    hits['modality'] = word
    record = make_record(hits, archives={word: table}, queries=table.select([0]), k=2)
    return hits, table, {**record, 'command': ['search', word, '\udcff']}


class Tags(HTMLParser):
    """Elements and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.text = ''
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def folded(text: str) -> str:
    """Text without what a format may change: line ends and invisible characters."""
    return re.sub(r'[\s\0-\x1f\x7f-\x9f\ufffd\ufffe\u2028]|\\x[0-9a-f]{2}', '', text)


def check_html(path: Path, word: str) -> None:
    text = path.read_text(encoding='utf-8')
    assert not re.search(r'[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]', text)
    page = Tags(text)
    assert {tag for tag, _ in page.found} <= {
        *(
            'html',
            'head',
            'meta',
            'link',
            'title',
            'style',
            'body',
            'h1',
            'h2',
            'p',
            'dl',
        ),
        *(
            'dt',
            'dd',
            'table',
            'thead',
            'tbody',
            'tr',
            'th',
            'td',
            'a',
            'svg',
            'g',
            'path',
        ),
        *('text', 'rect', 'line', 'figure', 'img', 'figcaption', 'circle', 'polygon'),
    }
    assert not [name for _, names in page.found for name in names if name[:2] == 'on']
    assert folded(word) in folded(page.text)
    assert 'Content-Security-Policy' in text


def check_vector(path: Path, word: str) -> None:
    layer = 'results' if path.suffix == '.gpkg' else None
    frame = pyogrio.read_dataframe(path, layer=layer)
    assert len(frame) == 2
    shown = [str(value) for value in frame['label']]
    assert all(folded(value) == folded(word) for value in shown)
    if path.suffix == '.gpkg':
        with closing(sqlite3.connect(path)) as db:
            assert db.execute('PRAGMA integrity_check').fetchone() == ('ok',)
        read_search(path)


def check_csv(path: Path, word: str) -> None:
    with path.open(newline='', encoding='utf-8') as file:
        rows = list(csv.reader(file))
    assert len(rows) == 3
    assert {len(row) for row in rows} == {len(rows[0])}
    for cell in (cell for row in rows for cell in row):
        assert not re.match(r'[=+@\t\r\n]', cell)
    assert any(folded(word) in folded(cell) for cell in rows[1])


def check_json(path: Path, word: str) -> None:
    content = json.loads(path.read_text(encoding='utf-8'))
    assert len(content['features']) == 2
    # Letters may be escaped or not: pystac writes with orjson where that is installed.
    text = json.dumps(json.loads(path.read_text('utf-8')))
    assert folded(json.dumps(word)[1:-1]) in folded(text)


def check_geojson(path: Path, word: str) -> None:
    json.loads(path.read_text(encoding='utf-8'))
    check_vector(path, word)


def check_parquet(path: Path, word: str) -> None:
    assert pq.read_table(path)['label'].to_pylist() == [word] * 2


FORMATS: dict[str, Callable[[Path, str], None]] = {
    'html': check_html,
    'gpkg': check_vector,
    'fgb': check_vector,
    'geojson': check_geojson,
    'csv': check_csv,
    'parquet': check_parquet,
    'stac.json': check_json,
}


def documents(folder: Path) -> Iterator[str]:
    """XML of styles and projects."""
    for path in folder.rglob('*.qml'):
        yield path.read_text(encoding='utf-8')
    for path in folder.rglob('*.qgz'):
        with zipfile.ZipFile(path) as packed:
            yield from (packed.read(name).decode() for name in packed.namelist())
    for path in folder.rglob('*.gpkg'):
        with closing(sqlite3.connect(path)) as db:
            yield from (
                style for (style,) in db.execute('SELECT styleQML FROM layer_styles')
            )


@pytest.mark.parametrize('kind', WORDS)
def test_a_word_stays_a_word_in_every_format(kind: str, tmp_path: Path) -> None:
    word = WORDS[kind]
    hits, table, record = hits_of(word)
    folder = tmp_path / 'a' / 'b' / 'c' / 'd' / 'e'
    given: dict[str, Any] = {'queries': table.select([0]), 'record': record}
    for suffix, check in FORMATS.items():
        path = write(hits, folder / suffix / f'hits.{suffix}', **given)
        check(path, word)
    to_project(hits, folder / 'project.qgz', **given)
    to_sheet(
        hits,
        folder / 'sheet.png',
        queries=table.select([0]),
        read=lambda *_: np.zeros((8, 8, 3)),
    )
    with pytest.raises(CMRError):
        clip_hits(hits, folder / 'clips', record={'scenes': scenes_of(hits, word)})
    read = 0
    for text in documents(folder):
        ET.fromstring(text)
        read += 1
        # Nothing of a row is part of a style, where QGIS would compute it.
        assert 'eval(' not in text
    assert read > 4
    outside = [
        p for p in tmp_path.rglob('*') if p.is_file() and folder not in p.parents
    ]
    assert not outside
    assert not Path('/tmp/ESCAPED').exists()


def scenes_of(hits: gpd.GeoDataFrame, word: str) -> dict[str, Any]:
    """A record that names files by the word."""
    bands = [[word, 1, word, 10.0]]
    return {word: {'sources': dict.fromkeys(hits['source'], bands), 'root': word}}
