"""Pipes, terminals, sockets and regular files by their numbers: os.read, os.write and their relatives."""

from __future__ import annotations

import array
import contextlib
import os
import pty
import select
import socket
import sys
import tempfile
import tty
from typing import TYPE_CHECKING, Any

from tests.patch.harness.tools import LONG, Background, kind, outcome, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ends = tuple[int, int]

BIG = 1 << 20


@contextlib.contextmanager
def pipe() -> Iterator[Ends]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        close(*ends)


@contextlib.contextmanager
def sockets() -> Iterator[Ends]:
    first, second = socket.socketpair()
    with first, second:
        yield first.fileno(), second.fileno()


@contextlib.contextmanager
def terminal() -> Iterator[Ends]:
    """What is written to the second end is read from the first, as it is."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        yield master, slave
    finally:
        close(master, slave)


@contextlib.contextmanager
def keyboard() -> Iterator[Ends]:
    """The same terminal, the other way round."""
    with terminal() as (master, slave):
        yield slave, master


STREAMS: dict[str, Callable[[], contextlib.AbstractContextManager[Ends]]] = {
    "pipe": pipe,
    "sockets": sockets,
    "terminal": terminal,
    "keyboard": keyboard,
}


def close(*descriptors: int) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def on_all(case: Callable[[int, int], Any]) -> dict[str, Any]:
    """What a case makes of each kind of stream."""
    found = {}
    for name, make in STREAMS.items():
        with make() as (source, sink):
            found[name] = case(source, sink)
    return found


def drain(source: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(source, 65536)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def fill(sink: int) -> int:
    """Write until nothing more goes in."""
    os.set_blocking(sink, False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += os.write(sink, b"x" * 1000)
    os.set_blocking(sink, True)
    return count


# -- Reading


def case_read_waits() -> Any:
    def one(source: int, sink: int) -> Any:
        reader = Background(os.read, source, 100)
        settle()
        written = os.write(sink, b"hello")
        return written, reader.result(), os.get_blocking(source), os.get_blocking(sink)

    return on_all(one)


def case_read_what_is_there() -> Any:
    def one(source: int, sink: int) -> Any:
        os.write(sink, b"0123456789")
        return os.read(source, 4), os.read(source, 4), os.read(source, 4)

    return on_all(one)


def case_readv_waits() -> Any:
    def one(source: int, sink: int) -> Any:
        buffers = [bytearray(2), bytearray(3), array.array("i", [0, 0])]
        reader = Background(os.readv, source, buffers)
        settle()
        os.writev(sink, [b"he", bytearray(b"llo"), memoryview(b"world")])
        return reader.result(), [bytes(buffer) for buffer in buffers]

    return on_all(one)


def case_readinto_waits() -> Any:
    readinto = getattr(os, "readinto", None)  # since 3.14
    if readinto is None:
        return None
    with pipe() as (source, sink):
        buffer = bytearray(10)
        reader = Background(readinto, source, buffer)
        settle()
        os.write(sink, b"hello")
        return reader.result(), buffer, readinto(source, bytearray())


def case_two_readers() -> Any:
    with pipe() as (source, sink):
        readers = [Background(os.read, source, 1) for _ in range(3)]
        settle()
        os.write(sink, b"abc")
        return sorted(reader.result() for reader in readers)


def case_read_the_end() -> Any:
    with pipe() as (source, sink):
        reader = Background(os.read, source, 100)
        settle()
        os.close(sink)
        return reader.result(), os.read(source, 100)


def case_read_a_terminal_that_is_hung_up() -> Any:
    with terminal() as (master, slave):
        reader = Background(os.read, master, 100)
        settle()
        os.close(slave)
        return reader.result()


def case_read_non_blocking() -> Any:
    def one(source: int, sink: int) -> Any:
        os.set_blocking(source, False)
        first = outcome(os.read, source, 100)
        second = outcome(os.readv, source, [bytearray(3)])
        os.write(sink, b"x")
        select.select([source], [], [], LONG)
        return first, second, outcome(os.read, source, 100), os.get_blocking(source)

    return on_all(one)


def case_read_wrong_arguments() -> Any:
    with pipe() as (source, sink):
        os.write(sink, b"x")
        return [
            outcome(os.read, "a", 1),
            outcome(os.read, source, "a"),
            outcome(os.read, source, -1),
            outcome(os.read, source, 0),
            outcome(os.read, 10**6, 1),
            outcome(os.read, 10**20, 1),
            outcome(os.read, sink, 1),
            outcome(os.readv, source, 3),
            outcome(os.readv, source, [b"not writable"]),
            outcome(os.readv, source, []),
            kind(os.read),
            outcome(os.read, source, 1),
        ]


def case_read_much() -> Any:
    with pipe() as (source, sink):
        writer = Background(os.write, sink, b"y" * BIG)
        size = len(drain(source, BIG))
        return size, writer.result(), len(os.read(source, BIG)) if size < BIG else 0


# -- Writing


def case_write_waits_until_all_is_written() -> Any:
    def one(source: int, sink: int) -> Any:
        writer = Background(os.write, sink, b"z" * BIG)
        settle()
        data = drain(source, BIG)
        return len(data), set(data), writer.result(), os.get_blocking(sink)

    return on_all(one)


def case_writev_waits_until_all_is_written() -> Any:
    def one(source: int, sink: int) -> Any:
        writer = Background(os.writev, sink, [b"a" * (BIG // 2), b"", b"b" * (BIG // 2)])
        settle()
        data = drain(source, BIG)
        return data.count(b"a"), data.count(b"b"), writer.result()

    return on_all(one)


def case_write_little_to_what_is_full() -> Any:
    def one(source: int, sink: int) -> Any:
        count = fill(sink)
        writer = Background(os.write, sink, b"one more")
        settle()
        data = drain(source, count + 8)
        return data[-8:], writer.result()

    return on_all(one)


def case_two_writers() -> Any:
    with pipe() as (source, sink):
        writers = [Background(os.write, sink, letter * BIG) for letter in (b"a", b"b")]
        data = drain(source, 2 * BIG)
        return data.count(b"a"), data.count(b"b"), [writer.result() for writer in writers]


def case_small_writes_stay_whole() -> Any:
    with pipe() as (source, sink):

        def write(letter: bytes) -> None:
            for _ in range(200):
                os.write(sink, letter * 4095 + b"\n")

        writers = [Background(write, letter) for letter in (b"a", b"b", b"c")]
        lines = drain(source, 3 * 200 * 4096).splitlines()
        for writer in writers:
            writer.result()
        return len(lines), {len(line) for line in lines}, {len(set(line)) for line in lines}


def case_write_non_blocking() -> Any:
    def one(sink: int) -> Any:
        count = fill(sink)
        os.set_blocking(sink, False)
        return count > 1000, outcome(os.write, sink, b"x" * 10000), outcome(os.writev, sink, [b"y"])

    with pipe() as (_, first), sockets() as (_, second):
        return one(first), one(second)


def case_write_part_of_it_non_blocking() -> Any:
    with pipe() as (_, sink):
        os.set_blocking(sink, False)
        return os.write(sink, b"x" * BIG), outcome(os.write, sink, b"x" * BIG)


def case_write_to_nobody() -> Any:
    with pipe() as (source, sink):
        os.close(source)
        return outcome(os.write, sink, b"x"), outcome(os.writev, sink, [b"x"])


def case_the_reader_goes_while_one_writes() -> Any:
    with pipe() as (source, sink):
        writer = Background(os.write, sink, b"x" * BIG)
        settle()
        os.close(source)
        # What went in before counts: write(2).
        return writer.result(), outcome(os.write, sink, b"x")


def case_write_wrong_arguments() -> Any:
    with pipe() as (source, sink):
        return [
            outcome(os.write, sink, "text"),
            outcome(os.write, sink, None),
            outcome(os.write, "a", b"x"),
            outcome(os.write, source, b"x"),
            outcome(os.write, 10**6, b"x"),
            outcome(os.write, sink, b""),
            outcome(os.write, sink, array.array("i")),
            outcome(os.write, sink, array.array("i", [1, 2])),
            outcome(os.write, sink, memoryview(b"abcdef")[::2]),
            outcome(os.writev, sink, 3),
            outcome(os.writev, sink, ["text"]),
            outcome(os.writev, sink, []),
            outcome(os.writev, sink, [b""]),
            os.read(source, 100),
        ]


# -- What never waits


def case_regular_files() -> Any:
    with tempfile.TemporaryFile(buffering=0) as file:
        number = file.fileno()
        found = [os.write(number, b"x" * 100000), os.lseek(number, 0, 0), len(os.read(number, BIG))]
        os.lseek(number, 0, 0)
        buffer = bytearray(99999)
        return [*found, os.readv(number, [buffer]), os.read(number, 10), os.read(number, 10)]


def case_devices() -> Any:
    with open("/dev/null", "r+b", 0) as null, open("/dev/zero", "rb", 0) as zero:
        return (
            os.read(null.fileno(), 10),
            os.write(null.fileno(), b"x" * BIG),
            os.read(zero.fileno(), 5),
            len(os.read(zero.fileno(), BIG)),
        )


def case_directories() -> Any:
    number = os.open("/", os.O_RDONLY)
    try:
        return outcome(os.read, number, 10), outcome(os.write, number, b"x")
    finally:
        os.close(number)


# -- Events


def case_eventfd() -> Any:
    number = os.eventfd(0)
    try:
        reader = Background(os.eventfd_read, number)
        settle()
        os.eventfd_write(number, 3)
        first = reader.result()
        os.eventfd_write(number, 2**64 - 2)
        writer = Background(os.eventfd_write, number, 5)
        settle()
        second = os.eventfd_read(number)
        return first, second, writer.result(), os.eventfd_read(number), os.get_blocking(number)
    finally:
        os.close(number)


def case_eventfd_by_read_and_write() -> Any:
    number = os.eventfd(0)
    try:
        reader = Background(os.read, number, 8)
        settle()
        os.write(number, (7).to_bytes(8, sys.byteorder))
        first = reader.result()
        os.set_blocking(number, False)
        return (
            first,
            outcome(os.read, number, 8),
            outcome(os.eventfd_read, number),
            outcome(os.read, number, 4),
            outcome(os.eventfd_write, number, -1),
        )
    finally:
        os.close(number)


# -- sendfile


def case_sendfile_to_a_slow_reader() -> Any:
    with sockets() as (source, sink), tempfile.TemporaryFile() as file:
        file.write(b"f" * BIG + b"end")
        file.flush()
        sender = Background(os.sendfile, sink, file.fileno(), 3, BIG)
        settle()
        data = drain(source, BIG)
        return len(data), data[-4:], sender.result(), os.get_blocking(sink)


def case_sendfile_into_a_pipe() -> Any:
    with pipe() as (source, sink), tempfile.TemporaryFile() as file:
        file.write(b"f" * BIG)
        file.flush()
        first = os.sendfile(sink, file.fileno(), 0, BIG)
        sender = Background(os.sendfile, sink, file.fileno(), 0, 10)
        settle()
        data = drain(source, first)
        return first, len(data), sender.result(), os.read(source, 100)


def case_sendfile_from_where_the_file_is() -> Any:
    with sockets() as (source, sink), tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.seek(4)
        number = file.fileno()
        return (
            os.sendfile(sink, number, None, 3),
            os.read(source, 100),
            os.sendfile(sink, number, None, 100),
            os.read(source, 100),
            os.sendfile(sink, number, None, 100),
            os.sendfile(out_fd=sink, in_fd=number, offset=2, count=2),
            os.read(source, 100),
        )


def case_sendfile_errors() -> Any:
    with sockets() as (source, sink), tempfile.TemporaryFile() as file:
        number = file.fileno()
        return (
            outcome(os.sendfile, 10**6, number, 0, 1),
            outcome(os.sendfile, sink, 10**6, 0, 1),
            outcome(os.sendfile, sink, source, 0, 1),
            outcome(os.sendfile, sink, number, -1, 1),
            outcome(os.sendfile, sink, number, 0, 0),
            kind(os.sendfile, sink),
        )


def case_sendfile_non_blocking() -> Any:
    with sockets() as (_, sink), tempfile.TemporaryFile() as file:
        file.write(b"f" * 10 * BIG)
        file.flush()
        os.set_blocking(sink, False)
        sent = os.sendfile(sink, file.fileno(), 0, 10 * BIG)
        return 0 < sent < 10 * BIG, outcome(os.sendfile, sink, file.fileno(), 0, BIG)


# -- Opening and closing


def case_fifo() -> Any:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/fifo"
        os.mkfifo(path)
        reader = Background(os.open, path, os.O_RDONLY)
        settle()
        sink = os.open(path, os.O_WRONLY)
        source = reader.result()
        os.write(sink, b"hello")
        data = os.read(source, 100)
        found = os.get_blocking(source), os.get_inheritable(source)
        close(source, sink)
        return data, found, outcome(os.open, path, os.O_WRONLY | os.O_NONBLOCK).replace(path, "it")


def case_open_wrong_arguments() -> Any:
    return [
        outcome(os.open, "/nonexistent/file", os.O_RDONLY),
        outcome(os.open, "/", "text"),
        outcome(os.open, 3.5, os.O_RDONLY),
        outcome(os.open, "a\0b", os.O_RDONLY),
        kind(os.open, "/"),
    ]


def case_close_wrong_arguments() -> Any:
    return [
        outcome(os.close, 10**6),
        outcome(os.close, -1),
        outcome(os.close, "a"),
        outcome(os.close, []),
        outcome(os.dup2, 10**6, 5),
        outcome(os.dup2, "a", 5),
        outcome(os.closerange, "a", 5),
        outcome(os.closerange, 10**6, 10**6 + 2),
    ]


def case_close_by_keyword_and_range() -> Any:
    first = os.open("/", os.O_RDONLY)
    os.close(fd=first)
    second = os.open("/", os.O_RDONLY)
    third = os.dup2(second, second + 20)
    os.closerange(third, third + 3)
    found = outcome(os.fstat, third), os.get_inheritable(second), os.dup2(second, second) == second
    os.close(second)
    return found


def case_dup2_gives_another_file() -> Any:
    with pipe() as (source, sink), pipe() as (other_source, other_sink):
        reader = Background(os.read, source, 100)
        settle()
        os.write(sink, b"first")
        first = reader.result()
        os.dup2(other_source, source, inheritable=False)
        reader = Background(os.read, source, 100)
        settle()
        os.write(other_sink, b"second")
        return first, reader.result(), outcome(os.write, sink, b"x"), os.get_inheritable(source)


def case_splice_waits() -> Any:
    if not hasattr(os, "splice"):
        return None
    got: list[Any] = []
    for make_source, make_sink in ((pipe, pipe), (sockets, pipe), (pipe, sockets)):
        with make_source() as (source, feed), make_sink() as (drained, sink):
            mover = Background(os.splice, source, sink, 100)
            settle()
            os.write(feed, b"text")
            got.append([mover.result(), os.read(drained, 100)])
            # No room, up to a whole page at the end.
            filled = fill(sink)
            os.write(feed, b"late")
            mover = Background(os.splice, source, sink, 100)
            settle()
            got.append(mover.is_alive())
            drain(drained, filled)
            got += [mover.result(), os.read(drained, 100)]
            mover = Background(os.splice, source, sink, 100)
            settle()
            close(feed)
            got.append(mover.result())
    return got


def case_splice_that_must_not_wait() -> Any:
    if not hasattr(os, "splice"):
        return None
    with pipe() as (source, feed), sockets() as (drained, sink), pipe() as (_, other):
        got = [outcome(os.splice, source, sink, 100, flags=2)]
        os.set_blocking(sink, False)
        os.write(feed, b"text")
        got += [os.splice(source, sink, 100), os.read(drained, 100), os.get_blocking(sink)]
        filled = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(sink, b"x" * 1000)
        os.write(feed, b"late")
        got += [outcome(os.splice, source, sink, 100), filled > 0]
        got += [kind(os.splice, "text", sink, 1), kind(os.splice, source, sink, -1)]
        got += [kind(os.splice, -1, sink, 1), kind(os.splice, source)]
        got += [kind(os.splice, sink, drained, 1), kind(os.splice, source, other, 1, 5)]
        with tempfile.TemporaryFile() as file:
            file.write(b"from a file")
            file.flush()
            got += [os.splice(file.fileno(), other, 100, offset_src=5)]
            got += [os.splice(source, file.fileno(), 100, offset_dst=0), file.seek(0), file.read()]
    return got
