"""The help of every command teaches by example, and every example can be parsed."""

import re
import shlex

import forked
import pytest

from torchgeo_cmr.cli.commands import VERBS, load_command
from torchgeo_cmr.cli.parser import build
from torchgeo_cmr.cli.signature import read_docstring

#: Commands of LightningCLI, whose examples stand in one place.
LIGHTNING = {name for name, (module, _) in VERBS.items() if module == 'fit_command'}
PROGRAM = re.compile(r'(?:^|\(| -m )torchgeo[-_]cmr (.*)')


def examples(command: str) -> list[list[str]]:
    """Words of each command line in the help of a command, without the program's name."""
    text = read_docstring(load_command(command))[0] or ''
    found = []
    for block in re.split(r'\n(?! {4})', text):
        joined = re.sub(r'\\\n {6,}', ' ', block)
        for line in joined.split('\n'):
            if line.startswith('    ') and (match := PROGRAM.search(line.strip())):
                words = shlex.split(match[1].removesuffix(')"'))
                ends = [i for i, word in enumerate(words) if word in ('>', '|')]
                found.append(words[: ends[0]] if ends else words)
    return found


@pytest.mark.parametrize('command', sorted({*VERBS} - LIGHTNING))
def test_help_has_an_example(command: str) -> None:
    assert any(words[0] == command for words in examples(command))


@pytest.mark.parametrize(
    ('command', 'words'),
    [
        pytest.param(command, words, id=shlex.join(words)[:60])
        for command in sorted({*VERBS} - LIGHTNING)
        for words in examples(command)
    ],
)
def test_examples_can_be_parsed(command: str, words: list[str]) -> None:
    name, *rest = words
    build(load_command(name), f'torchgeo-cmr {name}', explained=False).parse_args(rest)


@pytest.mark.slow
@pytest.mark.parametrize('command', sorted(LIGHTNING))
def test_help_of_trainings_has_examples_too(command: str) -> None:
    done = forked.run('-m', 'torchgeo_cmr', command, '--help')
    lines = [line.strip() for line in done.stdout.splitlines()]
    shown = [line for line in lines if line.startswith(f'torchgeo-cmr {command} ')]
    assert shown
    for line in shown if command == 'fit' else ():
        words = shlex.split(line)[1:]
        if '--ckpt_path' not in words:  # which is read while words are parsed
            done = forked.run('-m', 'torchgeo_cmr', *words, '--print_config')
            assert done.returncode == 0, done.stderr
