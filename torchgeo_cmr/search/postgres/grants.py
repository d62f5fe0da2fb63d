"""The rights of those who search and do not change anything."""

from contextlib import suppress
from typing import Any

from torchgeo_cmr.errors import ArchiveError

from .archive_tables import Entry
from .connection import driver

#: Bytes of a name; PostgreSQL cuts longer ones.
_LONGEST = 63
_MAKES_ROLES = 'SELECT current_user, rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user'


def grant(server: Any, entry: Entry, role: str) -> None:
    """Let a role read an archive; it is made, without a right to log in, if it is missing.

    Args:
        server: Connection, in a transaction.
        entry: The archive.
        role: Name of the role.

    Raises:
        ArchiveError: If the role is missing and the user may not make it, or it has no name.
    """
    if not role or '\0' in role or len(role.encode()) > _LONGEST:
        raise ArchiveError(
            f'role {role!r:.80} cannot be the name of a role: use 1 to {_LONGEST} letters'
        )
    sql = driver().sql
    known = server.execute('SELECT 1 FROM pg_roles WHERE rolname = %s', [role])
    names = {'role': sql.Identifier(role), **entry.names}
    if known.fetchone() is None:
        user, may = server.execute(_MAKES_ROLES).fetchone()
        if not may:
            raise ArchiveError(
                f'there is no role {role!r}, and the user {user!r} may not make it: have an '
                f'administrator run CREATE ROLE {names["role"].as_string(server)} NOLOGIN, name a role '
                'that is there, or leave role out'
            )
        # Roles are those of all databases of a server, so another one may have made it by now, or
        # be about to commit it.
        made = driver().errors.DuplicateObject, driver().errors.UniqueViolation
        with suppress(*made), server.transaction():
            server.execute(sql.SQL('CREATE ROLE {role} NOLOGIN').format(**names))
    for statement in (
        'GRANT USAGE ON SCHEMA torchgeo_cmr TO {role}',
        'GRANT SELECT ON torchgeo_cmr.archive, torchgeo_cmr.part, torchgeo_cmr.slice TO {role}',
        'GRANT SELECT ON {patch}, {vector} TO {role}',
    ):
        server.execute(sql.SQL(statement).format(**names))
