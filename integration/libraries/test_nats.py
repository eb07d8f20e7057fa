"""nats-py, which is asyncio, in a patched process: an event loop in a thread, asked by other threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    NATS,
    PATIENCE,
    Library,
    Relay,
    eventually,
    killed_in,
    library,
    no_stall,
    overlapping,
    together,
)
from integration.libraries.natsclient import Client

LIBRARY = Library(
    name="nats-py",
    package="nats-py",
    how="asyncio, on sockets",
    know="There is no maintained synchronous client: run nats-py's event loop in a thread of its own, and ask it with "
    "`asyncio.run_coroutine_threadsafe`.",
    server="NATS 2.9",
)

nats = library("nats", "nats-py")


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


async def answer_later(message: Any) -> None:
    await asyncio.sleep(0.3)
    await message.respond(message.data * 2)


async def answer(message: Any) -> None:
    asyncio.create_task(answer_later(message))  # noqa: RUF006 -- the test waits for its answer


def test_requests_overlap(client: Client) -> None:
    client.run(client.connection.subscribe("graftlet.twice", cb=answer))
    with overlapping(0.3):
        answers = together(20, lambda number: client.ask("graftlet.twice", b"%d" % number))
    assert answers == [b"%d%d" % (number, number) for number in range(20)]


def test_publish_and_subscribe(client: Client) -> None:
    subscription = client.run(client.connection.subscribe("graftlet.numbers"))
    client.run(client.connection.flush())
    with no_stall():
        together(10, lambda n: client.run(client.connection.publish("graftlet.numbers", b"%d" % n)))
        got = [int(client.run(subscription.next_msg(timeout=PATIENCE)).data) for _ in range(10)]
    assert sorted(got) == list(range(10))


def test_its_own_time_out(client: Client) -> None:
    subscription = client.run(client.connection.subscribe("graftlet.nothing"))
    with overlapping(0.3), pytest.raises(nats.errors.TimeoutError):
        client.run(subscription.next_msg(timeout=0.3))


async def ignore(error: Exception) -> None:
    """What nats-py would print otherwise."""


def test_connection_is_reset(client: Client) -> None:
    """The client connects again by itself, and hears then what it has asked for before; or it is closed."""
    asked: list[Any] = []

    async def keep(message: Any) -> None:
        asked.append(message)

    client.run(client.connection.subscribe("graftlet.later", cb=keep))
    client.run(client.connection.flush())
    with (
        Relay(NATS.address()) as relay,
        Client(relay.address, reconnect_time_wait=0.1, error_cb=ignore) as mine,
    ):
        asking = [graftlet.spawn(mine.ask, "graftlet.later", b"%d" % n) for n in range(10)]
        eventually(lambda: len(asked) == 10)
        with no_stall():
            relay.reset()
            eventually(lambda: relay.connections == 2 and mine.connection.is_connected)
            mine.run(mine.connection.flush())
            for message in asked:
                client.run(message.respond(message.data * 2))
            assert [each.get() for each in asking] == [b"%d%d" % (n, n) for n in range(10)]
    with (
        Relay(NATS.address()) as relay,
        Client(relay.address, allow_reconnect=False, error_cb=ignore) as mine,
    ):
        relay.reset()
        eventually(lambda: mine.connection.is_closed)
        with pytest.raises(nats.errors.ConnectionClosedError):
            mine.ask("graftlet.twice", b"3")


def test_killed_in_a_request(client: Client) -> None:
    """The answer to it comes all the same, and nobody gets it."""
    asked: list[Any] = []

    async def keep(message: Any) -> None:
        asked.append(message)

    client.run(client.connection.subscribe("graftlet.twice", cb=answer))
    client.run(client.connection.subscribe("graftlet.later", cb=keep))
    killed_in(lambda: client.ask("graftlet.later", b"3"), lambda: asked)
    client.run(asked[0].respond(b"wrong"))
    numbers = together(20, lambda number: client.ask("graftlet.twice", b"%d" % number))
    assert numbers == [b"%d%d" % (number, number) for number in range(20)]


def test_killed_in_its_event_loop(client: Client) -> None:
    """A greenlet with a loop of its own takes the loop and the connection with it."""
    asked: list[Any] = []

    async def keep(message: Any) -> None:
        asked.append(message)

    client.run(client.connection.subscribe("graftlet.later", cb=keep))
    client.run(client.connection.flush())
    connections: list[Any] = []

    async def ask() -> None:
        async with contextlib.AsyncExitStack() as stack:
            mine = await nats.connect("nats://{}:{}".format(*NATS.address()))
            stack.push_async_callback(mine.close)
            connections.append(mine)
            await mine.request("graftlet.later", b"1", timeout=PATIENCE)

    killed_in(lambda: asyncio.run(ask()), lambda: asked)
    assert connections[0].is_closed
