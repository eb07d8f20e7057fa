"""psycopg2 against PostgreSQL."""

from __future__ import annotations

import contextlib
import io
import select
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    POSTGRESQL,
    Library,
    Relay,
    eventually,
    killed_in,
    library,
    no_stall,
    overlapping,
    together,
)

LIBRARY = Library(
    name="psycopg2",
    package="psycopg2-binary",
    tested="2.9.13",
    how="adapter: its wait callback",
    know="A connection whose greenlet was killed or timed out in a query is closed by psycopg2. `connect_timeout` "
    "is heeded. Host names are looked up by libpq itself, which blocks: prefer an address or `hostaddr`. "
    "`COPY` is carried out in a native thread, which reads and writes the program's file. Large objects are refused "
    "by psycopg2 itself when there is a wait callback: `patch_all(drivers=False)`.",
    server="PostgreSQL 15",
)

psycopg2 = library("psycopg2", "psycopg2-binary")
library("psycopg2.pool", "psycopg2-binary")
library("psycopg2.extensions", "psycopg2-binary")
library("psycopg2.sql", "psycopg2-binary")


def connect(address: tuple[str, int] | None = None, **options: Any) -> Any:
    host, port = address or POSTGRESQL.address()
    return psycopg2.connect(
        host=host, port=port, user="postgres", application_name="graftlet-psycopg2", **options
    )


def one(connection: Any, query: str, *arguments: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchone()[0]


def others(connection: Any) -> int:
    """How many connections of ours the server has besides this one."""
    return int(
        one(
            connection,
            "select count(*) from pg_stat_activity where application_name = 'graftlet-psycopg2' "
            "and pid <> pg_backend_pid()",
        )
    )


@pytest.fixture
def connection() -> Iterator[Any]:
    connection = connect()
    connection.autocommit = True
    yield connection
    eventually(lambda: others(connection) == 0)
    connection.close()


def test_queries_overlap(connection: Any) -> None:
    def query(number: int) -> int:
        mine = connect()
        try:
            return int(one(mine, "select %s from pg_sleep(0.4)", number))
        finally:
            mine.close()

    with overlapping(0.4):
        assert together(20, query) == list(range(20))


def test_threads_share_one_connection(connection: Any) -> None:
    assert together(20, lambda number: one(connection, "select %s", number)) == list(range(20))


def test_server_side_cursor_and_large_rows(connection: Any) -> None:
    def read(number: int) -> tuple[int, int]:
        mine = connect()
        with mine.cursor(name=f"c{number}") as cursor:
            cursor.itersize = 100
            cursor.execute("select i, repeat('x', 1000) from generate_series(1, 1000) i")
            rows = list(cursor)
        mine.close()
        return len(rows), sum(len(row[1]) for row in rows)

    assert together(5, read) == [(1000, 1_000_000)] * 5


def test_listen_and_notify(connection: Any) -> None:
    listener = connect()
    listener.autocommit = True
    with listener.cursor() as cursor:
        cursor.execute("listen graftlet_psycopg2")
    heard: list[str] = []

    def listen() -> None:
        while len(heard) < 3:
            assert select.select([listener], [], [], 10)[0]
            listener.poll()
            heard.extend(each.payload for each in listener.notifies)
            del listener.notifies[:]

    thread = threading.Thread(target=listen)
    thread.start()
    for number in range(3):
        one(connection, "select pg_notify('graftlet_psycopg2', %s) is null", str(number))
        time.sleep(0.02)
    thread.join()
    listener.close()
    assert heard == ["0", "1", "2"]


def test_copy(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute('create table graftlet_copy (a int, "B b" text)')

    def copy(number: int) -> int:
        rows = "".join(f"{number}|{'x' * 100}\n" for _ in range(5000))
        out = io.StringIO()
        with contextlib.closing(connect()) as mine, mine.cursor() as cursor:
            cursor.copy_from(io.StringIO(rows), "graftlet_copy", sep="|", columns=("a", "B b"))
            mine.commit()
            query = psycopg2.sql.SQL(f"copy (select * from {{}} where a = {number}) to stdout")
            cursor.copy_expert(query.format(psycopg2.sql.Identifier("graftlet_copy")), out)
        assert out.getvalue() == rows.replace("|", "\t")
        return int(cursor.rowcount)

    try:
        with no_stall():
            assert together(5, copy) == [5000] * 5
        with connection.cursor() as cursor:
            out = io.StringIO()
            cursor.copy_to(out, "graftlet_copy", null="", columns=["a"])
            assert len(out.getvalue().splitlines()) == 25_000
            with pytest.raises(TypeError, match="must have a"):
                cursor.copy_from(object(), "graftlet_copy")
            with pytest.raises(psycopg2.errors.UndefinedTable):
                cursor.copy_from(io.StringIO("1\n"), "nowhere")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("drop table graftlet_copy")


class Endless(io.RawIOBase):
    """A file that never ends, and takes its time."""

    def read(self, size: int = -1) -> bytes:
        time.sleep(0.02)
        return b"1\n"


def test_others_are_asked_while_a_copy_goes_on(connection: Any) -> None:
    """psycopg2 waits natively when it finds no callback: nobody may see that it is away."""
    mine, other = connect(), connect()

    def copy() -> None:
        with mine.cursor() as cursor:
            cursor.execute("create temp table t (a int)")
            cursor.copy_expert("copy t from stdin", Endless())

    copying = graftlet.spawn(copy)
    with overlapping(1):
        for _ in range(5):
            assert one(other, "select 7 from pg_sleep(0.2)") == 7
    assert not copying.dead
    copying.kill(block=True)
    with pytest.raises(psycopg2.Error):
        one(mine, "select 'right'")
    mine.close()
    other.close()


def test_pool(connection: Any) -> None:
    pool = psycopg2.pool.ThreadedConnectionPool(
        1, 4, host=POSTGRESQL.address()[0], user="postgres", application_name="graftlet-psycopg2"
    )
    free = threading.Semaphore(4)

    def query(number: int) -> int:
        with free:
            mine = pool.getconn()
            try:
                return int(one(mine, "select %s from pg_sleep(0.1)", number))
            finally:
                pool.putconn(mine)

    with overlapping(0.5):
        assert together(20, query) == list(range(20))
    taken = [pool.getconn() for _ in range(4)]
    with pytest.raises(psycopg2.pool.PoolError, match="exhausted"):
        pool.getconn()
    for each in taken:
        pool.putconn(each)
    pool.closeall()


def test_server_kills_a_connection(connection: Any) -> None:
    mine = connect()
    pid = mine.get_backend_pid()
    graftlet.spawn_later(0.2, one, connection, "select pg_terminate_backend(%s)", pid)
    with pytest.raises(psycopg2.OperationalError, match="terminating connection"):
        one(mine, "select pg_sleep(10)")
    assert mine.closed
    mine.close()


def test_connection_is_reset(connection: Any) -> None:
    with Relay(POSTGRESQL.address()) as relay:
        mine = connect(relay.address)
        graftlet.spawn_later(0.2, relay.reset)
        with pytest.raises(psycopg2.OperationalError):
            one(mine, "select pg_sleep(10)")
        mine.close()
        one(
            connection,
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where "
            "application_name = 'graftlet-psycopg2' and pid <> pg_backend_pid()",
        )


def test_time_outs(connection: Any) -> None:
    with Relay(POSTGRESQL.address()) as relay:
        relay.silent()
        with (
            overlapping(2),
            pytest.raises(psycopg2.OperationalError, match="timeout expired"),
        ):
            connect(relay.address, connect_timeout=1)
    mine = connect(options="-c statement_timeout=200")
    with pytest.raises(psycopg2.errors.QueryCanceled):
        one(mine, "select pg_sleep(10)")
    mine.close()


def test_killed_in_a_query(connection: Any) -> None:
    mine = connect()
    killed_in(lambda: one(mine, "select 'wrong' from pg_sleep(0.6)"))
    with pytest.raises(psycopg2.InterfaceError, match="closed"):
        one(mine, "select 'right'")
    mine.close()


def test_time_out_of_graftlet(connection: Any) -> None:
    mine = connect()
    with pytest.raises(graftlet.Timeout), graftlet.Timeout(0.2):
        one(mine, "select pg_sleep(0.6)")
    assert mine.closed
