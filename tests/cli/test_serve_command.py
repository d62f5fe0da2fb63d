"""The command serve: what it refuses before it waits for a client."""

from collections.abc import Callable
from pathlib import Path

import pytest


def test_what_it_speaks_must_be_said(
    refused: Callable[..., str], archive: Path
) -> None:
    assert 'add --mcp, the Model Context Protocol' in refused('serve', archive)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--max-k', '0'], '--max-k 0 lets nothing through'),
        (['--max-answer', '-1'], '--max-answer -1 lets nothing through'),
        (['other=archive', 'other=queries'], "two archives are called 'other'"),
        (['archive', 'elsewhere/archive'], "two archives are called 'archive'"),
        (['postgresql://gis@server/gis'], 'give it a name, as gis=postgresql://'),
        (['été'], 'cannot be the short name of an archive'),
        (['nothing'], 'nothing'),
    ],
)
def test_refuses(
    refused: Callable[..., str],
    archive: Path,
    asking: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(archive.parent)
    names = words if words[0][0] != '-' else ['archive', *words]
    assert message in refused('serve', '--mcp', *names)
