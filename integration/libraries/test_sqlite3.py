"""sqlite3: connections that wait for each other's locks."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

import graftlet
from integration.libraries.harness import (
    PATIENCE,
    Library,
    killed_in,
    no_stall,
    overlapping,
    together,
)

LIBRARY = Library(
    name="sqlite3",
    package="",
    how="adapter: the calls of each connection in a native thread",
    know="`check_same_thread` goes by the threads that the program sees. SQL functions and other callbacks run in "
    "a native thread. A statement whose greenlet was killed is interrupted. Connections opened before "
    "patching, and blobs, block.",
    server="",
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    name = str(tmp_path / "test.db")
    with closing(sqlite3.connect(name)) as connection:
        connection.execute("create table t (n integer)")
        connection.execute("insert into t values (0)")
        connection.commit()
    return name


def test_writers_wait_for_each_other(path: str) -> None:
    def add(number: int) -> None:
        with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("begin immediate")
            (before,) = connection.execute("select n from t").fetchone()
            time.sleep(0.01)
            connection.execute("update t set n = ?", (before + 1,))
            connection.execute("commit")

    with no_stall():
        together(20, add)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select n from t").fetchall() == [(20,)]


def test_a_lock_that_does_not_come(path: str) -> None:
    with (
        closing(sqlite3.connect(path)) as holder,
        closing(sqlite3.connect(path, timeout=0.5)) as waiter,
    ):
        holder.execute("update t set n = 1")
        with overlapping(0.5), pytest.raises(sqlite3.OperationalError, match="locked"):
            waiter.execute("update t set n = 2")


def test_long_queries_let_others_run(path: str) -> None:
    query = (
        "with recursive c(i) as (select 1 union all select i + 1 from c where i < 200000) "
        "select sum(i) from c"
    )

    def count(number: int) -> int:
        with closing(sqlite3.connect(":memory:")) as connection:
            return int(connection.execute(query).fetchone()[0])

    with no_stall():
        assert together(5, count) == [200000 * 200001 // 2] * 5


def test_threads_share_one_connection(path: str) -> None:
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:

        def query(number: int) -> int:
            return int(connection.execute("select ? + n from t", (number,)).fetchone()[0])

        assert together(20, query) == list(range(20))


def test_another_thread_is_refused() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        errors: list[str] = []

        def use() -> None:
            try:
                connection.execute("select 1")
            except sqlite3.ProgrammingError as error:
                errors.append(str(error))

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert str(threading.get_ident()) in errors[0]
        assert connection.execute("select 1").fetchone() == (1,)


def test_rows_from_one_connection_into_another(path: str) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(":memory:")) as sink:
        sink.execute("create table t (n integer)")
        sink.executemany("insert into t values (?)", source.execute("select n from t"))
        assert sink.execute("select n from t").fetchall() == [(0,)]


def test_a_callback_uses_the_connection() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.create_function(
            "twice", 1, lambda n: 2 * connection.execute("select ?", (n,)).fetchone()[0]
        )
        assert connection.execute("select twice(21)").fetchone() == (42,)


def test_killed_while_it_waits_for_a_lock(path: str) -> None:
    with (
        closing(sqlite3.connect(path)) as holder,
        closing(sqlite3.connect(path, timeout=5, check_same_thread=False)) as waiter,
    ):
        holder.execute("update t set n = 1")
        killed_in(lambda: waiter.execute("update t set n = 2"))
        holder.commit()
        waiter.rollback()
        assert waiter.execute("select n from t").fetchall() == [(1,)]


def test_killed_in_a_long_query() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        endless = (
            "with recursive c(i) as (select 1 union all select i + 1 from c) select max(i) from c"
        )
        killed_in(lambda: connection.execute(endless).fetchone())
        with graftlet.Timeout(PATIENCE):
            assert connection.execute("select 'right'").fetchone() == ("right",)
