"""pika against RabbitMQ: its blocking connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
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
    name="pika",
    package="pika",
    how="sockets",
    know="As under threads, a `BlockingConnection` belongs to one thread; heartbeats are sent while that one is in a "
    "call of pika.",
    server="RabbitMQ 3.10",
)

pika = library("pika", "pika")
AMQPConnectorStackTimeout: Any = library(
    "pika.adapters.utils.connection_workflow", "pika"
).AMQPConnectorStackTimeout


def connect(address: tuple[str, int] | None = None, **options: Any) -> Any:
    host, port = address or RABBITMQ.address()
    return pika.BlockingConnection(pika.ConnectionParameters(host=host, port=port, **options))


@pytest.fixture
def channel() -> Iterator[Any]:
    connection = connect()
    yield connection.channel()
    connection.close()


def test_producers_and_consumers(channel: Any) -> None:
    queue = channel.queue_declare("graftlet-pika", auto_delete=False).method.queue
    got: list[int] = []

    def produce(number: int) -> None:
        connection = connect()
        mine = connection.channel()
        for each in range(20):
            mine.basic_publish("", queue, b"%d" % (number * 20 + each))
        connection.close()

    def consume(number: int) -> None:
        connection = connect()
        mine = connection.channel()
        mine.basic_qos(prefetch_count=1)
        for method, _, body in mine.consume(queue, inactivity_timeout=0.1):
            if method is not None:
                got.append(int(body))
                mine.basic_ack(method.delivery_tag)
            if len(got) == 100:
                break
        connection.close()

    consumers = threading.Thread(target=together, args=(5, consume))
    consumers.start()
    together(5, produce)
    consumers.join()
    assert sorted(got) == list(range(100))
    channel.queue_delete(queue)


def test_heartbeats_keep_a_connection_alive() -> None:
    """Two seconds each: without them the server closes the connection after four."""

    def stay(number: int) -> bool:
        connection = connect(heartbeat=2)
        connection.process_data_events(time_limit=8)
        alive = bool(connection.is_open)
        connection.close()
        return alive

    with no_stall():
        assert together(5, stay) == [True] * 5


def test_a_silent_server_is_noticed() -> None:
    with Relay(RABBITMQ.address()) as relay:
        connection = connect(relay.address, heartbeat=1)
        relay.silent()
        # pika looks at the time-out and five seconds.
        with no_stall(), pytest.raises(pika.exceptions.AMQPHeartbeatTimeout):
            connection.process_data_events(time_limit=PATIENCE)


def test_a_server_that_is_silent_from_the_beginning() -> None:
    with Relay(RABBITMQ.address()) as relay:
        relay.silent()
        with overlapping(0.5), pytest.raises(AMQPConnectorStackTimeout):
            connect(relay.address, stack_timeout=0.5, connection_attempts=1)


def test_waits_overlap() -> None:
    connections = together(10, lambda number: connect())
    with overlapping(0.5):
        together(10, lambda number: connections[number].process_data_events(time_limit=0.5))
    for each in connections:
        each.close()


def test_connection_is_reset() -> None:
    with Relay(RABBITMQ.address()) as relay:
        connection = connect(relay.address)
        graftlet.spawn_later(0.2, relay.reset)
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            connection.process_data_events(time_limit=PATIENCE)


def test_killed_while_it_waits_for_an_answer(channel: Any) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    killed_in(lambda: next(channel.consume(queue)))
    channel.cancel()
    channel.basic_publish("", queue, b"right")
    graftlet.sleep(0.1)
    assert channel.basic_get(queue, auto_ack=True)[2] == b"right"


def test_killed_in_the_middle_of_a_message(channel: Any) -> None:
    """What pika has read of it is kept in the connection: who reads next reads the rest."""
    queue = channel.queue_declare("graftlet-pika-half", auto_delete=True).method.queue
    got: list[bytes] = []
    with Relay(RABBITMQ.address()) as relay:
        connection = connect(relay.address)
        mine = connection.channel()
        mine.basic_consume(queue, lambda *message: got.append(message[-1]), auto_ack=True)
        relay.hold(after=100)
        for body in (b"x" * 1000, b"y" * 1000):
            channel.basic_publish("", queue, body)
        killed_in(
            lambda: connection.process_data_events(time_limit=PATIENCE), lambda: relay.holding
        )
        assert not got
        relay.release()
        while len(got) < 2:
            connection.process_data_events(time_limit=PATIENCE)
        assert got == [b"x" * 1000, b"y" * 1000]
        assert relay.connections == 1
        connection.close()
