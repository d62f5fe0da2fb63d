"""Connections: a host that vanished is noticed, whichever side it was."""

from typing import Any

import psycopg
import pytest

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search.postgres.connection import Address, connect

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ('words', 'idle'), [('', '30'), ('&keepalives_idle=7', '7')], ids=['ours', 'theirs']
)
def test_silence_is_asked_after(words: str, idle: str, database: str) -> None:
    with connect(Address.read(f'{database}{words}')) as server:
        asked = server.info.get_parameters()
    assert asked['keepalives_idle'] == idle
    assert asked['keepalives_interval'] == '10'
    assert asked['keepalives_count'] == '3'
    assert asked['tcp_user_timeout'] == '60000'


def test_the_server_is_told(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of a connection through a folder the settings cannot be read back.
    statements = []
    execute = psycopg.Connection.execute

    def listening(
        self: psycopg.Connection, query: Any, params: Any = None, **options: Any
    ) -> Any:
        statements.append((query, params))
        return execute(self, query, params, **options)

    monkeypatch.setattr(psycopg.Connection, 'execute', listening)
    connect(Address.read(database)).close()
    ((_, values),) = [(q, v) for q, v in statements if 'tcp_keepalives_idle' in str(q)]
    assert list(values.values()) == ['30', '10', '3', '60000']


@pytest.mark.parametrize(
    ('address', 'sentence'),
    [
        (
            'postgresql+psycopg2://gis:secret@server/gis',
            r'does not begin with postgresql\+psy',
        ),
        ('mysql://gis:secret@server/gis', 'write postgresql://USER@HOST/DATABASE'),
        ('postgresql://gis:se/cret@server:1/gis', '%40 for @'),
        (
            'postgresql://gis:secret@server/gis?area=dofa',
            'has area=, which there is not',
        ),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(
    address: str, sentence: str
) -> None:
    with pytest.raises(QueryError, match=sentence) as error:
        connect(Address.read(address))
    assert 'cret' not in str(error.value)


def test_a_server_that_is_not_running_is_told_from_one_that_refuses() -> None:
    with pytest.raises(ArchiveError, match=r'cannot be reached .* check that it runs'):
        connect(Address.read('postgresql:///gis?host=/nowhere'))
