"""Python programs as processes of their own that need not import torch, Lightning and us first.

They are forks of one process, which has imported these and done nothing else: a process costs a tenth
of a second in the place of ten. What a program does when it is imported, or says then, is tested with
processes from the start.
"""

import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Elsewhere threads of system libraries do not outlive a fork, and processes begin anew.
_FORKS = sys.platform == 'linux'
_CONTEXT: Any = multiprocessing.get_context('forkserver' if _FORKS else 'spawn')
#: Words before a script and its arguments: torchrun, whose ranks are forks of it.
TORCHRUN = ('-m', 'torch.distributed.run', '--run-path', '--start-method=fork')
_IMPORTED = (
    'lightning.pytorch',
    'torchgeo_cmr.datamodules',
    'torchgeo_cmr.datasets',
    'torchgeo_cmr.embed',
    'torchgeo_cmr.tasks',
)


class Program:
    """A program that runs.

    Args:
        words: What would follow ``python``: ``-m MODULE``, ``-c CODE`` or a script, and its arguments.
        cwd: Where it runs; None for here.
        env: Its environment; None for ours.
        stderr: Where it writes stderr, such as a terminal; None for a file, which ``wait`` reads.
    """

    def __init__(
        self,
        *words: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stderr: str | None = None,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._printed = [self._folder / name for name in ('stdout', 'stderr')]
        outputs = [str(self._printed[0]), stderr or str(self._printed[1])]
        if _FORKS:
            _CONTEXT.set_forkserver_preload([*_IMPORTED])
        self._process = _CONTEXT.Process(
            target=_begin,
            args=(
                [str(word) for word in words],
                str(cwd or Path.cwd()),
                dict(os.environ if env is None else env),
                outputs,
            ),
        )
        self._process.start()

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.exitcode is None

    def wait(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Give the code with which it ended, and what it printed."""
        self._process.join(timeout)
        code = self._process.exitcode
        texts = [p.read_text() if p.exists() else '' for p in self._printed]
        self.kill()
        assert code is not None, f'not done after {timeout} s: {texts}'
        return subprocess.CompletedProcess([], code, *texts)

    def kill(self) -> None:
        """End it, if it has not ended, and forget what it printed."""
        self._process.kill()
        self._process.join()
        shutil.rmtree(self._folder, ignore_errors=True)


def run(
    *words: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    program = Program(*words, cwd=cwd, env=env)
    try:
        return program.wait(timeout)
    finally:
        program.kill()


def run_together(*programs: Sequence[object], timeout: float = 300) -> None:
    """Run programs that meet to their ends, none of which may be a failure."""
    started = [Program(*words) for words in programs]
    try:
        for program in started:
            done = program.wait(timeout)
            assert done.returncode == 0, done.stderr
    finally:
        for program in started:
            program.kill()


def _begin(
    words: list[str], folder: str, environment: dict[str, str], outputs: list[str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in enumerate(outputs, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    # Workers of a loader are started as in any other process.
    multiprocessing.set_start_method(None, force=True)
    if environment.get('OMP_NUM_THREADS') == '1':
        import torch

        torch.set_num_threads(1)
    first, *sys.argv = words
    if first == '-m':
        sys.path[0] = folder
        runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
    elif first == '-c':
        sys.path[0] = ''
        code, sys.argv[0] = sys.argv[0], '-c'
        script = Path(outputs[0]).with_name('code.py')
        script.write_text(code)
        runpy.run_path(str(script), run_name='__main__')
    else:
        sys.argv = words
        sys.path[0] = str(Path(first).parent)
        runpy.run_path(first, run_name='__main__')
