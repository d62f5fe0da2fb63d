"""The command completion."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

type Run = Callable[..., Any]


def complete(script: Path, typed: str) -> list[str]:
    """What bash offers for the last word."""
    typed_words = typed.split(' ')
    quoted = ' '.join(f"'{word}'" for word in typed_words)
    code = (
        f'source {script}\nCOMP_WORDS=({quoted})\nCOMP_CWORD={len(typed_words) - 1}\n'
        '_shtab_torchgeo_cmr\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ['bash', '-c', code], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_bash_completes_commands_and_options(run: Run, tmp_path: Path) -> None:
    if shutil.which('bash') is None:
        pytest.skip('there is no bash to complete in')
    script = tmp_path / 'complete.sh'
    script.write_text(run('completion', 'bash').out)
    assert complete(script, 'torchgeo-cmr se') == ['search', 'serve']
    assert complete(script, 'torchgeo-cmr serve --max-a') == ['--max-answer']
    assert complete(script, 'torchgeo-cmr doc') == ['doctor']
    assert complete(script, 'torchgeo-cmr doctor --') == [
        *('--help', '--json', '--quiet', '--progress', '--debug')
    ]
    assert complete(script, 'torchgeo-cmr search --exclude-d') == ['--exclude-days']
    offered = complete(script, 'torchgeo-cmr embed --m')
    assert {'--modality', '--max-cloud', '--min-valid'} <= set(offered)


@pytest.mark.parametrize('shell', ['zsh', 'tcsh'])
def test_other_shells(run: Run, shell: str) -> None:
    ran = run('completion', shell)
    assert (ran.code, ran.err) == (0, '')
    assert {'exclude-days', 'max-answer', 'doctor'} <= {
        *re.findall(r'[\w-]+', ran.out.replace('--', ' '))
    }


def test_an_unknown_shell_names_those_that_are_known(
    refused: Callable[..., str],
) -> None:
    line = refused('completion', 'dos')
    assert "'dos' is not known: use one of bash, zsh" in line
