"""What is public: sorted, exported once, documented, and cheap to reach."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'torchgeo_cmr'
API = ROOT / 'docs' / 'api'

#: Subpackages and the public modules next to them. Those without `__all__` (`cli`, `scenes`,
#: `reading`, the folders of a subpackage) are not public.
PUBLIC = sorted(
    [p.parent.name for p in PACKAGE.glob('*/__init__.py') if '__all__' in p.read_text()]
    + ['demo', 'errors', 'metrics.functional']
)
SHELVES = sorted(
    p.parent.relative_to(PACKAGE).as_posix().replace('/', '.')
    for p in PACKAGE.glob('*/**/__init__.py')
    if '__all__' in p.read_text()
)


def load(name: str) -> ModuleType:
    return import_module(f'torchgeo_cmr.{name}')


def listed(module: str) -> list[str]:
    """Names in the table of a module's API page."""
    page = (API / f'{module}.md').read_text()
    return re.findall(r'^\| `(\w+)` \| \S.*\|$', page, re.MULTILINE)


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: how the linter sorts."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize('name', PUBLIC)
def test_all_is_a_sorted_tuple_of_what_is_there(name: str) -> None:
    module = load(name)
    assert isinstance(module.__all__, tuple)
    assert list(module.__all__) == sorted(set(module.__all__), key=order)
    for public in module.__all__:
        assert getattr(module, public) is not None
        assert public in dir(module)


@pytest.mark.parametrize('name', SHELVES)
def test_all_is_what_is_re_exported(name: str) -> None:
    tree = ast.parse((PACKAGE / name.replace('.', '/') / '__init__.py').read_text())
    exported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.level or (node.module or '').startswith('torchgeo_cmr'))
        for alias in node.names
    }
    assert set(load(name).__all__) == exported


@pytest.mark.parametrize('name', PUBLIC)
def test_page_lists_what_is_public(name: str) -> None:
    assert listed(name) == list(load(name).__all__)


def test_no_page_without_a_module() -> None:
    assert {p.stem for p in API.glob('*.md')} == {*PUBLIC, 'index'}


def test_top_level_exports_nothing_heavy() -> None:
    code = 'import sys, torchgeo_cmr\nprint([m for m in sys.modules if "." not in m])'
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    assert not set(ast.literal_eval(done.stdout)) & {'numpy', 'pandas', 'torch'}
