"""What is asked of both libraries for MariaDB and MySQL: their interface (DB-API 2) is the same.

Rule: a test is a method here, with the library's own words in the class that derives from it.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    MARIADB,
    Relay,
    eventually,
    killed_in,
    no_stall,
    overlapping,
    together,
)


class MySQLTests:
    """The tests of a library."""

    #: The library's module, and its cursor class for results that stay on the server.
    module: Any
    unbuffered: Any
    #: A database user of this library's own, so that its connections can be counted.
    user: str

    def connect(self, address: tuple[str, int] | None = None, **options: Any) -> Any:
        host, port = address or MARIADB.address()
        return self.module.connect(
            host=host, port=port, **{"user": self.user, "password": "secret", **options}
        )

    def one(self, connection: Any, query: str, *arguments: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(query, arguments)
            return cursor.fetchone()[0]

    @pytest.fixture(autouse=True)
    def _root(self) -> Any:
        root = self.connect(user="root", password="", autocommit=True)
        self.root = root
        with root.cursor() as cursor:
            cursor.execute(f"create or replace user {self.user}@'%' identified by 'secret'")
            cursor.execute(f"create or replace user {self.user}@localhost identified by 'secret'")
            cursor.execute(f"create or replace database {self.user}")
            cursor.execute(f"grant all on {self.user}.* to {self.user}@'%', {self.user}@localhost")
        yield
        eventually(self.no_connections)
        with root.cursor() as cursor:
            cursor.execute(f"drop database {self.user}")
            cursor.execute(f"drop user {self.user}@'%', {self.user}@localhost")
        root.close()

    def no_connections(self) -> bool:
        query = "select count(*) from information_schema.processlist where user = %s"
        return bool(self.one(self.root, query, self.user) == 0)

    def test_queries_overlap(self) -> None:
        connections = together(20, lambda number: self.connect())
        with overlapping(0.4):
            answers = together(
                20, lambda number: self.one(connections[number], "select %s + sleep(0.4)", number)
            )
        assert answers == list(range(20))
        for each in connections:
            each.close()

    def test_rows_stay_on_the_server(self) -> None:
        connections = together(3, lambda number: self.connect(database=self.user))

        def read(number: int) -> tuple[int, int]:
            with connections[number].cursor(self.unbuffered) as cursor:
                cursor.execute("select seq, repeat('x', 1000) from seq_1_to_200")
                rows = list(cursor)
            return len(rows), sum(len(row[1]) for row in rows)

        with no_stall():
            assert together(3, read) == [(200, 200_000)] * 3
        for each in connections:
            each.close()

    def test_transactions_wait_for_each_other(self) -> None:
        with self.root.cursor() as cursor:
            cursor.execute(f"create table {self.user}.numbers (n int) engine=innodb")
            cursor.execute(f"insert into {self.user}.numbers values (0)")

        connections = together(20, lambda number: self.connect(database=self.user))

        def add(number: int) -> None:
            mine = connections[number]
            with mine.cursor() as cursor:
                cursor.execute("select n from numbers for update")
                (before,) = cursor.fetchone()
                time.sleep(0.01)
                cursor.execute("update numbers set n = %s", (before + 1,))
            mine.commit()
            mine.close()

        with no_stall():
            together(20, add)
        assert self.one(self.root, f"select n from {self.user}.numbers") == 20

    def test_server_kills_a_connection(self) -> None:
        mine = self.connect()
        number = mine.thread_id()
        killer = graftlet.spawn_later(0.2, self.root.kill, number)
        with pytest.raises(self.module.OperationalError) as raised:
            self.one(mine, "select sleep(10)")
        # CR_SERVER_GONE_ERROR, CR_SERVER_LOST, ER_CONNECTION_KILLED
        assert raised.value.args[0] in (2006, 2013, 1927)
        killer.get()
        mine.close()

    def test_connection_is_reset(self) -> None:
        with Relay(MARIADB.address()) as relay:
            mine = self.connect(relay.address)
            number = mine.thread_id()
            graftlet.spawn_later(0.2, relay.reset)
            with pytest.raises(self.module.OperationalError):
                self.one(mine, "select sleep(10)")
            mine.close()
            self.root.kill(number)

    def test_time_outs(self) -> None:
        with Relay(MARIADB.address()) as relay:
            mine = self.connect(relay.address, read_timeout=2)
            with overlapping(2, work=1), pytest.raises(self.module.OperationalError):
                self.one(mine, "select sleep(6)")
            mine.close()
            relay.silent()
            with overlapping(1, work=1), pytest.raises(self.module.OperationalError):
                self.connect(relay.address, connect_timeout=1, read_timeout=1)

    def test_killed_in_a_query(self) -> None:
        mine = self.connect()
        killed_in(lambda: self.one(mine, "select 'wrong', sleep(3)"))
        with pytest.raises((self.module.OperationalError, self.module.InterfaceError)):
            self.one(mine, "select 'right'")
        assert not mine.open or self.gone(mine)

    def test_killed_in_the_middle_of_an_answer(self) -> None:
        with Relay(MARIADB.address()) as relay:
            mine = self.connect(relay.address)
            relay.hold(after=1000)
            killed_in(lambda: self.one(mine, "select repeat('x', 100000)"), lambda: relay.holding)
            relay.release()
            with pytest.raises((self.module.OperationalError, self.module.InterfaceError)):
                self.one(mine, "select 'right'")
            assert not mine.open or self.gone(mine)

    def gone(self, connection: Any) -> bool:
        """Whether the server can't be reached by this connection, which is closed then."""
        with pytest.raises(self.module.Error):
            connection.ping()
        connection.close()
        return True

    def test_time_out_of_graftlet(self) -> None:
        mine = self.connect()
        with no_stall(), pytest.raises(graftlet.Timeout), graftlet.Timeout(0.2):
            self.one(mine, "select sleep(3)")
        with pytest.raises((self.module.OperationalError, self.module.InterfaceError)):
            mine.commit()
