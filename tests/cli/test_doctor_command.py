"""The command doctor: lines, JSON and exit code; a process without a traceback whatever is broken."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr.doctor import diagnosis
from torchgeo_cmr.doctor.fact import Fact

GOOD = [Fact('packages', 'numpy', '2.0'), Fact('machine', 'GPU', 'none', 'absent', 'x')]
BAD = Fact('packages', 'faiss-cpu', '1.0\x1b is broken', 'fault', 'pip install faiss')


def test_lines(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, 'diagnose', lambda *_: [BAD, *GOOD])
    lines = [
        'packages',
        ' ! faiss-cpu  1.0\\x1b is broken: pip install faiss',
        '   numpy      2.0',
        'machine',
        ' - GPU        none: x',
        '1 fault, marked ! with the cure',
    ]
    code, out, err = run('doctor')
    assert (code, out.splitlines(), err) == (1, lines, '')
    monkeypatch.setattr(diagnosis, 'diagnose', lambda *_: GOOD)
    ran = run('doctor')
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == '0 faults'


def test_json(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, 'diagnose', lambda *_: [BAD])
    ran = run('doctor', '--json')
    assert ran.code == 1
    assert json.loads(ran.out) == [BAD._asdict()]


@pytest.mark.slow
def test_nothing_broken_ends_it(tmp_path: Path) -> None:
    """All packages that compute are broken at once; the command itself imports none of them."""
    broken = ('torch', 'torchgeo', 'lightning', 'rasterio', 'numpy', 'pandas')
    broken += ('pyogrio', 'pyproj', 'geopandas', 'shapely', 'pyarrow', 'numkong', 'ray')
    for name in broken:
        (tmp_path / f'{name}.py').write_text('raise ImportError("planted")')
    code = (
        f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n'
        'import os; os.environ["PYTHONPATH"] = sys.path[0]\n'
        'from torchgeo_cmr.main import main; sys.exit(main(["doctor", "--json"]))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, '')
    facts = {fact['name']: fact for fact in json.loads(done.stdout)}
    for name in {*broken} - {'ray'}:
        assert 'ImportError: planted' in facts[name]['text']
        assert facts[name]['cure'].startswith('pip install --force-reinstall ')
