"""Prose reads as English: docs, docstrings, comments, help and messages."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    *(ROOT / 'torchgeo_cmr').rglob('*.py'),
    *(ROOT / 'docs').rglob('*.md'),
    ROOT / 'README.md',
    ROOT / 'examples' / 'README.md',
]

_COUNTED = (
    'row|rows|file|files|patch|patches|thread|threads|line|lines|hit|hits|scene|scenes|band|bands'
    '|query|queries|sample|samples'
)
#: Pattern -> what to write. Each is the rhythm of another language, or a word that names nothing.
PATTERNS = {
    r'(?<![Tt]here )\b(?:is|are) no (?:CRS|index|mean|number|file|folder|band|text|archive|date)\b': (
        'is not a'
    ),
    r'(?<![Tt]here )\b(?:is|are) none[.:;]': 'name what is missing',
    r'\bmend(?:s|ed|ing)?\b': 'repair',
    r'\bbeside\b': 'next to',
    r'\b(?:thereof|whereof|lest)\b': 'of it, so that ... not',
    r'\bshall\b': 'should',
    r'\bnobody (?:knows|said|named)\b': 'unknown',
    r'\bby (?:itself|themselves)\b': 'on its own',
    r'\bput together\b|\btaken for\b': 'combined; treated as',
    r'\bchoose of\b': 'choose one of',
    r'\bwas asked\b|\basked for\b|\bare asked\b': 'requested',
    r'What this does not know|What that costs|So it is with': 'Limitations, Cost, The same applies',
    rf'\b(?:one|two) (?:{_COUNTED}) a (?:query|core|verb|band|patch|row|date|scene|place)\b': 'per',
    r'\bverbs?\b': 'command',
}


@cache
def prose(path: Path) -> list[tuple[int, str]]:
    """Sentences of a file, by line: no code."""
    return list(_prose(path))


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text()
    if path.suffix == '.md':
        blank = re.sub(
            r'```.*?```', lambda m: '\n' * m[0].count('\n'), text, flags=re.DOTALL
        )
        yield from enumerate(blank.split('\n'), 1)
        return
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and ' ' in node.value
        ):
            for number, line in enumerate(node.value.split('\n')):
                yield node.lineno + number, line
    for number, line in enumerate(text.split('\n'), 1):
        if comment := re.match(r'.*#:? (.*)', line):
            yield number, comment[1]


@pytest.mark.parametrize('pattern', PATTERNS)
def test_no_pattern_of_another_language(pattern: str) -> None:
    find = re.compile(pattern)
    found = sorted(
        {
            f'{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}'
            for path in FILES
            for number, line in prose(path)
            if find.search(line)
        }
    )
    assert not found, f'write: {PATTERNS[pattern]}'
