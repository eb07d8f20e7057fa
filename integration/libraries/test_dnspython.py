"""dnspython against a name server of its own making, on UDP and TCP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import Library, library, overlapping, together

LIBRARY = Library(
    name="dnspython",
    package="dnspython",
    tested="2.9.2",
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
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._serving = graftlet.spawn(self._serve)

    def close(self) -> None:
        self._serving.kill(block=True)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, sender = self._socket.recvfrom(4096)
            threading.Thread(target=self._answer, args=(data, sender)).start()

    def _answer(self, data: bytes, sender: Any) -> None:
        question = dns.message.from_wire(data)
        name = question.question[0].name
        if not name.labels[0].startswith(b"silent"):
            time.sleep(0.3)
            answer = dns.message.make_response(question)
            number = int(name.labels[0])
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", f"192.0.2.{number}"))
            self._socket.sendto(answer.to_wire(), sender)


@pytest.fixture
def resolver() -> Iterator[Any]:
    server = NameServer()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = server.port
    yield resolver
    server.close()


def test_queries_overlap(resolver: Any) -> None:
    def resolve(number: int) -> str:
        return str(resolver.resolve(f"{number}.example.", "A")[0])

    with overlapping(0.3):
        assert together(20, resolve) == [f"192.0.2.{number}" for number in range(20)]


def test_its_own_time_out(resolver: Any) -> None:
    with overlapping(0.5), pytest.raises(dns.resolver.LifetimeTimeout):
        resolver.resolve("silent.example.", "A", lifetime=0.5)
