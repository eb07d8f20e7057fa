"""Connected stream sockets: reading and writing."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import time
from typing import Any

from tests.patch.harness.tools import (
    LONG,
    SHORT,
    STREAMS,
    Background,
    fill,
    kind,
    on,
    outcome,
    receive,
    settle,
)

Socket = socket.socket

# -- recv


@on(*STREAMS)
def case_recv_what_is_there(a: Socket, b: Socket) -> Any:
    b.sendall(b"0123456789")
    return [a.recv(4), a.recv(4), a.recv(4)]


@on(*STREAMS)
def case_recv_waits(a: Socket, b: Socket) -> Any:
    got = []
    for text in (b"one", b"two", b"three"):
        reader = Background(a.recv, 100)
        settle()
        b.sendall(text)
        got.append(reader.result())
    return got


def drain(a: Socket, b: Socket) -> None:
    """Leave ``a`` waited for once and known to be empty."""
    for _ in range(2):
        reader = Background(a.recv, 100)
        settle()
        b.sendall(b"x")
        reader.result()


@on(*STREAMS)
def case_recv_nothing_never_waits(a: Socket, b: Socket) -> Any:
    drain(a, b)
    a.settimeout(LONG)
    return [
        outcome(a.recv, 0),
        outcome(a.recv_into, bytearray()),
        outcome(a.recv_into, memoryview(b"").toreadonly()),
    ]


@on("tcp", "unix")
def case_bad_arguments_never_wait(a: Socket, b: Socket) -> Any:
    drain(a, b)
    a.settimeout(LONG)
    anything: Any = a
    return [
        outcome(a.recv, -1),
        kind(anything.recv, "1"),
        kind(anything.recv, 1.0),
        kind(anything.recv),
        kind(anything.recv, 1, 2, 3),
        kind(anything.recv, 1, "x"),
        kind(anything.recv, bufsize=1),
        kind(anything.recv, None),
        kind(anything.recv, 1 << 70),
        kind(anything.recv, 1, 1 << 70),
        kind(anything.recv_into),
        kind(anything.recv_into, b"bytes are read-only"),
        kind(anything.recv_into, "text"),
        kind(anything.recv_into, None),
        outcome(a.recv_into, bytearray(3), 4),
        outcome(a.recv_into, bytearray(3), -1),
        kind(anything.recv_into, bytearray(3), "1"),
        kind(anything.recv_into, bytearray(3), 1, "x"),
        kind(anything.recv_into, bytearray(3), wrong=1),
        kind(anything.recvfrom),
        kind(anything.recvfrom, "1"),
        outcome(a.recvfrom, -1),
        kind(anything.recvfrom_into, b"read-only"),
        outcome(a.recvfrom_into, bytearray(3), 4),
        outcome(a.recvfrom_into, bytearray(3), -1),
        kind(anything.recvmsg),
        outcome(a.recvmsg, -1),
        outcome(a.recvmsg, 1, -1),
        kind(anything.recvmsg, "1"),
        kind(anything.recvmsg_into, [b"read-only"]),
        kind(anything.recvmsg_into, 3),
        kind(anything.recvmsg_into, [bytearray(3)], -1),
        kind(anything.send, "text"),
        kind(anything.send),
        kind(anything.send, None),
        kind(anything.send, data=b"x"),
        kind(anything.send, b"x", "flags"),
        kind(anything.sendall, "text"),
        kind(anything.sendall),
        kind(anything.sendall, 3),
        kind(anything.sendto, b"x"),
        kind(anything.sendto),
        kind(anything.sendto, "text", ("127.0.0.1", 1)),
        kind(anything.sendto, b"x", "flags", ("127.0.0.1", 1)),
        kind(anything.sendto, b"x", 0, ("127.0.0.1", 1), 0),
        kind(anything.sendmsg),
        kind(anything.sendmsg, ["text"]),
        kind(anything.sendmsg, b"bytes"),
        kind(anything.sendmsg, 3),
        kind(anything.sendmsg, [b"x"], 3),
        kind(anything.sendmsg, [b"x"], [("no", "such")]),
        kind(anything.accept, 1),
        kind(anything.connect),
        kind(anything.connect_ex),
        kind(anything.connect, 3),
        kind(anything.connect_ex, 3),
        kind(anything.bind),
        kind(anything.bind, 3),
        kind(anything.settimeout, "1"),
        outcome(a.settimeout, -1),
        kind(anything.shutdown),
        kind(anything.shutdown, 77),
    ]


class Index:
    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


@on(*STREAMS)
def case_recv_takes_what_has_an_index(a: Socket, b: Socket) -> Any:
    anything: Any = a
    b.sendall(b"abcdef")
    return [anything.recv(Index(2)), anything.recv(True)]


@on(*STREAMS)
def case_end_of_stream(a: Socket, b: Socket) -> Any:
    reader = Background(a.recv, 10)
    settle()
    b.close()
    return [reader.result(), a.recv(10), a.recv_into(bytearray(9)), a.recvmsg(10)[0], a.recv(10)]


@on(*STREAMS)
def case_data_and_end_at_once(a: Socket, b: Socket) -> Any:
    drain(a, b)
    reader = Background(a.recv, 100)
    settle()
    b.sendall(b"last words")
    b.close()
    got = [reader.result()]
    settle()
    return [*got, a.recv(100), a.recv(100)]


@on(*STREAMS)
def case_data_and_end_read_in_bits(a: Socket, b: Socket) -> Any:
    drain(a, b)
    b.sendall(b"last words")
    b.shutdown(socket.SHUT_WR)
    settle()
    return [a.recv(100), a.recv(100), a.recv(1)]


@on(*STREAMS)
def case_short_reads_then_more(a: Socket, b: Socket) -> Any:
    got = []
    for number in range(20):
        reader = Background(a.recv, 10)
        if number % 3:
            settle(0.001)
        b.sendall(b"x" * (number + 1))
        got.append(receive_rest(reader.result(), a, number + 1))
    return got


def receive_rest(start: bytes, sock: Socket, size: int) -> int:
    return len(start) + len(receive(sock, size - len(start)))


@on(*STREAMS)
def case_recv_timeout(a: Socket, b: Socket) -> Any:
    a.settimeout(SHORT)
    got = [outcome(a.recv, 10), outcome(a.recv, 10), outcome(a.recv_into, bytearray(10))]
    got += [outcome(a.recvfrom, 10), outcome(a.recvfrom_into, bytearray(10))]
    got += [outcome(a.recvmsg, 10), outcome(a.recvmsg_into, [bytearray(10)])]
    got += [outcome(a.recv, 10, socket.MSG_PEEK), outcome(a.recv, 10, socket.MSG_WAITALL)]
    b.sendall(b"x")
    return [*got, a.recv(10), outcome(a.recv, 10)]


@on(*STREAMS)
def case_timeout_takes_its_time(a: Socket, b: Socket) -> Any:
    a.settimeout(0.05)
    start = time.monotonic()
    drained = outcome(a.recv, 10)
    return [drained, 0.045 < time.monotonic() - start < LONG]


@on(*STREAMS)
def case_recv_not_blocking(a: Socket, b: Socket) -> Any:
    a.setblocking(False)
    got = [outcome(a.recv, 10), outcome(a.recv_into, bytearray(3)), outcome(a.recvfrom, 10)]
    got += [outcome(a.recvmsg, 10), outcome(a.recvmsg_into, [bytearray(3)])]
    got += [outcome(a.recv, 10, socket.MSG_WAITALL), outcome(a.recv, 10, socket.MSG_PEEK)]
    b.sendall(b"xyz")
    settle()
    return [*got, outcome(a.recv, 2), outcome(a.recv, 2), outcome(a.recv, 2)]


@on(*STREAMS)
def case_dontwait_flag(a: Socket, b: Socket) -> Any:
    flag = socket.MSG_DONTWAIT
    got = [outcome(a.recv, 10, flag), outcome(a.recv_into, bytearray(3), 0, flag)]
    got += [outcome(a.recvfrom, 10, flag), outcome(a.recvmsg, 10, 0, flag)]
    got += [outcome(a.recvmsg_into, [bytearray(3)], 0, flag)]
    got += [outcome(a.recvfrom_into, bytearray(3), 0, flag)]
    fill(a)
    got += [outcome(a.send, b"x" * 70000, flag), outcome(a.sendmsg, [b"x" * 70000], [], flag)]
    return [*got, outcome(a.sendall, b"x" * 70000, flag)]


@on(*STREAMS)
def case_peek(a: Socket, b: Socket) -> Any:
    reader = Background(a.recv, 10, socket.MSG_PEEK)
    settle()
    b.sendall(b"abc")
    got = [reader.result(), a.recv(2, socket.MSG_PEEK), a.recv(10)]
    reader = Background(a.recv, 10, socket.MSG_PEEK)
    settle()
    b.sendall(b"d")
    return [*got, reader.result(), a.recv(10, socket.MSG_PEEK), a.recv(10)]


@on(*STREAMS)
def case_wait_for_all(a: Socket, b: Socket) -> Any:
    reader = Background(a.recv, 9, socket.MSG_WAITALL)
    got = []
    for _ in range(3):
        settle()
        b.sendall(b"abc")
    got.append(reader.result())
    buffer = bytearray(6)
    reader = Background(a.recv_into, buffer, 6, socket.MSG_WAITALL)
    settle()
    b.sendall(b"abc")
    settle()
    b.sendall(b"def")
    got += [reader.result(), bytes(buffer)]
    reader = Background(a.recv, 9, socket.MSG_WAITALL)
    settle()
    b.sendall(b"abc")
    b.close()
    return [*got, reader.result(), a.recv(9, socket.MSG_WAITALL)]


@on("tcp", "unix")
def case_wait_for_all_in_other_methods(a: Socket, b: Socket) -> Any:
    every = socket.MSG_WAITALL
    got: list[Any] = []
    for call in (
        lambda: a.recvfrom(6, every)[0],
        lambda: a.recvfrom_into(bytearray(6), 6, every)[0],
        lambda: a.recvmsg(6, 0, every)[0],
        lambda: a.recvmsg_into([bytearray(2), bytearray(4)], 0, every)[0],
    ):
        reader = Background(call)
        settle()
        b.sendall(b"abc")
        settle()
        b.sendall(b"def")
        got.append(reader.result())
    return got


@on(*STREAMS)
def case_recv_into(a: Socket, b: Socket) -> Any:
    b.sendall(b"0123456789" * 2)
    numbers = array.array("i", [0, 0])
    buffer = bytearray(4)
    got: list[Any] = [a.recv_into(buffer), bytes(buffer)]
    got += [a.recv_into(buffer, 2), bytes(buffer), a.recv_into(buffer, nbytes=0, flags=0)]
    got += [a.recv_into(memoryview(buffer)[1:], 1), bytes(buffer)]
    got += [a.recv_into(numbers), numbers.tobytes()]
    return [*got, kind(a.recv_into, memoryview(buffer)[::2])]


@on(*STREAMS)
def case_recvfrom(a: Socket, b: Socket) -> Any:
    reader = Background(a.recvfrom, 100)
    settle()
    b.sendall(b"abc")
    got = [reader.result()]
    buffer = bytearray(5)
    reader = Background(a.recvfrom_into, buffer, 2)
    settle()
    b.sendall(b"def")
    return [*got, reader.result(), bytes(buffer), a.recv(10)]


@on(*STREAMS)
def case_recvmsg(a: Socket, b: Socket) -> Any:
    reader = Background(a.recvmsg, 100)
    settle()
    got = [b.sendmsg([b"ab", bytearray(b"cd"), memoryview(b"ef")]), reader.result()]
    buffers = [bytearray(2), bytearray(3)]
    reader = Background(a.recvmsg_into, iter(buffers))
    settle()
    got += [b.sendmsg(iter([b"01", b"234"])), reader.result(), [bytes(each) for each in buffers]]
    return [*got, b.sendmsg([]), b.sendmsg([b""]), outcome(a.recv, 1, socket.MSG_DONTWAIT)]


@on("unix")
def case_descriptors_in_messages(a: Socket, b: Socket) -> Any:
    readable, writable = os.pipe()
    try:
        reader = Background(socket.recv_fds, a, 100, 3)
        settle()
        socket.send_fds(b, [b"take"], [writable])
        data, descriptors, flags, address = reader.result()
        with open(descriptors[0], "wb") as file:
            file.write(b"through it")
        return [data, len(descriptors), flags, address, os.read(readable, 100)]
    finally:
        os.close(readable)
        os.close(writable)


@on("unix")
def case_descriptors_that_find_no_room(a: Socket, b: Socket) -> Any:
    readable, writable = os.pipe()
    socket.send_fds(b, [b"take"], [readable, writable])
    os.close(readable)
    os.close(writable)
    data, ancillary, flags, _ = a.recvmsg(10, 0)
    return [data, ancillary, bool(flags & socket.MSG_CTRUNC)]


# -- send


@on(*STREAMS)
def case_send(a: Socket, b: Socket) -> Any:
    numbers = array.array("i", [1, 2])
    got = [a.send(b"abc"), a.send(bytearray(b"de")), a.send(memoryview(b"fgh")[1:]), a.send(b"")]
    got += [a.send(numbers), a.sendall(numbers), a.sendall(b""), a.sendall(memoryview(numbers))]
    got += [kind(a.sendall, memoryview(b"abc")[::2]), kind(a.send, memoryview(b"abc")[::2])]
    return [*got, receive(b, 7 + 24)]


@on(*STREAMS)
def case_sendall_more_than_fits(a: Socket, b: Socket) -> Any:
    data = os.urandom(3_000_000)
    writer = Background(a.sendall, data)
    settle()
    return [receive(b, len(data)) == data, writer.result()]


@on("tcp", "unix")
def case_sendall_of_numbers_more_than_fits(a: Socket, b: Socket) -> Any:
    numbers = array.array("q", range(400_000))
    writer = Background(a.sendall, numbers)
    settle()
    return [receive(b, numbers.itemsize * len(numbers)) == numbers.tobytes(), writer.result()]


@on("tcp", "unix")
def case_sendmsg_more_than_fits(a: Socket, b: Socket) -> Any:
    size = fill(a)
    writer = Background(a.sendmsg, [b"a" * 10, b"b" * 10])
    settle()
    skipped = len(receive(b, size))
    return [skipped == size, writer.result(), receive(b, 20)]


@on(*STREAMS)
def case_send_waits(a: Socket, b: Socket) -> Any:
    size = fill(a)
    writer = Background(a.send, b"last")
    settle()
    return [len(receive(b, size)) == size, writer.result(), receive(b, 4)]


@on(*STREAMS)
def case_send_timeout(a: Socket, b: Socket) -> Any:
    fill(a)
    a.settimeout(SHORT)
    return [
        outcome(a.send, b"x" * 70000),
        outcome(a.sendall, b"x" * 70000),
        outcome(a.sendmsg, [b"x" * 70000]),
        outcome(a.recv, 10),
    ]


@on(*STREAMS)
def case_sendall_timeout_is_for_all_of_it(a: Socket, b: Socket) -> Any:
    a.settimeout(0.1)
    stop = []

    def trickle() -> None:
        while not stop:
            b.recv(20_000)
            settle(0.01)

    reader = Background(trickle)
    start = time.monotonic()
    got = outcome(a.sendall, b"x" * 50_000_000)
    took = time.monotonic() - start
    stop.append(True)
    a.shutdown(socket.SHUT_RDWR)
    reader.result()
    return [got, 0.09 < took < 5]  # a time-out for each part would take 25 seconds


@on(*STREAMS)
def case_send_not_blocking(a: Socket, b: Socket) -> Any:
    a.setblocking(False)
    first = a.send(b"x" * 20_000_000)
    fill(a)
    return [
        0 < first < 20_000_000,
        outcome(a.send, b"x" * 70000),
        outcome(a.sendall, b"x" * 70000),
        outcome(a.sendmsg, [b"x" * 70000]),
    ]


@on(*STREAMS)
def case_both_directions_at_once(a: Socket, b: Socket) -> Any:
    there, back = b"t" * 1_000_000, b"b" * 1_000_000
    threads = [Background(a.sendall, there), Background(b.sendall, back)]
    threads += [Background(receive, b, len(there)), Background(receive, a, len(back))]
    results = [thread.result() for thread in threads]
    return [results[0], results[1], results[2] == there, results[3] == back]


@on(*STREAMS)
def case_many_readers(a: Socket, b: Socket) -> Any:
    readers = [Background(a.recv, 1) for _ in range(10)]
    settle()
    for number in range(10):
        b.sendall(b"%d" % number)
        settle(0.001)
    return sorted(reader.result() for reader in readers)


@on(*STREAMS)
def case_many_readers_and_the_end(a: Socket, b: Socket) -> Any:
    readers = [Background(a.recv, 1) for _ in range(5)]
    settle()
    b.sendall(b"ab")
    b.close()
    return sorted(reader.result() for reader in readers)


@on("tcp", "unix")
def case_many_writers(a: Socket, b: Socket) -> Any:
    size = fill(a)
    writers = [Background(a.sendall, b"%d" % number) for number in range(5)]
    settle()
    skipped = len(receive(b, size))
    got = sorted(receive(b, 5))
    return [skipped == size, got, [writer.result() for writer in writers]]


# -- Half closed, reset, urgent


@on(*STREAMS)
def case_half_close(a: Socket, b: Socket) -> Any:
    a.shutdown(socket.SHUT_WR)
    reader = Background(a.recv, 10)
    got = [b.recv(10), outcome(a.send, b"x")]
    settle()
    b.sendall(b"still open")
    return [*got, reader.result(), b.recv(10)]


@on(*STREAMS)
def case_shutdown_wakes_own_reader(a: Socket, b: Socket) -> Any:
    drain(a, b)
    reader = Background(a.recv, 10)
    settle()
    a.shutdown(socket.SHUT_RD)
    return [reader.result(), a.recv(10), outcome(a.send, b"x"), b.recv(1)]


@on(*STREAMS)
def case_shutdown_wakes_own_writer(a: Socket, b: Socket) -> Any:
    fill(a)
    writer = Background(a.send, b"x")
    settle()
    a.shutdown(socket.SHUT_WR)
    return writer.result()


@on("tcp")
def case_reset_wakes_reader(a: Socket, b: Socket) -> Any:
    drain(a, b)
    reader = Background(a.recv, 10)
    settle()
    b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    b.close()
    got = [reader.result(), outcome(a.recv, 10)]
    return [*got, outcome(a.send, b"x"), outcome(a.getpeername)]


@on("tcp")
def case_data_and_reset(a: Socket, b: Socket) -> Any:
    drain(a, b)
    b.sendall(b"last words")
    b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    b.close()
    settle()
    return [outcome(a.recv, 100), outcome(a.recv, 100), outcome(a.send, b"x")]


@on("tcp", "unix")
def case_peer_is_gone(a: Socket, b: Socket) -> Any:
    a.sendall(b"never read")
    b.close()
    settle()
    got = [outcome(a.send, b"x")]
    settle()
    return [*got, outcome(a.send, b"x"), outcome(a.sendall, b"x"), outcome(a.recv, 10)]


@on("tcp", "unix")
def case_peer_goes_while_writing(a: Socket, b: Socket) -> Any:
    fill(a)
    writer = Background(a.sendall, b"x" * 1_000_000)
    settle()
    b.close()
    return writer.result()


@on("tcp")
def case_urgent_data(a: Socket, b: Socket) -> Any:
    drain(a, b)
    b.sendall(b"before")
    b.send(b"!", socket.MSG_OOB)
    b.sendall(b"after")
    settle()
    got = [a.recv(100), outcome(a.recv, 1, socket.MSG_OOB), a.recv(100)]
    return [*got, outcome(a.recv, 1, socket.MSG_OOB | socket.MSG_DONTWAIT)]


@on("tcp")
def case_urgent_data_in_line(a: Socket, b: Socket) -> Any:
    a.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    drain(a, b)
    b.sendall(b"before")
    b.send(b"!", socket.MSG_OOB)
    b.sendall(b"after")
    settle()
    return [a.recv(100), a.recv(100)]


@on("tcp")
def case_urgent_data_while_waiting(a: Socket, b: Socket) -> Any:
    drain(a, b)
    reader = Background(receive, a, 9)
    settle()
    b.send(b"abc!", socket.MSG_OOB)
    settle()
    b.send(b"def!", socket.MSG_OOB)
    settle()
    b.sendall(b"ghi")
    return [reader.result(), outcome(a.recv, 1, socket.MSG_OOB | socket.MSG_DONTWAIT)]


# -- What the descriptor is like


def flags_of(sock: Socket) -> tuple[Any, ...]:
    flags = fcntl.fcntl(sock, fcntl.F_GETFL)
    return sock.gettimeout(), sock.getblocking(), bool(flags & os.O_NONBLOCK)


@on(*STREAMS)
def case_mode_stays(a: Socket, b: Socket) -> Any:
    got = []
    for timeout in (None, LONG, 0, 0.0, None):
        a.settimeout(timeout)
        got.append(flags_of(a))
        b.sendall(b"x")
        settle(0.001)
        a.recv(1)
        a.send(b"y")
        got.append(flags_of(a))
    drain(a, b) if a.gettimeout() is None else None
    return [*got, flags_of(a), flags_of(b)]


@on(*STREAMS)
def case_mode_of_a_blocking_socket_for_others(a: Socket, b: Socket) -> Any:
    drain(a, b)
    b.sendall(b"for the child")
    # What a C library or a child process would do with it.
    return [os.get_blocking(a.fileno()), os.read(a.fileno(), 100)]


@on(*STREAMS)
def case_timeouts_change_between_calls(a: Socket, b: Socket) -> Any:
    got = []
    for timeout in (SHORT, 0, 2 * SHORT, 0):
        a.settimeout(timeout)
        got.append(outcome(a.recv, 1))
    a.settimeout(None)
    drain(a, b)
    a.settimeout(SHORT)
    return [*got, outcome(a.recv, 1), a.gettimeout()]


@on(*STREAMS)
def case_nonblocking_behind_our_back(a: Socket, b: Socket) -> Any:
    os.set_blocking(a.fileno(), False)
    got = [a.gettimeout(), outcome(a.recv, 10)]
    drain_by_poll(a, b)
    return [*got, outcome(a.recv, 10), os.get_blocking(a.fileno())]


def drain_by_poll(a: Socket, b: Socket) -> None:
    b.sendall(b"x")
    settle()
    a.recv(100)


# -- Pickles, copies, repr


@on("tcp")
def case_addresses(a: Socket, b: Socket) -> Any:
    return [
        a.getsockname() == b.getpeername(),
        a.getpeername() == b.getsockname(),
        a.family,
        a.type,
        a.proto,
        a.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
        a.get_inheritable(),
    ]


@on(*STREAMS)
def case_repr(a: Socket, b: Socket) -> Any:
    a.settimeout(SHORT)
    outcome(a.recv, 1)
    opened = repr(a)
    number = a.fileno()
    a.close()
    return [
        opened.count(f"fd={number},"),
        "[closed]" in opened,
        "[closed]" in repr(a),
        "fd=-1" in repr(a),
    ]
