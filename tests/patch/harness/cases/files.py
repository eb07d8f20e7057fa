"""Files on pipes, terminals and sockets, in all their layers; regular ones beside them."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pty
import re
import socket
import sys
import tempfile
import tty
import warnings
from typing import IO, TYPE_CHECKING, Any

from tests.patch.harness.tools import Background, kind, outcome, receive, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

BIG = 1 << 20


class Made:
    """What exists before patching: a number to write to, and a file that reads it."""

    files: dict[str, tuple[int, IO[Any]]]
    writers: dict[str, tuple[int, IO[Any]]]
    flushed: tuple[int, IO[Any]]
    regular: IO[Any]


def prepare() -> None:
    Made.files, Made.writers = {}, {}
    for name, arguments in {
        "raw": ("rb", 0),
        "buffered": ("rb",),
        "read": ("rb",),
        "text": ("r", -1, "utf-8"),
        "read text": ("r", -1, "utf-8"),
        "newlines": ("r", -1, "utf-8", "strict", ""),
    }.items():
        source, sink = os.pipe()
        file = open(source, *arguments)  # type: ignore[call-overload]
        Made.files[name] = sink, file
        if name.startswith("read"):
            os.write(sink, b"one\ntwo\nth")
            assert file.readline() in (b"one\n", "one\n")
    for name, arguments in {
        "raw": ("wb", 0),
        "buffered": ("wb",),
        "text": ("w", -1, "utf-8", "strict", "\r\n"),
    }.items():
        source, sink = os.pipe()
        file = open(sink, *arguments)  # type: ignore[call-overload]
        Made.writers[name] = source, file
        file.write("before;" if name == "text" else b"before;")
    source, sink = os.pipe()
    Made.flushed = source, open(sink, "wb")
    Made.regular = tempfile.TemporaryFile("w+")


def finish() -> None:
    for number, file in (*Made.files.values(), *Made.writers.values(), Made.flushed):
        file.close()
        with contextlib.suppress(OSError):
            os.close(number)
    Made.regular.close()


@contextlib.contextmanager
def pipe(*arguments: Any, **keywords: Any) -> Iterator[tuple[IO[Any], int]]:
    """A file to read from, made so, and the number of the other end."""
    source, sink = os.pipe()
    file = open(source, *arguments, **keywords)
    try:
        yield file, sink
    finally:
        file.close()
        with contextlib.suppress(OSError):
            os.close(sink)


@contextlib.contextmanager
def sink(*arguments: Any, **keywords: Any) -> Iterator[tuple[IO[Any], int]]:
    """A file to write to, made so, and the number of the other end."""
    source, number = os.pipe()
    file = open(number, *arguments, **keywords)
    try:
        yield file, source
    finally:
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            os.close(source)


def drain(source: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(source, 65536)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# -- Reading


def case_readline_waits() -> Any:
    found = []
    for arguments in (("rb",), ("rb", 0), ("r",)):
        with pipe(*arguments) as (file, number):
            reader = Background(file.readline)
            settle()
            os.write(number, b"hel")
            settle()
            os.write(number, b"lo\nworld")
            found.append((reader.result(), file.fileno() == number - 1))
    return found


def case_read_to_the_end() -> Any:
    found = []
    for arguments in (("rb",), ("rb", 0), ("r",)):
        with pipe(*arguments) as (file, number):
            reader = Background(file.read)
            for part in (b"one\n", b"two\n"):
                settle()
                os.write(number, part)
            os.close(number)
            found.append((reader.result(), file.read()))
    return found


def case_every_way_to_read() -> Any:
    with pipe("rb") as (file, number):
        ways = [
            lambda: file.read(3),
            lambda: file.read1(3),  # type: ignore[attr-defined]
            lambda: file.peek()[:2],  # type: ignore[attr-defined]
            lambda: file.readinto(bytearray(3)),  # type: ignore[attr-defined]
            lambda: file.readinto1(bytearray(3)),  # type: ignore[attr-defined]
            lambda: next(file),
            lambda: file.readlines(3),
            lambda: file.read(0),
        ]
        found = []
        for way in ways:
            reader = Background(way)
            settle(0.001)
            os.write(number, b"abc\n")
            found.append(reader.result())
        return found


def case_every_way_to_read_raw() -> Any:
    with pipe("rb", 0) as (file, number):
        ways = [
            lambda: file.read(3),
            lambda: file.readinto(bytearray(3)),  # type: ignore[attr-defined]
            lambda: next(file),
            lambda: file.read(0),
        ]
        found = []
        for way in ways:
            reader = Background(way)
            settle(0.001)
            os.write(number, b"abc\n")
            found.append(reader.result())
        return found


def case_several_readers_of_one_file() -> Any:
    with pipe("rb") as (file, number):  # text files are not for several threads, says the manual
        readers = [Background(file.readline) for _ in range(4)]
        for index in range(4):
            settle(0.001)
            os.write(number, f"line {index}\n".encode())
        return sorted(reader.result() for reader in readers)


def case_newlines() -> Any:
    found = []
    for newline in (None, "", "\n", "\r", "\r\n"):
        with pipe("r", newline=newline) as (file, number):
            os.write(number, b"a\r\nb\rc\n")
            os.close(number)
            found.append((file.readlines(), file.newlines))
    return found


def case_read_non_blocking() -> Any:
    found = []
    for arguments in (("rb",), ("rb", 0)):
        with pipe(*arguments) as (file, number):
            os.set_blocking(file.fileno(), False)
            first = file.read(), file.read(5), outcome(file.readline)
            os.write(number, b"abc")
            found.append((first, file.read(), os.get_blocking(file.fileno())))
    return found


def case_a_terminal() -> Any:
    master, slave = pty.openpty()
    tty.setraw(slave)
    with open(master, "r+b", 0) as keyboard, open(slave, encoding="ascii") as terminal:
        reader = Background(terminal.readline)
        settle()
        keyboard.write(b"hello\n")
        with open(slave, "wb", closefd=False) as screen:
            screen.write(b"x" * 10)
        return reader.result(), keyboard.read(10), terminal.isatty(), terminal.seekable()


def case_a_socket() -> Any:
    import socket

    first, second = socket.socketpair()
    with first, second, open(first.fileno(), "rb", closefd=False) as file:
        reader = Background(file.readline)
        settle()
        second.sendall(b"hello\n")
        return reader.result()


def several_readers(mode: str) -> Any:
    first, second = socket.socketpair()
    with first, second, first.makefile(mode) as file:
        readers = [Background(file.readline) for _ in range(3)]
        settle()
        for line in (b"one\n", b"two\n", b"three\n"):
            second.sendall(line)
            settle()
        return sorted(reader.result() for reader in readers)


def case_several_read_one_file_of_a_socket() -> Any:
    return several_readers("rb")


def case_several_read_one_file_of_a_socket_that_is_written_to() -> Any:
    return several_readers("rwb")


def case_one_reads_and_one_writes_to_a_file_of_a_socket() -> Any:
    first, second = socket.socketpair()
    with first, second, first.makefile("rwb") as both:
        readers = [Background(both.readline), Background(both.read1)]
        settle()
        both.write(b"meanwhile")
        both.flush()
        got = second.recv(100)
        second.sendall(b"four\n")
        settle()
        second.sendall(b"five\n")
        return got, sorted(reader.result() for reader in readers)


def case_several_write_to_one_file_of_a_socket() -> Any:
    got = []
    for mode in ("wb", "rwb", "w"):
        first, second = socket.socketpair()
        with first, second, first.makefile(mode) as file:

            def write(letter: str, file: Any = file, mode: str = mode) -> None:
                text = letter * BIG
                file.write(text.encode() if "b" in mode else text)
                file.flush()

            writers = [Background(write, letter) for letter in "abc"]
            settle()
            data = receive(second, 3 * BIG)
            got.append([data.count(letter) for letter in (b"a", b"b", b"c")])
            got.append([writer.result() for writer in writers])
    return got


def case_classes_of_the_files_of_a_socket() -> Any:
    first, second = socket.socketpair()
    with first, second:
        got = []
        for mode, buffering in (("r", -1), ("rb", -1), ("wb", 3), ("rwb", -1), ("rb", 0)):
            with first.makefile(mode, buffering) as file:
                layer = getattr(file, "buffer", file)
                got.append(
                    (
                        type(file).__name__,
                        type(layer).__name__,
                        [
                            isinstance(layer, kind)
                            for kind in (io.BufferedReader, io.BufferedWriter, io.BufferedRWPair)
                        ],
                        file.readable(),
                        file.writable(),
                        re.sub("0x[0-9a-f]+", "0x", repr(layer)).replace(str(first.fileno()), "n"),
                    )
                )
        return got, outcome(first.makefile, "x"), outcome(first.makefile, "r", 0)


def case_a_fifo() -> Any:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/fifo"
        os.mkfifo(path)

        def read() -> Any:
            with open(path) as file:
                return file.read(), repr(file).replace(path, "PATH")

        def read_raw() -> Any:
            with io.FileIO(path) as file:
                return file.readall(), file.name == path, file.closefd

        found = []
        for way in (read, read_raw):
            reader = Background(way)
            settle()
            with open(path, "w") as file:
                file.write("hello")
            found.append(reader.result())
        return found


# -- Writing


def case_write_waits() -> Any:
    found = []
    for arguments, data in ((("wb",), b"x"), (("wb", 0), b"x"), (("w",), "x")):
        with sink(*arguments) as (file, number):
            writer = Background(file.write, data * BIG)  # type: ignore[operator]
            settle()
            flush = Background(file.flush)
            size = len(drain(number, BIG))
            found.append((size, writer.result(), flush.result()))
    return found


def case_several_writers_of_one_file() -> Any:
    found = []
    for mode, end in (("wb", b"\n"), ("w", "\n")):
        with sink(mode) as (file, number):

            def write(letter: Any, file: Any = file, end: Any = end) -> None:
                for _ in range(20):
                    file.write(letter * 9999 + end)
                    file.flush()

            letters = (b"a", b"b", b"c") if mode == "wb" else ("a", "b", "c")
            writers = [Background(write, letter) for letter in letters]
            lines = drain(number, 3 * 20 * 10000).splitlines()
            results = [writer.result() for writer in writers]
            found.append((len(lines), {len(set(line)) for line in lines}, results))
    return found


def case_print_to_a_full_pipe() -> Any:
    with sink("w") as (file, number):

        def write(letter: str) -> None:
            for _ in range(20):
                print(letter * 8000, file=file, flush=True)

        writers = [Background(write, letter) for letter in "abc"]
        settle()
        lines = drain(number, 3 * 20 * 8001).splitlines()
        return len(lines), {len(set(line)) for line in lines}, [w.result() for w in writers]


def case_write_to_nobody() -> Any:
    found = []
    for arguments in (("wb",), ("wb", 0)):
        with sink(*arguments) as (file, number):
            os.close(number)
            found.append((outcome(file.write, b"x" * 9), outcome(file.flush), outcome(file.close)))
    return found


def case_write_non_blocking() -> Any:
    with sink("wb", 0) as (raw, _):
        os.set_blocking(raw.fileno(), False)
        first = raw.write(b"x" * BIG), raw.write(b"x")
    with sink("wb") as (file, number):
        os.set_blocking(file.fileno(), False)
        second = outcome(file.write, b"x" * BIG)
        drain(number, 65536)
        return first, second


def case_line_buffering() -> Any:
    with sink("w", 1) as (file, number):
        file.write("one\ntwo")
        return os.read(number, 100), file.line_buffering  # type: ignore[attr-defined]


# -- What they are


def case_classes() -> Any:
    found = []
    for arguments in (("rb", 0), ("rb",), ("r",)):
        with pipe(*arguments) as (file, _):
            layers: list[Any] = [file]
            for name in ("buffer", "raw"):
                if hasattr(layers[-1], name):
                    layers.append(getattr(layers[-1], name))
            found.append(
                [
                    (
                        isinstance(layer, io.FileIO),
                        isinstance(layer, io.BufferedReader),
                        isinstance(layer, io.TextIOWrapper),
                        isinstance(layer, io.RawIOBase),
                        isinstance(layer, io.BufferedIOBase),
                        layer.mode if not isinstance(layer, io.BufferedReader) else "",
                        layer.name == file.fileno(),
                        layer.readable(),
                        layer.writable(),
                        layer.seekable(),
                        layer.isatty(),
                        layer.closed,
                        sorted(vars(layer)) if isinstance(layer, io.TextIOWrapper) else "",
                        repr(layer).replace(f"={file.fileno()}", "=N"),
                    )
                    for layer in layers
                ]
            )
    return found


def case_the_class_of_raw_files() -> Any:
    class Mine(io.FileIO):
        def extra(self) -> int:
            return 1

    source, number = os.pipe()
    with io.FileIO(source) as raw, Mine(number, "w") as mine, io.FileIO("/dev/null") as null:
        reader = Background(raw.readall)
        settle()
        size = mine.write(b"x" * BIG)
        mine.close()
        return (
            size,
            len(reader.result()),
            isinstance(mine, io.FileIO),
            isinstance(null, io.FileIO),
            isinstance(sys, io.FileIO),
            issubclass(Mine, io.FileIO),
            issubclass(io.FileIO, io.RawIOBase),
            issubclass(int, io.FileIO),
            io.FileIO.__name__,
            repr(null),
        )


def case_regular_files() -> Any:
    with tempfile.NamedTemporaryFile() as temporary:
        path = temporary.name
        with open(path, "w+") as file:
            file.write("hello\n")
            file.seek(0)
            text = file.read(), type(file.buffer) is io.BufferedRandom
        with open(path, "rb") as file:
            data = file.read(), type(file) is io.BufferedReader
        with open(path, "rb", 0) as raw:
            return text, data, raw.read(), repr(raw).replace(path, "PATH")


def case_what_open_refuses() -> Any:
    with pipe("rb") as (file, number):
        return (
            outcome(open, "/nonexistent/file"),
            outcome(open, "/"),
            outcome(open, 10**6),
            outcome(open, -1),
            outcome(open, 3.5),
            outcome(open, file.fileno(), "nonsense"),
            outcome(open, file.fileno(), "rb", encoding="ascii"),
            outcome(open, file.fileno(), "r", 0, closefd=False),
            outcome(open, file.fileno(), "r", encoding="nonsense", closefd=False),
            outcome(open, "/dev/null", closefd=False),
            outcome(open, "a\0b"),
            kind(open),
            kind(open, number, "r+b"),
        )


def case_an_opener() -> Any:
    source, number = os.pipe()
    with open("any name", "rb", opener=lambda path, flags: source) as file:
        os.write(number, b"hello\n")
        os.close(number)
        return file.readline(), file.name


def case_closing() -> Any:
    found = []
    for arguments in (("rb", 0), ("rb",), ("r",)):
        for closefd in (True, False):
            source, number = os.pipe()
            file = open(source, *arguments, closefd=closefd)
            file.close()
            found.append(
                (
                    file.closed,
                    outcome(os.fstat, source) if closefd else type(os.fstat(source)).__name__,
                    kind(file.read),
                    kind(file.fileno),
                    file.close(),
                )
            )
            if not closefd:
                os.close(source)
            os.close(number)
    return found


def case_detaching() -> Any:
    source, number = os.pipe()
    os.write(number, b"hello\nworld\n")
    os.close(number)
    text = open(source)
    first = text.readline()
    buffer = text.detach()
    raw: Any = buffer.detach()  # type: ignore[attr-defined]
    raw.close()
    return first, kind(text.readline), kind(buffer.readline), raw.closed


def case_wrapped_again() -> Any:
    with pipe("rb") as (file, number), io.TextIOWrapper(file, "utf-8") as text:  # type: ignore[arg-type]
        reader = Background(text.readline)
        settle()
        os.write(number, "grün\n".encode())
        return reader.result()


def case_dropped_without_closing() -> Any:
    found = []
    for arguments in (("rb", 0), ("rb",), ("r",)):
        source, number = os.pipe()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            file: Any = open(source, *arguments)
            text = repr(file)
            file = None
            gc.collect()
        warning = caught[0]
        same = text in str(warning.message)
        found.append((len(caught), same, warning.category.__name__, outcome(os.fstat, source)))
        here = warning.filename == __file__, warning.source is not None
        found.append(here)
        os.close(number)
    return found


def case_warnings_point_here() -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open("/dev/null", "rb", 1).close()
        open(False, "rb", closefd=False).close()
        io.FileIO(False, closefd=False).close()
    return [(str(each.message), each.filename == __file__) for each in caught]


def case_os_fdopen() -> Any:
    source, number = os.pipe()
    with os.fdopen(number, "w") as writing, os.fdopen(source) as reading:
        reader = Background(reading.readline)
        settle()
        print("hello", file=writing, flush=True)
        return reader.result()


# -- Files made before patching


def case_made_before_reading() -> Any:
    found = {}
    for name, (number, file) in Made.files.items():
        reader = Background(file.readline)
        settle()
        os.write(number, b"ree\nfour\r\n")
        found[name] = [reader.result(), file.readline()]
        if name.startswith("read"):
            found[name].append(file.readline())
        os.close(number)
        found[name] += [file.read(), isinstance(file, io.IOBase)]
    return found


def case_made_before_writing() -> Any:
    found = {}
    for name, (source, file) in Made.writers.items():
        letters = "x\n" if name == "text" else b"x\n"

        def write(file: Any = file, letters: Any = letters) -> Any:
            return file.write(letters * BIG), file.flush()

        writer = Background(write)
        line = b"x\r\n" if name == "text" else b"x\n"
        data = drain(source, len("before;") + len(line) * BIG)
        found[name] = [writer.result(), data == b"before;" + line * BIG]
        file.close()
    return found


def case_made_before_flushed_while_another_writes() -> Any:
    source, file = Made.flushed
    writer = Background(file.write, b"x" * BIG)
    settle()
    flush = Background(file.flush)
    return len(drain(source, BIG)), writer.result(), flush.result(), file.close()


def case_made_before_regular() -> Any:
    Made.regular.write("hello")
    Made.regular.seek(0)
    return Made.regular.read(), type(Made.regular).__name__


def case_standard_streams() -> Any:
    return [
        (
            file.name,
            file.encoding,
            file.errors,
            file.line_buffering,  # type: ignore[attr-defined]
            isinstance(file.buffer, io.BufferedIOBase),
            isinstance(file.buffer.raw, io.FileIO),  # type: ignore[attr-defined]
            repr(file),
            repr(file.buffer),
            repr(file.buffer.raw),  # type: ignore[attr-defined]
        )
        for file in (sys.stdin, sys.stdout, sys.stderr)
    ]
