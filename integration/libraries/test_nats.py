"""nats-py, which is asyncio, in a patched process: an event loop in a thread, asked by other threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from integration.libraries.harness import NATS, Library, library, no_stall, overlapping, together

LIBRARY = Library(
    name="nats-py",
    package="nats-py",
    tested="2.16.0",
    how="asyncio, on sockets",
    know="There is no maintained synchronous client: run nats-py's event loop in a thread of its own, and ask it with "
    "`asyncio.run_coroutine_threadsafe`.",
    server="NATS 2.9",
)

nats = library("nats", "nats-py")


class Client:
    """A synchronous face of nats-py."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.connection = self.run(nats.connect("nats://{}:{}".format(*NATS.address())))

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def close(self) -> None:
        self.run(self.connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.close()


async def answer_later(message: Any) -> None:
    await asyncio.sleep(0.3)
    await message.respond(message.data * 2)


async def answer(message: Any) -> None:
    asyncio.create_task(answer_later(message))  # noqa: RUF006 -- the test waits for its answer


def test_requests_overlap(client: Client) -> None:
    client.run(client.connection.subscribe("graftlet.twice", cb=answer))

    def ask(number: int) -> bytes:
        message = client.run(client.connection.request("graftlet.twice", b"%d" % number, timeout=5))
        return bytes(message.data)

    with overlapping(0.3):
        assert together(20, ask) == [b"%d%d" % (number, number) for number in range(20)]


def test_publish_and_subscribe(client: Client) -> None:
    subscription = client.run(client.connection.subscribe("graftlet.numbers"))
    client.run(client.connection.flush())
    with no_stall():
        together(10, lambda n: client.run(client.connection.publish("graftlet.numbers", b"%d" % n)))
        got = [int(client.run(subscription.next_msg(timeout=5)).data) for _ in range(10)]
    assert sorted(got) == list(range(10))


def test_its_own_time_out(client: Client) -> None:
    subscription = client.run(client.connection.subscribe("graftlet.nothing"))
    with overlapping(0.3), pytest.raises(nats.errors.TimeoutError):
        client.run(subscription.next_msg(timeout=0.3))
