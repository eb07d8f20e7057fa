"""``ssl.SSLSocket``: sockets wrapped in the mode under test, and (``-old``) before patching."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import select
import socket
import ssl
import struct
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.patch.harness.tools import (
    LONG,
    SHORT,
    Background,
    kind,
    listening,
    outcome,
    receive,
    settle,
    tcp_pair,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: An ``ssl.SSLSocket``. Its stubs lack some attributes and call two of its methods deprecated.
    Tls = Any
    Pair = tuple[Tls, Tls]

PEM: Final = Path(__file__).parents[2] / "localhost.pem"
MEGABYTE: Final = b"0123456789abcdef" * 65536


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(PEM))


def tls_pair(
    client: ssl.SSLContext | None = None, server: ssl.SSLContext | None = None, **options: Any
) -> Pair:
    """Both ends of a TLS connection."""
    a, b = tcp_pair()
    other = Background((server or server_context()).wrap_socket, b, server_side=True, **options)
    first = (client or client_context()).wrap_socket(a, server_hostname="localhost", **options)
    return first, other.result()


#: For each case on sockets that were made before patching: those sockets.
_old: Final[dict[str, Pair]] = {}


def prepare() -> None:
    for name in _old_cases:
        _old[name] = tls_pair()


_old_cases: Final[list[str]] = []


def new_and_old(function: Callable[[Tls, Tls], Any]) -> None:
    """Make two cases of a function that takes both ends of a connection."""
    name = function.__name__

    def new() -> Any:
        a, b = tls_pair()
        with a, b:
            return function(a, b)

    def old() -> Any:
        a, b = _old.pop(name)
        with a, b:
            return function(a, b)

    globals()[f"case_{name}-new"] = new
    globals()[f"case_{name}-old"] = old
    _old_cases.append(name)


@contextlib.contextmanager
def tls_listener(context: ssl.SSLContext | None = None, **options: Any) -> Iterator[ssl.SSLSocket]:
    with (
        listening() as listener,
        (context or server_context()).wrap_socket(listener, server_side=True, **options) as tls,
    ):
        yield tls


# -- Reading and writing


@new_and_old
def every_method(a: Tls, b: Tls) -> Any:
    got: list[Any] = []
    a.sendall(b"sendall")
    got.append(b.recv(100))
    got.append(b.send(b"send"))
    got.append(a.read(100))
    got.append(a.write(bytearray(b"write")))
    buffer = bytearray(20)
    got += [b.recv_into(buffer), bytes(buffer)]
    b.sendall(memoryview(b"0123456789"))
    got += [a.recv(3), a.pending(), a.read(4, buffer), bytes(buffer), a.pending(), a.recv(9)]
    b.sendall(b"")
    b.sendall(b"one\ntwo\n")
    with a.makefile("rw", newline="") as file:
        got += [file.readline(), file.readline()]
        file.write("three")
    got.append(b.recv(100))
    got.append(a.recv(0))
    for wrong in (
        lambda: a.recv(1, socket.MSG_PEEK),
        lambda: a.send(b"x", 1),
        lambda: a.sendall("text"),
        lambda: a.send("text"),
        lambda: a.recv(-1),
        lambda: a.recvfrom(1),
        lambda: a.sendto(b"x", ("127.0.0.1", 1)),
        lambda: a.recvmsg(1),
        a.dup,
    ):
        got.append(outcome(wrong))
    return got


@new_and_old
def readers_wait(a: Tls, b: Tls) -> Any:
    got = []
    for text in (b"one", b"two", b"three"):
        reader = Background(a.recv, 100)
        settle()
        b.sendall(text)
        got.append(reader.result())
    return got


@new_and_old
def several_records_at_once(a: Tls, b: Tls) -> Any:
    a.settimeout(SHORT)
    for text in (b"first", b"second", b"third"):
        b.sendall(text)
    return [a.recv(100), a.recv(2), a.recv(100), a.recv(100), outcome(a.recv, 100)]


@new_and_old
def buffer_smaller_than_said(a: Tls, b: Tls) -> Any:
    """A read that fills its buffer is not short, whatever length it was given."""
    a.settimeout(LONG)
    reader = Background(a.recv, 100)
    settle()
    b.sendall(b"x")
    reader.result()
    b.sendall(b"0123456789")
    buffer = bytearray(4)
    return [a.read(100, buffer), a.read(100, buffer), a.recv(100)]


@new_and_old
def both_ways_at_once(a: Tls, b: Tls) -> Any:
    a.settimeout(LONG)
    writers = [Background(end.sendall, MEGABYTE) for end in (a, b)]
    readers = [Background(receive, end, len(MEGABYTE)) for end in (a, b)]
    return [writer.result() for writer in writers] + [
        reader.result() == MEGABYTE for reader in readers
    ]


@new_and_old
def many_exchanges(a: Tls, b: Tls) -> Any:
    def answer() -> int:
        count = 0
        while data := b.recv(4096):
            b.sendall(data)
            count += 1
        return count

    server = Background(answer)
    right = 0
    for number in range(200):
        text = b"%d " % number * (number % 7 * 50 + 1)
        a.sendall(text)
        right += receive(a, len(text)) == text
    a.close()
    return right, server.result()


@new_and_old
def file_sent(a: Tls, b: Tls) -> Any:
    with tempfile.TemporaryFile() as file:
        file.write(MEGABYTE)
        file.seek(0)
        sender = Background(a.sendfile, file, 10)
        got = receive(b, len(MEGABYTE) - 10)
        return sender.result(), got == MEGABYTE[10:], file.tell()


def case_half_a_record() -> Any:
    """A read must not wait inside OpenSSL for the rest of a record."""
    a, b = tcp_pair()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context().wrap_bio(incoming, outgoing, server_side=True)

    def serve() -> None:
        for operation in (server.do_handshake, lambda: server.write(b"in pieces")):
            while True:
                try:
                    operation()
                    break
                except ssl.SSLWantReadError:
                    b.sendall(outgoing.read())
                    incoming.write(b.recv(65536))
        while piece := outgoing.read(40):
            b.sendall(piece)
            settle(0.0005)

    with b:
        other = Background(serve)
        with client_context().wrap_socket(a, server_hostname="localhost") as tls:
            return tls.recv(100), other.result()


# -- Time-outs and modes


@new_and_old
def read_times_out(a: Tls, b: Tls) -> Any:
    a.settimeout(SHORT)
    got = [outcome(a.recv, 10), outcome(a.read, 10), outcome(a.recv_into, bytearray(5))]
    b.sendall(b"later")
    return [*got, a.recv(10), outcome(a.recv, 10), a.gettimeout()]


@new_and_old
def write_times_out(a: Tls, b: Tls) -> Any:
    a.settimeout(SHORT)
    return [outcome(a.sendall, MEGABYTE * 16), a.gettimeout()]


@new_and_old
def unwrap_times_out(a: Tls, b: Tls) -> Any:
    a.settimeout(SHORT)
    return [outcome(a.unwrap), a.gettimeout()]


@new_and_old
def non_blocking(a: Tls, b: Tls) -> Any:
    a.setblocking(False)
    got = [outcome(a.recv, 10), outcome(a.read, 10, bytearray(9)), outcome(a.unwrap)]
    b.setblocking(False)
    # As `fill` in tools.py: the kernel may find room for more later on.
    pauses = [0.25, 0.05, 0]
    while pauses:
        time.sleep(pauses.pop())
        with contextlib.suppress(ssl.SSLWantWriteError):
            while True:
                b.send(b"x" * 65536)
                pauses = [0.25, 0.05]
    return [*got, outcome(b.send, b"x" * 65536), a.gettimeout(), a.getblocking(), a.timeout]


@new_and_old
def modes(a: Tls, b: Tls) -> Any:
    got: list[Any] = []
    for change in (
        lambda: a.settimeout(None),
        lambda: a.settimeout(2.5),
        lambda: a.settimeout(0),
        lambda: a.setblocking(True),
        lambda: a.setblocking(False),
        lambda: a.settimeout(-1),
        lambda: a.settimeout("1"),
    ):
        got += [outcome(change), a.gettimeout(), a.getblocking()]
    a.setblocking(True)
    reader = Background(a.recv, 10)
    settle()
    got += [a.gettimeout(), a.getblocking()]
    b.sendall(b"x")
    return [*got, reader.result()]


def case_handshake_times_out() -> Any:
    a, b = tcp_pair()
    with a, b:
        a.settimeout(SHORT)
        b.settimeout(SHORT)
        return [
            outcome(client_context().wrap_socket, a, server_hostname="localhost"),
            outcome(server_context().wrap_socket, b, server_side=True),
        ]


def case_handshake_without_blocking() -> Any:
    a, b = tcp_pair()
    a.setblocking(False)
    got = [kind(client_context().wrap_socket, a.dup(), server_hostname="localhost")]
    tls = client_context().wrap_socket(
        a, server_hostname="localhost", do_handshake_on_connect=False
    )
    got.append(outcome(tls.do_handshake))
    other = Background(server_context().wrap_socket, b, server_side=True)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            select.select([tls], [], [])
    with tls, other.result() as server:
        server.sendall(b"x")
        select.select([tls], [], [])
        while True:
            try:
                return [*got, tls.recv(10), tls.gettimeout()]
            except ssl.SSLWantReadError:
                select.select([tls], [], [])


def case_handshake_that_blocks_once() -> Any:
    a, b = tcp_pair()
    other = Background(server_context().wrap_socket, b, server_side=True)
    a.setblocking(False)
    tls = client_context().wrap_socket(
        a, server_hostname="localhost", do_handshake_on_connect=False
    )
    tls.do_handshake(block=True)  # type: ignore[call-arg, unused-ignore] # not in older stubs
    with tls, other.result():
        return tls.gettimeout(), tls.version()


# -- Ends


@new_and_old
def unwrapped(a: Tls, b: Tls) -> Any:
    a.settimeout(LONG)
    other = Background(b.unwrap)
    same = a.unwrap() is a
    got: list[Any] = [same, other.result() is b]
    a.sendall(b"in the clear")
    got.append(b.recv(100))
    reader = Background(a.recv, 100)
    settle()
    b.sendall(b"also")
    got.append(reader.result())
    modes = [(end.gettimeout(), end.getblocking(), os.get_blocking(end.fileno())) for end in (a, b)]
    return [*got, *modes, outcome(a.unwrap)[:21], outcome(a.read), outcome(a.write, b"")]


@new_and_old
def end_by_the_book(a: Tls, b: Tls) -> Any:
    other = Background(b.unwrap)
    got = [a.recv(10), a.recv(10)]
    a.unwrap()
    other.result()
    return got


@new_and_old
def data_and_end_at_once(a: Tls, b: Tls) -> Any:
    a.settimeout(LONG)
    reader = Background(a.recv, 10)
    settle()
    b.sendall(b"x")
    got = [reader.result()]
    b.sendall(b"last")
    b.close()
    return [*got, a.recv(10), a.recv(10), a.recv(10)]


@new_and_old
def peer_vanishes(a: Tls, b: Tls) -> Any:
    reader = Background(a.recv, 10)
    settle()
    b.close()
    got = [reader.result(), a.recv_into(bytearray(5))]
    a.suppress_ragged_eofs = False
    return [*got, outcome(a.recv, 10), outcome(a.recv, 10), outcome(a.unwrap)]


@new_and_old
def peer_resets(a: Tls, b: Tls) -> Any:
    reader = Background(a.recv, 10)
    settle()
    b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    b.close()
    return [reader.result(), outcome(a.send, b"x")]


@new_and_old
def shut_down_under_a_reader(a: Tls, b: Tls) -> Any:
    reader = Background(a.recv, 10)
    settle()
    a.shutdown(socket.SHUT_RDWR)
    return [reader.result(), outcome(a.recv, 10), outcome(a.read, 10), outcome(a.send, b"x")]


@new_and_old
def closed(a: Tls, b: Tls) -> Any:
    a.close()
    return [
        outcome(function, *args)
        for function, args in (
            (a.recv, (1,)),
            (a.read, (1,)),
            (a.send, (b"x",)),
            (a.write, (b"x",)),
            (a.sendall, (b"x",)),
            (a.do_handshake, ()),
            (a.settimeout, (1,)),
            (a.setblocking, (False,)),
            (a.pending, ()),
            (a.close, ()),
            (a.detach, ()),
        )
    ]


@new_and_old
def closed_with_a_file_open(a: Tls, b: Tls) -> Any:
    with a.makefile("rwb") as file:
        a.close()
        file.write(b"still here\n")
        file.flush()
        b.sendall(b"me too\n")
        return [b.recv(100), file.readline(), a.fileno() >= 0]


@new_and_old
def detached(a: Tls, b: Tls) -> Any:
    number = a.detach()
    with socket.socket(fileno=number) as plain:
        return [os.get_blocking(number), plain.gettimeout(), a.fileno(), outcome(a.detach)]


# -- Making connections


def case_listener_and_client_of_tls() -> Any:
    with tls_listener() as listener:
        accepting = Background(listener.accept)
        client = client_context().wrap_socket(socket.socket(), server_hostname="localhost")
        client.connect(listener.getsockname())
        server, address = accepting.result()
        with client, server:
            client.settimeout(LONG)
            server.sendall(b"hello")
            return [
                client.recv(100),
                address == client.getsockname(),
                type(server) is type(client) is ssl.SSLSocket,
                client.version(),
                client.cipher() == server.cipher(),
                outcome(client.connect, address),
            ]


def case_connect_ex_with_time_out() -> Any:
    with tls_listener(do_handshake_on_connect=False) as listener:
        accepting = Background(listener.accept)
        client = client_context().wrap_socket(
            socket.socket(), server_hostname="localhost", do_handshake_on_connect=False
        )
        client.settimeout(LONG)
        got = [client.connect_ex(listener.getsockname())]
        server, _ = accepting.result()
        with client, server:
            # Nobody asks for the handshake: the first read and write make it.
            reader = Background(server.recv, 100)
            client.sendall(b"hello")
            return [*got, reader.result(), client.gettimeout()]


def case_connection_refused() -> Any:
    with listening() as listener:
        address = listener.getsockname()
    first, second = (
        client_context().wrap_socket(socket.socket(), server_hostname="localhost") for _ in range(2)
    )
    with first, second:
        return [outcome(first.connect, address), second.connect_ex(address)]


def case_certificate_refused() -> Any:
    a, b = tcp_pair()
    with a, b:
        other = Background(server_context().wrap_socket, b, server_side=True)
        return [
            outcome(ssl.create_default_context().wrap_socket, a, server_hostname="localhost"),
            other.result(),
        ]


def case_wrong_host_name() -> Any:
    a, b = tcp_pair()
    with a, b:
        other = Background(server_context().wrap_socket, b, server_side=True)
        return [
            outcome(client_context().wrap_socket, a, server_hostname="elsewhere"),
            other.result(),
        ]


def case_peer_does_not_speak_tls() -> Any:
    a, b = tcp_pair()
    with a, b:
        other = Background(client_context().wrap_socket, a, server_hostname="localhost")
        settle()
        b.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return other.result()


def case_peer_leaves_during_the_handshake() -> Any:
    a, b = tcp_pair()
    with a, b:
        other = Background(client_context().wrap_socket, a, server_hostname="localhost")
        settle()
        b.recv(65536)
        b.close()
        return other.result()


def case_server_certificate() -> Any:
    with tls_listener() as listener:
        accepting = Background(listener.accept)
        pem = ssl.get_server_certificate(listener.getsockname(), timeout=LONG)
        server, _ = accepting.result()
        server.close()
        return pem in PEM.read_text(encoding="ascii")


def case_name_callback_that_blocks() -> Any:
    """C calls Python back in the middle of a handshake."""
    server = server_context()
    seen: list[Any] = []

    def name_sent(tls: ssl.SSLSocket, name: str, context: ssl.SSLContext) -> None:
        time.sleep(0.001)
        seen.append((type(tls).__name__, tls.gettimeout(), name, context is server))

    server.sni_callback = name_sent  # type: ignore[assignment] # mypy sees the annotations only
    a, b = tls_pair(server=server)
    with a, b:
        a.sendall(b"x")
        return seen, b.recv(10)


def case_session_resumed() -> Any:
    server, client = server_context(), client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    a, b = tls_pair(client, server)
    with a, b:
        session = a.session
    a, b = tcp_pair()
    other = Background(server.wrap_socket, b, server_side=True)
    with (
        client.wrap_socket(a, server_hostname="localhost", session=session) as tls,
        other.result(),
    ):
        return tls.session_reused, tls.version()


def case_authentication_after_the_handshake() -> Any:
    """TLS 1.3: in the middle of reading and writing OpenSSL wants to do the other."""
    server, client = server_context(), client_context()
    server.post_handshake_auth = client.post_handshake_auth = True
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(PEM)
    client.load_cert_chain(PEM)
    a, b = tls_pair(client, server)
    with a, b:
        got: list[Any] = [b.getpeercert()]
        b.verify_client_post_handshake()
        other = Background(b.recv, 10)
        reader = Background(a.recv, 10)
        settle()
        b.sendall(b"asked")
        got.append(reader.result())
        a.sendall(b"answer")
        got.append(other.result())
        certificate = b.getpeercert()
        assert certificate
        return [*got, certificate["subject"]]


class Counting(ssl.SSLSocket):
    """A program's own kind of socket: whatever is above its methods must call these."""

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        counts["read"] += 1
        return super().read(len, buffer)  # type: ignore[deprecated] # as it says, but used

    def send(self, data: Any, flags: int = 0) -> int:
        counts["send"] += 1
        return super().send(data, flags)


counts: Final = {"read": 0, "send": 0}


def case_subclass() -> Any:
    client = client_context()
    client.sslsocket_class = Counting
    counts.update(read=0, send=0)
    a, b = tls_pair(client)
    with a, b:
        a.sendall(b"x")
        a.sendall(bytearray(b"y"))
        a.sendall(b"")
        b.sendall(b"answer")
        return [type(a).__name__, receive(b, 2), a.recv(3), a.recv_into(bytearray(9)), counts]


def case_memory() -> Any:
    """``SSLObject`` never waits."""
    first, second = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context().wrap_bio(first, second, server_side=True)
    client = client_context().wrap_bio(second, first, server_hostname="localhost")
    got = [outcome(server.read)]
    done = 0
    while done < 2:
        done = 0
        for end in (client, server):
            try:
                end.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
    client.write(b"hello")
    return [*got, server.read(), outcome(server.read), outcome(server.unwrap)]


# -- What stands on it


def case_asyncio() -> Any:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def main() -> Any:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context())
        async with server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
            )
            writer.write(b"hello\n")
            got = await reader.read()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return got

    return asyncio.run(main())


class Handler(BaseHTTPRequestHandler):
    """Slow on purpose."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        time.sleep(0.01)
        self.answer(self.path.encode())

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def https_server() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    server.socket = server_context().wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.005,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def case_https() -> Any:
    with https_server() as port:

        def by_http_client(number: int) -> list[bytes]:
            connection = http.client.HTTPSConnection(
                "localhost", port, timeout=LONG, context=client_context()
            )
            got = []
            for each in range(2):
                connection.request("GET", f"/{number}/{each}")
                got.append(connection.getresponse().read())
            connection.request("POST", "/", body=MEGABYTE)
            got.append(connection.getresponse().read()[:16])
            connection.close()
            return got

        def by_urllib(number: int) -> bytes:
            url = f"https://localhost:{port}/{number}"
            with urllib.request.urlopen(url, timeout=LONG, context=client_context()) as response:
                got: bytes = response.read()
                return got

        clients = [Background(by_http_client, number) for number in range(10)]
        clients += [Background(by_urllib, number) for number in range(10)]
        return [client.result() for client in clients]
