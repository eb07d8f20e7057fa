"""kombu and py-amqp against RabbitMQ."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    PATIENCE,
    RABBITMQ,
    Library,
    Relay,
    killed_in,
    library,
    no_stall,
    overlapping,
    together,
)

LIBRARY = Library(
    name="kombu, py-amqp",
    package="kombu, amqp",
    how="sockets; adapter: what a greenlet that is killed has read of a frame is kept",
    know="Heartbeats are sent by whoever calls `heartbeat_check`, as kombu says; that may be another thread. A connection "
    "of a pool whose greenlet was killed is closed by kombu, which waits for the server's answer. As it is with time-outs, "
    "a channel whose greenlet was killed while it waited for an answer must not be used again.",
    server="RabbitMQ 3.10",
)

kombu = library("kombu", "kombu")
library("kombu.pools", "kombu")


def connect(address: tuple[str, int] | None = None, **options: Any) -> Any:
    host, port = address or RABBITMQ.address()
    return kombu.Connection(f"amqp://guest:guest@{host}:{port}//", **options)


def test_producers_and_consumers() -> None:
    queue = kombu.Queue("graftlet-kombu", durable=True)
    got: list[int] = []

    def produce(number: int) -> None:
        with connect() as connection, connection.Producer() as producer:
            for each in range(20):
                producer.publish({"n": number * 20 + each}, routing_key=queue.name)

    def consume(number: int) -> None:
        def received(body: Any, message: Any) -> None:
            got.append(body["n"])
            message.ack()

        with (
            connect() as connection,
            connection.Consumer(queue, callbacks=[received], prefetch_count=1),
        ):
            while len(got) < 100:
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)

    with connect() as connection:
        bound = queue(connection.channel())
        bound.declare()
        consumers = graftlet.spawn(together, 5, consume)
        together(5, produce)
        consumers.get()
        assert sorted(got) == list(range(100))
        bound.delete()


def test_waits_overlap() -> None:
    def wait(number: int) -> bool:
        try:
            connections[number].drain_events(timeout=0.5)
        except TimeoutError:
            return True
        return False

    connections = [connect() for _ in range(10)]
    for each in connections:
        each.connect()
    with overlapping(0.5):
        assert together(10, wait) == [True] * 10
    for each in connections:
        each.release()


def test_heartbeats_from_another_thread() -> None:
    """Every two seconds: without them the server closes the connection after four."""
    with connect(heartbeat=2) as connection:
        connection.connect()
        over: list[bool] = []

        def beat() -> None:
            while not over:
                connection.heartbeat_check(rate=2)
                time.sleep(0.25)

        beating = graftlet.spawn(beat)
        with no_stall():
            until = time.monotonic() + 8
            while time.monotonic() < until:
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=0.5)
        over.append(True)
        beating.get()
        assert connection.connected


def test_pool_is_exhausted() -> None:
    pool = kombu.pools.connections[connect()]
    pool.limit = 1
    with (
        pool.acquire(block=True),
        overlapping(0.3),
        pytest.raises(kombu.exceptions.ConnectionLimitExceeded),
    ):
        pool.acquire(block=True, timeout=0.3)
    kombu.pools.reset()


def test_connection_is_reset() -> None:
    with Relay(RABBITMQ.address()) as relay, connect(relay.address) as connection:
        connection.connect()
        graftlet.spawn_later(0.2, relay.reset)
        with pytest.raises(connection.connection_errors):
            connection.drain_events(timeout=PATIENCE)


@pytest.mark.parametrize("after", [0, 3, 7, 20, 34], ids="{} bytes of the answer read".format)
def test_killed_while_it_waits_for_an_answer(after: int) -> None:
    """The connection is closed by kombu then; for that it must find the answer to its own question, behind the other one."""
    with Relay(RABBITMQ.address()) as relay:
        pool = kombu.pools.connections[connect(relay.address)]
        pool.limit = 1

        def declare(name: str) -> str:
            with pool.acquire(block=True, timeout=PATIENCE) as connection:
                channel = connection.default_channel
                return str(channel.queue_declare(name, exclusive=True).queue)

        assert declare("graftlet-before") == "graftlet-before"
        relay.hold(after)
        killed_in(lambda: declare("graftlet-wrong"), lambda: relay.holding, relay.release)
        assert relay.connections == 1
        together(5, lambda n: declare(f"graftlet-{n}"))
        assert declare("graftlet-right") == "graftlet-right"
        assert relay.connections == 2
        kombu.pools.reset()


def test_killed_in_the_middle_of_a_message() -> None:
    """What had been read of it is there for who reads next."""
    got: list[str] = []
    queue = kombu.Queue("graftlet-half", exclusive=True)
    with Relay(RABBITMQ.address()) as relay, connect(relay.address) as connection:
        with (
            connection.Consumer(
                queue, callbacks=[lambda body, message: got.append(body)], no_ack=True
            ),
            connection.Producer() as producer,
        ):
            relay.hold(after=100)
            producer.publish("x" * 1000, routing_key=queue.name)
            producer.publish("y" * 1000, routing_key=queue.name)
            killed_in(connection.drain_events, lambda: relay.holding)
            assert not got
            relay.release()
            while len(got) < 2:
                connection.drain_events(timeout=PATIENCE)
        assert got == ["x" * 1000, "y" * 1000]
        assert relay.connections == 1
