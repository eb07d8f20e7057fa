"""SQLAlchemy's connection pool, over three drivers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    MARIADB,
    POSTGRESQL,
    Library,
    Relay,
    eventually,
    failing,
    killed_in,
    library,
    overlapping,
    together,
)

LIBRARY = Library(
    name="SQLAlchemy",
    package="SQLAlchemy",
    how="as its driver",
    know="A connection whose greenlet was killed or timed out in a query is not used again.",
    server="PostgreSQL with psycopg2 and psycopg, MariaDB with PyMySQL",
)

sqlalchemy = library("sqlalchemy", "SQLAlchemy")

DRIVERS = {
    "psycopg2": (POSTGRESQL, "postgresql+psycopg2://postgres@{}:{}/postgres", "pg_sleep(:t)"),
    "psycopg": (POSTGRESQL, "postgresql+psycopg://postgres@{}:{}/postgres", "pg_sleep(:t)"),
    "pymysql": (MARIADB, "mysql+pymysql://root@{}:{}/", "sleep(:t)"),
}


class Database:
    """An engine, and what a query that takes long looks like."""

    def __init__(self, driver: str) -> None:
        self.server, self._url, self._wait = DRIVERS[driver]
        library(driver, driver)
        self.engine = self.engine_at(self.server.address())

    def engine_at(self, address: tuple[str, int]) -> Any:
        return sqlalchemy.create_engine(
            self._url.format(*address), pool_size=4, max_overflow=0, pool_timeout=0.5
        )

    def ask(self, answer: object, seconds: float) -> Any:
        with self.engine.connect() as connection:
            return self.ask_by(connection, answer, seconds)

    def ask_by(self, connection: Any, answer: object, seconds: float) -> Any:
        query = sqlalchemy.text(f"select '{answer}', {self._wait}")
        return connection.execute(query, {"t": seconds}).fetchone()[0]


@pytest.fixture(params=list(DRIVERS))
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    database = Database(request.param)
    yield database
    database.engine.dispose()


def test_queries_overlap_and_wait_for_a_connection(database: Database) -> None:
    together(4, lambda number: database.ask(number, 0.01))
    with overlapping(0.4):
        answers = together(8, lambda number: database.ask(number, 0.2))
    assert answers == [str(number) for number in range(8)]
    assert database.engine.pool.checkedin() == 4


def test_pool_is_exhausted(database: Database) -> None:
    together(4, lambda number: database.ask(number, 0.01))
    busy = [graftlet.spawn(database.ask, "busy", 3) for _ in range(4)]
    eventually(lambda: database.engine.pool.checkedout() == 4)
    with overlapping(0.5), pytest.raises(sqlalchemy.exc.TimeoutError):
        database.ask("late", 0)
    assert [each.get() for each in busy] == ["busy"] * 4


def test_connections_are_reset(database: Database) -> None:
    with Relay(database.server.address()) as relay:
        database.engine = database.engine_at(relay.address)
        asking = [failing(database.ask, "wrong", 2) for _ in range(4)]
        eventually(lambda: database.engine.pool.checkedout() == relay.connections == 4)
        time.sleep(0.3)
        relay.reset()
        for each in asking:
            assert isinstance(each.get(), sqlalchemy.exc.OperationalError)
        assert together(4, lambda number: database.ask(number, 0.1)) == list("0123")
        assert relay.connections == 8
        database.engine.dispose()


def test_killed_in_a_query(database: Database) -> None:
    for _ in range(4):
        with database.engine.connect() as mine:
            killed_in(lambda: database.ask_by(mine, "wrong", 3))
    assert together(4, lambda number: database.ask("right", 0.1)) == ["right"] * 4


def test_time_out_of_graftlet_in_a_query(database: Database) -> None:
    for _ in range(4):
        with (
            database.engine.connect() as mine,
            pytest.raises(graftlet.Timeout),
            graftlet.Timeout(0.1),
        ):
            database.ask_by(mine, "wrong", 3)
    assert together(4, lambda number: database.ask("right", 0.1)) == ["right"] * 4
