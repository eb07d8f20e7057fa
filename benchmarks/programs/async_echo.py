"""The echo of `echo.py` written for asyncio, for orientation: streams, or raw protocols.

The loop is asyncio's own or uvloop's; server and clients share it, as they share the process there.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import socket
import time
from functools import partial
from typing import Any, cast

from _measure import Report, arguments


class EchoServer(asyncio.Protocol):
    """Send back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are registered nowhere.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoClient(asyncio.Protocol):
    """Send the message, and again as soon as its echo is complete."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.received = b""
        self.left = 0
        self.right = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    async def exchange(self, messages: int) -> int:
        self.left, self.right = messages, 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport.write(self.message)
        await self.done
        return self.right

    def data_received(self, data: bytes) -> None:
        if self.received:
            data = self.received + data
        if len(data) < len(self.message):
            self.received = data
            return
        self.received = b""
        self.right += data == self.message
        self.left -= 1
        if self.left:
            self.transport.write(self.message)
        else:
            self.done.set_result(None)

    def close(self) -> None:
        self.transport.close()


class StreamClient:
    """The same over a pair of streams."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
    ) -> None:
        self.reader, self.writer, self.message = reader, writer, message

    async def exchange(self, messages: int) -> int:
        reader, writer, message = self.reader, self.writer, self.message
        right = 0
        for _ in range(messages):
            writer.write(message)
            await writer.drain()
            right += await reader.readexactly(len(message)) == message
        return right

    def close(self) -> None:
        self.writer.close()


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The stream server's side of a connection."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def run(given: Any) -> None:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    host, port = listener.getsockname()
    clients: list[EchoClient | StreamClient] = []
    if given.style == "protocol":
        server = await loop.create_server(EchoServer, sock=listener)
    else:
        server = await asyncio.start_server(handle, sock=listener)
    for number in range(given.connections):
        message = (b"%08d" % number * (given.size // 8 + 1))[: given.size]
        if given.style == "protocol":
            _, client = await loop.create_connection(partial(EchoClient, message), host, port)
            clients.append(client)
        else:
            clients.append(StreamClient(*await asyncio.open_connection(host, port), message))

    async def together(messages: int) -> tuple[float, int]:
        gc.collect()
        begin = time.perf_counter()
        right = await asyncio.gather(*(client.exchange(messages) for client in clients))
        elapsed = time.perf_counter() - begin
        return elapsed / (messages * len(clients)), sum(right)

    await together(max(1, given.messages // 10))
    runs = [await together(given.messages) for _ in range(given.repeats)]
    for each in clients:
        each.close()
    server.close()
    await asyncio.sleep(0.01)
    report = Report("async_echo")
    report.add("echo", [value for value, _ in runs], given.connections * given.messages)
    facts = {"kind": given.style, "loop": type(loop).__module__.partition(".")[0]}
    report.finish({"echoed": sum(right for _, right in runs)}, facts)


def main() -> None:
    given = arguments(
        connections=100, messages=100, size=64, repeats=5, loop="asyncio", style="streams"
    )
    loop_module = importlib.import_module(given.loop)
    loop = loop_module.new_event_loop()
    try:
        loop.run_until_complete(run(given))
    finally:
        loop.close()


if __name__ == "__main__":
    main()
