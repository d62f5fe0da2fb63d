"""The verb speak: from labels to files that the data set reads, without torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr.speech import read_wav

type Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _espeak() -> None:
    pytest.importorskip('espeakng_loader', reason='the extra speech is not here')


def test_a_corpus(run: Run, tmp_path: Path) -> None:
    out = tmp_path / 'speech'
    words = ['speak', '--labels', 'river', '--labels', 'tanks=storage tanks']
    words += ['--voice', 'en', '--voice', 'en-us+f3', '--takes', '1']
    words += ['--noise', '10,30', '--reverb', '0.1,0.3', '--out', str(out)]
    ran = run(*words, '--progress')
    assert (ran.code, ran.out) == (0, f'{out / "manifest.csv"}\n')
    assert '4/4' in ran.err
    files = sorted(out.rglob('*.wav'))
    assert [f.relative_to(out).as_posix() for f in files] == [
        'river/en-us+f3_0.wav',
        'river/en_0.wav',
        'tanks/en-us+f3_0.wav',
        'tanks/en_0.wav',
    ]
    assert all(0.3 < len(read_wav(f)) / 16_000 < 3 for f in files)
    assert ran.err.endswith(f'{out}: 4 files written\n')
    again = run(*words)
    assert (again.code, again.out) == (0, ran.out)
    assert again.err == f'{out}: 0 files written, 4 were there already\n'
    (out / 'river' / 'en_0.wav').unlink()
    assert '1 file written, 3 were' in run(*words, '--quiet').err


@pytest.mark.slow
def test_it_needs_no_torch(program: Run, tmp_path: Path) -> None:
    code = (
        'import sys; from torchgeo_cmr.main import main; '
        f'main(["speak", "--labels", "sea", "--voice", "en", "--takes", "1", "--quiet", '
        f'"--out", {str(tmp_path / "o")!r}]); '
        'sys.exit(", ".join({"torch", "torchgeo", "geopandas"} & set(sys.modules)) or 0)'
    )
    done = program('-c', code)
    assert (done.returncode, done.stderr) == (0, f'{tmp_path / "o"}: 1 file written\n')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('--labels sea --noise 10', '--noise 10 is not a range: give the lowest'),
        ('--labels sea --reverb a,b', '--reverb a,b is not a range'),
        ('--labels a/b', "label 'a/b' cannot name a folder"),
        ('--labels sea --voice nonsense', 'nonsense'),
        ('--labels sea --speed fast', "invalid int value: 'fast'"),
        ('', 'arguments are required: --labels'),
    ],
)
def test_a_mistake_is_one_line(
    refused: Callable[..., str], tmp_path: Path, words: str, message: str
) -> None:
    line = refused('speak', *words.split(), '--quiet', '--out', tmp_path / 'o')
    assert message in line
