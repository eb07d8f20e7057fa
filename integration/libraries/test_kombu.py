"""kombu and py-amqp against RabbitMQ."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    RABBITMQ,
    Library,
    Relay,
    library,
    no_stall,
    overlapping,
    together,
)

LIBRARY = Library(
    name="kombu, py-amqp",
    package="kombu",
    tested="5.7.0, 5.4.2",
    how="sockets",
    know="Heartbeats are sent by whoever calls `heartbeat_check`, as kombu says; that may be another thread.",
    server="RabbitMQ 3.10",
)

kombu = library("kombu", "kombu")
library("kombu.pools", "kombu")


def connect(address: tuple[str, int] | None = None, **options: Any) -> Any:
    host, port = address or RABBITMQ.address()
    return kombu.Connection(f"amqp://guest:guest@{host}:{port}//", **options)


def test_producers_and_consumers() -> None:
    queue = kombu.Queue("graftlet-kombu", durable=True)

    def produce(number: int) -> None:
        with connect() as connection, connection.Producer() as producer:
            for each in range(20):
                producer.publish({"n": number * 20 + each}, routing_key=queue.name)

    def consume(number: int) -> list[int]:
        got: list[int] = []

        def received(body: Any, message: Any) -> None:
            got.append(body["n"])
            message.ack()

        with (
            connect() as connection,
            connection.Consumer(queue, callbacks=[received], prefetch_count=1),
            contextlib.suppress(TimeoutError),
        ):
            while True:
                connection.drain_events(timeout=1)
        return got

    with connect() as connection:
        bound = queue(connection.channel())
        bound.declare()
        consumers = graftlet.spawn(together, 5, consume)
        together(5, produce)
        assert sorted(itertools.chain.from_iterable(consumers.get())) == list(range(100))
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
    with connect(heartbeat=1) as connection:
        connection.connect()
        over: list[bool] = []

        def beat() -> None:
            while not over:
                connection.heartbeat_check(rate=2)
                time.sleep(0.25)

        beating = graftlet.spawn(beat)
        with no_stall():
            until = time.monotonic() + 4
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
            connection.drain_events(timeout=5)
