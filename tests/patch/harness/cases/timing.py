"""time, sched, names and addresses."""

from __future__ import annotations

import functools
import pickle
import sched
import socket
import time
from time import sleep as old_sleep
from types import SimpleNamespace
from typing import Any

from tests.patch.harness.tools import LONG, SHORT, Background, describe, kind, listening, outcome, settle

old = SimpleNamespace()


class Waits:
    """Keeps functions in all the places that a class can."""

    pause = time.sleep
    static = staticmethod(time.sleep)
    resolve = socket.gethostbyname

    def __init__(self, sleep: Any = time.sleep) -> None:
        self.sleep = sleep

    def wait(self, seconds: float, *, how: Any = time.sleep) -> None:
        how(seconds)


class InheritsWaits(Waits):
    """Nothing of its own."""


PARTIAL = functools.partial(time.sleep, SHORT)
IN_A_DICT = {"sleep": time.sleep}
IN_A_LIST = [time.sleep]
IN_A_TUPLE = (time.sleep, socket.getaddrinfo)


def closure() -> Any:
    sleep = time.sleep

    def wait() -> None:
        sleep(SHORT)

    return wait


def prepare() -> None:
    old.waits = Waits()
    old.closure = closure()
    old.scheduler = sched.scheduler()


def overlaps(*calls: Any) -> Any:
    """Whether the calls, of which each sleeps for `SHORT`, sleep at the same time."""
    start = time.monotonic()
    threads = [Background(call) for call in calls for _ in range(10)]
    results = {thread.result() for thread in threads}
    return [results, time.monotonic() - start < 10 * SHORT * len(calls)]


def case_old_sleeps() -> Any:
    calls: list[Any] = [
        lambda: old_sleep(SHORT),
        lambda: Waits.pause(SHORT),
        lambda: old.waits.pause(SHORT),
        lambda: InheritsWaits.static(SHORT),
        lambda: old.waits.sleep(SHORT),
        lambda: InheritsWaits().wait(SHORT),
        PARTIAL,
        lambda: IN_A_DICT["sleep"](SHORT),
        lambda: IN_A_LIST[0](SHORT),
        lambda: IN_A_TUPLE[0](SHORT),
        old.closure,
    ]
    return [overlaps(call) for call in calls]


def case_sleep() -> Any:
    anything: Any = time.sleep

    class Half:
        def __float__(self) -> float:
            return 0.5

    class One:
        def __index__(self) -> int:
            return 0

    start = time.monotonic()
    got: list[Any] = [time.sleep(0.02), time.sleep(0), time.sleep(0.0), time.sleep(True - 1), anything(One())]
    return [
        *got,
        0.018 < time.monotonic() - start < 1,
        outcome(time.sleep, -1),
        kind(time.sleep, float("nan")),
        kind(time.sleep, float("inf")),
        kind(time.sleep, 1e300),
        kind(time.sleep, 1 << 70),
        kind(anything, "1"),
        kind(anything, None),
        kind(anything),
        kind(anything, 1, 2),
        kind(anything, secs=1),
        kind(anything, Half()),
    ]


def case_wake_in_order() -> Any:
    events: list[int] = []

    def wait(number: int) -> None:
        time.sleep(number * 0.005)
        events.append(number)

    threads = [Background(wait, number) for number in (5, 1, 4, 2, 3)]
    for thread in threads:
        thread.result()
    return events


def case_sleep_looks_the_same() -> Any:
    return [
        time.sleep.__name__,
        time.sleep.__module__,
        pickle.loads(pickle.dumps(time.sleep)) is time.sleep,
        repr(time.sleep),
        callable(time.sleep),
        time.sleep == old_sleep,
        hash(time.sleep) == hash(old_sleep),
        socket.getaddrinfo.__module__,
        socket.gethostbyname.__name__,
        kind(setattr, time.sleep, "attribute", 1),
    ]


def case_sched() -> Any:
    got = []
    for scheduler in (sched.scheduler(), old.scheduler):
        events: list[int] = []
        for number in (3, 1, 2):
            scheduler.enter(number * 0.005, 1, events.append, (number,))
        runner = Background(scheduler.run)
        got.append([runner.result(), events])
    return got


# -- Names


def without_order(found: Any) -> Any:
    return sorted(found) if isinstance(found, list) else found


def case_getaddrinfo() -> Any:
    look = socket.getaddrinfo
    anything: Any = look
    return [
        look("127.0.0.1", 80, type=socket.SOCK_STREAM),
        look("127.0.0.1", "80", socket.AF_INET, socket.SOCK_STREAM),
        look("::1", 80, type=socket.SOCK_STREAM),
        without_order(look("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)),
        look("127.0.0.1", "http", type=socket.SOCK_STREAM),
        look(None, 80, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE, family=socket.AF_INET),
        look(b"127.0.0.1", b"80", type=socket.SOCK_STREAM),
        look("127.0.0.1", None, type=socket.SOCK_STREAM),
        outcome(look, "127.0.0.1", "no such service", 0, socket.SOCK_STREAM),
        outcome(look, "::1", 80, socket.AF_INET),
        outcome(look, "127.0.0.1", 80, socket.AF_INET6),
        outcome(look, "127.0.0.1", 80, 12345),
        outcome(look, "localhost", 80, 0, 0, 0, socket.AI_NUMERICHOST),
        kind(look, "a" * 70, 80),
        kind(look, "a..b", 80),
        kind(anything, 3, 80),
        kind(anything, "localhost", 3.0),
        kind(anything, "localhost"),
        kind(anything, "1.2.3.4\0", 80),
        kind(anything, "localhost", 80, "family"),
        kind(anything, "localhost", 80, wrong=1),
        kind(anything, host="127.0.0.1", port=80, type=1),
        kind(look, "127.0.0.1", 1 << 70),
        look("127.0.0.1", -1, type=socket.SOCK_STREAM)[0][4][1] if False else None,
    ]


def case_hosts() -> Any:
    anything: Any = socket
    return [
        socket.gethostbyname("127.0.0.1"),
        socket.gethostbyname("localhost"),
        socket.gethostbyname(""),
        outcome(socket.gethostbyname, "256.256.256.256 x"),
        kind(anything.gethostbyname, 1),
        kind(anything.gethostbyname),
        kind(anything.gethostbyname, "a" * 70),
        socket.gethostbyname_ex("127.0.0.1")[2],
        socket.gethostbyname_ex("localhost")[2],
        kind(anything.gethostbyname_ex, 1),
        "127.0.0.1" in socket.gethostbyaddr("127.0.0.1")[2],
        kind(anything.gethostbyaddr, 1),
        socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        socket.getnameinfo(("::1", 80, 0, 0), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)[1],
        kind(anything.getnameinfo, ("127.0.0.1",), 0),
        kind(anything.getnameinfo, "127.0.0.1", 0),
        kind(anything.getnameinfo, ("127.0.0.1", 80)),
        kind(anything.getnameinfo, ("127.0.0.1", 80), "x"),
        kind(anything.getnameinfo, ("127.0.0.1", 80, 1, 1), 0),
        kind(anything.getnameinfo, ("no address", 80), 0),
        socket.getfqdn("127.0.0.1") == socket.getfqdn("127.0.0.1"),
        isinstance(socket.gethostname(), str),
        socket.getservbyname("http"),
        old.waits.resolve("127.0.0.1"),
        IN_A_TUPLE[1]("127.0.0.1", 1, type=socket.SOCK_STREAM)[0][4],
    ]


def case_many_look_up_at_once() -> Any:
    threads = [Background(socket.getaddrinfo, "localhost", 80, socket.AF_INET, socket.SOCK_STREAM) for _ in range(40)]
    return len({str(thread.result()) for thread in threads})


def case_look_up_in_connect() -> Any:
    with listening() as listener:
        port = listener.getsockname()[1]
        clients = [Background(socket.create_connection, ("localhost", port), LONG) for _ in range(5)]
        got = []
        for client in clients:
            listener.accept()[0].close()
            connection = client.result()
            got.append(type(connection).__name__ if isinstance(connection, socket.socket) else connection)
            connection.close()
        return got


def case_errors_keep_their_class() -> Any:
    try:
        socket.getaddrinfo("127.0.0.1", "no such service", 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        got = [describe(error), error.errno == socket.EAI_SERVICE, isinstance(error, OSError), error.__context__ is None]
    settle()
    return got
