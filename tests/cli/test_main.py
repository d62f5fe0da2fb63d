"""The console script: verbs, exit codes, what goes to which stream."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import torchgeo_cmr
from torchgeo_cmr.cli import export_command as export_verb
from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.main import VERBS

type Run = Callable[..., Any]


@pytest.mark.parametrize('words', [[], ['-h'], ['--help']])
def test_usage_names_every_verb(run: Run, words: list[str]) -> None:
    ran = run(*words)
    assert (ran.code, ran.err) == (0, '')
    told = ran.out.splitlines()
    assert told[0] == 'usage: torchgeo-cmr COMMAND ...'
    for name, (_, what) in VERBS.items():
        assert any(line.split() == [name, *what.split()] for line in told)


def test_version(run: Run) -> None:
    assert run('--version') == (0, f'torchgeo-cmr {torchgeo_cmr.__version__}\n', '')


@pytest.mark.parametrize('word', ['serch', '--nothing', 'Search', ''])
def test_unknown_verb(refused: Callable[..., str], word: str) -> None:
    line = refused(word)
    assert f'{word!r} is not a command: choose one of demo, fit, ' in line


@pytest.mark.parametrize('name', ['demo', 'embed', 'search', 'export'])
def test_help_of_a_verb_returns_0(run: Run, name: str) -> None:
    ran = run(name, '--help')
    assert (ran.code, ran.err) == (0, '')
    assert ran.out.startswith(f'usage: torchgeo-cmr {name} ')


def test_a_mistake_in_the_words_returns_2(refused: Callable[..., str]) -> None:
    assert 'arguments are required: ARCHIVES;' in refused('search')
    assert 'unrecognized arguments: --nothing' in refused(
        'export', 'a', '--out', 'b', '--nothing'
    )


class TestProcess:
    """Exit codes and imports as a shell sees them."""

    def test_python_m(self, program: Run) -> None:
        done = program('-m', 'torchgeo_cmr', '--version')
        assert (done.returncode, done.stderr) == (0, '')
        assert done.stdout == f'torchgeo-cmr {torchgeo_cmr.__version__}\n'
        done = program('-m', 'torchgeo_cmr', 'nothing')
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1

    def test_console_script(self) -> None:
        script = Path(sys.executable).with_name('torchgeo-cmr')
        if not script.exists():
            pytest.skip('the package is not installed as a distribution')
        done = subprocess.run([script, 'nothing'], capture_output=True, check=False)
        assert done.returncode == 2

    def test_help_loads_next_to_nothing(self, program: Run) -> None:
        code = (
            'import sys\n'
            'from torchgeo_cmr.main import main\n'
            "for verb in ('demo', 'embed', 'search', 'export'):\n"
            "    assert main([verb, '--help']) == 0\n"
            "bad = {'torch', 'torchgeo', 'lightning', 'numpy', 'geopandas'} & set(sys.modules)\n"
            'assert not bad, bad\n'
        )
        done = program('-c', code)
        assert done.returncode == 0, done.stderr

    @pytest.mark.slow
    def test_help_of_fit_says_nothing_on_stderr(self, program: Run) -> None:
        done = program('-m', 'torchgeo_cmr', 'fit', '--help')
        assert (done.returncode, done.stderr) == (0, '')
        assert '--model' in done.stdout

    @pytest.mark.slow
    def test_a_reader_that_leaves_is_no_mistake(self, archive: Path) -> None:
        read, write = os.pipe()
        os.close(read)
        words = ['search', archive, '--query', archive]
        done = subprocess.run(
            [sys.executable, '-m', 'torchgeo_cmr', *map(str, words)],
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(write)
        assert (done.returncode, done.stderr) == (141, b'')


@pytest.mark.parametrize(
    ('error', 'code', 'told'),
    [
        (KeyboardInterrupt(), 130, 'stopped; what was committed is kept\n'),
        (
            PermissionError(13, 'Permission denied', '/x'),
            2,
            "torchgeo-cmr: [Errno 13] Permission denied: '/x'\n",
        ),
        (QueryError('a\n b'), 2, 'torchgeo-cmr: a b\n'),
        (
            MemoryError('9 GB'),
            2,
            (
                'torchgeo-cmr: there is not enough memory (9 GB); work on fewer rows, smaller '
                'patches or batches, or free memory\n'
            ),
        ),
        (SystemExit(3), 3, ''),
        (SystemExit(), 0, ''),
        (SystemExit('words'), 1, ''),
    ],
)
def test_how_a_verb_may_end(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    told: str,
) -> None:
    def verb(source: str, *, out: list[str], overwrite: bool = False) -> None:
        raise error

    monkeypatch.setattr(export_verb, 'export', verb)
    assert run('export', 'a', '--out', 'b') == (code, '', told)


class TestFaultsOfOurs:
    """What no one foresaw: exit code 70, one line, and a file to report."""

    @pytest.fixture
    def fault(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """Plant a bug in a command, and say where reports go."""

        def verb(source: str, *, out: list[str]) -> None:
            raise ZeroDivisionError('by\n\x1b nothing')

        monkeypatch.setattr(export_verb, 'export', verb)
        monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
        return tmp_path

    def test_is_one_line_that_names_a_file_to_report(
        self, run: Run, fault: Path
    ) -> None:
        code, out, err = run('export', 'a b', '--out', 'c')
        assert (code, out) == (70, '')
        (report,) = fault.glob('torchgeo-cmr-fault-*.txt')
        version = torchgeo_cmr.__version__
        assert err.startswith(
            f'torchgeo-cmr: a fault of ours in torchgeo_cmr {version}, not yours: '
            'ZeroDivisionError: by \\x1b nothing at test_main.py:'
        )
        assert err.endswith(f'report it with {report}, which holds the traceback\n')
        assert err.count('\n') == 1
        text = report.read_text()
        assert text.startswith(f'torchgeo_cmr {version}, Python ')
        assert "torchgeo-cmr export 'a b' --out c" in text
        assert text.count('Traceback') == 1

    def test_debug_shows_the_traceback(self, run: Run, fault: Path) -> None:
        ran = run('export', 'a', '--debug', '--out', 'b')
        assert (ran.code, ran.err.count('Traceback (most recent')) == (70, 1)

    def test_a_report_that_cannot_be_written_does_not_hide_the_fault(
        self, run: Run, fault: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr('tempfile.tempdir', str(fault / 'nowhere'))
        ran = run('export', 'a', '--out', 'b')
        assert (ran.code, ran.err.count('\n')) == (70, 1)
        assert 'report it with what --debug prints' in ran.err


def test_a_name_that_is_not_utf8_is_no_fault_of_ours(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verb(source: str, *, out: list[str]) -> None:
        out[0].encode()

    monkeypatch.setattr(export_verb, 'export', verb)
    code, _, err = run('export', 'a', '--out', 'caf\udce9.gpkg')
    assert (code, err.count('\n')) == (2, 1)
    assert "the name 'caf\\udce9.gpkg' is not UTF-8: rename" in err


def test_debug_shows_the_traceback_of_a_mistake_too(run: Run, tmp_path: Path) -> None:
    ran = run('--debug', 'info', tmp_path / 'nothing')
    assert ran.code == 2
    assert ran.err.startswith('Traceback (most recent call last)')
    assert ran.err.splitlines()[-1].startswith('torchgeo-cmr: ')
    assert run('info', tmp_path / 'nothing').err.count('\n') == 1


def test_interrupted_while_a_verb_is_loaded(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('importlib.import_module', stop)
    assert run('search', 'a', '--query', 'b').code == 130


def test_warnings_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def verb(source: str, *, out: list[str]) -> None:
        warnings.warn('two\nlines', UserWarning)

    monkeypatch.setattr(export_verb, 'export', verb)
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        assert run('export', 'a', '--out', 'b') == (0, '', 'warning: two lines\n')
