"""Notebooks as they are kept: without outputs, with words first, listed on the page of examples. CI runs them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BOOKS = sorted((ROOT / 'examples' / 'notebooks').glob('*.ipynb'))


def cells(book: Path) -> list[dict[str, Any]]:
    return json.loads(book.read_text())['cells']


def test_all_are_listed() -> None:
    page = (ROOT / 'docs' / 'examples.md').read_text()
    assert len(BOOKS) == 6
    for book in BOOKS:
        assert f'](../examples/notebooks/{book.name})' in page


@pytest.mark.parametrize('book', BOOKS, ids=lambda p: p.stem)
def test_outputs_are_not_kept(book: Path) -> None:
    for cell in cells(book):
        assert not cell.get('outputs')
        assert cell.get('execution_count') is None


@pytest.mark.parametrize('book', BOOKS, ids=lambda p: p.stem)
def test_it_begins_with_words_and_ends_with_a_check(book: Path) -> None:
    first, *_, last = cells(book)
    assert first['cell_type'] == 'markdown'
    assert ''.join(first['source']).startswith('# ')
    assert 'assert ' in ''.join(last['source'])


@pytest.mark.parametrize('book', BOOKS, ids=lambda p: p.stem)
def test_links_lead_somewhere(book: Path) -> None:
    for cell in cells(book):
        if cell['cell_type'] == 'markdown':
            for link in re.findall(r'\]\(([^)#]+)', ''.join(cell['source'])):
                assert (book.parent / link).exists(), link
