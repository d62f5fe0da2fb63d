"""The rights of those who search and do not change anything."""

from typing import Any

from .archive_tables import Entry
from .connection import driver


def grant(server: Any, entry: Entry, role: str) -> None:
    """Let a role read an archive; it is made, without a right to log in, if it is missing.

    Args:
        server: Connection, in a transaction.
        entry: The archive.
        role: Name of the role.
    """
    sql = driver().sql
    known = server.execute('SELECT 1 FROM pg_roles WHERE rolname = %s', [role])
    names = {'role': sql.Identifier(role), **entry.names}
    if known.fetchone() is None:
        server.execute(sql.SQL('CREATE ROLE {role} NOLOGIN').format(**names))
    for statement in (
        'GRANT USAGE ON SCHEMA torchgeo_cmr TO {role}',
        'GRANT SELECT ON torchgeo_cmr.archive, torchgeo_cmr.part, torchgeo_cmr.slice TO {role}',
        'GRANT SELECT ON {patch}, {vector} TO {role}',
    ):
        server.execute(sql.SQL(statement).format(**names))
