"""The standard streams, terminals, and files at a program's end, in a fork and after un-patching.

Programs do the same on real threads and on graftlet. Whether other threads run while one waits for its input
is asked while it waits: a thread of its own answers (`Witness`). If none can run, the answer never comes, and
the test hangs, whatever the machine does meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import graftlet
from tests.isolated import LONGEST_RUN, run, run_ok

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow  # fresh interpreters, and people who take their time
MODES = pytest.mark.parametrize("when", ["plain", "first", "last"])

PATCH = """
import os
if os.environ["WHEN"] == "first":
    import graftlet
    graftlet.patch_all()
import asyncio, io, logging, subprocess, sys, threading, time
if os.environ["WHEN"] == "last":
    import graftlet
    graftlet.patch_all()

def witness():
    while question := os.read(int(os.environ["WITNESS"]), 1):
        os.write(int(os.environ["WITNESS"]), question)
threading.Thread(target=witness, daemon=True).start()
"""


class Witness:
    """Asks a thread of the program whether it can run."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.settimeout(LONGEST_RUN)

    def variable(self) -> dict[str, str]:
        return {"WITNESS": str(self.theirs.fileno())}

    def ask(self) -> None:
        """Return as soon as that thread has run, while the others wait.

        Whoever was given something before the first question has got it before the second, and waits again.
        """
        time.sleep(0.05)
        for _ in range(2):
            self._ours.sendall(b"?")
            assert self._ours.recv(1) == b"?"

    def close(self) -> None:
        self._ours.close()
        self.theirs.close()


def environment(when: str) -> dict[str, str]:
    source = str(Path(graftlet.__file__).parents[1])
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "PYTHONPATH": source, "WHEN": when, "TERM": "dumb"}


def program(body: str) -> str:
    return PATCH + textwrap.dedent(body)


@contextlib.contextmanager
def started(
    body: str, when: str, options: tuple[str, ...] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], Witness]]:
    """A program with pipes for its standard streams, which has said that it is ready."""
    witness = Witness()
    with (
        contextlib.closing(witness),
        subprocess.Popen(
            [sys.executable, "-Werror", *options, "-c", program(body)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment(when), **witness.variable()},
            pass_fds=[witness.theirs.fileno()],
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process, witness


def feed(body: str, when: str, *parts: bytes, options: tuple[str, ...] = ()) -> list[str]:
    """The lines that a program prints which gets ``parts`` on its standard input, one after the other."""
    with started(body, when, options) as (process, witness):
        assert process.stdin is not None and process.stdout is not None
        for part in parts:
            witness.ask()
            process.stdin.write(part)
            process.stdin.flush()
        process.stdin.close()
        lines = process.stdout.read().decode().splitlines()
        assert process.wait(LONGEST_RUN) == 0
    return lines


# -- Standard input


@MODES
@pytest.mark.parametrize("options", [(), ("-u",)])
def test_standard_input(when: str, options: tuple[str, ...]) -> None:
    lines = feed(
        """
        print("ready", flush=True)
        print(repr(sys.stdin.readline()))
        print(repr(input("prompt ")))
        print(repr(sys.stdin.buffer.readline()))
        print(repr(sys.stdin.buffer.raw.read(3)) if hasattr(sys.stdin.buffer, "raw") else "b'abc'")
        print([line for line in sys.stdin])
        """,
        when,
        *(b"one\n", b"two\n", b"three\n", b"abc", b"d\ne"),
        options=options,
    )
    assert lines == [
        r"'one\n'",
        "prompt 'two'",
        r"b'three\n'",
        "b'abc'",
        r"['d\n', 'e']",
    ]


def test_what_was_read_before_patching_is_not_lost() -> None:
    out = run_ok(
        """
        import os, sys
        source, sink = os.pipe()
        os.dup2(source, 0)
        os.write(sink, b"one\\ntwo\\nthree")
        first = sys.stdin.readline()
        import graftlet
        graftlet.patch_all()
        graftlet.spawn_later(0.02, lambda: (os.write(sink, b"!\\nfour"), os.close(sink)))
        print(first, sys.stdin.readline(), sys.stdin.readline(), sys.stdin.read())
        """
    )
    assert out == "one\n two\n three!\n four\n"


def test_what_was_read_before_patching_is_not_lost_in_bytes() -> None:
    out = run_ok(
        """
        import os, sys
        source, sink = os.pipe()
        os.dup2(source, 0)
        os.write(sink, b"one\\ntwo\\nthree")
        first = sys.stdin.buffer.readline()
        import graftlet
        graftlet.patch_all()
        graftlet.spawn_later(0.02, lambda: (os.write(sink, b"!\\nfour"), os.close(sink)))
        print(first, sys.stdin.readline(), sys.stdin.buffer.readline(), sys.stdin.read())
        """
    )
    # The text layer has taken "three", and what comes then is bytes.
    assert out == "b'one\\n' two\n b'!\\n' threefour\n"


# -- Standard output


@MODES
def test_greenlets_print_to_a_full_pipe(when: str) -> None:
    lines = feed(
        """
        print("ready", flush=True)
        def talk(letter):
            for _ in range(30):
                print(letter * 5000, flush=True)
        talkers = [threading.Thread(target=talk, args=[letter]) for letter in "abcd"]
        for talker in talkers:
            talker.start()
        for talker in talkers:
            talker.join()
        """,
        when,
        b"",
    )
    whole = "".join(lines)
    assert {letter: whole.count(letter) for letter in "abcd"} == dict.fromkeys("abcd", 150000)


LAST_WORDS = """
import atexit, os, sys
class Late:
    def __init__(self, name):
        self.name = name
    def __del__(self):
        print("finalizer", self.name)
late = Late("of a variable")
cycle = [Late("of a cycle")]
cycle.append(cycle)
atexit.register(print, "at exit")
left = open(os.dup(1), "w")
left.write("left in a buffer\\n")
print("the end")
"""


def test_the_last_words_of_a_program_are_heard() -> None:
    def heard(script: str) -> tuple[int, list[str], bool]:
        ended = run(script)
        # Patching writes out what waits in a buffer: sorted.
        words = sorted(ended.out.splitlines())
        return ended.status, words, "unclosed file <_io.TextIOWrapper name=" in ended.err

    patch = "import graftlet; graftlet.patch_all()\n"
    for extra in ("", "sys.late = Late('of sys')\n"):
        plain = heard(LAST_WORDS + extra)
        assert plain[1]
        for script in (patch + LAST_WORDS + extra, LAST_WORDS + extra + patch):
            assert heard(script) == plain


def test_forked_while_another_greenlet_prints() -> None:
    out = run_ok(
        """
        import os, sys, graftlet
        graftlet.patch_all()
        source, sink = os.pipe()
        file = open(sink, "w")
        talker = graftlet.spawn(lambda: print("x" * 200000, file=file, flush=True))
        graftlet.sleep(0.01)
        child = os.fork()
        if not child:
            os.close(source)
            other, file_end = os.pipe()
            os.dup2(file_end, sink)
            print("the child", file=file, flush=True)
            print(os.read(other, 100), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        size = 0
        while size < 200001:
            size += len(os.read(source, 65536))
        talker.get()
        print(size)
        file.close()
        """
    )
    assert out == "b'the child\\n'\n200001\n"


# -- Terminals


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, body: str, when: str) -> None:
        command = [sys.executable, "-Werror", "-c", program(body)]
        self._master, slave = pty.openpty()
        self.witness = Witness()
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment(when), **self.witness.variable()},
            pass_fds=[self.witness.theirs.fileno()],
            preexec_fn=lambda: take_terminal(slave),  # noqa: PLW1509 - there are no other threads
        )
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> None:
        """Wait for the program to write ``text``."""
        deadline = time.monotonic() + LONGEST_RUN
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._master], [], [], left)[0], self.seen
            try:
                self.seen += os.read(self._master, 1000).decode()
            except OSError:  # hung up
                assert text in self.seen, self.seen
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def type(self, keys: str) -> None:
        self.witness.ask()
        os.write(self._master, keys.encode())

    def end(self) -> int:
        try:
            return self._process.wait(LONGEST_RUN)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._master)
            self.witness.close()


def take_terminal(slave: int) -> None:
    """In the child: ``slave`` becomes its controlling terminal."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


@MODES
@pytest.mark.parametrize("readline", [False, True])
def test_a_person_types(when: str, readline: bool) -> None:
    if readline:
        pytest.importorskip("readline")
    terminal = Terminal(
        f"""
        if {readline}:
            import readline
        import getpass
        print("answer", repr(input("name? ")))
        print("answer", repr(sys.stdin.readline()))
        try:
            input("more? ")
        except EOFError:
            print("answer EOF")
        try:
            input("and? ")
        except KeyboardInterrupt:
            print("answer interrupted")
        print("answer", repr(input("last? ")))
        print("answer", repr(getpass.getpass("secret? ")))
        """,
        when,
    )
    terminal.until("name? ")
    terminal.type("bob\n")
    terminal.until("answer 'bob'")
    terminal.type("line\n")
    terminal.until(r"answer 'line\n'")
    terminal.until("more? ")
    terminal.type("\x04")
    terminal.until("answer EOF")
    terminal.until("and? ")
    terminal.type("\x03")
    terminal.until("answer interrupted")
    terminal.until("last? ")
    terminal.type("the end\n")
    terminal.until("answer 'the end'")
    terminal.until("secret? ")
    terminal.type("hidden\n")
    terminal.until("answer 'hidden'")
    assert "hidden" not in terminal.seen
    assert terminal.end() == 0


@MODES
def test_a_terminal_that_is_stopped_stops_nobody_else(when: str) -> None:
    terminal = Terminal(
        """
        print("ready", flush=True)
        sys.stdin.readline()
        print("x" * 200000)
        print("the end")
        """,
        when,
    )
    terminal.until("ready")
    terminal.type("\x13")  # Ctrl-S
    terminal.type("go\n")
    terminal.witness.ask()
    terminal.type("\x11")  # Ctrl-Q
    terminal.until("the end")
    assert terminal.end() == 0


# -- Un-patching


def test_unpatched_files_are_what_they_were() -> None:
    out = run_ok(
        """
        import io, os, sys
        import graftlet.patch

        source, sink = os.pipe()
        reading = open(source, "rb")
        writing = open(sink, "w", encoding="utf-8")
        raw_source, raw_sink = os.pipe()
        raw = open(raw_source, "rb", 0)
        streams = sys.stdin, sys.stdout, sys.stderr

        def layers():
            for file in (reading, writing.buffer, writing, raw, *streams):
                yield type(file), type(getattr(file, "raw", file))
                if isinstance(file, io.TextIOWrapper):
                    yield type(file.buffer), type(getattr(file.buffer, "raw", None))

        before = list(layers())
        for _ in range(3):
            with graftlet.patch.patched():
                assert list(layers()) != before
                assert io.open is open and isinstance(raw, io.FileIO)
                writing.write("hello\\n")
                writing.flush()
                print(reading.readline())
                os.write(raw_sink, b"raw")
                print(raw.read(100))
            assert list(layers()) == before, list(layers())
            assert io.FileIO is type(raw)
            writing.write("again\\n")
            writing.flush()
            print(reading.readline())
        for file in (reading, writing, raw):
            file.close()
        for number in (source, sink, raw_source):
            try:
                os.fstat(number)
            except OSError:
                continue
            print("still open:", number)
        os.close(raw_sink)
        """,
        stdin="anything",
    )
    assert out == "b'hello\\n'\nb'raw'\nb'again\\n'\n" * 3


@MODES
def test_signals_reach_main_while_it_reads(when: str) -> None:
    body = """
        print("ready", flush=True)
        try:
            sys.stdin.read()
        except KeyboardInterrupt:
            print("interrupted")
        """
    with started(body, when) as (process, witness):
        assert process.stdout is not None
        witness.ask()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"interrupted\n"
        assert process.wait(LONGEST_RUN) == 0


STREAMS_THAT_CHANGE = """
import sys
patch = "import graftlet; graftlet.patch_all()"
exec(patch if sys.argv[1] == "first" else "")
import os, pty, threading
exec(patch if sys.argv[1] == "last" else "")
r, w = os.pipe()
read = []
def drain():
    while sum(read) < 300001:
        read.append(len(os.read(r, 65536)))
threading.Thread(target=drain).start()
os.dup2(w, 1)
print("x" * 300000, flush=True)
r2, w2 = os.pipe()
os.dup2(r2, 0)
answer = threading.Timer(0.05, os.write, (w2, b"answer\\nmore\\n"))
answer.start()
sys.stderr.write(f"{input()} {sys.stdin.readline()}")
pid, terminal = pty.fork()
if pid == 0:
    said = []
    listener = threading.Thread(target=lambda: said.append(sys.stdin.readline()))
    listener.start()
    print("ready", flush=True)  # which nobody gets to do if the listener keeps all waiting
    listener.join()
    print(said, flush=True)
    os._exit(0)
out = b""
while b"ready\\r\\n" not in out:
    out += os.read(terminal, 1000)
os.write(terminal, b"typed\\n")
while b"[" not in out:
    out += os.read(terminal, 1000)
os.waitpid(pid, 0)
sys.stderr.write(out.decode())
"""


@pytest.mark.parametrize("mode", ["plain", "first", "last"])
def test_standard_streams_that_become_a_pipe_or_a_terminal(mode: str) -> None:
    """They were /dev/null when they were patched."""
    done = subprocess.run(
        [sys.executable, "-c", STREAMS_THAT_CHANGE, mode],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stderr.split() == ["answer", "more", "ready", "typed", "['typed\\n']"]
