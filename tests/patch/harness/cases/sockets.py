"""Making, connecting, accepting and closing sockets; datagrams; objects that share a descriptor."""

from __future__ import annotations

import copy
import errno
import gc
import os
import pickle
import select
import socket
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.patch.harness.tools import (
    LONG,
    PAIRS,
    SHORT,
    Background,
    describe,
    fill,
    full_listener,
    kind,
    listening,
    on,
    outcome,
    receive,
    settle,
    tcp_pair,
)

Socket = socket.socket

#: What exists before patching, in mode ``last``.
old = SimpleNamespace()


class OldSubclass(socket.socket):
    """Defined before patching, in mode ``last``."""

    received = 0

    def recv(self, *args: Any) -> bytes:
        data = super().recv(*args)
        self.received += len(data)
        return data


class WithDefaults:
    """Keeps functions in all the places that a class can."""

    connect = staticmethod(socket.create_connection)

    def __init__(self, make: Any = socket.socket, pair: Any = socket.socketpair) -> None:
        self.make = make
        self.pair = pair


def prepare() -> None:
    old.a, old.b = tcp_pair()
    old.unix_a, old.unix_b = socket.socketpair()
    old.listener = socket.create_server(("127.0.0.1", 0))
    old.subclass = OldSubclass(fileno=old.unix_b.detach())
    old.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    old.udp.bind(("127.0.0.1", 0))
    old.udp.settimeout(LONG)
    old.file = old.b.makefile("rwb")
    old.bound = old.a.recv
    old.defaults = WithDefaults()


def finish() -> None:
    for each in vars(old).values():
        if hasattr(each, "close"):
            each.close()


# -- What existed before


def case_old_sockets() -> Any:
    reader = Background(old.a.recv, 100)
    settle()
    old.b.sendall(b"to the old one")
    got = [reader.result()]
    reader = Background(old.b.recv, 100)
    settle()
    old.a.sendall(b"and back")
    return [*got, reader.result(), isinstance(old.a, socket.socket), type(old.a) is socket.socket]


def case_old_file() -> Any:
    reader = Background(old.file.readline)
    settle()
    old.a.sendall(b"a line\n")
    got = [reader.result()]
    old.file.write(b"answer\n")
    old.file.flush()
    return [*got, old.a.recv(100)]


def case_old_bound_method() -> Any:
    reader = Background(old.bound, 100)
    settle()
    old.b.sendall(b"for the bound method")
    return reader.result()


def case_old_subclass() -> Any:
    reader = Background(old.subclass.recv, 100)
    settle()
    old.unix_a.sendall(b"counted")
    return [reader.result(), old.subclass.received]


def case_old_listener() -> Any:
    acceptor = Background(old.listener.accept)
    settle()
    with socket.create_connection(old.listener.getsockname()) as client:
        connection, address = acceptor.result()
        with connection:
            return [
                address == client.getsockname(),
                connection.gettimeout(),
                old.listener.gettimeout(),
            ]


def case_old_udp() -> Any:
    reader = Background(old.udp.recvfrom, 100)
    settle()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"packet", old.udp.getsockname())
        data, address = reader.result()
        return [data, address[1] == sender.getsockname()[1]]


def case_old_names() -> Any:
    with old.defaults.make() as made:
        got = [type(made) is socket.socket]
    a, b = old.defaults.pair()
    with a, b:
        reader = Background(a.recv, 10)
        settle()
        b.send(b"x")
        got.append(reader.result())
    with listening() as listener, old.defaults.connect(listener.getsockname()) as client:
        got.append(type(client) is socket.socket)
    return got


# -- Connecting


def case_connect_refused() -> Any:
    with listening() as listener:
        address = listener.getsockname()
    with socket.socket() as client:
        got = [outcome(client.connect, address)]
    with socket.socket() as client:
        got.append(outcome(client.connect_ex, address))
    with socket.socket() as client:
        client.settimeout(LONG)
        got.append(outcome(client.connect, address))
    with socket.socket() as client:
        client.settimeout(LONG)
        got.append(outcome(client.connect_ex, address))
    return [*got, outcome(socket.create_connection, address, LONG)]


def case_connect_again() -> Any:
    with listening() as listener, socket.socket() as client:
        address = listener.getsockname()
        got = [outcome(client.connect, address), outcome(client.connect, address)]
        got += [outcome(client.connect_ex, address)]
        client.settimeout(LONG)
        got += [outcome(client.connect, address), outcome(client.connect_ex, address)]
        return [*got, outcome(client.getpeername) == address]


def case_connect_timeout() -> Any:
    with full_listener() as address:
        got = []
        for method in ("connect", "connect_ex"):
            with socket.socket() as client:
                client.settimeout(SHORT)
                got.append(outcome(getattr(client, method), address))
        return [*got, outcome(socket.create_connection, address, SHORT)]


def case_connect_not_blocking() -> Any:
    with listening() as listener, socket.socket() as client, socket.socket() as second:
        client.setblocking(False)
        second.setblocking(False)
        got = [outcome(client.connect, listener.getsockname())]
        select.select([], [client], [], LONG)
        got.append(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        got.append(outcome(second.connect_ex, listener.getsockname()))
        select.select([], [second], [], LONG)
        return [*got, outcome(second.connect_ex, listener.getsockname())]


def case_connect_becomes_not_blocking() -> Any:
    with full_listener() as address, socket.socket() as client:
        client.setblocking(False)
        got = [outcome(client.connect, address)]
        client.settimeout(SHORT)
        return [*got, outcome(client.connect, address), outcome(client.connect_ex, address)]


def case_connect_to_nonsense() -> Any:
    with socket.socket() as client:
        anything: Any = client
        return [
            kind(anything.connect, None),
            kind(anything.connect, ("127.0.0.1",)),
            kind(anything.connect, ("127.0.0.1", "80")),
            kind(anything.connect, ("127.0.0.1", 1, 2)),
            kind(anything.connect, ["127.0.0.1", 1]),
            kind(anything.connect, ("127.0.0.1", -1)),
            kind(anything.connect, ("127.0.0.1", 65536)),
            outcome(anything.connect_ex, ("127.0.0.1", 65536)),
            kind(anything.connect, (None, 1)),
            kind(anything.connect, (3, 1)),
            kind(anything.connect, ("1.2.3.4\0", 1)),
            kind(anything.connect, "/a/path"),
            kind(anything.connect_ex, "/a/path"),
            kind(anything.bind, ("127.0.0.1", "x")),
            kind(anything.bind, ()),
            kind(anything.sendto, b"x", ("127.0.0.1",)),
            kind(anything.sendto, b"x", 0, None),
        ]


def case_connect_unix() -> Any:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(directory, "s"))
        with socket.socket(socket.AF_UNIX) as client:
            got = [
                outcome(client.connect, path).replace(path, "path"),
                outcome(client.connect_ex, path),
            ]
        listener.bind(path)
        with socket.socket(socket.AF_UNIX) as client:
            got.append(outcome(client.connect, path))
        listener.listen()
        acceptor = Background(listener.accept)
        settle()
        with socket.socket(socket.AF_UNIX) as client:
            got.append(outcome(client.connect, path.encode()))
            connection, address = acceptor.result()
            with connection:
                connection.sendall(b"hello")
                return [*got, client.recv(5), address]


def case_connect_unix_backlog() -> Any:
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as first,
        socket.socket(socket.AF_UNIX) as timed,
        socket.socket(socket.AF_UNIX) as second,
    ):
        path = str(Path(directory, "s"))
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        timed.settimeout(SHORT)
        got = [kind(timed.connect, path), outcome(timed.connect_ex, path)]
        connecting = Background(second.connect, path)
        settle()
        listener.accept()[0].close()
        return [*got, connecting.result()]


def case_connect_udp() -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        got = [outcome(client.connect, ("127.0.0.1", 9)), client.getpeername()]
        return [*got, outcome(client.connect_ex, ("127.0.0.1", 7)), client.getpeername()]


def case_connect_by_name() -> Any:
    with listening() as listener:
        port = listener.getsockname()[1]
        with socket.socket() as client:
            got = [outcome(client.connect, ("localhost", port))]
        with socket.create_connection(("localhost", port)) as client:
            got.append(client.getpeername()[0])
        with socket.create_connection(("127.0.0.1", port), LONG, ("127.0.0.1", 0)) as client:
            got += [client.gettimeout(), client.getsockname()[0]]
        return got


def case_create_connection_fails() -> Any:
    with listening() as listener:
        address = listener.getsockname()
    got = [outcome(socket.create_connection, address)]
    if sys.version_info >= (3, 11):
        try:
            socket.create_connection(address, all_errors=True)
        except ExceptionGroup as group:
            got.append([describe(error) for error in group.exceptions])
    return got


def case_timeout_while_connecting_in_thread() -> Any:
    with full_listener() as address, socket.socket() as client:
        client.settimeout(2 * SHORT)
        connecting = Background(client.connect, address)
        others = [Background(settle) for _ in range(5)]
        return [[other.result() for other in others], connecting.result()]


# -- Accepting


def case_accept() -> Any:
    with listening() as listener:
        acceptors = [Background(listener.accept) for _ in range(5)]
        settle()
        clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
        accepted = [acceptor.result() for acceptor in acceptors]
        got = sorted(address for _, address in accepted) == sorted(
            client.getsockname() for client in clients
        )
        for each in [*clients, *(connection for connection, _ in accepted)]:
            each.close()
        return [got, listener.getblocking(), os.get_blocking(listener.fileno())]


def case_accept_timeout() -> Any:
    with listening() as listener:
        listener.settimeout(SHORT)
        got = [outcome(listener.accept)]
        listener.setblocking(False)
        return [*got, outcome(listener.accept)]


def case_accept_passes_on() -> Any:
    got = []
    for default in (None, 7.0):
        for timeout in (None, 0.0, LONG):
            with listening() as listener:
                listener.settimeout(timeout)
                client = socket.create_connection(listener.getsockname())
                select.select([listener], [], [], LONG)
                socket.setdefaulttimeout(default)
                try:
                    connection, _ = listener.accept()
                finally:
                    socket.setdefaulttimeout(None)
                with client, connection:
                    got.append([connection.gettimeout(), os.get_blocking(connection.fileno())])
                    got.append(connection.get_inheritable())
    return got


def case_accept_on_what_does_not_listen() -> Any:
    with socket.socket() as fresh, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        return [outcome(fresh.accept), outcome(udp.accept)]


def case_accept_ends_with_shutdown() -> Any:
    with listening() as listener:
        acceptor = Background(listener.accept)
        settle()
        listener.shutdown(socket.SHUT_RDWR)
        return acceptor.result()


def case_create_server() -> Any:
    with socket.create_server(("127.0.0.1", 0), backlog=3, reuse_port=True) as server:
        acceptor = Background(server.accept)
        settle()
        with socket.create_connection(server.getsockname()) as client:
            connection, _ = acceptor.result()
            with connection:
                connection.sendall(b"x")
                return [client.recv(1), server.family]


# -- Closing


def case_everything_on_a_closed_socket() -> Any:
    def closed() -> Any:
        client, server = tcp_pair()
        client.close()
        server.close()
        return client

    def detached() -> Any:
        client, server = tcp_pair()
        os.close(client.detach())
        server.close()
        return client

    def used_and_closed() -> Any:
        client, server = tcp_pair()
        client.settimeout(SHORT)
        kind(client.recv, 10)
        client.close()
        server.close()
        return client

    got = []
    for make in (closed, detached, used_and_closed):
        sock = make()
        got += [
            outcome(sock.recv, 1),
            outcome(sock.recv, 1, socket.MSG_WAITALL),
            outcome(sock.recv_into, bytearray(1)),
            outcome(sock.recvfrom, 1),
            outcome(sock.recvfrom_into, bytearray(1)),
            outcome(sock.recvmsg, 1),
            outcome(sock.recvmsg_into, [bytearray(1)]),
            outcome(sock.send, b"x"),
            outcome(sock.sendall, b"x"),
            outcome(sock.sendto, b"x", ("127.0.0.1", 1)),
            outcome(sock.sendmsg, [b"x"]),
            outcome(sock.accept),
            outcome(sock.connect, ("127.0.0.1", 1)),
            outcome(sock.connect_ex, ("127.0.0.1", 1)),
            outcome(sock.bind, ("127.0.0.1", 0)),
            outcome(sock.listen),
            outcome(sock.shutdown, socket.SHUT_RDWR),
            outcome(sock.getpeername),
            outcome(sock.setblocking, True),
            outcome(sock.fileno),
            outcome(sock.detach),
            outcome(sock.close),
            outcome(sock.dup),
            bool(sock._closed),
            "[closed]" in repr(sock),
            kind(sock.makefile().close),
        ]
    return got


def case_closed_by_with() -> Any:
    client, server = tcp_pair()
    with client, server:
        server.sendall(b"x")
        client.recv(100)
    return [client.fileno(), server.fileno(), bool(client._closed)]  # type: ignore[attr-defined]


def case_garbage() -> Any:
    client, server = tcp_pair()
    reader = Background(server.recv, 10)
    settle()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        del client
        gc.collect()
    with server:
        return [
            reader.result(),
            [str(each.message).startswith("unclosed <socket.socket fd=") for each in caught],
        ]


def case_garbage_that_waited() -> Any:
    client, server = tcp_pair()
    reader = Background(client.recv, 10)
    settle()
    server.sendall(b"x")
    got = [reader.result()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del client, reader
        gc.collect()
    with server:
        return [*got, server.recv(10)]


def case_number_used_again() -> Any:
    got = []
    number = None
    for turn in range(6):
        client, server = tcp_pair()
        reader = Background(client.recv, 10)
        settle()
        server.sendall(b"%d" % turn)
        got.append(reader.result())
        got.append(number in (None, client.fileno()))
        number = client.fileno()
        if turn % 3 == 0:
            client.close()
        elif turn % 3 == 1:
            os.close(client.detach())
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del client, reader
                gc.collect()
        server.close()
    return got


def case_close_by_number() -> Any:
    client, server = tcp_pair()
    number = client.detach()
    socket.close(number)
    with server:
        return [outcome(os.fstat, number).startswith("builtins.OSError[EBADF]"), server.recv(1)]


# -- makefile


@on("tcp", "unix")
def case_file_lines(a: Socket, b: Socket) -> Any:
    with a.makefile("r", encoding="utf-8") as lines, b.makefile("w", encoding="utf-8") as out:
        reader = Background(lines.readline)
        settle()
        out.write("first ")
        out.flush()
        settle()
        out.write("line\nsecond line\nthe r")
        out.flush()
        got = [reader.result(), lines.readline()]
        reader = Background(lines.read)
        settle()
        out.write("est")
        out.flush()
        b.shutdown(socket.SHUT_WR)
        return [*got, reader.result(), lines.read()]


@on("tcp", "unix")
def case_file_both_ways(a: Socket, b: Socket) -> Any:
    got = []
    with a.makefile("rwb") as here, b.makefile("rwb", buffering=0) as there:
        reader = Background(here.read, 6)
        for text in (b"abc", b"def"):
            settle()
            there.write(text)
        got.append(reader.result())
        here.write(b"ghi")
        here.flush()
        got += [there.read(10), there.readable(), there.writable(), there.seekable()]
        got += [there.name == b.fileno(), there.mode]  # type: ignore[attr-defined]
    return got


@on("tcp", "unix")
def case_file_of_more_than_fits(a: Socket, b: Socket) -> Any:
    data = os.urandom(1_500_000)
    with a.makefile("wb") as out, b.makefile("rb") as source:

        def write() -> None:
            out.write(data)
            out.flush()
            a.shutdown(socket.SHUT_WR)

        writer = Background(write)
        settle()
        return [source.read() == data, writer.result()]


@on("tcp", "unix")
def case_file_and_timeouts(a: Socket, b: Socket) -> Any:
    a.settimeout(SHORT)
    with a.makefile("rb") as file:
        got = [outcome(file.read, 1), outcome(file.read, 1)]
    a.setblocking(False)
    with a.makefile("rb", buffering=0) as raw:
        got.append(outcome(raw.read, 1))
    fill(a)
    with a.makefile("wb", buffering=0) as raw:
        got.append(outcome(raw.write, b"x" * 70000))
    return got


@on("tcp", "unix")
def case_socket_closed_before_file(a: Socket, b: Socket) -> Any:
    file = a.makefile("rb")
    number = a.fileno()
    reader = Background(file.read, 3)
    settle()
    a.close()
    got: list[Any] = [a.fileno() == number, bool(a._closed), "[closed]" in repr(a)]  # type: ignore[attr-defined]
    b.sendall(b"abc")
    got.append(reader.result())
    b.sendall(b"def")
    got.append(a.recv(3))
    file.close()
    return [*got, a.fileno(), outcome(a.recv, 1), b.recv(1)]


@on("tcp", "unix")
def case_file_closed_before_socket(a: Socket, b: Socket) -> Any:
    first, second = a.makefile("rb"), a.makefile("wb")
    first.close()
    a.close()
    second.write(b"still open")
    second.flush()
    got = [b.recv(100), a.fileno() >= 0]
    second.close()
    return [*got, a.fileno(), b.recv(1)]


@on("tcp")
def case_file_of_closed_socket(a: Socket, b: Socket) -> Any:
    a.close()
    with a.makefile("rb") as file:
        return [outcome(file.read, 1), file.closed]


# -- Several objects, one connection


@on("tcp", "unix")
def case_dup(a: Socket, b: Socket) -> Any:
    a.settimeout(LONG)
    with a.dup() as second:
        got = [second.gettimeout(), second.family == a.family, second.type == a.type]
        got += [second.fileno() != a.fileno(), second.get_inheritable()]
        reader = Background(second.recv, 3)
        settle()
        b.sendall(b"abc")
        got.append(reader.result())
        reader = Background(second.recv, 3)
        settle()
        a.close()
        b.sendall(b"def")
        return [*got, reader.result(), b.send(b"")]


@on("tcp", "unix")
def case_readers_of_duplicates(a: Socket, b: Socket) -> Any:
    with a.dup() as second, a.dup() as third:
        readers = [Background(each.recv, 1) for each in (a, second, third)]
        settle()
        b.sendall(b"x")
        settle()
        b.sendall(b"y")
        settle()
        b.sendall(b"z")
        return sorted(reader.result() for reader in readers)


@on("tcp", "unix")
def case_fromfd(a: Socket, b: Socket) -> Any:
    with socket.fromfd(a.fileno(), a.family, a.type) as second:
        reader = Background(second.recv, 10)
        settle()
        b.sendall(b"x")
        got = [reader.result(), second.gettimeout(), a.fileno() >= 0]
    b.sendall(b"y")
    return [*got, a.recv(1)]


@on("tcp", "unix")
def case_two_objects_for_one_number(a: Socket, b: Socket) -> Any:
    second = socket.socket(fileno=a.fileno())
    got: list[Any] = [second.family == a.family, second.type == a.type, second.proto]
    reader = Background(second.recv, 10)
    settle()
    b.sendall(b"x")
    got.append(reader.result())
    reader = Background(a.recv, 10)
    settle()
    b.sendall(b"y")
    got.append(reader.result())
    readers = [Background(each.recv, 1) for each in (a, second)]
    settle()
    b.sendall(b"z")
    settle()
    b.sendall(b"z")
    got += [each.result() for each in readers]
    second.detach()
    return got


@on("tcp", "unix")
def case_one_object_reads_and_the_other_writes(a: Socket, b: Socket) -> Any:
    second = socket.socket(fileno=a.fileno())
    reader = Background(a.recv, 10)
    settle()
    size = fill(second)
    second.settimeout(None)
    writer = Background(second.sendall, b"end")
    settle()
    b.sendall(b"x")
    got: list[Any] = [reader.result()]
    got.append(len(receive(b, size)) == size)
    got += [writer.result(), receive(b, 3)]
    second.detach()
    return got


@on("tcp", "unix")
def case_detach_and_adopt(a: Socket, b: Socket) -> Any:
    reader = Background(a.recv, 10)
    settle()
    b.sendall(b"x")
    got = [reader.result()]
    number = a.detach()
    with socket.socket(fileno=number) as second:
        got += [a.fileno(), outcome(a.recv, 1), second.fileno() == number]
        reader = Background(second.recv, 10)
        settle()
        b.sendall(b"y")
        return [*got, reader.result()]


def case_fileno_of_nothing() -> Any:
    readable, writable = os.pipe()
    try:
        anything: Any = socket.socket
        return [
            kind(anything, fileno=readable),
            kind(anything, fileno=-1),
            kind(anything, fileno="1"),
            kind(anything, fileno=1 << 40),
            kind(anything, 9999, 1),
        ]
    finally:
        os.close(readable)
        os.close(writable)


# -- Datagrams


@on("udp", "datagram")
def case_datagrams(a: Socket, b: Socket) -> Any:
    reader = Background(b.recv, 100)
    settle()
    got = [a.send(b"first"), reader.result()]
    for text in (b"one", b"", b"three", b"four"):
        a.send(text)
    got += [b.recv(100), b.recv(100), b.recv(2), b.recv(100)]
    b.settimeout(SHORT)
    got += [outcome(b.recv, 100), outcome(b.recv_into, bytearray(10)), outcome(b.recvfrom, 1)]
    b.setblocking(False)
    return [*got, outcome(b.recv, 100), outcome(b.recvmsg, 1)]


@on("udp", "datagram", "packet")
def case_short_datagrams_come_one_by_one(a: Socket, b: Socket) -> Any:
    reader = Background(b.recv, 100)
    settle()
    for number in range(10):
        a.send(b"%d" % number)
    return [reader.result(), *(b.recv(100) for _ in range(9))]


@on("udp", "datagram", "packet")
def case_datagram_methods(a: Socket, b: Socket) -> Any:
    got: list[Any] = []
    for call in (
        lambda: b.recvfrom(3)[0],
        lambda: b.recvfrom_into(bytearray(9))[0],
        lambda: b.recvmsg(3)[::2],
        lambda: b.recvmsg_into([bytearray(2), bytearray(2)])[::2],
        lambda: b.recv(9, socket.MSG_PEEK),
        lambda: len(b.recv(9, socket.MSG_TRUNC)),
    ):
        reader = Background(call)
        settle()
        a.sendmsg([b"ab", b"cde"])
        got.append(reader.result())
    return got


@on("packet")
def case_end_of_packets(a: Socket, b: Socket) -> Any:
    reader = Background(a.recv, 10)
    settle()
    b.close()
    return [reader.result(), outcome(a.send, b"x")]


@on("datagram", "packet")
def case_packets_wait_for_room(a: Socket, b: Socket) -> Any:
    a.setblocking(False)
    count = 0
    try:
        while True:
            a.send(b"x" * 1000)
            count += 1
    except BlockingIOError:
        a.setblocking(True)
    writer = Background(a.send, b"last")
    settle()
    return [len({b.recv(2000) for _ in range(count)}), writer.result(), b.recv(10)]


@on("udp")
def case_sendto(a: Socket, b: Socket) -> Any:
    there = b.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        got = [free.sendto(b"one", there), free.sendto(b"two", 0, there)]
        got += [free.sendto(b"three", ("localhost", there[1])), free.sendto(b"", there)]
        got += [free.sendmsg([b"fo", b"ur"], [], 0, there)]
        got += [free.sendmsg([b"five"], [], 0, ("localhost", there[1]))]
        got += [outcome(free.send, b"x"), outcome(free.sendmsg, [b"x"])]
        got += [outcome(free.sendto, b"x" * 70000, there)]
        got += [outcome(free.sendto, b"x", ("255.255.255.255", 9))]
        received = [b.recvfrom(100) for _ in range(6)]
        return [*got, [data for data, _ in received], len({address for _, address in received})]


@on("udp")
def case_port_unreachable(a: Socket, b: Socket) -> Any:
    b.close()
    a.settimeout(LONG)
    got = [a.send(b"nobody there")]
    settle()
    return [*got, outcome(a.recv, 10), a.send(b"again")]


@on("udp")
def case_error_queue_wakes(a: Socket, b: Socket) -> Any:
    b.close()
    reader = Background(a.recv, 10)
    settle()
    got = [a.send(b"nobody there")]
    return [*got, reader.result()]


@on("udp")
def case_many_datagram_readers(a: Socket, b: Socket) -> Any:
    readers = [Background(b.recv, 10) for _ in range(5)]
    settle()
    for number in range(5):
        a.send(b"%d" % number)
    return sorted(reader.result() for reader in readers)


# -- The rest


def case_default_timeout() -> Any:
    got: list[Any] = [socket.getdefaulttimeout()]
    socket.setdefaulttimeout(10 * SHORT)  # connecting has it, too, on a busy machine
    try:
        client, server = tcp_pair()
        with client, server:
            got += [client.gettimeout(), server.gettimeout(), outcome(client.recv, 1)]
            with client.dup() as second:
                got.append(second.gettimeout())
    finally:
        socket.setdefaulttimeout(None)
    return got


def case_sendfile() -> Any:
    got: list[Any] = []
    data = os.urandom(100_000)
    for name in ("tcp", "unix"):
        a, b = PAIRS[name]()
        with a, b, tempfile.TemporaryFile() as file:
            file.write(data)
            for timeout, offset, count in ((None, 0, None), (LONG, 10, 50_000)):
                a.settimeout(timeout)
                file.seek(0)
                sender = Background(a.sendfile, file, offset, count)
                size = count or len(data)
                got.append(receive(b, size) == data[offset : offset + size])
                got += [sender.result(), file.tell()]
            a.setblocking(False)
            got += [outcome(a.sendfile, file)]
            a.setblocking(True)
            with open(file.fileno(), encoding="ascii", closefd=False) as text:
                got += [kind(a.sendfile, text)]
            got += [outcome(a.sendfile, file, 0, -1), kind(a.sendfile, file, 0, 1.5)]
    return got


def case_socketpair() -> Any:
    a, b = socket.socketpair()
    with a, b:
        return [a.family, a.type, a.gettimeout(), type(a) is Socket, a.send(b"x"), b.recv(1)]


def case_no_pickles() -> Any:
    with socket.socket() as sock:
        return [kind(pickle.dumps, sock), kind(copy.copy, sock), kind(copy.deepcopy, sock)]


def case_subclass() -> Any:
    events: list[str] = []

    class Counting(socket.socket):
        __slots__ = ("extra",)

        def recv(self, *args: Any) -> bytes:
            events.append("recv")
            return super().recv(*args)

        def close(self) -> None:
            events.append("close")
            super().close()

        def _real_close(self, *args: Any) -> None:
            events.append("real close")
            super()._real_close(*args)  # type: ignore[misc]

    a, b = socket.socketpair()
    with b, Counting(fileno=a.detach()) as sub:
        reader = Background(sub.recv, 10)
        settle()
        b.sendall(b"x")
        events.append(str(reader.result()))
        sub.extra = 3  # type: ignore[attr-defined]
        with sub.dup() as second:
            events.append(type(second).__name__)
        file = sub.makefile("rb")
        sub.close()
        file.close()
    return events


def case_is_a_socket() -> Any:
    a, b = socket.socketpair()
    with a, b:
        settle()
        return [
            isinstance(a, socket.socket),
            socket.SocketType.__name__,
            isinstance(a, socket.SocketType),
            type(a).__module__,
            type(a).__qualname__,
            [each.__name__ for each in type(a).__mro__],
            sorted(name for name in vars(a.__class__) if "closed" in name.lower()),
            outcome(setattr, a, "no_such_attribute", 1).startswith("builtins.AttributeError"),
        ]


def case_threads_accept_and_answer() -> Any:
    def serve(connection: Socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data.upper())

    def accept(listener: Socket) -> None:
        with listener:
            for _ in range(20):
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def ask(number: int) -> list[bytes]:
        got = []
        with socket.create_connection(address) as client:
            for turn in range(3):
                client.sendall(b"client %d turn %d" % (number, turn))
                got.append(client.recv(100))
            client.shutdown(socket.SHUT_WR)
            got.append(client.recv(1))
        return got

    server = socket.create_server(("127.0.0.1", 0), backlog=50)
    address = server.getsockname()
    acceptor = Background(accept, server)
    clients = [Background(ask, number) for number in range(20)]
    got = [client.result() for client in clients]
    acceptor.result()
    settle()
    return got


def case_no_descriptors_left() -> Any:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    got = []
    with listening() as listener:
        made: list[Socket] = []
        client = socket.create_connection(listener.getsockname())
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, hard))
        try:
            try:
                while True:
                    made.append(socket.socket())
            except OSError as error:
                got.append(describe(error))
            got.append(outcome(listener.accept))
            got.append(outcome(client.dup))
            got.append(outcome(socket.socketpair))
            reader = Background(client.recv, 1)
            settle()
            made.pop().close()
            connection, _ = listener.accept()
            connection.sendall(b"x")
            got.append(reader.result())
            connection.close()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in (client, *made):
                each.close()
    return got


def case_netlink() -> Any:
    if not hasattr(socket, "AF_NETLINK"):
        return None
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.bind((0, 0))
        sock.settimeout(SHORT)
        return [len(sock.getsockname()), outcome(sock.recv, 10)]


def case_errnos() -> Any:
    return [socket.error is OSError, socket.timeout is TimeoutError, errno.EBADF]
