"""What foreign files say is shown, not obeyed."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr.cli.terminal import printable, printable_lines
from torchgeo_cmr.table import EmbeddingTable

EVIL = '\x1b]0;gone\x07\r\x9b2J\u202e\nrank 1'


def test_escapes() -> None:
    assert printable('Größe 大 "x"') == 'Größe 大 "x"'
    assert printable(EVIL) == r'\x1b]0;gone\x07\r\x9b2J\u202e\nrank 1'
    assert printable('\udc80') == r'\udc80'
    assert printable_lines('a\n\x1bb\n') == 'a\n\\x1bb\n'


def test_ids_of_an_archive(
    run: Callable[..., Any], archive: Path, tmp_path: Path
) -> None:
    table = EmbeddingTable.load(archive)
    frame = table.frame.copy()
    frame['patch_id'] += EVIL
    frame['source'] += EVIL
    frame['space'] = f'space{EVIL}'
    frame['label'] = EVIL
    evil = tmp_path / 'evil'
    EmbeddingTable.from_frame(frame, table.vectors).save(evil)
    query = frame['patch_id'].iloc[0]
    runs = [
        run('search', evil, '--query', query, '-k', 3),
        run('search', evil, '--query', 'absent\x1b[2J'),
        run('info', evil),
        run('duplicates', evil, '--min-score', 0.1),
    ]
    assert [ran.code for ran in runs] == [0, 2, 0, 0]
    for ran in runs:
        lines = (ran.out + ran.err).split('\n')
        assert all(line.isprintable() for line in lines)
        assert not any(line.startswith('rank 1') for line in lines)
    assert r'\x1b]0;gone' in runs[0].out
    assert len(runs[0].out.splitlines()) == 4


def test_notes_and_warnings(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str], archive: Path
) -> None:
    run('info', archive)
    logging.getLogger('torchgeo_cmr').info('scene %s', 'a\x1b[2J')
    warnings.showwarning(UserWarning('b\x1b[2J'), UserWarning, '', 0)
    assert capsys.readouterr().err == 'scene a\\x1b[2J\nwarning: b\\x1b[2J\n'
