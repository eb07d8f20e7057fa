"""The libraries that graftlet brings an adapter for.

Rule: data only. An adapter's own module is imported when its library is.
"""

from typing import Final

from graftlet.patch._adapters import Adapter, add
from graftlet.patch._changes import Change


def _amqp() -> list[Change]:
    from graftlet.ext._amqp import find

    return find()


def _psycopg2(patched: bool) -> None:
    from graftlet.ext._psycopg2_wait import settle

    settle(patched)


def _psycopg2_changes() -> list[Change]:
    from graftlet.ext._psycopg2 import find

    return find()


def _psycopg() -> list[Change]:
    from graftlet.ext._psycopg import find

    return find()


def _mysqlclient() -> list[Change]:
    from graftlet.ext._mysqlclient import find

    return find()


def _pyopenssl() -> list[Change]:
    from graftlet.ext._pyopenssl import find

    return find()


def _sqlite3() -> list[Change]:
    from graftlet.ext._sqlite3 import find

    return find()


KNOWN: Final = (
    Adapter(
        "amqp",
        ["amqp.transport"],
        "what it has read of a frame is kept when its greenlet is killed",
        _amqp,
    ),
    Adapter(
        "psycopg2",
        ["psycopg2._psycopg"],
        "its wait callback: libpq without blocking",
        _psycopg2_changes,
        _psycopg2,
    ),
    Adapter(
        "psycopg",
        ["psycopg.waiting"],
        "its wait function, also that of the C implementation",
        _psycopg,
    ),
    Adapter(
        "mysqlclient",
        # The first: a program that only imports it, and connects later, is told so by doctor.
        ["MySQLdb", "MySQLdb.connections", "MySQLdb.cursors"],
        "the calls of each connection in a native thread",
        _mysqlclient,
    ),
    Adapter(
        "pyOpenSSL",
        ["OpenSSL.SSL"],
        "its connections on blocking sockets: OpenSSL without blocking",
        _pyopenssl,
    ),
    Adapter(
        "sqlite3",
        ["_sqlite3"],
        "the calls of each connection in a native thread",
        _sqlite3,
    ),
)

for _adapter in KNOWN:
    add(_adapter)
