"""The messages that the page on troubleshooting quotes are those of the package."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from torchgeo_cmr.cli.further_reading import MESSAGES, read_more

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'user' / 'troubleshooting.md'
QUOTED = re.findall(r'^\| `([^`]+)` \| \S', PAGE.read_text(), re.MULTILINE)


@cache
def sentences() -> tuple[str, ...]:
    """Texts of the package but for docstrings; a value that is filled in is one NUL."""
    found = []
    for path in (ROOT / 'torchgeo_cmr').rglob('*.py'):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        apart = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if id(node) in apart:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                pieces = (
                    part.value if isinstance(part, ast.Constant) else '\0'
                    for part in node.values
                )
                found.append(''.join(map(str, pieces)))
    return tuple(found)


def test_there_are_messages() -> None:
    rows = [x for x in PAGE.read_text().splitlines() if x.startswith('| `')]
    assert len(QUOTED) == len(rows) >= 25
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize('quoted', QUOTED)
def test_message_is_one_of_ours(quoted: str) -> None:
    """Words as they are; what the page leaves open holds a value that is filled in."""
    parts = [part.strip(' ') for part in quoted.split('…')]
    find = re.compile(r'[^\0]*?\0.*?'.join(map(re.escape, parts)), re.DOTALL)
    # Few sentences have all the words, which is found out sooner than their order.
    likely = (s for s in sentences() if all(part in s for part in parts))
    assert any(find.search(sentence) for sentence in likely)


def test_commands_lead_to_every_message() -> None:
    sections: dict[str, tuple[str, ...]] = {}
    for section in PAGE.read_text().split('\n## ')[1:]:
        quoted = re.findall(r'^\| `([^`]+)` \| \S', section, re.MULTILINE)
        if quoted:
            sections[section.partition('\n')[0]] = tuple(quoted)
    assert sections == MESSAGES


@pytest.mark.parametrize('quoted', QUOTED)
def test_a_message_leads_to_its_own_heading(quoted: str) -> None:
    heading = next(name for name, quotes in MESSAGES.items() if quoted in quotes)
    message = f'first {quoted.replace("…", "some value")} last'
    place = read_more(message)
    assert place is not None
    path, _, anchor = place.partition('#')
    assert ROOT / path == PAGE
    assert anchor == heading.lower().replace(' ', '-')
