"""Claims: of several loaders of one archive, one loads each part.

A claim is an advisory lock of the connection, so it goes with its loader, however that ends.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from .connection import SCHEMA

_TRY = 'SELECT pg_try_advisory_lock(hashtextextended(%s, 0))'
_WAIT = 'SELECT pg_advisory_lock(hashtextextended(%s, 0)) IS NOT NULL'
_GIVE = 'SELECT pg_advisory_unlock(hashtextextended(%s, 0))'


def in_turn[T](
    server: Any, name: str, parts: Iterable[T], key: Callable[[T], str]
) -> Generator[T]:
    """Give parts, each while it is claimed: first those that no other loader has, then the others.

    What others had may be loaded by then, or they were killed.

    Args:
        server: Connection, outside of a transaction.
        name: Name of the archive.
        parts: The parts.
        key: Gives the key of a part.
    """
    late = []
    for part in parts:
        with _claim(server, _TRY, name, key(part)) as is_ours:
            if is_ours:
                yield part
            else:
                late.append(part)
    for part in late:
        with _claim(server, _WAIT, name, key(part)):
            yield part


@contextmanager
def _claim(server: Any, statement: str, name: str, key: str) -> Generator[bool]:
    """Claim a part; if the block fails, its connection ends, and the claim with it."""
    words = [f'{SCHEMA}/{name}/{key}']
    is_ours = server.execute(statement, words).fetchone()[0]
    yield is_ours
    if is_ours:
        server.execute(_GIVE, words)
