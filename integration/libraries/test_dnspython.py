"""dnspython against a name server of its own making, on UDP and TCP."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    PATIENCE,
    Library,
    Relay,
    as_soon_as,
    killed_in,
    library,
    overlapping,
    together,
)

LIBRARY = Library(
    name="dnspython",
    package="dnspython",
    how="sockets",
    know="",
    server="a small one of the tests' own",
)

dns = library("dns", "dnspython")
for name in ("message", "resolver", "rrset", "rdatatype", "query", "exception"):
    library(f"dns.{name}", "dnspython")


class NameServer:
    """Answers after 0.3 s; a name that begins with ``silent`` is not answered."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._socket.bind(("127.0.0.1", self.port))
        self._serving = [graftlet.spawn(self._serve), graftlet.spawn(self._accept)]

    def close(self) -> None:
        graftlet.killall(self._serving)
        self._socket.close()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            data, sender = self._socket.recvfrom(4096)
            threading.Thread(target=self._answer_datagram, args=(data, sender)).start()

    def _answer_datagram(self, data: bytes, sender: Any) -> None:
        if answer := self._answer(data):
            self._socket.sendto(answer, sender)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            self._serving.append(graftlet.spawn(self._serve_stream, connection))

    def _serve_stream(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(2):  # RFC 1035, 4.2.2
                if answer := self._answer(stream.read(*struct.unpack("!H", head))):
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, data: bytes) -> bytes | None:
        question = dns.message.from_wire(data)
        name = question.question[0].name
        if name.labels[0].startswith(b"silent"):
            return None
        time.sleep(0.3)
        answer = dns.message.make_response(question)
        number = int(name.labels[0])
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", f"192.0.2.{number}"))
        return bytes(answer.to_wire())


@pytest.fixture
def resolver() -> Iterator[Any]:
    server = NameServer()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = server.port
    resolver.lifetime = PATIENCE
    yield resolver
    server.close()


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_queries_overlap(resolver: Any, tcp: bool) -> None:
    def resolve(number: int) -> str:
        return str(resolver.resolve(f"{number}.example.", "A", tcp=tcp)[0])

    with overlapping(0.3):
        assert together(20, resolve) == [f"192.0.2.{number}" for number in range(20)]


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_its_own_time_out(resolver: Any, tcp: bool) -> None:
    with overlapping(0.5), pytest.raises(dns.resolver.LifetimeTimeout):
        resolver.resolve("silent.example.", "A", lifetime=0.5, tcp=tcp)


def test_connection_is_reset(resolver: Any) -> None:
    question = dns.message.make_query("silent.example.", "A")
    with Relay(("127.0.0.1", resolver.port)) as relay:
        as_soon_as(lambda: relay.connections, relay.reset)
        with pytest.raises((OSError, EOFError)):
            dns.query.tcp(question, relay.address[0], port=relay.address[1], timeout=PATIENCE)


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_killed_in_a_query(resolver: Any, tcp: bool) -> None:
    killed_in(lambda: resolver.resolve("silent.example.", "A", tcp=tcp))
    assert str(resolver.resolve("7.example.", "A", tcp=tcp)[0]) == "192.0.2.7"
