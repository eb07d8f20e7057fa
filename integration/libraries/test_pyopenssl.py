"""pyOpenSSL on blocking sockets: OpenSSL in Python's cryptography package, against module ssl."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator

import pytest

import graftlet
from integration.libraries.harness import (
    Library,
    Relay,
    killed_in,
    library,
    no_stall,
    overlapping,
    together,
)
from integration.libraries.webserver import CERTIFICATE

LIBRARY = Library(
    name="pyOpenSSL",
    package="pyOpenSSL",
    how="adapter: OpenSSL on a descriptor that does not block meanwhile",
    know="On a socket with a time-out pyOpenSSL says `WantReadError`, as ever, and leaves the waiting to the program. "
    "DTLS (datagrams) on a blocking socket blocks.",
    server="module `ssl`",
)

openssl = library("OpenSSL.SSL", "pyOpenSSL")


@contextlib.contextmanager
def echo(late: float = 0) -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets, ``late`` seconds later; four bytes say how much."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)

    def serve(plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            if late:
                time.sleep(late)
            with context.wrap_socket(plain, server_side=True) as tls, tls.makefile("rwb") as stream:
                while head := stream.read(4):
                    body = stream.read(*struct.unpack("!I", head))
                    if late:
                        time.sleep(late)
                    stream.write(body)
                    stream.flush()

    def accept() -> None:
        while True:
            accepted.append(listener.accept()[0])
            serving.append(graftlet.spawn(serve, accepted[-1]))

    accepted: list[socket.socket] = []
    serving: list[graftlet.Greenlet] = []
    serving.append(graftlet.spawn(accept))
    try:
        yield listener.getsockname()[:2]
    finally:
        graftlet.killall(serving)
        for each in (listener, *accepted):
            each.close()


class Client:
    """A connection on a blocking socket, as old programs make it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.connection = openssl.Connection(
            openssl.Context(openssl.TLS_CLIENT_METHOD), self.socket
        )
        self.connection.set_connect_state()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def send(self, body: bytes) -> None:
        self.connection.sendall(struct.pack("!I", len(body)) + body)

    def receive(self, size: int) -> bytes:
        got = bytearray(size)
        count = 0
        with memoryview(got) as view:
            while count < size:
                count += self.connection.recv_into(view[count:])
        return bytes(got)

    def ask(self, body: bytes) -> bytes:
        self.send(body)
        return self.receive(len(body))


def test_waits_overlap() -> None:
    with echo(late=0.2) as address:

        def ask(number: int) -> bytes:
            with Client(address) as client:
                client.connection.do_handshake()
                answer = client.ask(b"%d" % number)
                assert client.socket.getblocking()
                client.connection.shutdown()
                return answer

        with overlapping(0.4):
            assert together(10, ask) == [b"%d" % number for number in range(10)]


def test_much_to_send() -> None:
    """More than the kernel takes at once: ``sendall`` waits until the server has read it."""
    body = bytes(range(256)) * 10_000
    with echo() as address, Client(address) as client, no_stall():
        sending = graftlet.spawn(client.send, body)
        assert client.receive(len(body)) == body
        sending.get()


def test_one_thread_reads_while_another_writes() -> None:
    with echo() as address, Client(address) as client:
        client.connection.do_handshake()
        answers: list[bytes] = []
        reader = threading.Thread(target=lambda: answers.append(client.receive(4)))
        reader.start()
        time.sleep(0.1)
        client.send(b"late")
        reader.join()
        assert answers == [b"late"]


def test_a_socket_with_a_time_out_says_what_it_wants() -> None:
    with echo(late=0.2) as address, Client(address) as client:
        client.socket.settimeout(5)
        with pytest.raises(openssl.WantReadError):
            client.connection.do_handshake()


def test_time_out_of_the_kernel() -> None:
    with echo() as address, Client(address) as client:
        client.connection.do_handshake()
        client.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 300_000)
        )
        with overlapping(0.3), pytest.raises(openssl.WantReadError):
            client.connection.recv(1)


def test_faults() -> None:
    with echo() as address, Relay(address) as relay:
        with Client(relay.address) as client:
            assert client.ask(b"here") == b"here"
            graftlet.spawn_later(0.1, relay.reset)
            with pytest.raises(openssl.SysCallError):
                client.connection.recv(1)
        with Client(address) as client:
            assert client.ask(b"here") == b"here"
            killed_in(lambda: client.connection.recv(1))
            assert client.socket.getblocking()
            assert client.ask(b"still here") == b"still here"


def test_killed_in_the_handshake() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Client(listener.getsockname()[:2]) as client,
    ):
        killed_in(client.connection.do_handshake)
