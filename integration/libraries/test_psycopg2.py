"""psycopg2 against PostgreSQL."""

from __future__ import annotations

import contextlib
import io
import select
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    PATIENCE,
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
    how="adapter: its wait callback",
    know="A connection whose greenlet was killed or timed out in a query is closed by psycopg2. `connect_timeout` "
    "is heeded. Host names are looked up by libpq itself, which blocks: prefer an address or `hostaddr`. "
    "`COPY` and large objects are carried out in native threads: those read and write the program's files.",
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
    with no_stall():
        connections = together(20, lambda number: connect())
    with overlapping(0.4):
        answers = together(20, lambda n: one(connections[n], "select %s from pg_sleep(0.4)", n))
    assert answers == list(range(20))
    for each in connections:
        each.close()


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
            assert select.select([listener], [], [], PATIENCE)[0]
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


def test_large_objects(connection: Any) -> None:
    """One of them larger than what the kernel takes at once."""

    def use(number: int) -> tuple[int, str]:
        content = bytes([number]) * (16_000_000 if number == 0 else 300_000)
        with contextlib.closing(connect()) as mine:
            large = mine.lobject(mode="wb")
            assert large.write(content) == len(content)
            large.close()
            mine.commit()
            with contextlib.closing(mine.lobject(large.oid, "rb")) as again:
                assert again.read() == content
                again.seek(100)
                assert again.read(10) == content[:10]
                assert again.tell() == 110
            text = mine.lobject(large.oid, "w")
            assert text.write("\u20ac" * 5) == 15
            text.truncate(15)
            text.close()
            rest = mine.lobject(large.oid).read()
            mine.lobject(large.oid).unlink()
            mine.commit()
            with pytest.raises(psycopg2.OperationalError, match="does not exist"):
                mine.lobject(large.oid)
        return number, rest

    with no_stall():
        assert together(5, use) == [(number, "\u20ac" * 5) for number in range(5)]


def test_large_objects_from_files_and_of_classes_of_the_program(
    connection: Any, tmp_path: Path
) -> None:
    kind: Any = psycopg2.extensions.lobject

    class Mine(kind):  # type: ignore[misc] # Any
        def lines(self) -> list[str]:
            return str(self.read()).splitlines()

    before, after = tmp_path / "before", tmp_path / "after"
    before.write_text("one\ntwo\n")
    with contextlib.closing(connect()) as mine:
        large = mine.lobject(new_file=str(before), lobject_factory=Mine)
        large.export(str(after))
        assert after.read_text() == "one\ntwo\n"
        assert mine.lobject(large.oid, "rt", 0, None, Mine).lines() == ["one", "two"]
        assert isinstance(mine.lobject(large.oid), psycopg2.extensions.lobject)
        with pytest.raises(TypeError, match="lobject factory"):
            mine.lobject(lobject_factory=lambda *_: 5)
        mine.rollback()
        with pytest.raises(psycopg2.ProgrammingError, match="valid anymore"):
            large.read()
        mine.autocommit = True
        with pytest.raises(psycopg2.ProgrammingError, match="outside of transactions"):
            mine.lobject()
    with pytest.raises(psycopg2.InterfaceError, match="closed"):
        mine.lobject()


@pytest.fixture
def oids(connection: Any) -> Iterator[list[int]]:
    """Large objects that a transaction has written to which goes on: whoever writes to them now waits."""
    oids = [one(connection, "select lo_from_bytea(0, 'before')") for _ in range(6)]
    connection.autocommit = False
    for oid in oids:
        connection.lobject(oid, "w").write("first")
    yield oids
    connection.rollback()
    for oid in oids:
        connection.lobject(oid).unlink()
    connection.commit()
    connection.autocommit = True


def test_waits_for_large_objects_overlap(connection: Any, oids: list[int]) -> None:
    def write(number: int) -> int:
        with contextlib.closing(connect()) as mine:
            written = mine.lobject(oids[number], "w").write("second")
            mine.commit()
        return int(written)

    with overlapping(0.4):
        graftlet.spawn_later(0.4, connection.rollback)
        assert together(6, write) == [6] * 6
    assert connection.lobject(oids[5]).read() == "second"


def test_killed_while_it_writes_to_a_large_object(connection: Any, oids: list[int]) -> None:
    with contextlib.closing(connect()) as mine:
        large = mine.lobject(oids[0], "w")
        killed_in(lambda: large.write("wrong"))
        with pytest.raises(psycopg2.Error):
            large.read()
        with pytest.raises(psycopg2.Error):
            one(mine, "select 'right'")


def test_forgotten_large_object(connection: Any) -> None:
    """psycopg2 closes it when it is collected, in a lock that a query of another greenlet may hold."""
    with contextlib.closing(connect()) as mine:
        large = mine.lobject(0, "w")
        gone = weakref.ref(mine)
        querying = graftlet.spawn(one, mine, "select 7 from pg_sleep(0.3)")
        time.sleep(0.1)
        with overlapping(0.3, least=0):
            del large
            assert querying.get() == 7
        mine.rollback()
    del mine, querying
    eventually(lambda: gone() is None)


def test_forgotten_large_object_is_closed_before_anything_else() -> None:
    """The server closes what is unlinked: who closes it again has ended the transaction."""
    with contextlib.closing(connect()) as mine, contextlib.closing(connect()) as other:
        for busy in (False, True):
            oids = [mine.lobject(0, "w").oid for _ in range(3)]
            mine.commit()
            querying = graftlet.spawn(one, mine, "select 7 from pg_sleep(0.1)") if busy else None
            graftlet.sleep(0.05)
            large = mine.lobject(oids[0])
            del large
            mine.lobject(oids[0]).unlink()
            # Others who want the connection at that moment.
            large = mine.lobject(oids[1])
            others = [mine.lobject(oid) for oid in oids[1:]]
            del large
            graftlet.joinall([graftlet.spawn(each.unlink) for each in others], raise_error=True)
            assert querying is None or querying.get() == 7
            mine.commit()
            assert [
                one(other, f"select count(*) from pg_largeobject_metadata where oid = {oid}")
                for oid in oids
            ] == [0] * 3


def test_threads_wait_for_a_query_to_end(connection: Any) -> None:
    """They do in psycopg2, natively: the query must be able to go on."""

    def querying(mine: Any) -> graftlet.Greenlet:
        query = graftlet.spawn(one, mine, "select 7 from pg_sleep(0.3)")
        time.sleep(0.1)
        return query

    for name, value in (
        ("autocommit", False),
        ("isolation_level", psycopg2.extensions.ISOLATION_LEVEL_SERIALIZABLE),
        ("readonly", True),
        ("deferrable", True),
    ):
        with contextlib.closing(connect()) as mine:
            mine.autocommit = True
            query = querying(mine)
            with overlapping(0.3, least=0):
                setattr(mine, name, value)
            assert query.get() == 7
            assert getattr(mine, name) == value
    mine = connect()
    query = querying(mine)
    with overlapping(0.3, least=0):
        mine.close()
    assert query.get() == 7


def test_pool(connection: Any) -> None:
    host, port = POSTGRESQL.address()
    pool = psycopg2.pool.ThreadedConnectionPool(
        1, 4, host=host, port=port, user="postgres", application_name="graftlet-psycopg2"
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
    killed_in(lambda: one(mine, "select 'wrong' from pg_sleep(3)"))
    with pytest.raises(psycopg2.InterfaceError, match="closed"):
        one(mine, "select 'right'")
    mine.close()


def test_killed_in_the_middle_of_an_answer(connection: Any) -> None:
    with Relay(POSTGRESQL.address()) as relay, contextlib.closing(connect(relay.address)) as mine:
        assert one(mine, "select 'first'") == "first"
        relay.hold(after=1000)
        killed_in(lambda: one(mine, "select repeat('x', 100000)"), lambda: relay.holding)
        relay.release()
        with pytest.raises(psycopg2.InterfaceError, match="closed"):
            one(mine, "select 'right'")


def test_time_out_of_graftlet(connection: Any) -> None:
    mine = connect()
    with pytest.raises(graftlet.Timeout), graftlet.Timeout(0.2):
        one(mine, "select pg_sleep(3)")
    assert mine.closed
