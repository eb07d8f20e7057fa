"""pika against RabbitMQ: its blocking connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    RABBITMQ,
    Library,
    Relay,
    killed_in,
    library,
    no_stall,
    together,
)

LIBRARY = Library(
    name="pika",
    package="pika",
    tested="1.4.4",
    how="sockets",
    know="As under threads, a `BlockingConnection` belongs to one thread; heartbeats are sent while that one is in a "
    "call of pika.",
    server="RabbitMQ 3.10",
)

pika = library("pika", "pika")


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
        for method, _, body in mine.consume(queue, inactivity_timeout=1):
            if method is None:
                break
            got.append(int(body))
            mine.basic_ack(method.delivery_tag)
        connection.close()

    consumers = threading.Thread(target=together, args=(5, consume))
    consumers.start()
    together(5, produce)
    consumers.join()
    assert sorted(got) == list(range(100))
    channel.queue_delete(queue)


def test_heartbeats_keep_a_connection_alive() -> None:
    """One second each: without them the server closes the connection after two."""

    def stay(number: int) -> bool:
        connection = connect(heartbeat=1)
        connection.process_data_events(time_limit=4)
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
            connection.process_data_events(time_limit=20)


def test_connection_is_reset() -> None:
    with Relay(RABBITMQ.address()) as relay:
        connection = connect(relay.address)
        graftlet.spawn_later(0.2, relay.reset)
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            connection.process_data_events(time_limit=10)


def test_killed_while_it_waits_for_an_answer(channel: Any) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    killed_in(lambda: next(channel.consume(queue)))
    channel.cancel()
    channel.basic_publish("", queue, b"right")
    graftlet.sleep(0.1)
    assert channel.basic_get(queue, auto_ack=True)[2] == b"right"
