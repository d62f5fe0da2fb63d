"""Names that docstrings and pages refer to exist."""

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROLE = re.compile(
    r'[:{](?:class|func|meth|attr|data|mod|exc|obj)[:}]`~?(torchgeo_cmr[\w.]+)`'
)
REFERENCES = sorted(
    {
        (target, path.relative_to(ROOT).as_posix())
        for path in (*ROOT.glob('torchgeo_cmr/**/*.py'), *ROOT.glob('docs/**/*.md'))
        for target in ROLE.findall(path.read_text())
    }
)


def exists(target: str) -> bool:
    """Whether a dotted name is a module, or what one has."""
    words = target.split('.')
    for count in range(len(words), 0, -1):
        try:
            module = import_module('.'.join(words[:count]))
        except ModuleNotFoundError:
            continue
        try:
            reduce(getattr, words[count:], module)
        except AttributeError:
            # A field of a dataclass without a default.
            owner = reduce(getattr, words[count:-1], module)
            return words[-1] in getattr(owner, '__annotations__', {})
        return True
    return False


def test_there_are_references() -> None:
    assert len(REFERENCES) > 50
    assert not exists('torchgeo_cmr.search.Wher')


@pytest.mark.parametrize(('target', 'file'), REFERENCES)
def test_reference_leads_to_a_name(target: str, file: str) -> None:
    assert exists(target), file
