"""Servers that are restarted in the middle of something.

Rule: the servers are the tests' own (`private.py`); nobody else's are touched. What the greenlets wait for ends with
the library's own exception, what the library promises to bring back comes back, and all works again.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import graftlet
from integration.libraries import private
from integration.libraries.harness import PATIENCE, eventually, failing, library, no_stall, together
from integration.libraries.natsclient import Client
from integration.libraries.private import PrivateServer
from integration.libraries.programs import free_port, running


@pytest.fixture
def directory() -> Iterator[Path]:
    with private.writable_directory() as directory:
        yield directory


@pytest.fixture
def redis_server(directory: Path) -> Iterator[PrivateServer]:
    with private.redis(directory) as server:
        yield server


@pytest.fixture
def postgresql(directory: Path) -> Iterator[PrivateServer]:
    with private.postgresql(directory) as server:
        yield server


@pytest.fixture
def mariadb(directory: Path) -> Iterator[PrivateServer]:
    with private.mariadb(directory) as server:
        yield server


@pytest.fixture
def rabbitmq(directory: Path) -> Iterator[PrivateServer]:
    with private.rabbitmq(directory) as server:
        yield server


@pytest.fixture
def mosquitto(directory: Path) -> Iterator[PrivateServer]:
    with private.mosquitto(directory) as server:
        yield server


@pytest.fixture
def nats_server(directory: Path) -> Iterator[PrivateServer]:
    with private.nats(directory) as server:
        yield server


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
        waiting = [failing(client.blpop, f"q{number}", PATIENCE) for number in range(10)]
        eventually(lambda: client.info("clients")["blocked_clients"] == 10)
        with no_stall():
            redis_server.end()
            for each in waiting:
                assert isinstance(each.get(), redis.ConnectionError)
            with pytest.raises(redis.ConnectionError):
                client.ping()
            redis_server.begin()
            eventually(lambda: answered(client.ping, redis.ConnectionError))
            together(10, lambda number: client.rpush(f"q{number}", number))
            assert together(10, lambda number: client.blpop(f"q{number}", PATIENCE)[1]) == [
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
    waiting = [failing(query, each, "select pg_sleep(100)") for each in connections]
    time.sleep(0.3)
    with no_stall():
        postgresql.end()
        for connection, each in zip(connections, waiting, strict=True):
            assert isinstance(each.get(), psycopg2.OperationalError)
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
    with psycopg_pool.ConnectionPool(address, min_size=4, check=check, timeout=PATIENCE) as pool:
        pool.wait(PATIENCE)
        waiting = [failing(query, "select 1 from pg_sleep(100)") for _ in range(4)]
        time.sleep(0.3)
        with no_stall():
            postgresql.end()
            for each in waiting:
                assert isinstance(each.get(), psycopg.OperationalError)
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
    waiting = [failing(query, "select 1 from pg_sleep(100)") for _ in range(4)]
    time.sleep(0.3)
    with no_stall():
        postgresql.end()
        for each in waiting:
            assert isinstance(each.get(), error)
        postgresql.begin()
        eventually(lambda: answered(lambda: query("select 1"), error))
        assert together(4, lambda number: query(f"select {number}")) == list(range(4))
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "package"), [("pymysql", "PyMySQL"), ("MySQLdb", "mysqlclient")], ids=lambda name: name
)
def test_mysql(mariadb: PrivateServer, name: str, package: str) -> None:
    module = library(name, package)

    def connect() -> Any:
        return module.connect(host="127.0.0.1", port=mariadb.port, user="root", password="")

    def query(connection: Any, text: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchone()[0]

    eventually(lambda: answered(lambda: connect().close(), module.OperationalError))
    connections = together(10, lambda number: connect())
    waiting = [failing(query, each, "select sleep(100)") for each in connections]
    time.sleep(0.3)
    with no_stall():
        mariadb.end()
        for connection, each in zip(connections, waiting, strict=True):
            assert isinstance(each.get(), module.OperationalError)
            with pytest.raises((module.OperationalError, module.InterfaceError)):
                query(connection, "select 'wrong'")
            if connection.open:
                connection.close()
        with pytest.raises(module.OperationalError):
            connect()
        mariadb.begin()
        eventually(lambda: answered(lambda: connect().close(), module.OperationalError))

    def ask(number: int) -> Any:
        connection = connect()
        answer = query(connection, f"select {number}")
        connection.close()
        return answer

    assert together(10, ask) == list(range(10))


@pytest.mark.parametrize("name", ["urllib3", "requests", "http.client"])
def test_http(name: str) -> None:
    """The server is a program under the launcher, too."""
    client = HTTP_CLIENTS[name]()
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def serving() -> Any:
        words = ("-m", "integration.libraries.webserver", str(port))
        return running(*words, directory=Path(__file__).parents[2], port=port)

    with serving() as program:
        waiting = [failing(client.get, f"{url}/hang") for _ in range(10)]
        eventually(lambda: client.get(f"{url}/hanging") == b"10")
        with no_stall():
            program.kill()
            for each in waiting:
                assert isinstance(each.get(), client.errors), each
            with pytest.raises(client.errors):
                client.get(f"{url}/wrong")
    with serving():
        answers = together(10, lambda number: client.get(f"{url}/{number}"))
        assert answers == [b"/%d" % number for number in range(10)]
    client.close()


class Urllib3:
    """Connections that are used again; a request is not made twice."""

    def __init__(self) -> None:
        urllib3 = library("urllib3", "urllib3")
        self.errors: Any = urllib3.exceptions.HTTPError
        self._pool = urllib3.PoolManager(maxsize=20, retries=False)
        self.close = self._pool.clear

    def get(self, url: str) -> bytes:
        return bytes(self._pool.request("GET", url).data)


class Requests:
    """A session."""

    def __init__(self) -> None:
        requests = library("requests", "requests")
        self.errors: Any = requests.exceptions.ConnectionError
        self._session = requests.Session()
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=20))
        self.close = self._session.close

    def get(self, url: str) -> bytes:
        return bytes(self._session.get(url).content)


class HTTPClient:
    """Connections of the standard library, one for each request."""

    errors: Any = (http.client.RemoteDisconnected, ConnectionError)

    def get(self, url: str) -> bytes:
        address, _, path = url.removeprefix("http://").partition("/")
        with contextlib.closing(http.client.HTTPConnection(address)) as connection:
            connection.request("GET", "/" + path)
            return connection.getresponse().read()

    def close(self) -> None:
        """Nothing is kept."""


HTTP_CLIENTS: dict[str, Any] = {"urllib3": Urllib3, "requests": Requests, "http.client": HTTPClient}


def test_pika(rabbitmq: PrivateServer) -> None:
    pika = library("pika", "pika")
    error = pika.exceptions.AMQPConnectionError

    def connect() -> Any:
        return pika.BlockingConnection(
            pika.ConnectionParameters(host="127.0.0.1", port=rabbitmq.port)
        )

    def consume(number: int) -> bytes:
        connection = connect()
        channel = connection.channel()
        channel.queue_declare(f"q{number}", durable=True)
        declared.release()
        for method, _, body in channel.consume(f"q{number}"):
            channel.basic_ack(method.delivery_tag)
            connection.close()
            return bytes(body)
        raise AssertionError

    def publish(number: int) -> None:
        connection = connect()
        connection.channel().basic_publish("", f"q{number}", b"%d" % number)
        connection.close()

    eventually(lambda: answered(lambda: connect().close(), error))
    declared = threading.Semaphore(0)
    waiting = [failing(consume, number) for number in range(5)]
    for _ in waiting:
        assert declared.acquire(timeout=PATIENCE)
    with no_stall():
        rabbitmq.end()
        for each in waiting:
            assert isinstance(each.get(), error)
        with pytest.raises(error):
            connect()
        rabbitmq.begin()
        eventually(lambda: answered(lambda: connect().close(), error))
        waiting = [graftlet.spawn(consume, number) for number in range(5)]
        together(5, publish)
        assert [each.get() for each in waiting] == [b"%d" % number for number in range(5)]


def test_kombu(rabbitmq: PrivateServer) -> None:
    """A worker of its mixin, which connects again by itself, and connections that are used directly."""
    kombu = library("kombu", "kombu")
    mixin: Any = library("kombu.mixins", "kombu").ConsumerMixin
    queue = kombu.Queue("graftlet-kombu", durable=True)
    got: list[int] = []
    errors: list[Exception] = []

    class Worker(mixin):  # type: ignore[misc] # Any
        def __init__(self, connection: Any) -> None:
            self.connection = connection
            self.ready = threading.Event()

        def get_consumers(self, consumer: Any, channel: Any) -> list[Any]:
            return [consumer([queue], callbacks=[self.received])]

        def on_consume_ready(self, connection: Any, channel: Any, consumers: Any) -> None:
            self.ready.set()

        def on_connection_error(self, exc: Exception, interval: float) -> None:
            errors.append(exc)

        def received(self, body: int, message: Any) -> None:
            got.append(body)
            message.ack()

    def connect() -> Any:
        return kombu.Connection(f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}//")

    def reachable() -> bool:
        with connect() as connection:
            return answered(connection.connect, *connection.connection_errors)

    def publish(number: int) -> None:
        with connect() as connection, connection.Producer() as producer:
            producer.publish(number, routing_key=queue.name)

    eventually(reachable)
    worker = Worker(connect())
    working = graftlet.spawn(worker.run)
    assert worker.ready.wait(PATIENCE)
    together(5, publish)
    eventually(lambda: sorted(got) == list(range(5)))
    with connect() as connection:
        connection.connect()
        waiting = graftlet.spawn(connection.drain_events)
        worker.ready.clear()
        with no_stall():
            rabbitmq.end()
            with pytest.raises(connection.connection_errors):
                waiting.get()
            eventually(lambda: errors)
            assert not reachable()
            rabbitmq.begin()
            assert worker.ready.wait(PATIENCE)
            together(5, lambda number: publish(5 + number))
            eventually(lambda: sorted(got) == list(range(10)))
    worker.should_stop = True
    working.get()
    worker.connection.release()


def test_paho(mosquitto: PrivateServer) -> None:
    """Clients connect again by themselves, and what was to be published meanwhile is."""
    mqtt = library("paho.mqtt.client", "paho-mqtt")
    lost: list[int] = []
    heard: list[int] = []
    published: list[int] = []

    def connect(number: int) -> Any:
        def on_connect(client: Any, *more: Any) -> None:
            client.subscribe(f"graftlet/{number}", qos=1)

        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.reconnect_delay_set(1, 1)
        client.on_connect = on_connect
        client.on_subscribe = lambda *_: subscribed.release()
        client.on_disconnect = lambda *_: lost.append(number)
        client.on_publish = lambda client, data, mid, *more: published.append(mid)
        client.on_message = lambda client, data, message: heard.append(int(message.payload))
        client.connect("127.0.0.1", mosquitto.port)
        client.loop_start()
        return client

    def reachable() -> bool:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        return answered(lambda: client.connect("127.0.0.1", mosquitto.port), ConnectionError)

    subscribed = threading.Semaphore(0)
    eventually(reachable)
    clients = together(10, connect)
    for _ in clients:
        assert subscribed.acquire(timeout=PATIENCE)
    with no_stall():
        mosquitto.end()
        eventually(lambda: sorted(lost) == list(range(10)))
        assert not reachable()
        early = clients[0].publish("graftlet/nobody", 10, qos=1)
        assert early.rc == mqtt.MQTT_ERR_NO_CONN
        mosquitto.begin()
        for _ in clients:
            assert subscribed.acquire(timeout=PATIENCE)
        eventually(lambda: published == [early.mid])
        for number, client in enumerate(clients):
            client.publish(f"graftlet/{number}", number, qos=1)
        eventually(lambda: sorted(heard) == list(range(10)))
    for client in clients:
        client.disconnect()
        client.loop_stop()


def test_nats(nats_server: PrivateServer) -> None:
    """The client connects again by itself, and its subscriptions are there again; or it says that it is closed."""
    errors = library("nats.errors", "nats-py")
    address = "127.0.0.1", nats_server.port
    events: list[str] = []

    async def lost() -> None:
        events.append("lost")

    async def found() -> None:
        events.append("found")

    async def answer(message: Any) -> None:
        if message.data != b"never":
            await message.respond(message.data * 2)

    async def ignore(error: Exception) -> None:
        """It is printed otherwise."""

    def reach() -> None:
        Client(address, **leaving).close()

    always = {"error_cb": ignore, "reconnect_time_wait": 0.1}
    leaving = {**always, "allow_reconnect": False, "max_reconnect_attempts": 1}
    staying = {
        **always,
        "max_reconnect_attempts": -1,
        "disconnected_cb": lost,
        "reconnected_cb": found,
    }
    eventually(lambda: answered(reach, errors.NoServersError))
    with Client(address, **staying) as client, Client(address, **leaving) as gone:
        client.run(client.connection.subscribe("graftlet.twice", cb=answer))
        assert client.ask("graftlet.twice", b"1") == b"11"
        assert gone.ask("graftlet.twice", b"2") == b"22"
        waiting = [failing(client.ask, "graftlet.twice", b"never", 1) for _ in range(10)]
        with no_stall():
            nats_server.end()
            eventually(lambda: events == ["lost"])
            for each in waiting:
                assert isinstance(each.get(), errors.TimeoutError)
            eventually(lambda: gone.connection.is_closed)
            with pytest.raises(errors.ConnectionClosedError):
                gone.ask("graftlet.twice", b"wrong")
            assert not answered(reach, errors.NoServersError)
            nats_server.begin()
            eventually(lambda: events == ["lost", "found"])
            answers = together(10, lambda number: client.ask("graftlet.twice", b"%d" % number))
            assert answers == [b"%d%d" % (number, number) for number in range(10)]
