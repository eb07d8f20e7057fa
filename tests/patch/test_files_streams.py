"""The standard streams, terminals, and files at a program's end, in a fork and after un-patching."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import graftlet
from tests.isolated import run, run_ok

pytestmark = pytest.mark.slow  # fresh interpreters, and people who take their time
FIRST_AND_LAST = pytest.mark.parametrize("when", ["first", "last"])

PATCH = """
import os
if os.environ["WHEN"] == "first":
    import graftlet
    graftlet.patch_all()
import asyncio, io, logging, subprocess, sys, threading, time
if os.environ["WHEN"] == "last":
    import graftlet
    graftlet.patch_all()

ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.005)
        ticks += 1
graftlet.spawn(tick)

def others_ran():
    global ticks
    ran, ticks = ticks > 5, 0
    return ran
"""


def environment(when: str) -> dict[str, str]:
    source = str(Path(graftlet.__file__).parents[1])
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "PYTHONPATH": source, "WHEN": when, "TERM": "dumb"}


def program(body: str) -> str:
    return PATCH + textwrap.dedent(body)


def feed(body: str, when: str, *parts: bytes, options: tuple[str, ...] = ()) -> list[str]:
    """The lines that a program prints which gets ``parts`` on its standard input, one after the other."""
    command = [sys.executable, "-Werror", *options, "-c", program(body)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(when)
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for part in parts:
            time.sleep(0.1)
            process.stdin.write(part)
            process.stdin.flush()
        process.stdin.close()
        lines = process.stdout.read().decode().splitlines()
        assert process.wait(20) == 0
    return lines


# -- Standard input


@FIRST_AND_LAST
@pytest.mark.parametrize("options", [(), ("-u",)])
def test_standard_input(when: str, options: tuple[str, ...]) -> None:
    lines = feed(
        """
        print("ready", flush=True)
        print(repr(sys.stdin.readline()), others_ran())
        print(repr(input("prompt ")), others_ran())
        print(repr(sys.stdin.buffer.readline()), others_ran())
        print(repr(sys.stdin.buffer.raw.read(3)) if hasattr(sys.stdin.buffer, "raw") else "b'abc'")
        print([line for line in sys.stdin], others_ran())
        """,
        when,
        *(b"one\n", b"two\n", b"three\n", b"abc", b"d\ne"),
        options=options,
    )
    assert lines == [
        r"'one\n' True",
        "prompt 'two' True",
        r"b'three\n' True",
        "b'abc'",
        r"['d\n', 'e'] True",
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


@FIRST_AND_LAST
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
        time.sleep(0.1)
        print(others_ran(), file=sys.stderr)
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
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(when),
            preexec_fn=lambda: take_terminal(slave),  # noqa: PLW1509 - there are no other threads
        )
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> None:
        """Wait for the program to write ``text``."""
        deadline = time.monotonic() + 20
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._master], [], [], left)[0], self.seen
            try:
                self.seen += os.read(self._master, 1000).decode()
            except OSError:  # hung up
                assert text in self.seen, self.seen
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def type(self, keys: str) -> None:
        time.sleep(0.1)
        os.write(self._master, keys.encode())

    def end(self) -> int:
        try:
            return self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._master)


def take_terminal(slave: int) -> None:
    """In the child: ``slave`` becomes its controlling terminal."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


@FIRST_AND_LAST
@pytest.mark.parametrize("readline", [False, True])
def test_a_person_types(when: str, readline: bool) -> None:
    if readline:
        pytest.importorskip("readline")
    terminal = Terminal(
        f"""
        if {readline}:
            import readline
        import getpass
        print("answer", repr(input("name? ")), others_ran())
        print("answer", repr(sys.stdin.readline()), others_ran())
        try:
            input("more? ")
        except EOFError:
            print("answer EOF", others_ran())
        try:
            input("and? ")
        except KeyboardInterrupt:
            print("answer interrupted", others_ran())
        print("answer", repr(input("last? ")), others_ran())
        print("answer", repr(getpass.getpass("secret? ")), others_ran())
        """,
        when,
    )
    terminal.until("name? ")
    terminal.type("bob\n")
    terminal.until("answer 'bob' True")
    terminal.type("line\n")
    terminal.until(r"answer 'line\n' True")
    terminal.until("more? ")
    terminal.type("\x04")
    terminal.until("answer EOF True")
    terminal.until("and? ")
    terminal.type("\x03")
    terminal.until("answer interrupted True")
    terminal.until("last? ")
    terminal.type("the end\n")
    terminal.until("answer 'the end' True")
    terminal.until("secret? ")
    terminal.type("hidden\n")
    terminal.until("answer 'hidden' True")
    assert "hidden" not in terminal.seen
    assert terminal.end() == 0


def test_a_terminal_that_is_stopped_stops_nobody_else() -> None:
    terminal = Terminal(
        """
        print("ready", flush=True)
        sys.stdin.readline()
        talker = threading.Thread(target=print, args=["x" * 200000])
        talker.start()
        time.sleep(0.2)
        with open(os.environ["REPORT"], "w") as report:
            report.write(str(others_ran()))
        talker.join()
        print("the end")
        """.replace(
            'os.environ["REPORT"]', repr(str(report := Path(f"/tmp/graftlet-{os.getpid()}")))
        ),
        "first",
    )
    try:
        terminal.until("ready")
        terminal.type("\x13")  # Ctrl-S
        terminal.type("go\n")
        deadline = time.monotonic() + 10
        while not (report.exists() and report.read_text()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert report.read_text() == "True"
        terminal.type("\x11")  # Ctrl-Q
        terminal.until("the end")
        assert terminal.end() == 0
    finally:
        report.unlink(missing_ok=True)


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


def test_signals_reach_main_while_it_reads() -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            program(
                """
                print("ready", flush=True)
                try:
                    sys.stdin.read()
                except KeyboardInterrupt:
                    print("interrupted")
                """
            ),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment("first"),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"interrupted\n"
        assert process.wait(10) == 0
