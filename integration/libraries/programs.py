"""Whole programs as children of the tests: ``graftlet program``, nothing else.

Rule: a program is started as a user would start it, waited for until it serves, asked, and ended with
the signal that its manual names; it must end by itself then, with nothing on stderr that is not expected.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import graftlet
from integration.libraries.harness import PATIENCE, together

#: A WSGI application: ``/0.3`` waits so long in Python's own words; it says how it runs.
APPLICATION = """
import threading, time, graftlet

def application(environ, start_response):
    print("asked", flush=True)
    time.sleep(float(environ["PATH_INFO"].strip("/")))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(graftlet.is_patched("time")).encode()]
"""


#: Those that `free_port` has given.
_given: Final[set[int]] = set()


def free_port() -> int:
    """One that nobody uses now, nor gets by chance until it is used.

    None of those that the kernel gives to whoever connects or asks for any (ip(7), ``ip_local_port_range``): RabbitMQ
    takes ten seconds before it listens.
    """
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = [*range(10_000, first), *range(last + 1, 65_536)]
    while True:
        port: int = random.SystemRandom().choice(ports)
        if port not in _given:
            _given.add(port)
            with suppress(OSError), socket.create_server(("127.0.0.1", port)):
                return port


def environment() -> dict[str, str]:
    """With graftlet in reach, wherever this process has found it."""
    path = os.pathsep.join(
        filter(None, [str(Path(graftlet.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def launcher(*words: str) -> list[str]:
    """The command line of a program under the launcher."""
    return [sys.executable, "-m", "graftlet", *words]


class Program:
    """One that runs, and what it has written."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(process.stdout,))
        self._reader.start()

    @property
    def output(self) -> str:
        """So far, stdout and stderr together."""
        return "".join(self.lines)

    def _read(self, stream: IO[str]) -> None:
        with stream:
            self.lines.extend(stream)

    def end(self, number: int) -> int:
        """Send a signal; returns the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self._reader.join()
        return status

    def kill(self) -> None:
        """If it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()


@contextmanager
def running(*words: str, directory: Path, port: int) -> Iterator[Program]:
    """A program that serves on ``port``, from when it does so until the block ends."""
    process = subprocess.Popen(
        launcher(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=directory,
        env=environment(),
    )
    program = Program(process)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, program.output
                assert time.monotonic() < until, program.output
                time.sleep(0.05)
        yield program
    finally:
        program.kill()


def completed(*words: str, directory: Path) -> str:
    """What a program has printed that ran to its end, and well."""
    done = subprocess.run(
        launcher(*words),
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def ask_many(port: int, number: int, path: str) -> list[str]:
    """The answers to so many requests at once."""

    def ask(_: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    return together(number, ask)


def native_threads(program: Program) -> int:
    """How many the program's process has."""
    return len(list(Path(f"/proc/{program.process.pid}/task").iterdir()))


INTERRUPT = signal.SIGINT
TERMINATE = signal.SIGTERM
