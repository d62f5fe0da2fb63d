"""Values of the command line that make no sense: one short line, exit code 2, and no file."""

import contextlib
import io
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.main import main
from torchgeo_cmr.table import EmbeddingTable

LONG = '0x' + 'f' * 4000
SEARCH = ['search', 'A', '--query', 'A']


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive A and an empty .npz."""
    path = tmp_path_factory.mktemp('values')
    frame = gpd.GeoDataFrame(
        {'patch_id': list('abcd')},
        geometry=shapely.box(np.arange(4), 0, np.arange(4) + 1, 1),
        crs='EPSG:4326',
    )
    EmbeddingTable.from_frame(frame, np.eye(4), space='x').save(path / 'A')
    (path / 'z.npz').touch()
    return path


@pytest.mark.parametrize(
    'words',
    [
        *([*SEARCH, '--min-score', value] for value in ('nan', 'x', LONG, '')),
        *(
            [*SEARCH, f'--{name}=--']
            for name in ('near', 'within', 'where', 'min-score', 'modality', 'k')
        ),
        [*SEARCH, '-k--'],
        *([*SEARCH, '-k', value] for value in ('0', '-1', '1.5', '1e300', 'nan', LONG)),
        *([*SEARCH, f'--days={value}'] for value in ('nan', '-1', 'x', LONG)),
        *([*SEARCH, '--spacing', value] for value in ('nan', '-1', LONG)),
        *([*SEARCH, '--exclude-own', value] for value in ('nan', '-1', LONG)),
        *([*SEARCH, '--near', value] for value in ('nan,0,5', '0,0,inf', '1,2', '')),
        *([*SEARCH, '--within', value] for value in ('nan,nan,nan,nan', '', LONG)),
        *(
            [*SEARCH, '--within', value]
            for value in ('/vsimem/x.gpkg', '{"type":', '[' * 5000)
        ),
        *(
            [*SEARCH, '--during', value]
            for value in ('x', '..', '2024-13-01', '-1/1e300')
        ),
        *([*SEARCH, '--months', value] for value in ('0', '13', 'x', '', '9' * 4000)),
        *(
            [*SEARCH, '--where', value]
            for value in ('', '(' * 5000, 'a' * 5000, 'x = \0')
        ),
        [*SEARCH, '--where', 'geometry is null'],
        *([*SEARCH, '--out', value] for value in ('x', 'a\0.gpkg')),
        *(
            [*SEARCH, '--out', value]
            for value in ('/vsimem/x.gpkg', 'x' * 5000 + '.gpkg')
        ),
        *(['search', value, '--query', 'A'] for value in ('', '/dev/null', LONG)),
        *(
            ['search', 'A', '--query', value]
            for value in ('', '\x1b[2J', LONG, '1e999,0')
        ),
        *(['index', 'A', '--out', value] for value in ('A', '\0', 'x' * 5000)),
        *(
            ['hash', 'A', '--out', 'h', '--using', value]
            for value in ('z.npz', 'A', LONG)
        ),
        *(['hash', 'A', '--out', 'h', '--using', 'n', '--kind', k] for k in ('', 'x')),
        *(
            ['hash', 'A', '--out', 'h', '--using', 'n', '--kind', 'lsh', '--bits', b]
            for b in ('0', '-8', '7')
        ),
        *(
            [verb, value]
            for verb in ('info', 'check')
            for value in (LONG, 'gone', '\0')
        ),
        *(
            ['replay', value, '--out', 'r.gpkg']
            for value in ('', 'A', '/dev/null', LONG)
        ),
        *(['export', 'A', '--out', value] for value in ('', 'x.xyz', 'x')),
    ],
    ids=lambda words: ' '.join(words)[:60].encode('unicode_escape').decode(),
)
def test_a_value_that_makes_no_sense(
    folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main(words)
    message = error.getvalue()
    assert (code, message.count('\n')) == (2, 1), message[-400:]
    assert len(message) < 1_500
    assert message.isprintable() or message[:-1].isprintable()
    assert sorted(p.name for p in folder.iterdir()) == ['A', 'z.npz']
