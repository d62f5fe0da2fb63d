"""The site: each page has its place, and what the pages of installation and building name is there.

`.ci/run` builds it; these tests take no Sphinx.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'


def extras() -> set[str]:
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    return set(project['optional-dependencies'])


def files(entries: list[dict]) -> Iterator[str]:
    """Pages of a table of contents, as paths without suffix."""
    for entry in entries:
        if 'glob' in entry:
            found = DOCS.glob(f'{entry["glob"]}.md')
            pages = {
                path.relative_to(DOCS).with_suffix('').as_posix() for path in found
            }
            yield from pages - {'api/index'}
        else:
            yield entry['file']
        yield from files(entry.get('entries', []))


def test_each_page_has_one_place() -> None:
    contents = yaml.safe_load((DOCS / '_toc.yml').read_text())
    placed = sorted([contents['root'], *files(contents['entries'])])
    pages = DOCS.rglob('*.md')
    assert placed == sorted(
        path.relative_to(DOCS).with_suffix('').as_posix() for path in pages
    )


def test_each_extra_is_explained() -> None:
    page = (DOCS / 'install.md').read_text()
    assert set(re.findall(r'^\| `(\w+)` \|', page, re.MULTILINE)) == extras()


def test_read_the_docs_builds_the_same() -> None:
    settings = yaml.safe_load((ROOT / '.readthedocs.yaml').read_text())
    assert (ROOT / settings['sphinx']['configuration']).exists()
    assert settings['sphinx']['fail_on_warning'] is True
    (install,) = settings['python']['install']
    assert set(install['extra_requirements']) <= extras()
    assert 'sphinx -q -W docs' in (ROOT / '.ci' / 'run').read_text()
