"""A server of our own, from the folder that ``.ci/postgres`` makes; or somebody else's."""

import atexit
import os
import shutil
import signal
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

#: Where `.ci/postgres` puts the server.
HOME = Path(
    os.environ.get('TORCHGEO_CMR_POSTGRES')
    or Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    / 'torchgeo_cmr'
    / 'postgres-trixie'
)
_BIN = '/usr/lib/postgresql/17/bin'


def why_not() -> str | None:
    """Say why no server can be started; None if it can."""
    if not list(HOME.glob('.torchgeo_cmr-*')):
        return f'{HOME} holds no server; .ci/postgres makes it'
    if os.geteuid() != 0:
        return 'only root may start a server in a folder; set TORCHGEO_CMR_TEST_DSN to use another'
    return None


def start_or_skip() -> 'Database':
    """Start a server; in CI it must be there."""
    if reason := why_not():
        if os.environ.get('TORCHGEO_CMR_REQUIRE_POSTGRES') == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    _sweep()
    server = Database()
    server.start()
    return server


#: Numbers of the files whose copies are in use.
_IN_USE: set[int | None] = set()


@cache
def _empty(number: int) -> str:
    """Make files that a server begins with a copy of, which takes a tenth of the time.

    They hold an identity: servers of different numbers know that they are not the same.
    """
    data = f'/var/lib/postgresql/test-{os.getpid()}-empty{number}'
    auth = ['-A', 'trust', '--locale=C.UTF-8', '-E', 'UTF8', '--no-sync']
    Database._run(f'{_BIN}/initdb', '-D', data, *auth)
    atexit.register(shutil.rmtree, HOME / data.lstrip('/'), ignore_errors=True)
    return data


def _sweep() -> None:
    """Stop and remove the servers of tests that were killed."""
    for folder in HOME.glob('var/lib/postgresql/test-*'):
        owner = int(folder.name.split('-')[1])
        if not Path(f'/proc/{owner}').exists():
            left = Database.__new__(Database)
            left.name, left.data = folder.name, f'/var/lib/postgresql/{folder.name}'
            left.remove()


class Database:
    """A server that is started, killed and started again."""

    #: Whose copy its files are; a replica has the identity of the server that it follows.
    _number: int | None = None

    def __init__(self, follows: 'Database | None' = None) -> None:
        """Make its files, as a replica of another server if one is named; it is not started yet."""
        # No port: a folder of its own for the socket, which no network reaches.
        self.name = f'test-{os.getpid()}-{time.monotonic_ns()}'
        self.data, sockets = f'/var/lib/postgresql/{self.name}', f'/tmp/{self.name}'
        self._run('mkdir', sockets)
        if follows is None:
            self._number = min({*range(len(_IN_USE) + 1)} - _IN_USE)
            _IN_USE.add(self._number)
            self._run('cp', '-a', _empty(self._number), self.data)
        else:
            there = ['-h', f'/tmp/{follows.name}', '-D', self.data]
            self._run(f'{_BIN}/pg_basebackup', *there, '-R', '--no-sync', '-c', 'fast')
        settings = {
            'listen_addresses': "''",
            'unix_socket_directories': f"'{sockets}'",
            # No /dev/shm is mounted in the folder.
            'dynamic_shared_memory_type': 'mmap',
            'shared_buffers': '64MB',
            # Tests kill servers, not the machine.
            'fsync': 'off',
        }
        with (self._folder / 'postgresql.conf').open('a') as file:
            file.writelines(f'{name} = {value}\n' for name, value in settings.items())

    @property
    def _folder(self) -> Path:
        return HOME / self.data.lstrip('/')

    @property
    def address(self) -> str:
        return f'postgresql:///postgres?user=postgres&host={HOME}/tmp/{self.name}'

    @property
    def address_for_servers(self) -> str:
        """Where another server of the same folder reaches it."""
        return f'postgresql:///postgres?user=postgres&host=/tmp/{self.name}'

    def start(self) -> None:
        self._run(
            f'{_BIN}/pg_ctl', '-D', self.data, '-w', '-l', f'{self.data}/log', 'start'
        )

    def kill(self) -> None:
        """Kill the postmaster at once, and wait until its children have noticed."""
        number = int((self._folder / 'postmaster.pid').read_text().split()[0])
        os.kill(number, signal.SIGKILL)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                os.kill(number, 0)
            except ProcessLookupError:
                break
            time.sleep(0.05)

    def stop(self) -> None:
        self._run(
            f'{_BIN}/pg_ctl', '-D', self.data, '-m', 'immediate', 'stop', check=False
        )

    def remove(self) -> None:
        self.stop()
        _IN_USE.discard(self._number)
        for folder in (self._folder, HOME / 'tmp' / self.name):
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _run(*words: str, check: bool = True) -> None:
        command = ['chroot', str(HOME), 'runuser', '-u', 'postgres', '--', *words]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
            cwd='/',
        )
        assert not check or done.returncode == 0, done.stdout
