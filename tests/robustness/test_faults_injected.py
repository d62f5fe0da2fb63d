"""Whatever fails, dies or loses power: the old state or the new one, and the same again completes."""

import errno
import json
import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import geopandas as gpd
import injected_faults
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
import shapely

from torchgeo_cmr.errors import CMRError, OutputExistsError
from torchgeo_cmr.export import make_record
from torchgeo_cmr.export.outputs import write_all
from torchgeo_cmr.main import main
from torchgeo_cmr.search import Hash, RetrievalIndex
from torchgeo_cmr.speech.wav import read_wav, write_wav
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')

#: What files hold: name -> a value that differs between the old and the new one.
type State = Mapping[str, Any]


@cache
def table(prefix: str, n: int = 12) -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f's2:{prefix}.tif:0_{32 * i}_32x32' for i in range(n)],
            'source': f'{prefix}.tif',
            'modality': 's2',
            'time_start': '2024-06-01T10:30Z',
        },
        geometry=shapely.box(
            np.arange(n) * 0.01, 45, np.arange(n) * 0.01 + 0.01, 45.01
        ),
        crs='EPSG:4326',
    )
    frame['time_start'] = frame['time_start'].astype('datetime64[us, UTC]')
    vectors = np.random.default_rng(ord(prefix)).normal(size=(n, 8))
    return EmbeddingTable.from_frame(frame, vectors, space='x')


@cache
def searched(k: int) -> tuple[gpd.GeoDataFrame, dict[str, Any]]:
    archive = table('a')
    queries = archive.select([0])
    hits = RetrievalIndex(archive).search(queries, k)
    record = make_record(hits, archives={'a': archive}, queries=queries, k=k)
    return hits, record


def export(home: Path, k: int, names: str, **options: Any) -> None:
    hits, record = searched(k)
    write_all(
        hits,
        [home / name for name in names.split()],
        queries=table('a').select([0]),
        record=record,
        **options,
    )


def value_of(file: Path) -> Any:
    """Read a file as its users do, and give what tells the old one from the new one."""
    if file.suffix == '.gpkg':
        return pyogrio.read_info(file, layer='results')['features']
    if file.suffix in ('.geojson', '.fgb'):
        return len(gpd.read_file(file))
    if file.suffix == '.parquet':
        return pq.read_table(file).num_rows
    if file.suffix == '.tif':
        with rasterio.open(file) as raster:
            return int(np.isfinite(raster.read(1)).sum())
    if file.suffix == '.qgz':
        with zipfile.ZipFile(file) as project:
            return zlib.crc32(project.read(project.namelist()[0]))
    if file.suffix == '.npz':
        return Hash.load(file).name
    if file.suffix == '.wav':
        return len(read_wav(file))
    text = file.read_text()
    if file.suffix == '.json':
        content = json.loads(text)
        return (
            content['rows']['count'] if 'rows' in content else len(content['features'])
        )
    if file.suffix == '.html':
        assert text.rstrip().endswith('</html>')
        return len(text)
    return zlib.crc32(text.encode())


def files(home: Path) -> State:
    return {
        p.name: value_of(p)
        for p in sorted(home.iterdir())
        if not p.name.startswith('.')
    }


def archive(home: Path) -> State:
    if not (home / 'x' / '_archive.json').exists():
        return {}
    return {'ids': frozenset(EmbeddingTable.load(home / 'x').frame['patch_id'])}


def index(home: Path) -> State:
    if not (home / 'x').exists():
        return {}
    opened = RetrievalIndex.open(home / 'x')
    hits = opened.search(np.ones(8), 100)
    assert len(hits) == len(opened)
    return {'ids': tuple(hits['patch_id'])}


def parts(home: Path) -> None:
    """Commit as an embedding run does, which goes on with what is missing."""
    sink = ParquetSink(home / 'x', {'space': 'x'})
    done = sink.done()
    for key in 'ab':
        if key not in done:
            sink.commit(key, table(key))
    sink.finish()


def begun(home: Path) -> None:
    """Commit parts without an end."""
    sink = ParquetSink(home / 'x', {'space': 'x'})
    for key in 'ab':
        sink.commit(key, table(key))


def drop(home: Path) -> None:
    """Drop a part, add one and write one anew, as an update does."""
    sink = ParquetSink(home / 'x', {'space': 'x'})
    sink.remove('a')
    for key in 'bc':
        sink.commit(key, table(key))
    sink.finish()


def error_of(run: Callable[[Path], Any], home: Path) -> Exception | None:
    try:
        run(home)
    except (CMRError, OSError) as error:
        return error
    return None


class Case(NamedTuple):
    """Something that changes files."""

    run: Callable[[Path], Any]
    read: Callable[[Path], State]
    before: Callable[[Path], Any] = lambda home: None
    #: Names that are given one after the other: a process may die between two.
    several: bool = False
    #: Parts that are committed one by one, each for good.
    stepwise: bool = False


def over(home: Path) -> Any:
    return RetrievalIndex.build(table('a'), home / 'x')


EXPORTS = {
    name: (name, options)
    for name, options in (
        ('h.gpkg', {}),
        ('h.geojson', {}),
        ('h.fgb', {}),
        ('h.csv', {}),
        ('h.parquet', {}),
        ('h.html', {}),
        ('h.tif', {}),
        ('h.stac.json', {}),
        ('h.gpkg h.csv', {'project': True, 'links': True, 'html': True}),
    )
}
ALL = {'project': True, 'heatmap': True, 'manifest': True, 'links': True}
EXPORTS['all of h.gpkg'] = ('h.gpkg', ALL)

CASES = {
    'save': Case(lambda home: table('a').save(home / 'x'), archive),
    'save over': Case(
        lambda home: table('b').save(home / 'x', overwrite=True),
        archive,
        lambda home: table('a').save(home / 'x'),
    ),
    'commit': Case(parts, archive, stepwise=True),
    'drop': Case(drop, archive, begun, stepwise=True),
    'build': Case(lambda home: RetrievalIndex.build(table('a'), home / 'x'), index),
    'build over': Case(
        lambda home: RetrievalIndex.build(
            table('b'), home / 'x', vectors='int8', overwrite=True
        ),
        index,
        over,
    ),
    'append': Case(
        lambda home: RetrievalIndex.open(home / 'x').append(table('b')), index, over
    ),
    'delete': Case(
        lambda home: RetrievalIndex.open(home / 'x').delete(
            table('a').frame['patch_id'].tolist()[:3]
        ),
        index,
        over,
    ),
    'hash': Case(
        lambda home: Hash.lsh(8, 16, seed=1).save(home / 'x.npz', overwrite=True),
        files,
        lambda home: Hash.lsh(8, 16, seed=0).save(home / 'x.npz'),
    ),
    'sound': Case(
        lambda home: write_wav(home / 'x.wav', np.ones(900) / 2),
        files,
        lambda home: write_wav(home / 'x.wav', np.ones(700) / 2),
    ),
    **{
        f'{name} new': Case(
            lambda home, n=names, o=options: export(home, 5, n, **o),
            files,
            several=True,
        )
        for name, (names, options) in EXPORTS.items()
    },
    **{
        f'{name} over': Case(
            lambda home, n=names, o=options: export(home, 5, n, overwrite=True, **o),
            files,
            lambda home, n=names, o=options: export(home, 3, n, **o),
            several=True,
        )
        for name, (names, options) in EXPORTS.items()
    },
}


def misses_each_part(folder: Path, kept: frozenset[str]) -> None:
    """See that no committed part can go unnoticed, but for one that may be on its way out."""
    for part in folder.glob('part-*'):
        content = part.read_bytes()
        ids = pq.read_table(part, columns=['patch_id'], partitioning=None)
        leaving = not kept.issuperset(ids.column(0).to_pylist())
        part.unlink()
        error = error_of(EmbeddingTable.load, folder)
        part.write_bytes(content)
        missed = f'lacks {part.name}, written and then removed' in str(error)
        assert missed or (leaving and error is None)


class Trial:
    """One case in folders of its own, with its old and its new state."""

    def __init__(self, case: Case, folder: Path, most: int | None) -> None:
        self.case, self.folder, self.most = case, folder, most
        (folder / 'old').mkdir()
        case.before(folder / 'old')
        self.old = case.read(folder / 'old')
        home = self.home()
        with injected_faults.Disk(home) as disk:
            case.run(home)
        self.changes, self.log = disk.count, disk.log
        self.new = case.read(home)
        assert self.old != self.new

    def some(self, last: int) -> list[int]:
        """Give the numbers up to the last, or as many as are wanted, evenly."""
        count = last if self.most is None else min(last, self.most)
        return np.linspace(1, last, count).round().astype(int).tolist()

    def home(self) -> Path:
        """Make the old state anew, under the same name each time: a log names its files."""
        home = self.folder / 'home'
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.folder / 'old', home)
        return home

    def check(self, home: Path, *, between: bool) -> None:
        """See that the state is the old or the new one, and that the same again completes."""
        state = self.case.read(home)
        if (between and self.case.several) or self.case.stepwise:
            for name, value in state.items():
                known = (self.old.get(name), self.new.get(name))
                assert value in known or (self.case.stepwise and value < known[1]), name
            if self.case.stepwise:
                misses_each_part(home / 'x', self.new['ids'])
        else:
            assert state in (self.old, self.new)
        try:
            self.case.run(home)
        except OutputExistsError:
            assert state == self.new  # nothing was left to do
        assert self.case.read(home) == self.new
        names = [p.name for p in home.rglob('.*') if p.name != '.writer']
        assert not [*names, *home.rglob('_part-*')]


#: Whether slow cases try each change, which takes an hour, or some of them.
EVERY = bool(os.environ.get('TORCHGEO_CMR_EVERY_FAULT'))
_MOST = 6
#: Tried at each change by default; the others with ``-m slow``, or at some changes.
QUICK = ('save', 'delete', 'hash', 'sound')
WHOLE = (*QUICK, 'commit', 'drop')
SOME = {'save over': 4, 'build': 4, 'build over': 4, 'append': 4, 'h.csv over': 3}


@pytest.fixture(
    params=[
        *QUICK,
        *(f'{name}: some' for name in SOME),
        *(pytest.param(n, marks=pytest.mark.slow) for n in CASES if n not in QUICK),
    ]
)
def trial(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Trial:
    monkeypatch.setattr('torchgeo_cmr.export.new_file._PATIENCE', 0)
    name, _, few = request.param.partition(': ')
    most = SOME[name] if few else None if name in WHOLE or EVERY else _MOST
    return Trial(CASES[name], tmp_path, most)


def test_the_disk_fails_at_each_change(trial: Trial) -> None:
    for nth in trial.some(trial.changes):
        home = trial.home()
        with injected_faults.Disk(home, 'fail', nth):
            error = error_of(trial.case.run, home)
        sentence = 'could not be written, and nothing was changed there'
        assert error is None or isinstance(error, CMRError) or sentence in str(error)
        left = [p.name for p in home.rglob('.*.tmp-*')]
        trial.check(home, between=False)
        assert len(left) <= 1  # the clean-up itself may have failed


def test_the_process_dies_at_each_change(trial: Trial) -> None:
    for nth in trial.some(trial.changes):
        home = trial.home()
        with injected_faults.Disk(home, 'kill', nth), suppress(injected_faults.Killed):
            trial.case.run(home)
        trial.check(home, between=True)


@pytest.mark.parametrize('lost', ['content', 'names'])
def test_the_power_fails_after_each_change(
    trial: Trial, lost: Literal['content', 'names']
) -> None:
    for n in trial.some(len(trial.log)):
        home = trial.home()
        injected_faults.replay(trial.log[:n], home, lost)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('torchgeo_cmr.drafts._begun', lambda process: 9)
            trial.check(home, between=True)


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize(
    'words',
    [
        'index A --out i',
        'index B --out old --append',
        'index --out old --delete s2:a.tif:0_0_32x32',
        'hash A --using h.npz --kind sign --out codes',
        'search A --query s2:a.tif:0_0_32x32 -k 5 --out h.csv',
        'export A --out h.parquet',
    ],
)
def test_commands_on_a_disk_that_is_full_or_closed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    number: int,
) -> None:
    """One sentence that names the file and the cure, nothing is left, and the same again completes."""
    monkeypatch.chdir(tmp_path)
    table('a').save('A')
    table('b').save('B')
    RetrievalIndex.build(table('a'), 'old')
    (tmp_path / 'old' / '.writer').touch()
    before = sorted(tmp_path.rglob('*'))
    with injected_faults.Disk(tmp_path, 'full', 1, number):
        assert main(words.split()) == 2
    (line,) = [l for l in capsys.readouterr().err.splitlines() if 'could not be' in l]
    assert 'nothing was changed there' in line
    assert 'make room' in line
    assert sorted(tmp_path.rglob('*')) == before
    assert main(words.split()) == 0
