"""What is printed arrives whole, or the command says that it did not."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from torchgeo_cmr.cli.streams import _Notes, _Output
from torchgeo_cmr.errors import CMRError

#: A device that takes nothing.
FULL = Path('/dev/full')

on_full_device = pytest.mark.skipif(not FULL.exists(), reason='needs /dev/full')


class Slow(io.RawIOBase):
    """Takes seven bytes at a time, and an error after some."""

    def __init__(self, room: int) -> None:
        self.held = b''
        self._room = room

    def write(self, data: Any) -> int:
        if len(self.held) >= self._room:
            raise OSError(28, 'No space left on device')
        self.held += bytes(data[:7])
        return min(7, len(data))


class TestBytes:
    def test_a_file_that_takes_a_part_gets_the_rest(self) -> None:
        slow = Slow(1000)
        content = ('süß ' * 50).encode()
        assert _Output(slow).write(content) == len(content)
        assert slow.held == content

    def test_a_file_that_is_full_is_an_error(self) -> None:
        slow = Slow(70)
        with pytest.raises(CMRError, match=r'\(No space left on device\): make room'):
            _Output(slow).write(b'a' * 100)

    def test_notes_are_no_reason_to_end(self) -> None:
        slow = Slow(70)
        assert _Notes(slow).write(b'a' * 100) == 100
        assert slow.held == b'a' * 70

    def test_a_pipe_that_does_not_wait(self) -> None:
        source, target = os.pipe()
        os.set_blocking(target, False)
        read: list[bytes] = []

        def drain() -> None:
            with open(source, 'rb', buffering=0) as file:
                while part := file.read(50_000):
                    read.append(part)

        thread = Thread(target=drain)
        content = os.urandom(500_000)
        with open(target, 'wb', buffering=0) as file:
            thread.start()
            assert _Output(file).write(content) == len(content)
        thread.join(60)
        assert b''.join(read) == content


def shell(
    redirection: str, words: Sequence[object], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python as a shell starts it, with its streams led elsewhere."""
    return subprocess.run(
        [
            'sh',
            '-c',
            f'exec "$@" {redirection}',
            'sh',
            sys.executable,
            *map(str, words),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, 'PYTHONUNBUFFERED': '', **environment},
    )


@pytest.mark.parametrize('unbuffered', ['', '1'])
@pytest.mark.parametrize('words', [['--help'], ['search', '--help']])
def test_a_disk_that_takes_a_part(
    tmp_path: Path, unbuffered: str, words: list[str]
) -> None:
    file = tmp_path / 'printed'
    code = (
        'import resource, sys\n'
        'from torchgeo_cmr.main import main\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n'
        'sys.exit(main(sys.argv[1:]))\n'
    )
    done = shell(f'> {file}', ['-c', code, *words], PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2, done
    assert done.stderr.startswith('torchgeo-cmr: what is printed could not be written')
    assert len(done.stderr.splitlines()) == 1
    assert file.stat().st_size == 1000


@on_full_device
@pytest.mark.parametrize('words', [['--version'], ['--help'], ['index', '--help']])
def test_a_disk_that_takes_nothing(words: list[str]) -> None:
    done = shell(f'> {FULL}', ['-m', 'torchgeo_cmr', *words])
    assert done.returncode == 2
    assert 'could not be written' in done.stderr
    assert len(done.stderr.splitlines()) == 1


@on_full_device
def test_a_log_that_takes_nothing_ends_no_search(archive: Path, tmp_path: Path) -> None:
    hits = tmp_path / 'hits.geojson'
    words = ['search', archive, '--query', archive, '-k', 99, '--out', hits]
    done = shell(f'2> {FULL}', ['-m', 'torchgeo_cmr', *words])
    assert (done.returncode, done.stdout) == (0, f'{hits}: 870 rows\n')
    assert hits.stat().st_size > 0


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '<&- >&- 2>&-'])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    code = (
        'import os, sys\n'
        'from torchgeo_cmr.main import main\n'
        'ends = [main([word]) for word in ("--version", "nothing")]\n'
        'with open("number", "w") as file:\n'
        '    print(*ends, file.fileno() > 2, file=file)\n'
    )
    done = shell(closed, ['-c', f'import os; os.chdir({str(tmp_path)!r})\n{code}'])
    assert done.returncode == 0, done
    assert (tmp_path / 'number').read_text() == '0 2 True\n'


@pytest.mark.parametrize('encoding', ['ascii', 'latin-1', 'utf-8'])
def test_letters_that_the_encoding_lacks(
    make: Callable[..., Any], tmp_path: Path, encoding: str
) -> None:
    make('źdźbło').save(tmp_path / 'archive')
    words = ['-m', 'torchgeo_cmr', 'info', tmp_path / 'archive']
    done = shell('', words, PYTHONIOENCODING=encoding, PYTHONUTF8='0')
    assert (done.returncode, done.stderr) == (0, '')
    expected = 'źdźbło: 30'
    if encoding != 'utf-8':
        expected = expected.encode(encoding, 'backslashreplace').decode(encoding)
    assert f'modalities  {expected}\n' in done.stdout


def test_streams_of_a_caller_stay(run: Callable[..., Any]) -> None:
    kept = sys.stdout, sys.stderr
    assert run('--version').code == 0
    assert (sys.stdout, sys.stderr) == kept
