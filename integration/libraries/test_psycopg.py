"""psycopg 3, with its C implementation, and psycopg_pool, against PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
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
    name="psycopg 3, psycopg_pool",
    package="psycopg, psycopg-pool",
    how="adapter: its `wait` function, also that of the C implementation",
    know="A connection whose greenlet was killed or timed out in a query stays 'active': psycopg runs nothing "
    "else on it, and the pool throws it away.",
    server="PostgreSQL 15",
)

psycopg = library("psycopg", "psycopg[binary,pool]")
psycopg_pool = library("psycopg_pool", "psycopg[binary,pool]")

NAME = "graftlet-psycopg"


def conninfo(address: tuple[str, int] | None = None) -> str:
    host, port = address or POSTGRESQL.address()
    return f"host={host} port={port} user=postgres application_name={NAME}"


def connect(address: tuple[str, int] | None = None, **options: Any) -> Any:
    return psycopg.connect(conninfo(address), autocommit=True, **options)


def one(connection: Any, query: str, *arguments: Any) -> Any:
    return connection.execute(query, arguments).fetchone()[0]


def others(connection: Any) -> int:
    """How many connections of ours the server has besides this one."""
    return int(
        one(
            connection,
            f"select count(*) from pg_stat_activity where application_name = '{NAME}' "
            "and pid <> pg_backend_pid()",
        )
    )


@pytest.fixture
def connection() -> Iterator[Any]:
    with connect() as connection:
        yield connection
        eventually(lambda: others(connection) == 0)


def test_the_implementation_in_c_is_what_is_tested() -> None:
    assert psycopg.pq.__impl__ == "binary"
    assert psycopg.waiting.wait.__module__.startswith("graftlet.")


def test_queries_overlap(connection: Any) -> None:
    with no_stall():
        connections = together(20, lambda number: connect())
    with overlapping(0.4):
        answers = together(
            20, lambda n: one(connections[n], "select %s::int from pg_sleep(0.4)", n)
        )
    assert answers == list(range(20))
    for each in connections:
        each.close()


def test_threads_share_one_connection(connection: Any) -> None:
    query = "select %s::int from pg_sleep(0.01)"
    assert together(20, lambda number: one(connection, query, number)) == list(range(20))


def test_server_side_cursor(connection: Any) -> None:
    def read(number: int) -> int:
        with connect() as mine, mine.transaction(), mine.cursor(name=f"c{number}") as cursor:
            cursor.execute("select i, repeat('x', 1000) from generate_series(1, 1000) i")
            return sum(len(row[1]) for row in cursor)

    with no_stall():
        assert together(5, read) == [1_000_000] * 5


def test_copy(connection: Any) -> None:
    def copy(number: int) -> int:
        with connect() as mine, mine.cursor() as cursor:
            cursor.execute("create temp table t (a int, b text)")
            with cursor.copy("copy t from stdin") as into:
                for row in range(5000):
                    into.write_row((row, "x" * 100))
            with cursor.copy("copy t to stdout") as out:
                return sum(1 for _ in out.rows())

    assert together(5, copy) == [5000] * 5


def test_pipeline(connection: Any) -> None:
    def send(number: int) -> list[int]:
        with connect() as mine, mine.pipeline():
            cursors = [mine.execute("select %s::int", (each,)) for each in range(50)]
            return [cursor.fetchone()[0] for cursor in cursors]

    assert together(5, send) == [list(range(50))] * 5


def test_listen_and_notify(connection: Any) -> None:
    heard: list[str] = []

    def listen() -> None:
        with connect() as listener:
            listener.execute("listen graftlet_psycopg")
            ready.set()
            heard.extend(each.payload for each in listener.notifies(timeout=PATIENCE, stop_after=3))

    ready = threading.Event()
    thread = threading.Thread(target=listen)
    thread.start()
    ready.wait()
    for number in range(3):
        connection.execute("select pg_notify('graftlet_psycopg', %s)", (str(number),))
        time.sleep(0.02)
    thread.join()
    assert sorted(heard) == ["0", "1", "2"]


def test_pool(connection: Any) -> None:
    with psycopg_pool.ConnectionPool(conninfo(), min_size=2, max_size=4, timeout=PATIENCE) as pool:

        def query(number: int) -> int:
            with pool.connection() as mine:
                return int(one(mine, "select %s::int from pg_sleep(0.1)", number))

        with overlapping(0.5):
            assert together(20, query) == list(range(20))


def test_pool_is_exhausted(connection: Any) -> None:
    with (
        psycopg_pool.ConnectionPool(conninfo(), min_size=1, max_size=1) as pool,
        pool.connection(),
        overlapping(0.2),
        pytest.raises(psycopg_pool.PoolTimeout),
    ):
        pool.getconn(timeout=0.2)


def test_killed_in_a_query_of_the_pool(connection: Any) -> None:
    with psycopg_pool.ConnectionPool(conninfo(), min_size=1, max_size=1) as pool:

        def query(what: str, seconds: float = 0) -> tuple[str, int]:
            with pool.connection() as mine:
                answer = one(mine, f"select '{what}' from pg_sleep({seconds})")
                return answer, mine.info.backend_pid

        _, before = query("first")
        killed_in(lambda: query("wrong", 3))
        answer, after = query("right")
        assert answer == "right"
        assert before != after


def test_killed_in_a_query(connection: Any) -> None:
    mine = connect()
    killed_in(lambda: one(mine, "select 'wrong' from pg_sleep(3)"))
    with pytest.raises(psycopg.OperationalError, match="in progress"):
        one(mine, "select 'right'")
    mine.close()


def test_killed_in_the_middle_of_an_answer(connection: Any) -> None:
    with (
        Relay(POSTGRESQL.address()) as relay,
        psycopg_pool.ConnectionPool(conninfo(relay.address), min_size=1, max_size=1) as pool,
    ):

        def query(text: str) -> Any:
            with pool.connection() as mine:
                return one(mine, text)

        assert query("select 'first'") == "first"
        relay.hold(after=1000)
        killed_in(lambda: query("select repeat('x', 100000)"), lambda: relay.holding)
        relay.release()
        assert query("select 'right'") == "right"
        assert relay.connections == 2


def test_server_kills_a_connection(connection: Any) -> None:
    with connect() as mine:
        pid = mine.info.backend_pid
        graftlet.spawn_later(0.2, one, connection, "select pg_terminate_backend(%s)", pid)
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            one(mine, "select 1 from pg_sleep(10)")


def test_connection_is_reset(connection: Any) -> None:
    with Relay(POSTGRESQL.address()) as relay:
        mine = connect(relay.address)
        graftlet.spawn_later(0.2, relay.reset)
        with pytest.raises(psycopg.OperationalError):
            one(mine, "select 1 from pg_sleep(10)")
        mine.close()
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            f"where application_name = '{NAME}' and pid <> pg_backend_pid()"
        )


def test_time_outs(connection: Any) -> None:
    with Relay(POSTGRESQL.address()) as relay:
        relay.silent()
        with overlapping(2), pytest.raises(psycopg.errors.ConnectionTimeout):
            connect(relay.address, connect_timeout=2)
    with (
        connect(options="-c statement_timeout=200") as mine,
        pytest.raises(psycopg.errors.QueryCanceled),
    ):
        one(mine, "select 1 from pg_sleep(10)")
