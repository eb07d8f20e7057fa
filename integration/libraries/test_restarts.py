"""Servers that are restarted in the middle of something.

Rule: they are the tests' own, on a free port and in a directory of their own; nobody else's are touched.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    POSTGRESQL,
    REDIS,
    Server,
    eventually,
    library,
    missing,
    no_stall,
    together,
)
from integration.libraries.programs import PATIENCE, free_port


class PrivateServer:
    """One that can be ended and begun again."""

    def __init__(self, server: Server, directory: Path, *words: str) -> None:
        self.port = free_port()
        self._server = server
        self._directory = directory
        self._words = [word.format(port=self.port, directory=directory) for word in words]
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._words, cwd=self._directory, stdout=log, stderr=log, **_nobody()
            )

    def end(self) -> None:
        """At once, whatever its clients are doing: SIGINT is "fast shutdown" for PostgreSQL."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(PATIENCE)
            self._process = None


def _nobody() -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    if os.geteuid():
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def program(server: Server, name: str, *directories: Path) -> str:
    """A server's program."""
    path = os.pathsep.join([os.environ["PATH"], *map(str, directories)])
    found = shutil.which(name, path=path)
    if found is None:
        missing(f"{name} ({server.name}) is not installed. Install it: {server.install}")
    return found


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that the servers' user may write into. Those of pytest are for nobody else's eyes."""
    with tempfile.TemporaryDirectory(prefix="graftlet-", ignore_cleanup_errors=True) as name:
        if not os.geteuid():
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                missing("there is no user 'postgres'. Install PostgreSQL: " + POSTGRESQL.install)
            os.chown(name, user.pw_uid, user.pw_gid)
        yield Path(name)


@pytest.fixture
def redis_server(directory: Path) -> Iterator[PrivateServer]:
    server = PrivateServer(
        REDIS,
        directory,
        program(REDIS, "redis-server", Path("/usr/sbin")),
        *("--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--dir", "{directory}"),
    )
    server.begin()
    yield server
    server.end()


@pytest.fixture
def postgresql(directory: Path) -> Iterator[PrivateServer]:
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    data = directory / "data"
    subprocess.run(
        [
            program(POSTGRESQL, "initdb", *newest),
            "--no-sync",
            "-A",
            "trust",
            "-U",
            "postgres",
            data,
        ],
        stdout=subprocess.DEVNULL,
        check=True,
        cwd=directory,
        **_nobody(),
    )
    server = PrivateServer(
        POSTGRESQL,
        directory,
        program(POSTGRESQL, "postgres", *newest),
        *("-D", str(data), "-F", "-p", "{port}", "-c", "listen_addresses=127.0.0.1"),
        *("-c", "unix_socket_directories="),
    )
    server.begin()
    yield server
    server.end()


def answered(ask: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether it succeeds; only ``errors`` may say that it does not."""
    try:
        ask()
    except errors:
        return False
    return True


def test_redis(redis_server: PrivateServer) -> None:
    redis = library("redis", "redis")
    with redis.Redis(host="127.0.0.1", port=redis_server.port, retry=None) as client:
        eventually(lambda: answered(client.ping, redis.ConnectionError))
        waiting = [graftlet.spawn(client.blpop, f"q{number}", 20) for number in range(10)]
        eventually(lambda: client.info("clients")["blocked_clients"] == 10)
        with no_stall():
            redis_server.end()
            for each in waiting:
                with pytest.raises(redis.ConnectionError):
                    each.get()
            with pytest.raises(redis.ConnectionError):
                client.ping()
            redis_server.begin()
            eventually(lambda: answered(client.ping, redis.ConnectionError))
            together(10, lambda number: client.rpush(f"q{number}", number))
            assert together(10, lambda number: client.blpop(f"q{number}", 5)[1]) == [
                b"%d" % number for number in range(10)
            ]


def test_psycopg2(postgresql: PrivateServer) -> None:
    psycopg2 = library("psycopg2", "psycopg2-binary")

    def connect() -> Any:
        return psycopg2.connect(host="127.0.0.1", port=postgresql.port, user="postgres")

    def query(connection: Any, text: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchone()[0]

    eventually(lambda: answered(lambda: connect().close(), psycopg2.OperationalError))
    connections = together(10, lambda number: connect())
    waiting = [graftlet.spawn(query, each, "select pg_sleep(20)") for each in connections]
    time.sleep(0.3)
    with no_stall():
        postgresql.end()
        for connection, each in zip(connections, waiting, strict=True):
            with pytest.raises(psycopg2.OperationalError):
                each.get()
            assert connection.closed
        with pytest.raises(psycopg2.OperationalError):
            connect()
        postgresql.begin()
        eventually(lambda: answered(lambda: connect().close(), psycopg2.OperationalError))
    connection = connect()
    assert query(connection, "select 7") == 7
    connection.close()


def test_pool_of_psycopg(postgresql: PrivateServer) -> None:
    psycopg = library("psycopg", "psycopg[binary,pool]")
    psycopg_pool = library("psycopg_pool", "psycopg[binary,pool]")

    def query(text: str) -> Any:
        with pool.connection() as connection:
            return connection.execute(text).fetchone()[0]

    address = f"host=127.0.0.1 port={postgresql.port} user=postgres"
    with psycopg_pool.ConnectionPool(address, min_size=4, check=check, timeout=20) as pool:
        pool.wait(PATIENCE)
        waiting = [graftlet.spawn(query, "select 1 from pg_sleep(20)") for _ in range(4)]
        time.sleep(0.3)
        with no_stall():
            postgresql.end()
            for each in waiting:
                with pytest.raises(psycopg.OperationalError):
                    each.get()
            postgresql.begin()
            assert together(8, lambda number: query(f"select {number}")) == list(range(8))


def check(connection: Any) -> None:
    """What psycopg's manual says for servers that may go away."""
    connection.execute("")


def test_pool_of_sqlalchemy(postgresql: PrivateServer) -> None:
    sqlalchemy = library("sqlalchemy", "SQLAlchemy")
    library("psycopg2", "psycopg2-binary")
    engine = sqlalchemy.create_engine(
        f"postgresql+psycopg2://postgres@127.0.0.1:{postgresql.port}/postgres",
        pool_size=4,
        pool_pre_ping=True,
    )

    def query(text: str) -> Any:
        with engine.connect() as connection:
            return connection.execute(sqlalchemy.text(text)).fetchone()[0]

    error = sqlalchemy.exc.OperationalError
    eventually(lambda: answered(lambda: query("select 1"), error))
    waiting = [graftlet.spawn(query, "select 1 from pg_sleep(20)") for _ in range(4)]
    time.sleep(0.3)
    with no_stall():
        postgresql.end()
        for each in waiting:
            with pytest.raises(error):
                each.get()
        postgresql.begin()
        eventually(lambda: answered(lambda: query("select 1"), error))
        assert together(4, lambda number: query(f"select {number}")) == list(range(4))
    engine.dispose()
