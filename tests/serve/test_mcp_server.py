"""The tool server as a client of the protocol sees it: a real process on standard input and output."""

import io
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from threading import Timer
from typing import Any

import anyio
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, Where, load_archive
from torchgeo_cmr.serve.archive_tools import ArchiveTools
from torchgeo_cmr.serve.feature_answer import collection
from torchgeo_cmr.serve.mcp_server import _answer
from torchgeo_cmr.serve.served_archive import open_served
from torchgeo_cmr.table import EmbeddingTable

WEST, NORTH, STEP = 9.0, 46.0, 0.01
#: What no server of a light installation may need.
HEAVY = ('faiss', 'lightning', 'numkong', 'rasterio', 'scipy', 'torch', 'torchgeo')
CHILD = f"""
import sys
sys.modules |= dict.fromkeys({HEAVY!r})
from torchgeo_cmr.main import main
sys.exit(main(sys.argv[1:]))
"""
PATCH = 's2:0'
ON_PATCH = [WEST + STEP / 2, NORTH - STEP / 2]


def make(modality: str, n: int, *, note: str = 'plain') -> EmbeddingTable:
    """Squares side by side from west to east, one a month, with a column of each type."""
    x = WEST + STEP * np.arange(n)
    times = pd.Series(pd.date_range('2024-01-01', periods=n, freq='MS', tz='UTC'))
    times.iloc[n - 1 :] = pd.NaT
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{modality}:{i}' for i in range(n)],
            'time_start': times,
            'time_end': times,
            'cloud': np.arange(n, dtype=float),
            'clear': np.arange(n) % 2 == 0,
            'note': note,
        },
        geometry=shapely.box(x, NORTH - STEP, x + STEP, NORTH),
        crs=4326,
    )
    vectors = np.random.default_rng(n).normal(size=(n, 8))
    return EmbeddingTable.from_frame(frame, vectors, space='abc', modality=modality)


#: Calls that are answered: name -> tool and arguments.
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    'all': ('describe_archive', {}),
    'radar': ('describe_archive', {'archive': 'radar'}),
    'by id': ('search_archive', {'archive': 'optical', 'query': PATCH, 'k': 3}),
    'by place': ('search_archive', {'archive': 'optical', 'query': ON_PATCH, 'k': 3}),
    'across': (
        'search_archive',
        {
            'archive': 'optical',
            'query': 's1:1',
            'query_archive': 'radar',
            'area': [WEST, NORTH - STEP, WEST + 3.5 * STEP, NORTH],
            'dates': '2024-02/..',
            'where': 'cloud >= 1 AND clear',
        },
    ),
    'geojson': (
        'search_archive',
        {
            'archive': 'optical',
            'query': PATCH,
            'area': shapely.geometry.mapping(
                shapely.box(
                    WEST + STEP * 1.2,
                    NORTH - STEP * 0.9,
                    WEST + STEP * 1.8,
                    NORTH - STEP * 0.1,
                )
            ),
        },
    ),
}

SWAPPED = [NORTH - STEP, WEST, NORTH, WEST + STEP]
DEEP: Any = []
for _ in range(100):
    DEEP = [DEEP]
ROUND = [
    [WEST + np.cos(a) / 100, NORTH + np.sin(a) / 100]
    for a in np.linspace(0, 2 * np.pi, 10_001)
]

#: Arguments of a search of 'optical' that are refused, and what the sentence says.
BAD: dict[str, tuple[dict[str, Any], str]] = {
    'unknown archive': ({'archive': 'x'}, "no archive 'x': use one of optical, radar"),
    'a path': ({'archive': '/etc'}, "no archive '/etc': use one of"),
    'a path as a query': ({'query': '/etc/passwd'}, "no patch_id '/etc/passwd'"),
    'a long query': ({'query': 'x' * 2000}, 'length <= 1000'),
    'control characters': ({'query': '\x1b]0;x\x07\0'}, 'there is no patch_id'),
    'unknown id': ({'query': 's2:99'}, "no patch_id 's2:99'; similar ones are s2:9"),
    'a place outside': ({'query': [10.0, 46.0]}, 'no patch covers 10,46: the nearest'),
    'a place turned': (
        {'query': ON_PATCH[::-1]},
        'longitude comes first: 9.005,45.995',
    ),
    'no place': ({'query': [9.0]}, 'not a position; give longitude'),
    'two patches': ({'query': [WEST + STEP, NORTH]}, 'of s2:0, s2:1'),
    'k': ({'k': 51}, 'k is 51; give a number from 1 to 50'),
    'k of nothing': ({'k': 0}, 'k is 0; give a number from 1 to 50'),
    'k as text': ({'k': '5'}, 'Expected `int`, got `str` - at `k`'),
    'k without end': ({'k': 10**30}, '; give a number from 1 to 50'),
    'another argument': ({'file': '/etc/passwd'}, 'unknown field `file`'),
    'area as a path': ({'area': '/etc/passwd'}, 'got `str` - at `area`'),
    'area turned': ({'area': SWAPPED}, 'longitude comes first, then latitude: swap'),
    'area turned and cut': (
        {'area': {'type': 'Point', 'coordinates': [95.0, 120.0]}},
        'which are not longitudes and latitudes',
    ),
    'area elsewhere': ({'area': [20, 20, 21, 21]}, 'the area touches no footprint'),
    'three numbers': ({'area': [1, 2, 3]}, 'area has 3 numbers; give a box'),
    'sides': ({'area': [9, 47, 10, 46]}, 'south 47.0 above north 46.0'),
    'no GeoJSON': ({'area': {'type': 'Blob'}}, 'is not GeoJSON'),
    'a file as a CRS': (
        {
            'area': {
                'type': 'Point',
                'coordinates': ON_PATCH,
                'crs': {'properties': {'name': '+init=/etc/passwd:1'}},
            }
        },
        'area names a crs; bring it to longitude and latitude',
    ),
    'vertices': (
        {'area': {'type': 'Polygon', 'coordinates': [ROUND]}},
        'area has 10,001 vertices and may have 10,000',
    ),
    'depth': ({'area': {'type': 'Polygon', 'coordinates': DEEP}}, 'the area is empty'),
    'dates': ({'dates': 'last summer'}, "'last summer' is not"),
    'dates turned': ({'dates': '2024-03/2024-01'}, 'not after it; swap the two'),
    'no dates': ({'dates': '/'}, "dates='/' limits nothing"),
    'a column': ({'where': 'clud < 3'}, "no column 'clud' to compare"),
    'code': ({'where': '__import__("os").system("id")'}, 'is not allowed in'),
    'SQL': ({'where': 'cloud < 1; DROP TABLE patch'}, 'is not allowed in'),
    'brackets': ({'where': '(' * 3000}, 'nested more than'),
    'a long condition': ({'where': 'x' * 5000}, 'length <= 4000'),
    'an answer too long': ({'k': 50}, 'take fewer hits (k)'),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive whose notes are long, and an index of another sensor."""
    made = tmp_path_factory.mktemp('served')
    make('s2', 50, note='n' * 100).save(made / 'optical')
    RetrievalIndex.build(make('s1', 4), made / 'index')
    return made


def server(folder: Path, *options: str) -> list[str]:
    words = ['serve', '--mcp', str(folder / 'optical'), f'radar={folder / "index"}']
    return [
        '-W',
        'error::DeprecationWarning:torchgeo_cmr',
        '-c',
        CHILD,
        *words,
        *options,
    ]


@pytest.fixture(scope='module')
def answers(folder: Path) -> dict[str, Any]:
    """Call everything in one session, bad before good: name -> result, text."""
    words = server(folder, '--max-k', '50', '--max-answer', '9000')
    # The client's own environment is a short list without PYTHONPATH.
    parameters = StdioServerParameters(
        command=sys.executable,
        args=words,
        env={'PYTHONPATH': str(Path(__file__).parents[2])},
    )
    given: dict[str, Any] = {}

    async def call(
        client: Client, tool: str, arguments: dict[str, Any]
    ) -> tuple[bool, str]:
        result = await client.call_tool(tool, arguments)
        (content,) = result.content
        assert isinstance(content, TextContent)
        return result.is_error, content.text

    async def session() -> None:
        with (folder / 'log').open('w') as log:
            async with Client(stdio_client(parameters, log)) as client:
                given['tools'] = (await client.list_tools()).tools
                for name, (arguments, _) in BAD.items():
                    every = {'archive': 'optical', 'query': PATCH} | arguments
                    given[name] = await call(client, 'search_archive', every)
                try:
                    await client.call_tool('read_file', {'path': '/etc/passwd'})
                except MCPError as error:
                    given['no tool'] = error.message
                for name, (tool, arguments) in GOOD.items():
                    given[name] = await call(client, tool, arguments)

    anyio.run(session)
    given['log'] = (folder / 'log').read_text()
    return given


@pytest.mark.parametrize('name', BAD)
def test_what_is_refused_is_one_sentence(answers: dict[str, Any], name: str) -> None:
    refused, sentence = answers[name]
    assert refused
    assert BAD[name][1] in sentence
    assert '\n' not in sentence
    assert len(sentence) <= 1000


def test_no_folder_is_named(answers: dict[str, Any], folder: Path) -> None:
    texts = [answers[name][1] for name in (*BAD, *GOOD)]
    assert not [text for text in texts if str(folder) in text]


def test_an_unknown_tool(answers: dict[str, Any]) -> None:
    message = "there is no tool 'read_file': call describe_archive or search_archive"
    assert answers['no tool'] == message


def test_nothing_is_logged_but_what_is_served(answers: dict[str, Any]) -> None:
    line = 'serving optical, radar: waiting for a client on standard input\n'
    assert answers['log'] == line


def test_tools_say_that_they_only_read(answers: dict[str, Any]) -> None:
    assert [tool.name for tool in answers['tools']] == [
        'describe_archive',
        'search_archive',
    ]
    for tool in answers['tools']:
        assert tool.annotations.read_only_hint
        assert not tool.annotations.open_world_hint
        properties = tool.input_schema['properties']
        assert properties['archive']['enum'] == ['optical', 'radar']
    assert properties['k']['maximum'] == 50


def test_archives_are_described(answers: dict[str, Any]) -> None:
    refused, text = answers['all']
    assert not refused
    optical, radar = json.loads(text)['archives']
    assert optical['archive'] == 'optical'
    assert (optical['rows'], optical['modalities']) == (50, {'s2': 50})
    assert optical['time'] == ['2024-01-01T00:00:00Z', '2028-01-01T00:00:00Z']
    assert (optical['undated'], optical['placeless']) == (1, 0)
    assert optical['bounds'] == [9.0, 45.99, 9.5, 46.0]
    assert optical['spaces'] == ['abc']
    types = {'cloud': 'number', 'clear': 'boolean', 'note': 'text', 'time_end': 'time'}
    assert types.items() <= optical['columns'].items()
    assert optical['example_ids'] == ['s2:0', 's2:1', 's2:2']
    assert json.loads(answers['radar'][1]) == radar
    assert (radar['archive'], radar['rows']) == ('radar', 4)


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('by id', {'k': 3}),
        ('by place', {'k': 3}),
        (
            'across',
            {
                'k': 10,
                'where': (
                    (WEST, NORTH - STEP, WEST + 3.5 * STEP, NORTH),
                    '2024-02/',
                    'cloud >= 1 and clear',
                ),
            },
        ),
    ],
)
def test_hits_are_those_of_the_library(
    answers: dict[str, Any], name: str, options: dict[str, Any]
) -> None:
    refused, text = answers[name]
    assert not refused, text
    archive = make('s2', 50, note='n' * 100)
    query = archive.select([0]) if name != 'across' else make('s1', 4).select([1])
    where = options.pop('where', None)
    if where is not None:
        options['where'] = Where(where[0], during=where[1], where=where[2])
    expected = RetrievalIndex(archive).search(query, **options)
    found = gpd.read_file(io.BytesIO(text.encode()))
    assert len(found) == len(expected)
    assert found['patch_id'].tolist() == expected['patch_id'].tolist()
    np.testing.assert_allclose(found['score'], expected['score'], atol=1e-6)
    assert found['rank'].tolist() == expected['rank'].tolist()
    assert shapely.equals_exact(
        found.normalize().values, expected.normalize().values, tolerance=1e-7
    ).all()
    assert {'modality', 'time_start', 'time_end', 'cloud', 'clear', 'note'} <= {*found}


def test_a_short_answer_says_why(answers: dict[str, Any]) -> None:
    answer = json.loads(answers['geojson'][1])
    assert [f['properties']['patch_id'] for f in answer['features']] == ['s2:1']
    assert answer['note'].startswith('1 of 10 hits: ')
    assert 'left 1 of 50' in answer['note']
    assert answer['query'] == PATCH


@pytest.mark.slow
def test_only_the_protocol_is_on_stdout_and_bad_lines_do_not_end_it(
    folder: Path,
) -> None:
    hello = {
        'protocolVersion': '2025-06-18',
        'capabilities': {},
        'clientInfo': {'name': 'test', 'version': '1'},
    }
    deep = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":' + '[' * 100_000
    lines = [
        json.dumps(
            {'jsonrpc': '2.0', 'id': 1, 'method': 'initialize', 'params': hello}
        ),
        json.dumps({'jsonrpc': '2.0', 'method': 'notifications/initialized'}),
        'no JSON',
        deep,
        '\x00\xff',
        json.dumps({'jsonrpc': '2.0', 'id': 2, 'method': 'tools/list'}),
    ]
    with subprocess.Popen(
        [sys.executable, *server(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as running:
        assert running.stdin
        assert running.stdout
        # Of a server that does not answer, the next line is empty then.
        patience = Timer(60, running.kill)
        patience.start()
        words = '\n'.join(lines).encode('utf-8', 'surrogateescape')
        running.stdin.write(words + b'\n')
        running.stdin.flush()
        given = []
        # The end of the input ends a server, with answers that it has not written yet.
        while not given or given[-1].get('id') != 2:
            given.append(json.loads(running.stdout.readline()))
        patience.cancel()
        rest, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    given += [json.loads(line) for line in rest.splitlines()]
    assert {each['jsonrpc'] for each in given} == {'2.0'}
    assert {each.get('id') for each in given} >= {1, 2}
    assert b'Traceback' not in errors


def test_changes_of_an_index_are_seen(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RetrievalIndex.build(make('s1', 4), tmp_path / 'index')
    monkeypatch.chdir(tmp_path)
    tools = ArchiveTools(open_served(['index']))
    RetrievalIndex.open('index').delete(['s1:2'])
    assert json.loads(tools.call('describe_archive', {'archive': 'index'}))['rows'] == 3
    text = tools.call('search_archive', {'archive': 'index', 'query': 's1:0'})
    ids = [f['properties']['patch_id'] for f in json.loads(text)['features']]
    assert sorted(ids) == ['s1:1', 's1:3']


@pytest.mark.postgres
def test_a_database_answers_as_its_archive(database: str, folder: Path) -> None:
    """Also from the thread in which the server answers."""
    address = f'{database}&archive=served'
    load_archive(folder / 'optical', address)
    tools = ArchiveTools(
        open_served([str(folder / 'optical'), f'gis={address}']), max_answer=10**6
    )

    def ask(archive: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        given: list[str] = []
        words = arguments | {'archive': archive}
        thread = threading.Thread(target=lambda: given.append(tools.call(tool, words)))
        thread.start()
        thread.join()
        return json.loads(given[0])

    told = ask('gis', 'describe_archive', {})
    assert told | {'archive': ''} == ask('optical', 'describe_archive', {}) | {
        'archive': ''
    }
    for name in ('by id', 'by place', 'geojson'):
        tool, arguments = GOOD[name]
        mine, theirs = (ask(each, tool, arguments) for each in ('optical', 'gis'))
        assert mine['features'] == theirs['features']
    with pytest.raises(QueryError) as caught:
        tools.call('search_archive', {'archive': 'gis', 'query': 'none'})
    assert 'postgresql' not in str(caught.value)


def test_a_row_without_a_place_has_no_geometry() -> None:
    table = make('s2', 3)
    frame = table.frame.copy()
    frame.loc[1:, 'geometry'] = None
    index = RetrievalIndex(
        EmbeddingTable.from_frame(
            frame, table.vectors, space='abc', modality='s2', placeless=True
        )
    )
    answer = collection(index.search('s2:0', 5))
    assert [f['geometry'] for f in answer['features']] == [None, None]


def test_a_fault_of_ours_is_an_answer_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError('secret')

    monkeypatch.setattr(ArchiveTools, '_describe', fail)
    text, refused = _answer(ArchiveTools({}), 'describe_archive', {})
    assert refused
    assert (
        text == 'describe_archive failed by a fault of the server (ZeroDivisionError)'
    )
    assert 'secret' in caplog.text


def test_a_fault_of_the_disk_names_no_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise PermissionError(13, 'Permission denied', str(folder / 'index.json'))

    monkeypatch.setattr(ArchiveTools, '_describe', fail)
    text, refused = _answer(ArchiveTools({}), 'describe_archive', {})
    assert refused
    assert (
        text == 'the archive cannot be read now (Permission denied): call again later'
    )


@pytest.mark.parametrize('absolute', [True, False])
def test_an_index_that_goes_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    path = tmp_path / 'place' / 'index'
    RetrievalIndex.build(make('s1', 4), path)
    monkeypatch.chdir(tmp_path)
    source = str(path) if absolute else 'place/index'
    tools = ArchiveTools(open_served([f'radar={source}']))
    words = {'archive': 'radar', 'query': 's1:0'}
    shutil.rmtree(path)
    for tool, given in (
        ('search_archive', words),
        ('describe_archive', {'archive': 'radar'}),
    ):
        text, refused = _answer(tools, tool, given)
        assert refused
        assert 'radar is not an index' in text
        assert 'place' not in text
    RetrievalIndex.build(make('s1', 6), path)
    text, refused = _answer(tools, 'search_archive', words)
    assert not refused
    assert len(json.loads(text)['features']) == 5
