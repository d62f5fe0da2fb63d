"""The README and the docs: what they say can be run, and what they link to is there."""

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from torchgeo_cmr.cli.commands import load_command
from torchgeo_cmr.cli.parser import build
from torchgeo_cmr.main import VERBS

ROOT = Path(__file__).parents[1]
README = ROOT / 'README.md'
QUICKSTART = ROOT / 'docs' / 'quickstart.md'
PAGES = sorted([README, ROOT / 'examples' / 'README.md', *ROOT.glob('docs/**/*.md')])
FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fences(page: Path, *languages: str) -> Iterator[str]:
    """Code blocks of a page in some languages ('' for none said)."""
    for language, code in FENCE.findall(page.read_text()):
        if language in languages:
            yield code


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r'^#+ (.*)$', FENCE.sub('', page.read_text()), re.MULTILINE)
    return {
        re.sub(r'[^\w\- ]', '', heading).strip().lower().replace(' ', '-')
        for heading in headings
    }


@pytest.mark.parametrize(
    ('mark', 'needed'),
    [
        ('demo', ('python3 -m venv .venv', 'pip install', 'torchgeo-cmr demo')),
        ('tests', ('pip install', '[tests]', '.venv/bin/python -m pytest')),
    ],
)
def test_two_commands_do_everything(mark: str, needed: tuple[str, ...]) -> None:
    (block,) = re.findall(
        rf'^<!-- ci: {mark} -->\n```sh\n(.*?)^```$',
        README.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert block.count('\n') == 1
    assert all(part in block for part in needed)


def test_script_is_the_example() -> None:
    """The same statements; the example adds what makes its folders and says where to look."""
    readme = ast.parse(next(fences(QUICKSTART, 'python'))).body
    example = ast.parse((ROOT / 'examples' / '01_journey.py').read_text()).body

    def imports(body: list[ast.stmt]) -> set[str]:
        kinds = (ast.Import, ast.ImportFrom)
        return {ast.unparse(s) for s in body if isinstance(s, kinds)}

    def rest(body: list[ast.stmt]) -> list[str]:
        return [u for s in body if (u := ast.unparse(s)) not in imports(body)]

    script, program = rest(readme), rest(example)
    assert len(imports(readme)) + len(script) < 20
    assert imports(readme) <= imports(example)
    assert program[-len(script) - 1 : -1] == script
    assert program[-1].startswith('print(')


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub('', page.read_text())
    broken = []
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if re.match(r'[a-z]+:', target):
            continue
        path, _, anchor = target.partition('#')
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert not broken


def test_every_page_is_reached_from_the_index() -> None:
    """What lies outside the site leads into it."""
    index = ROOT / 'docs' / 'index.md'
    seen, todo = set(), [index]
    while todo:
        page = todo.pop()
        seen.add(page)
        links = re.findall(r'\]\(([^)\s#:]+\.md)', page.read_text())
        found = {(page.parent / link).resolve() for link in links}
        todo += [p for p in found if p.exists() and p not in seen]
    left = set(PAGES) - seen
    assert left == {README, ROOT / 'examples' / 'README.md'}
    assert all('(docs/' in p.read_text() or '/docs/' in p.read_text() for p in left)


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_code_is_code(page: Path) -> None:
    for code in fences(page, 'python'):
        ast.parse(code)
    for code in fences(page, 'yaml'):
        assert isinstance(yaml.safe_load(code), dict)


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every `torchgeo-cmr VERB ...` in a page's code blocks."""
    for code in fences(page, '', 'sh', 'bash', 'shell', 'console'):
        for line in code.replace('\\\n', ' ').splitlines():
            for command in line.split('&&'):
                words = shlex.split(command, comments=True)
                programs = [i for i, w in enumerate(words) if 'torchgeo-cmr' in w]
                if programs and len(words) > programs[0] + 1:
                    yield words[programs[0] + 1 :]


def test_commands_parse() -> None:
    """Every command in the docs has a verb and flags that exist."""
    checked = set()
    for page in PAGES:
        for verb, *words in commands(page):
            assert verb in VERBS, f'{name(page)}: {verb}'
            checked.add(verb)
            if VERBS[verb][0] == 'fit_command':
                continue
            parser = build(load_command(verb), verb)
            parser.exit_on_error = False
            try:
                parser.parse_args(words)
            except (argparse.ArgumentError, SystemExit) as error:
                pytest.fail(f'{name(page)}: {verb} {shlex.join(words)}: {error}')
    assert {'demo', 'fit', 'embed', 'search'} <= checked
