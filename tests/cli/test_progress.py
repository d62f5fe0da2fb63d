"""Progress of commands as a process has it: on a terminal, on a pipe, with --quiet and --progress.

What does not depend on what stderr is runs in this process.
"""

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest

#: What every bar of tqdm shows: the time since it began.
BAR = '[00:00'


def on_pipe(*words: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, '-m', 'torchgeo_cmr', *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def on_terminal(*words: object) -> tuple[int, str, str]:
    """Give a command a terminal as stderr."""
    mine, its = pty.openpty()
    # A bar is as wide as the terminal, which has no width at first.
    termios.tcsetwinsize(its, (24, 80))
    with subprocess.Popen(
        [sys.executable, '-m', 'torchgeo_cmr', *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=its,
        text=True,
    ) as process:
        os.close(its)
        assert process.stdout is not None
        out, err = process.stdout.read(), b''
        try:
            while part := os.read(mine, 65536):
                err += part
        except OSError:  # how Linux says that the other side is closed
            pass
    os.close(mine)
    return process.returncode, out, err.decode()


@pytest.mark.slow
@pytest.mark.parametrize('command', ['check', 'duplicates'])
def test_a_pipe_holds_no_bar(archive: Path, command: str) -> None:
    code, _, err = on_pipe(command, archive)
    assert code == 0
    assert BAR not in err


@pytest.mark.slow
def test_a_terminal_shows_one(archive: Path) -> None:
    code, out, err = on_terminal('check', archive)
    assert code == 0
    assert '0 faults' in out
    assert BAR in err


@pytest.mark.slow
def test_quiet_shows_none_and_says_what_was_done(archive: Path) -> None:
    code, out, err = on_terminal('check', archive, '--quiet')
    assert (code, err) == (0, '')
    assert '2 files checked, 0 faults' in out


@pytest.mark.parametrize('command', ['check', 'duplicates', 'info'])
def test_any_command_takes_quiet(
    run: Callable[..., Any], archive: Path, command: str
) -> None:
    code, out, err = run(command, archive, '--quiet')
    assert code == 0
    assert 'patches' in out + err or 'rows' in out + err or 'checked' in out
    assert BAR not in err


@pytest.mark.slow
def test_a_program_that_reads_bars_gets_them(archive: Path) -> None:
    code, _, err = on_pipe('duplicates', '--progress', archive)
    assert code == 0
    assert BAR in err
    assert 'compare' in err


@pytest.mark.slow
def test_verbose_says_what_is_done_and_when(
    run: Callable[..., Any], archive: Path
) -> None:
    words = ['search', archive, '--query', '-98.595,29.595', '--where', 'cloud < 20']
    # Whoever asks for more words changes the environment and the loggers of others.
    code, out, err = on_pipe(*words, '-v')
    assert code == 0
    lines = err.splitlines()
    assert all(line[2] == line[5] == ':' for line in lines)
    assert any('opened RetrievalIndex(30 rows, dim=8' in line for line in lines)
    assert any('where cloud < 20 left 20 of 30 rows' in line for line in lines)
    assert any('ranked 20 of 30 rows' in line for line in lines)
    assert run(*words).out == out


@pytest.mark.slow
def test_verbose_lets_gdal_speak(archive: Path, tmp_path: Path) -> None:
    words = ['export', archive, '--out', tmp_path / 'a.gpkg']
    assert 'GPKG' not in on_pipe(*words)[2]
    assert 'GPKG' in on_pipe(*words, '--overwrite', '--verbose')[2]


@pytest.mark.slow
def test_a_mistake_at_a_terminal_leads_to_the_page(tmp_path: Path) -> None:
    words = ('embed', tmp_path / 'none_*.tif', '--modality', 's2', '--model', 'presto')
    words += ('--size', 64, '--out', tmp_path / 'out')
    done = forked.run('-m', 'torchgeo_cmr', *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    mine, its = pty.openpty()
    on_terminal = forked.Program('-m', 'torchgeo_cmr', *words, stderr=os.ttyname(its))
    assert on_terminal.wait(timeout=120).returncode == 2
    first, second = os.read(mine, 65536).decode().splitlines()
    os.close(its)
    os.close(mine)
    assert first == done.stderr.rstrip('\n')
    assert second == 'more about this: docs/user/troubleshooting.md#opening-rasters'
