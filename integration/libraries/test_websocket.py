"""websocket-client against a server in wsgiref's manner: a few lines on plain sockets."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
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
    name="websocket-client",
    package="websocket-client",
    how="sockets",
    know="",
    server="a small one of the tests' own",
)

websocket = library("websocket", "websocket-client")


def serve(connection: socket.socket) -> None:
    """Send back each message; one that is a number of seconds later (RFC 6455, short frames only)."""
    with connection, connection.makefile("rb") as stream:
        key = b""
        while line := stream.readline().strip():
            name, _, value = line.partition(b": ")
            if name.lower() == b"sec-websocket-key":
                key = value
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        while head := stream.read(2):
            size = head[1] & 127
            mask = stream.read(4)
            text = bytes(b ^ mask[i % 4] for i, b in enumerate(stream.read(size)))
            if head[0] & 15 == 1:
                time.sleep(float(text))
            connection.sendall(struct.pack("BB", head[0], size) + text)
            if head[0] & 15 == 8:
                break


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=guarded, args=(connection,)))
            threads[-1].start()

    def guarded(connection: socket.socket) -> None:
        try:
            serve(connection)
        except OSError:
            connection.close()

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    accepting.join()
    for thread in threads:
        thread.join()


def connect(address: tuple[str, int], **options: Any) -> Any:
    return websocket.create_connection(f"ws://{address[0]}:{address[1]}/", **options)


def test_messages_overlap() -> None:
    with server() as address:
        connections = [connect(address) for _ in range(10)]

        def ask(number: int) -> str:
            connections[number].send("0.4")
            return str(connections[number].recv())

        with overlapping(0.4):
            assert together(10, ask) == ["0.4"] * 10
        for each in connections:
            each.close()


def test_application_with_pings() -> None:
    with server() as address:
        heard: list[str] = []
        pongs: list[Any] = []
        app = websocket.WebSocketApp(
            f"ws://{address[0]}:{address[1]}/",
            on_open=lambda app: app.send("0.1"),
            on_message=lambda app, text: heard.append(text),
            on_pong=lambda app, data: pongs.append(data),
        )
        thread = threading.Thread(
            target=app.run_forever, kwargs={"ping_interval": 1.5, "ping_timeout": 1.4}
        )
        thread.start()
        with no_stall():
            eventually(lambda: len(pongs) >= 2)
        app.close()
        thread.join()
        assert heard == ["0.1"]


def test_faults() -> None:
    with server() as address, Relay(address) as relay:
        connection = connect(relay.address)
        connection.settimeout(0.3)
        connection.send("1")
        with overlapping(0.3), pytest.raises(websocket.WebSocketTimeoutException):
            connection.recv()
        connection.close(timeout=2)
        connection = connect(relay.address)
        graftlet.spawn_later(0.2, relay.reset)
        with pytest.raises((ConnectionResetError, websocket.WebSocketConnectionClosedException)):
            connection.recv()
        connection.close()


def test_application_connects_again() -> None:
    with server() as address, Relay(address) as relay:
        heard: list[str] = []
        app = websocket.WebSocketApp(
            f"ws://{relay.address[0]}:{relay.address[1]}/",
            on_open=lambda app: app.send("0"),
            on_message=lambda app, text: heard.append(text),
        )
        thread = threading.Thread(target=app.run_forever, kwargs={"reconnect": 1})
        thread.start()
        with no_stall():
            eventually(lambda: heard == ["0"])
            relay.reset()
            eventually(lambda: heard == ["0", "0"])
        assert relay.connections == 2
        app.close()
        thread.join()


def test_killed_while_it_waits() -> None:
    with server() as address:
        connection = connect(address)
        killed_in(connection.recv)
        connection.send("0")
        assert connection.recv() == "0"
        connection.close()


def test_killed_in_the_middle_of_a_message() -> None:
    """What has been read of it is kept in the connection: who reads next gets the whole message."""
    text = "0." + "0" * 98
    with server() as address, Relay(address) as relay:
        connection = connect(relay.address)
        relay.hold(after=10)
        connection.send(text)
        killed_in(connection.recv, lambda: relay.holding)
        relay.release()
        assert connection.recv() == text
        connection.close()
