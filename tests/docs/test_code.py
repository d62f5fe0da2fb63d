"""The code of the documentation runs, block after block, as a reader of the page would run it.

A block that cannot run in CI has the reason above it, where neither a code host nor the site shows it::

    <!-- not run: fetches weights -->

Python and commands are run, in a folder of which a page's fixture has made what the page takes for granted. YAML is
read by the parser of `torchgeo-cmr fit`; a task in it is made, a data module is not, because it wants data.
"""

import io
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from jsonargparse import ArgumentParser

from torchgeo_cmr.errors import OutputExistsError
from torchgeo_cmr.main import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / 'README.md', *ROOT.glob('docs/**/*.md')])
BLOCK = re.compile(
    r'^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$'
    r'(?:\n\n```text\n(?P<printed>.*?)^```$)?',
    re.MULTILINE | re.DOTALL,
)

#: Page -> the test that runs its code, with what only that test has.
ELSEWHERE = {
    'README.md': 'tests/test_demo.py, .ci/run',
    'docs/user/sql.md': 'tests/table/test_sql_page.py',
}

#: Page -> the fixture that makes what the page takes for granted.
PREPARED = {
    'docs/user/archive-format.md': 'archives',
    'docs/user/cmirnet.md': 'chips',
    'docs/user/data.md': 'rasters',
    'docs/user/embedding.md': 'rasters',
    'docs/user/evaluation.md': 'archives',
    'docs/user/export.md': 'results',
    'docs/user/from-torchgeo.md': 'rasters',
    'docs/user/methods.md': 'archives',
    'docs/user/notebooks.md': 'archives',
    'docs/user/panms.md': 'rasters',
    'docs/user/pretrained.md': 'archives',
    'docs/user/scale.md': 'archives',
    'docs/user/search.md': 'archives',
    'docs/user/speech.md': 'sounds',
    'docs/user/training.md': 'rasters',
}


class Block(NamedTuple):
    """A block of code of a page."""

    language: str
    code: str
    #: Why it is not run, or nothing.
    reason: str
    #: What the page says that it prints, or nothing.
    printed: str


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    for found in BLOCK.finditer(page.read_text()):
        if found['language'] in ('python', 'sh', 'yaml'):
            mark = found['mark'] or ''
            reason = (
                mark.removeprefix('not run: ') if mark.startswith('not run') else ''
            )
            yield Block(
                found['language'], found['code'], reason, found['printed'] or ''
            )


CODE = [
    p
    for p in PAGES
    if name(p) not in ELSEWHERE and any(not b.reason for b in blocks(p))
]


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training stop after one batch, on the processor, and write nothing."""
    from lightning import pytorch

    made: Any = pytorch.Trainer

    def trainer(**options: Any) -> Any:
        return made(
            **options | {'fast_dev_run': 1, 'accelerator': 'cpu', 'logger': False}
        )

    monkeypatch.setattr(pytorch, 'Trainer', trainer)


def removed(sentence: str) -> bool:
    """Remove an output of a block before, whose name the next block uses again."""
    found = re.search(r'(\S+) (?:is there already|holds clips of)', sentence)
    if found is None:
        return False
    path = Path(found[1])
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return True


def run_python(block: Block, names: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a block as a script that finds some names; give what it leaves."""
    script, printed = folder / 'block.py', io.StringIO()
    script.write_text(block.code)
    for _ in range(9):
        try:
            with redirect_stdout(printed):
                names = runpy.run_path(str(script), init_globals=names)
            break
        except OutputExistsError as error:
            if not removed(str(error)):
                raise
    if block.printed:
        assert printed.getvalue() == block.printed
    return {k: v for k, v in names.items() if not k.startswith('__')}


def run_commands(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    for line in block.code.replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == 'torchgeo-cmr', f'mark this block or run it: {line}'
        for _ in range(9):
            code = main(words[1:])
            error = capsys.readouterr().err
            if not (code == 2 and removed(error)):
                break
        assert code == 0, f'{line}: {error}'


def read_yaml(block: Block) -> None:
    from lightning.pytorch import LightningDataModule
    from torchgeo.tasks import BaseTask

    given = yaml.safe_load(block.code)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(BaseTask, 'model', required=False)
    parser.add_subclass_arguments(LightningDataModule, 'data', required=False)
    assert set(given) <= {'model', 'data'}
    parsed = parser.parse_object(given)
    if 'model' in given:
        del parsed['data']
        assert isinstance(parser.instantiate_classes(parsed)['model'], BaseTask)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.usefixtures('short_training')
@pytest.mark.parametrize('page', CODE, ids=name)
def test_code_runs(
    page: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepared = PREPARED.get(name(page))
    monkeypatch.chdir(tmp_path)
    names = request.getfixturevalue(prepared)() if prepared else {}
    for block in blocks(page):
        if block.reason:
            continue
        if block.language == 'python':
            names = run_python(block, names, tmp_path)
        elif block.language == 'sh':
            run_commands(block, capsys)
        else:
            read_yaml(block)


def test_most_code_runs() -> None:
    """Reasons are sentences, and few blocks need one."""
    every = [b for p in PAGES if name(p) not in ELSEWHERE for b in blocks(p)]
    reasons = [b.reason for b in every if b.reason]
    assert all(len(reason.split()) > 1 for reason in reasons)
    assert len(reasons) < 0.35 * len(every)


def test_prepared_pages_exist() -> None:
    assert {*PREPARED, *ELSEWHERE} <= {name(page) for page in PAGES}
