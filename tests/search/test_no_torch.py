"""The retrieval half never loads the learning half."""

import subprocess
import sys


def test_fresh_interpreter_stays_without_torch() -> None:
    code = (
        'import sys\n'
        'import torchgeo_cmr.table, torchgeo_cmr.search, torchgeo_cmr.export\n'
        "bad = {'torch', 'torchgeo', 'lightning', 'timm', 'kornia', 'matplotlib'} & set(sys.modules)\n"
        'assert not bad, bad\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
