"""What every library is asked, in one place: are the results right, do the waits overlap, is anything left?

Rule: real libraries, unmodified, against real servers; nothing here knows any of them. A missing library
or server skips its file with a message that names it and says how to get it; with ``CI`` set it fails.

Time is measured without what the machine has kept from us: a process that is ready to run and does not get
a processor has not blocked anybody (``/proc/PID/task/TID/schedstat``, proc_pid_schedstat in the kernel's
Documentation/scheduler/sched-stats.rst: the second number, in nanoseconds). Nor has one whose virtual processor
another virtual machine had (``steal`` in ``/proc/stat``, proc_stat(5)). Nor has the garbage collector, which stops
all threads in CPython, too: with all these libraries in one process a full collection takes 0.1 s. Where a whole
operation is timed, what its server was kept waiting does not count either: it is not the library's.
"""

from __future__ import annotations

import gc
import importlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import pytest

import graftlet

Result = TypeVar("Result")

#: Seconds for what must come some time, a server that starts or a message that arrives: only what hangs takes so
#: long. (RabbitMQ computes for four seconds before it serves: half a minute where many want the processor.)
PATIENCE = 120
#: Seconds: nobody may keep the others from running for longer.
LONGEST_STALL = 0.05
#: Seconds between two ticks.
TICK = 0.002


@dataclass(frozen=True)
class Library:
    """What `docs/libraries.md` says of a library; `page.py` reads it from the source of its tests.

    Attributes:
        name: as people call it.
        package: its name on PyPI, or names; empty for the standard library. The versions that were tested last stand
            in ``tested.txt``.
        how: how it becomes cooperative: sockets, adapter, threads, children ...
        know: what its users should know.
        server: what it was tested against.
    """

    name: str
    package: str
    how: str
    know: str
    server: str


@dataclass(frozen=True)
class Server:
    """A server that the tests need, at ``HOST:PORT`` of an environment variable, or the usual place.

    Attributes:
        program: the name of its process, or processes (``/proc/PID/comm``).
    """

    name: str
    variable: str
    port: int
    install: str
    program: str

    def address(self) -> tuple[str, int]:
        """Where it is; skips, or fails under CI, if nobody answers there."""
        host, _, port = os.environ.get(self.variable, f"127.0.0.1:{self.port}").rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=PATIENCE).close()
        except OSError as error:
            missing(
                f"{self.name} does not answer at {host}:{port} ({error}). Install and start it: "
                f"{self.install} (integration/README.md), or set {self.variable}=HOST:PORT"
            )
        return host, int(port)


POSTGRESQL = Server("PostgreSQL", "GRAFTLET_POSTGRESQL", 5432, "apt install postgresql", "postgres")
MARIADB = Server("MariaDB", "GRAFTLET_MARIADB", 3306, "apt install mariadb-server", "mariadbd")
REDIS = Server("Redis", "GRAFTLET_REDIS", 6379, "apt install redis-server", "redis-server")
RABBITMQ = Server("RabbitMQ", "GRAFTLET_RABBITMQ", 5672, "apt install rabbitmq-server", "beam.smp")
MOSQUITTO = Server("Mosquitto", "GRAFTLET_MOSQUITTO", 1883, "apt install mosquitto", "mosquitto")
NATS = Server("NATS", "GRAFTLET_NATS", 4222, "apt install nats-server", "nats-server")
SERVERS = (POSTGRESQL, MARIADB, REDIS, RABBITMQ, MOSQUITTO, NATS)


def missing(message: str) -> NoReturn:
    """Something that the tests need is not there."""
    if os.environ.get("CI"):
        pytest.fail(f"{message}. With CI set nothing may be missing.", pytrace=False)
    pytest.skip(message, allow_module_level=True)


def library(module: str, package: str) -> Any:
    """A library's module; skips, or fails under CI, if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing(f"{package} is not installed ({error}); run: python -m pip install '{package}'")


# -- Many at once


def together(number: int, function: Callable[[int], Result]) -> list[Result]:
    """What ``function`` returns for 0, 1, ..., called in ``number`` threads at once."""
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(function, range(number), timeout=PATIENCE))


@contextmanager
def overlapping(lasts: float, work: float = 0.5, least: float | None = None) -> Iterator[None]:
    """The block takes little more than ``lasts`` seconds, and all the time others can run.

    Args:
        lasts: how long each of the waits in the block is.
        work: what all of it may cost besides: connections are made, rows are read ...
        least: how long it takes at least, if what is waited for began before the block.
    """
    clock = _Clock(others=True)
    with no_stall():
        began = time.monotonic()
        yield
        took = time.monotonic() - began
    counted = took - clock.kept()
    assert took >= (lasts * 0.9 if least is None else least), (
        f"it took {took:.3f} s, less than one wait of {lasts} s"
    )
    assert counted < lasts + work, (
        f"the waits do not overlap: {counted:.3f} s (of {took:.3f} s, the rest without a processor) "
        f"where one lasts {lasts} s"
    )


@contextmanager
def no_stall(longest: float = LONGEST_STALL) -> Iterator[None]:
    """While the block runs a thread that does next to nothing is never kept from it for ``longest`` seconds."""
    stalls: list[tuple[float, float]] = []
    over = threading.Event()

    def tick() -> None:
        clock = _Clock()
        last, used = clock.now(), time.thread_time()
        while not over.is_set():
            time.sleep(TICK)
            now, cpu = clock.now(), time.thread_time()
            stalls.append((now - last - TICK, cpu - used))
            last, used = now, cpu

    ticker = threading.Thread(target=tick, name="ticker")
    ticker.start()
    try:
        yield
    finally:
        over.set()
        ticker.join()
    stall, cpu = max(stalls)
    assert stall < longest, (
        f"others were kept from running for {stall:.3f} s, of which {cpu:.3f} s were spent computing"
    )


class _Collector:
    """How much processor time the garbage collector has taken so far."""

    def __init__(self) -> None:
        self.nanoseconds = 0
        self._began = 0
        gc.callbacks.append(self)

    def __call__(self, phase: str, _: object) -> None:
        if phase == "start":
            self._began = time.thread_time_ns()
        else:
            self.nanoseconds += time.thread_time_ns() - self._began


_collector: Final = _Collector()


class _Clock:
    """Seconds, without those in which this process's native threads were ready to run and had no processor.

    And without those of the garbage collector.

    Args:
        others: the same for the programs that the tests have started, and for the servers.
    """

    #: The eighth number of the first line of ``/proc/stat``, in clock ticks.
    _STEAL: Final = 8

    def __init__(self, others: bool = False) -> None:
        self._others = others
        self._before = self._read()
        self._kept = 0.0

    def now(self) -> float:
        """Since no particular moment."""
        while True:
            began = time.monotonic()
            found = self._read()
            ended = time.monotonic()
            # Both at one moment: who loses the processor in between would have lost it in the next interval,
            # and been told so in this one.
            if ended - began < 0.001 + 0.0002 * len(found):
                break
        self._count(found)
        return ended - self._kept

    def kept(self) -> float:
        """How many seconds so far were not ours."""
        self._count(self._read())
        return self._kept

    def _count(self, found: dict[str, int]) -> None:
        self._kept += sum(ns - self._before.get(task, 0) for task, ns in found.items()) / 1e9
        self._before = found

    def _read(self) -> dict[str, int]:
        found = _delays(os.getpid())
        for process in _programs() if self._others else ():
            found.update(_delays(process))
        with Path("/proc/stat").open(encoding="ascii") as lines:
            steal = int(lines.readline().split()[self._STEAL])
        found["steal"] = steal * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        found["collector"] = _collector.nanoseconds
        return found


def _delays(process: int) -> dict[str, int]:
    """Nanoseconds that each of its native threads was ready to run and did not."""
    found = {}
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for task in Path(f"/proc/{process}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found[task.name] = int((task / "schedstat").read_text().split()[1])
    return found


def _programs() -> set[int]:
    """The processes that descend from this one, and those of servers."""
    names = {server.program for server in SERVERS}
    found: set[int] = set()
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            # proc_pid_stat(5): number, (name), state, parent
            _, _, rest = (entry / "stat").read_text().partition(" (")
            name, _, rest = rest.rpartition(") ")
            children.setdefault(int(rest.split()[1]), []).append(int(entry.name))
            if name in names:
                found.add(int(entry.name))
    descendants = list(children.get(os.getpid(), ()))
    for each in descendants:
        descendants += children.get(each, ())
    return found | set(descendants)


def failing(function: Callable[..., object], *args: object) -> graftlet.Greenlet:
    """A call that must fail, in a greenlet that ends with the error.

    Were it to raise it, graftlet would print all of them, one after the other: fifty milliseconds of computing.
    """

    def call() -> Exception:
        try:
            answer = function(*args)
        except Exception as error:
            return error
        raise AssertionError(f"no error, but {answer!r}")

    return graftlet.spawn(call)


def killed_in(
    function: Callable[[], object],
    when: Callable[[], object] = lambda: True,
    then: Callable[[], object] = lambda: None,
) -> None:
    """Kill a greenlet that is in the middle of ``function``, which would go on for seconds.

    Args:
        when: what is true when it has come so far; a little later it is killed.
        then: is called at once, before it has ended.
    """
    victim = graftlet.spawn(function)
    eventually(when)
    graftlet.sleep(0.2)
    assert not victim.dead, f"it ended too early: {victim.exception or victim.value!r}"
    with no_stall():
        victim.kill(block=False)
        then()
        victim.join()
    assert isinstance(victim.value, graftlet.GreenletExit), (victim.value, victim.exception)


def eventually(condition: Callable[[], Any], within: float = PATIENCE) -> Any:
    """What ``condition()`` returns as soon as that is true."""
    until, pause = time.monotonic() + within, 0.01
    while not (value := condition()):
        assert time.monotonic() < until, f"not within {within} s: {condition}"
        time.sleep(pause)
        # Who asks a server all the time whether it serves keeps it from starting.
        pause = min(pause * 1.2, 0.2)
    return value


def as_soon_as(condition: Callable[[], Any], action: Callable[[], object]) -> None:
    """Another greenlet calls ``action`` when ``condition()`` has become true."""

    def wait() -> None:
        eventually(condition)
        action()

    graftlet.spawn(wait)


# -- Faults


class Relay:
    """Stands between a client and a server, and can do what networks do.

    ``address`` is where the client finds it. The bytes go on until `silent`, `hold` or `reset`.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._silent = False
        #: How many bytes of answers go on while `_flowing` is not set.
        self._allowed = 0
        self._flowing = threading.Event()
        self._flowing.set()
        #: Whether something is held, and what may arrive of it has been sent on.
        self.holding = False
        self._greenlets = [graftlet.spawn(self._accept)]

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *exc_info: object) -> None:
        graftlet.killall(self._greenlets)
        self._listener.close()
        for end in [end for pair in self._pairs for end in pair]:
            end.close()

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._pairs)

    def silent(self) -> None:
        """From now on the server seems to have fallen silent."""
        self._silent = True

    def hold(self, after: int = 0) -> None:
        """From now on answers are on their way, until `release`; ``after`` bytes of them have arrived."""
        self._allowed = after
        self._flowing.clear()

    def release(self) -> None:
        """What was held arrives."""
        self.holding = False
        self._flowing.set()

    def reset(self) -> None:
        """Every client's connection ends with a RST."""
        for client, server in self._pairs:
            with suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                server.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            self._pairs.append((client, server))
            self._greenlets += [
                graftlet.spawn(self._pass_on, client, server, False),
                graftlet.spawn(self._pass_on, server, client, True),
            ]

    def _pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if answers and not self._flowing.is_set():
                    begin, data = data[: self._allowed], data[self._allowed :]
                    self._allowed -= len(begin)
                    sink.sendall(begin)
                    if data:
                        self.holding = True
                        self._flowing.wait()
                if data and not (self._silent and answers):
                    sink.sendall(data)
            if not (self._silent and answers):
                sink.shutdown(socket.SHUT_WR)


# -- What is left


def open_descriptors() -> dict[int, str]:
    """Every open descriptor, and what it is."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that the listing itself had open
            found[int(entry.name)] = str(entry.readlink())
    return found


def living_greenlets() -> set[graftlet.Greenlet]:
    """Every greenlet that has begun and not ended, threads too."""
    gc.collect()
    return {each for each in gc.get_objects() if isinstance(each, graftlet.Greenlet) and each}
