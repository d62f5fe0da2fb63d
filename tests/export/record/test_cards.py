"""Cards of archives and models: what is recorded stands in them, what is not is a blank."""

import json
import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError, OutputExistsError, QueryError
from torchgeo_cmr.export import to_data_card, to_model_card
from torchgeo_cmr.table import EmbeddingTable

BLANK = '**[fill in]**'


def rows(path: Path) -> dict[tuple[str, str], str]:
    """Give section and name of a fact -> its words."""
    found, section = {}, ''
    for line in path.read_text().splitlines():
        section = line[3:] if line.startswith('## ') else section
        if match := re.fullmatch(r'\| (.+?) \| (.*) \|', line):
            found[section, match[1]] = match[2]
    return found


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    frame = gpd.GeoDataFrame(
        {
            'patch_id': ['p', 'q'],
            'modality': 's2',
            'source': 'a.tif',
            'time_start': '2024-06-01',
        },
        geometry=[shapely.box(x, 45, x + 1, 46) for x in (9, 10)],
        crs=4326,
    )
    record: dict[str, Any] = {'model': 'a|b <script>_x_\n# y', 'size': 32, 'stride': 16}
    record['sources'] = {'a.tif': [['a.tif', 1, 'B2', 10.0]]}
    table = EmbeddingTable.from_frame(frame, np.eye(2), space='abc', record=record)
    return table.save(tmp_path / 'archive')


def test_a_data_card(archive: Path, tmp_path: Path) -> None:
    path = to_data_card(archive, tmp_path / 'DATA.md', licence='CC-BY-4.0')
    found = rows(path)
    assert found['Model', 'fingerprint of the weights (space)'] == 'abc'
    assert found['Extent and dates', 'rows'] == '2'
    assert found['Extent and dates', 'west, south, east, north'] == '9, 45, 11, 46'
    assert found['Grid and stride', 'size in pixels'] == '32, 32'
    assert found['Grid and stride', 'step in pixels'] == '16, 16'
    assert found['Grid and stride', 'metres of a pixel'] == '10'
    assert found['Source data', 'scenes'] == '1'
    assert found['Source data', 'modalities (rows)'] == 's2: 2'
    assert found['Licence', 'licence'] == 'CC-BY-4.0'
    assert found['Source data', 'bands'] == BLANK
    assert found['Licence', 'citation'] == BLANK
    # Zero is known.
    assert found['Extent and dates', 'rows without a place'] == '0'
    with pytest.raises(OutputExistsError):
        to_data_card(archive, path)


def test_names_of_strangers_are_text(archive: Path, tmp_path: Path) -> None:
    text = to_data_card(archive, tmp_path / 'DATA.md').read_text()
    assert r'| model | a\|b &lt;script&gt;\_x\_ \# y |' in text
    assert '<script' not in text


def test_a_model_card(tmp_path: Path) -> None:
    model = {
        'path': '/x/best.ckpt',
        'task': 'torchgeo_cmr.tasks.SSCMRSIR',
        'space': 'abc',
        'modalities': {'s1': {'bands': ['VV', 'VH'], 'units': 'dB'}, 's2': None},
        'epoch': 0,
        'parameters': 1234567,
    }
    found = rows(to_model_card(model, tmp_path / 'MODEL.md'))
    assert found['Input: s1', 'bands, in order'] == 'VV, VH'
    assert found['Input: s1', 'mean'] == BLANK
    assert found['Input: s2', 'units'] == BLANK
    assert found['Method', 'epoch'] == '0'
    assert found['Evaluation', 'scores'] == BLANK
    report = tmp_path / 'report.json'
    scores = {
        'recall@10': {'value': 0.51234567, 'chance': 0.1},
        'map': {'value': None, 'chance': None},
    }
    content = {
        'relevance': 'same place',
        'protocol': {'name': 'default', 'source': None},
        'directions': {'s1->s2': {'scores': scores}},
        'seed': 3,
    }
    report.write_text(json.dumps(content))
    path = to_model_card(model, tmp_path / 'M.md', report=report)
    assert '| s1-&gt;s2 | recall@10 | 0.512346 | 0.1 |' in path.read_text()
    assert rows(path)['Evaluation', 'seed'] == '3'


@pytest.mark.parametrize('text', ['{', '{}', '[]', '{"protocol": {}, "directions": 5}'])
def test_not_a_report(tmp_path: Path, text: str) -> None:
    (tmp_path / 'r.json').write_text(text)
    with pytest.raises(QueryError, match='not a report of an evaluation'):
        to_model_card({}, tmp_path / 'M.md', report=tmp_path / 'r.json')
    assert not (tmp_path / 'M.md').exists()


def test_not_an_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match='is not an archive'):
        to_data_card(tmp_path, tmp_path / 'M.md')
