"""Servers that hold slices of an archive, reached through the one that its address names.

Rows go through postgres_fdw, statements that change tables through dblink, both of PostgreSQL itself.
"""

from dataclasses import dataclass
from typing import Any

from torchgeo_cmr.errors import ArchiveError, QueryError

from .connection import SCHEMA, driver

#: Schema of slices on a server of slices; an archive of its own may be in the usual one.
REMOTE = 'torchgeo_cmr_slices'
#: What belongs to a user of a server, not to the server.
_OF_USER = ('user', 'password', 'passfile', 'sslpassword')


@dataclass(frozen=True)
class SliceElsewhere:
    """The tables of a slice on another server.

    Args:
        server: Connection to the server that the archive's address names.
        name: What that server calls the other one.
        tables: Names of the tables of patches and of vectors there.
    """

    server: Any
    name: str
    tables: tuple[str, str]

    @property
    def patch(self) -> Any:
        """The table of patches, quoted, for psycopg's ``sql``."""
        return driver().sql.Identifier(REMOTE, self.tables[0])

    @property
    def vector(self) -> Any:
        """The table of vectors, as ``patch``."""
        return driver().sql.Identifier(REMOTE, self.tables[1])

    def run(self, statement: Any) -> None:
        """Run a statement there, at once: it is not part of a transaction of this server."""
        text = statement.as_string(self.server)
        self.server.execute('SELECT public.dblink_exec(%s, %s)', [self.name, text])

    def is_empty(self) -> bool:
        """Say whether the table of patches holds nothing."""
        sql = driver().sql
        question = sql.SQL('SELECT 1 FROM {p} LIMIT 1').format(p=self.patch)
        found = self.server.execute(
            'SELECT 1 FROM public.dblink(%s, %s) AS t(n integer)',
            [self.name, question.as_string(self.server)],
        )
        return found.fetchone() is None

    def owner(self) -> str | None:
        """Say whose the table of patches is; None if it does not say."""
        sql = driver().sql
        table = sql.Literal(self.patch.as_string(self.server))
        question = sql.SQL('SELECT obj_description({}::regclass)').format(table)
        found = self.server.execute(
            'SELECT words FROM public.dblink(%s, %s) AS t(words text)',
            [self.name, question.as_string(self.server)],
        )
        return found.fetchone()[0]


def slice_tables(name: str, number: int) -> tuple[str, str]:
    """Give the names of the tables of a slice."""
    return f'{name}_p{number}', f'{name}_vector_p{number}'


def slices_elsewhere(server: Any, name: str) -> list[SliceElsewhere]:
    """List the slices of an archive that other servers hold."""
    found = server.execute(
        'SELECT server, number FROM torchgeo_cmr.slice '
        'WHERE archive = %s AND server IS NOT NULL ORDER BY number',
        [name],
    ).fetchall()
    return [SliceElsewhere(server, where, slice_tables(name, n)) for where, n in found]


def add_servers(server: Any, name: str, addresses: list[str]) -> None:
    """Let an archive have slices on other servers; of those that are known, passwords are renewed.

    Args:
        server: Connection, in a transaction.
        name: Name of the archive.
        addresses: ``postgresql://user@host:port/database``, as the archive's own server reaches it.

    Raises:
        QueryError: If one is not an address.
    """
    if not addresses:
        return
    for extension in ('postgres_fdw', 'dblink'):
        server.execute(f'CREATE EXTENSION IF NOT EXISTS {extension}')
    known = dict(
        server.execute(
            'SELECT address, server FROM torchgeo_cmr.shard WHERE archive = %s', [name]
        ).fetchall()
    )
    for address in addresses:
        options = _options(address)
        # Without the user: a log or another reader may see it.
        plain = ' '.join(
            f'{k}={v}' for k, v in sorted(options.items()) if k not in _OF_USER
        )
        if plain not in known:
            known[plain] = f'{SCHEMA}_{name}_{len(known) + 1}'
            _connect_servers(server, known[plain], options)
            server.execute(
                'INSERT INTO torchgeo_cmr.shard VALUES (%s, %s, %s)',
                [name, known[plain], plain],
            )
        elif 'password' in options:
            _map_user(server, known[plain], options)
        # A server that does not answer would get all new slices, and never go away.
        server.execute(
            "SELECT n FROM public.dblink(%s, 'SELECT 1') AS t(n integer)",
            [known[plain]],
        )


def _options(address: str) -> dict[str, Any]:
    """Divide an address into what libpq is told."""
    psycopg = driver()
    try:
        found = psycopg.conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError as error:
        # The message of libpq repeats the address, which may hold a password.
        raise QueryError(
            'a shard is not an address as postgresql://user@host:port/database'
        ) from error
    if not (found.get('host') or found.get('hostaddr')) or not found.get('dbname'):
        raise QueryError(
            'the address of a shard lacks its host or database; give '
            'postgresql://user@host:port/database'
        )
    return found


def _connect_servers(server: Any, name: str, options: dict[str, Any]) -> None:
    """Tell PostgreSQL how to reach another server; everyone who may read does so as one user."""
    place = {k: str(v) for k, v in options.items() if k not in _OF_USER}
    place |= {
        # Filters, distances and order are computed there.
        'extensions': 'postgis,vector',
        'async_capable': 'true',
        'fetch_size': '10000',
        'batch_size': '1000',
    }
    _run(
        server,
        'CREATE SERVER {name} FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({o})',
        name,
        place,
    )
    _map_user(server, name, options)


def _map_user(server: Any, name: str, options: dict[str, Any]) -> None:
    """Say as whom another server is reached, in place of whom it was."""
    user = {k: options[k] for k in ('user', 'password') if options.get(k) is not None}
    if 'password' not in user:
        user['password_required'] = 'false'
    for statement in (
        'DROP USER MAPPING IF EXISTS FOR PUBLIC SERVER {name}',
        'CREATE USER MAPPING FOR PUBLIC SERVER {name} OPTIONS ({o})',
    ):
        _run(server, statement, name, user)


def _run(server: Any, statement: str, name: str, options: dict[str, str]) -> None:
    sql = driver().sql
    listed = sql.SQL(', ').join(
        sql.SQL('{} {}').format(sql.Identifier(k), sql.Literal(v))
        for k, v in options.items()
    )
    server.execute(sql.SQL(statement).format(name=sql.Identifier(name), o=listed))


def check_free(shard: SliceElsewhere, owner: str) -> None:
    """Refuse tables on another server that are somebody else's.

    Args:
        shard: The tables.
        owner: What the comment of a table of this archive is.

    Raises:
        ArchiveError: If they hold rows, or an archive of another first server has them.
    """
    if shard.owner() not in (None, owner) or not shard.is_empty():
        raise ArchiveError(
            f'the table {REMOTE}.{shard.tables[0]} of a shard ({shard.name}) is of another archive of this '
            'name, or holds rows already; load this one under another name, with ?archive=NAME, or drop it'
        )
