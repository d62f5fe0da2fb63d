"""The verb demo, as far as its arguments go: the journey has its own tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from torchgeo_cmr import demo
from torchgeo_cmr.demo import Journey

type Refused = Callable[..., str]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('--raster s1', "--raster 's1' is not NAME=VALUE: write for example s1=VALUE"),
        ('--raster =x', "--raster '=x' is not NAME=VALUE"),
        ('--raster s1=', "--raster 's1=' is not NAME=VALUE"),
        ('--raster s1=a --raster s1=b', "--raster names 's1' twice"),
        ('--units s1:db', "--units 's1:db' is not NAME=VALUE"),
        ('--raster s1={t}/*.tif', 'the demo pairs two modalities, 1 given'),
        (
            '--raster s1={t}/none --raster s2={t}/none --raster s3={t}/none',
            'the demo pairs two modalities, 3 given',
        ),
        ('--raster s1={t}/none*.tif --raster s2={t}/*.tif', 'no raster matches'),
        ('--raster s1={t}/in/bare.tif --raster s2={t}/in/a.tif', 'bare.tif has no CRS'),
        ('--raster s1={t}/in/text.tif --raster s2={t}/in/a.tif', 'cannot be read as a'),
        ('--out {t}/in', 'in exists and is not empty'),
        ('--out {t}/in/text.tif', 'exists and is not empty'),
        ('--bands s2=B04', '--bands and --normalize are for --model'),
        ('--model presto --bands B04', "--bands 'B04' is not NAME=VALUE"),
        ('--seed now', "invalid int value: 'now'"),
        ('--seed -1', 'seed is -1: give a whole number of at least 0'),
        ('--seed 4294967296', 'seed is 4294967296: give a whole number of at most'),
        ('somewhere', 'unrecognized arguments: somewhere'),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    refused: Refused,
    write_raster: Callable[..., Path],
    tmp_path: Path,
    words: str,
    message: str,
) -> None:
    write_raster('in/a.tif')
    write_raster('in/bare.tif', crs=None)
    (tmp_path / 'in' / 'text.tif').write_text('no raster')
    before = sorted(tmp_path.rglob('*'))
    given = words.format(t=tmp_path).split()
    if '--out' not in given:
        given += ['--out', str(tmp_path / 'out')]
    assert message in refused('demo', *given)
    assert sorted(tmp_path.rglob('*')) == before


def test_every_word_reaches_the_journey(
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    seen: dict[str, object] = {}
    scores = {
        who: {'recall@10': 0.5, 'map': None}
        for who in ('trained', 'untrained', 'chance')
    }
    names = ('hits', 'queries', 'area', 'contact_sheet', 'metrics', 'archive')
    files = {name: tmp_path / name for name in (*names, 'checkpoint')}

    def journey(out: str, **others: object) -> Journey:
        seen.update(others, out=out)
        metrics = {'directions': {'s1->s2': scores}}
        return Journey(tmp_path, files, metrics, ['something was left out'])

    monkeypatch.setattr(demo, 'run', journey)
    words = '--out x --seed 7 --raster s1=a*.tif --raster s2=b=c --units s1=db'
    words += ' --model presto:a.pt --bands s2=B04,B03 --normalize data'
    code, out, err = run('demo', *words.split(), '--overwrite', '--quiet')
    assert (code, err) == (0, '')
    assert seen == {
        'out': 'x',
        'seed': 7,
        'rasters': {'s1': 'a*.tif', 's2': 'b=c'},
        'units': {'s1': 'db'},
        'model': 'presto:a.pt',
        'bands': {'s2': ['B04', 'B03']},
        'normalize': 'data',
        'overwrite': True,
        'progress': False,
    }
    # The demo itself says what it does before the seconds that loading takes, unless it is refused.
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'mine.txt').write_text('mine')
    first = 'loading torch and TorchGeo\n'
    for more in ('new', 'full --overwrite'):
        words = f'--quiet --out {tmp_path / more}'
        assert run('demo', *words.split())[2] == first
    seen.clear()
    code, _, err = run('demo', '--quiet', '--out', str(tmp_path / 'full'))
    assert (code, seen) == (2, {})
    assert 'choose another folder, or say --overwrite' in err
    assert first not in err
    told = out.splitlines()
    assert told[2].split() == ['s1->s2', *['0.500', 'null'] * 3]
    assert 'note: something was left out' in told
    for path in files.values():
        assert any(line.startswith(f'{path}: ') for line in told)


@pytest.mark.parametrize(
    ('second', 'message'),
    [
        ('far.tif', 'no common ground: their footprints are 97,440 metres apart'),
        ('radar.tif', "the scale of s2's radar bands is unknown"),
    ],
)
def test_rasters_that_cannot_be_paired(
    refused: Refused,
    write_raster: Callable[..., Path],
    tmp_path: Path,
    second: str,
    message: str,
) -> None:
    one = write_raster('a.tif', shape=(256, 256))
    write_raster('far.tif', shape=(256, 256), origin=(600_000.0, 5_000_000.0))
    write_raster('radar.tif', shape=(256, 256), bands=('VV',))
    words = ['--raster', f's1={one}', '--raster', f's2={tmp_path / second}']
    out = tmp_path / 'out'
    assert message in refused('demo', *words, '--out', out, '--quiet')
    assert not [path for path in out.rglob('*') if path.is_file()]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--model', 'nothing:at_all'], 'nothing'),
        (['--model', 'presto:none.pt'], 'none.pt'),
        (['--model', 'presto', '--bands', 's2=B77'], 'B77'),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_a_world_is_drawn(
    refused: Refused, tmp_path: Path, words: list[str], message: str
) -> None:
    assert message in refused('demo', *words, '--out', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
