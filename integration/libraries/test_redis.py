"""redis-py against Redis."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    PATIENCE,
    REDIS,
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
    name="redis-py",
    package="redis",
    how="sockets",
    know="A connection whose greenlet was killed in a command is disconnected before it is used again.",
    server="Redis 7",
)

redis = library("redis", "redis")


def connect(address: tuple[str, int] | None = None, **options: Any) -> Any:
    host, port = address or REDIS.address()
    return redis.Redis(
        host=host, port=port, db=9, client_name="graftlet", decode_responses=True, **options
    )


@pytest.fixture
def client() -> Iterator[Any]:
    with connect() as client:
        client.flushdb()
        yield client
        eventually(lambda: len(ours(client)) <= 1)
        client.flushdb()


def ours(client: Any) -> list[Any]:
    """Our connections, as the server sees them."""
    return [each for each in client.client_list() if each["name"] == "graftlet"]


def test_blocking_pops_overlap(client: Any) -> None:
    with connect() as mine, overlapping(1):
        assert together(20, lambda number: mine.blpop(f"q{number}", timeout=1)) == [None] * 20


def test_queue(client: Any) -> None:
    """A list as a queue between threads: each item arrives once."""

    def consume(number: int) -> list[int]:
        got = []
        while (item := client.brpop("queue", timeout=PATIENCE)[1]) != "end":
            got.append(int(item))
        return got

    def feed() -> None:
        for number in range(200):
            client.lpush("queue", number)
        for _ in range(5):
            client.lpush("queue", "end")

    feeder = threading.Thread(target=feed)
    feeder.start()
    with no_stall():
        got = together(5, consume)
    feeder.join()
    assert sorted(itertools.chain.from_iterable(got)) == list(range(200))
    client.connection_pool.disconnect()


def test_pipelines_and_transactions(client: Any) -> None:
    def add(number: int) -> list[Any]:
        with client.pipeline() as pipe:
            for _ in range(20):
                pipe.incr("counter")
            return list(pipe.execute())

    together(10, add)
    assert client.get("counter") == "200"
    client.connection_pool.disconnect()


def test_publish_and_subscribe(client: Any) -> None:
    heard = []

    def listen() -> None:
        with client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe("news")
            for message in channel.listen():
                heard.append(message["data"])
                if message["data"] == "end":
                    break

    thread = threading.Thread(target=listen)
    thread.start()
    eventually(lambda: client.pubsub_numsub("news")[0][1] == 1)
    for text in ("one", "two", "end"):
        client.publish("news", text)
    thread.join()
    assert heard == ["one", "two", "end"]
    client.connection_pool.disconnect()


def test_lock(client: Any) -> None:
    total = [0]

    def add(number: int) -> None:
        with client.lock("lock", timeout=10, sleep=0.01):
            before = total[0]
            time.sleep(0.01)
            total[0] = before + 1

    together(10, add)
    assert total == [10]
    client.connection_pool.disconnect()


def test_pool_is_exhausted(client: Any) -> None:
    pool = redis.BlockingConnectionPool.from_url(
        "redis://{}:{}/9".format(*REDIS.address()), max_connections=1, timeout=0.3
    )
    with redis.Redis.from_pool(pool) as mine:
        busy = graftlet.spawn(mine.blpop, "late", PATIENCE)
        eventually(pool.pool.empty)
        with overlapping(0.3), pytest.raises(redis.ConnectionError, match="No connection"):
            mine.get("x")
        client.lpush("late", "here")
        assert busy.get() == (b"late", b"here")


def test_server_kills_a_connection(client: Any) -> None:
    # No retries: otherwise redis-py just connects again.
    with connect(retry=None) as mine:
        number = mine.client_id()
        killer = graftlet.spawn_later(0.2, client.client_kill_filter, _id=number)
        with pytest.raises(redis.ConnectionError):
            mine.blpop("nothing", timeout=PATIENCE)
        killer.get()
    client.connection_pool.disconnect()


def test_faults(client: Any) -> None:
    with Relay(REDIS.address()) as relay, connect(relay.address, retry=None) as mine:
        assert mine.ping()
        graftlet.spawn_later(0.1, relay.reset)
        with pytest.raises(redis.ConnectionError):
            mine.blpop("nothing", timeout=PATIENCE)
    with (
        Relay(REDIS.address()) as relay,
        connect(relay.address, retry=None, socket_timeout=1) as mine,
    ):
        assert mine.ping()
        relay.silent()
        with overlapping(1), pytest.raises(redis.TimeoutError):
            mine.ping()


def test_killed_in_a_command(client: Any) -> None:
    with connect(max_connections=1) as mine:
        mine.set("right", "right")
        killed_in(lambda: mine.blpop("queue", timeout=PATIENCE))
        client.lpush("queue", "wrong")
        assert mine.get("right") == "right"


def test_killed_in_the_middle_of_an_answer(client: Any) -> None:
    client.set("long", "x" * 100_000)
    client.set("right", "right")
    with Relay(REDIS.address()) as relay, connect(relay.address, max_connections=1) as mine:
        assert mine.get("right") == "right"
        relay.hold(after=1000)
        killed_in(lambda: mine.get("long"), lambda: relay.holding)
        relay.release()
        assert mine.get("right") == "right"
        assert relay.connections == 2
