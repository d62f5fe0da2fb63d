"""Connections to PostgreSQL, and addresses of archives in it."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from torchgeo_cmr.errors import ArchiveError, QueryError

#: Schema that holds all tables of this package.
SCHEMA = 'torchgeo_cmr'
#: Name of an archive that has none in its address; it is that of its table.
_USUAL = 'patch'
#: Tables that are not archives.
_TAKEN = ('archive', 'part', 'slice', 'shard')
#: Numbers in a vector that pgvector keeps.
MOST_NUMBERS = 16_000
#: When a host counts as gone, with what it had claimed: seconds of silence after which the other side
#: asks, seconds between questions, how many stay unanswered, and milliseconds for what was sent.
_PATIENCE = {
    'keepalives_idle': '30',
    'keepalives_interval': '10',
    'keepalives_count': '3',
    'tcp_user_timeout': '60000',
}
#: The server names all alike.
_TELL = 'SELECT ' + ', '.join(
    f"set_config('tcp_{name.removeprefix('tcp_')}', %({name})s, false)"
    for name in _PATIENCE
)
#: Bytes of a name, so that those of the side table and of indexes fit PostgreSQL's 63.
_LONGEST = 40


@dataclass(frozen=True)
class Address:
    """Where an archive is.

    Args:
        uri: What libpq connects to; it may hold a password, so it is not printed.
        name: Name of the archive, which is that of its table.
        table: Name of a table for results, empty if the address gives none.
    """

    uri: str = field(repr=False)
    name: str
    table: str = ''

    @classmethod
    def read(cls, text: str) -> 'Address':
        """Divide ``postgresql://.../db?archive=NAME&table=NAME``.

        Raises:
            QueryError: If the name cannot be that of a table.
        """
        base, _, query = text.partition('?')
        scheme, colon, _ = base.partition('://')
        if colon and scheme.lower() not in ('postgresql', 'postgres'):
            raise QueryError(
                f'an address of a database does not begin with {scheme:.40}://; write '
                'postgresql://USER@HOST/DATABASE'
            )
        pairs = parse_qsl(query, keep_blank_values=True)
        name = dict(pairs).get('archive', _USUAL)
        vectors = name.endswith('_vector')
        if not name or '\0' in name or '%' in name or name in _TAKEN or vectors:
            raise QueryError(
                f'archive={name!r:.80} cannot be the name of an archive; choose another'
            )
        if len(name.encode()) > _LONGEST:
            raise QueryError(
                f'archive={name!r:.80} is too long; use at most {_LONGEST} letters'
            )
        table = dict(pairs).get('table', '')
        if '\0' in table or '%' in table or len(table.encode()) > _LONGEST:
            raise QueryError(f'table={table!r:.80} cannot be the name of a table')
        rest = [pair for pair in pairs if pair[0] not in ('archive', 'table')]
        uri = f'{base}?{urlencode(rest, quote_via=quote)}' if rest else base
        return cls(uri, name, table)


def driver() -> ModuleType:
    """Import psycopg.

    Raises:
        ArchiveError: If it is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise ArchiveError(
            'a database needs psycopg; install it with pip install "psycopg[binary]"'
        ) from error
    return psycopg


def connect(address: Address) -> Any:
    """Connect; every statement is a transaction of its own unless one is begun.

    A host that vanished, on either side, is noticed after a minute, where systems would wait for hours;
    what the address says of it goes before.

    Raises:
        ArchiveError: If the server does not answer.
    """
    psycopg = driver()
    options = _PATIENCE | _options(address)
    try:
        server = psycopg.connect(**options, autocommit=True)
    except psycopg.OperationalError as error:
        raise ArchiveError(
            f'the database cannot be reached ({_words(error)}); check that it runs, its address and '
            'user, and the password in ~/.pgpass'
        ) from error
    with faults():
        server.execute("SET timezone = 'UTC'")
        server.execute("SET client_encoding = 'UTF8'")
        server.execute(_TELL, _PATIENCE)
        return server


def lock(server: Any, name: str = '') -> None:
    """Let others wait who change tables of an archive, or roles and tables that all archives share.

    PostgreSQL refuses most changes of one catalogue row by two at once. Who needs both locks takes that of
    the archive first.

    Args:
        server: Connection, in a transaction, which they wait for.
        name: Name of the archive; empty for what all share.
    """
    server.execute(
        'SELECT pg_advisory_xact_lock(hashtext(%s), hashtext(%s))', [SCHEMA, name]
    )


@contextmanager
def faults() -> Generator[None]:
    """Turn errors of the database into one sentence."""
    psycopg = driver()
    try:
        yield
    except psycopg.Error as error:
        raise ArchiveError(
            f'the database refused ({_words(error)}); check its address, rights and log'
        ) from error


def _options(address: Address) -> dict[str, Any]:
    """Divide an address into what libpq is told; its own messages may repeat a password."""
    psycopg = driver()
    try:
        found = psycopg.conninfo.conninfo_to_dict(address.uri)
    except psycopg.ProgrammingError as error:
        if unknown := re.search('invalid URI query parameter: "(.{1,40})"', str(error)):
            raise QueryError(
                f'the address of the database has {unknown[1]}=, which there is not; its own are '
                'archive= and table=, others those of libpq'
            ) from None
        found = {'port': 'none'}
    # The beginning of a password with a slash is read as a port.
    if not re.fullmatch(r'[\d,]*', str(found.get('port', ''))):
        raise QueryError(
            'the address of the database cannot be read; write '
            'postgresql://USER@HOST:PORT/DATABASE, and a password into ~/.pgpass (in an address '
            'its signs are escaped, %40 for @)'
        )
    return found


def _words(error: Exception) -> str:
    return (' '.join(str(error).split()) or type(error).__name__)[:300]
