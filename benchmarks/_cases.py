"""The table of cases: a program, its sizes, the answer that is right, and the goals.

Rule: data only. A case's `answer` is worked out here from the sizes, independently of the program,
and compared with what the program printed. A goal speaks of the median of paired ratios: 1.5 against
gevent means that gevent's figure is at least 1.5 times graftlet's in the same round.

Names: `--only echo` picks every case that is called `echo` or begins with `echo-`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ._runtimes import GREEN, MAIN, ORIENTATION, Parameters

Answer = Callable[[Parameters], object]


@dataclass(frozen=True)
class Goal:
    """`measure` must be at least this many times better than `against` (aim: `aim` times)."""

    against: str
    at_least: float
    aim: float | None = None


@dataclass(frozen=True)
class Ceiling:
    """`measure` itself, under graftlet, must be at most this (seconds, or a ratio)."""

    at_most: float


GoalOrCeiling = Goal | Ceiling
# Every measure's floor, unless its case says otherwise: nowhere slower than gevent.
NEVER_SLOWER: tuple[GoalOrCeiling, ...] = (Goal("gevent", 1.0),)


@dataclass(frozen=True)
class Case:
    """One program at one size.

    `parameters` are its arguments, `quick` those that `--quick` replaces. `goals` are by measure;
    "" stands for every measure not named. `outside_mean` measures don't enter the geometric mean.
    `native` programs take `--api` instead of running under a launcher.
    """

    name: str
    about: str
    program: str
    parameters: Mapping[str, float]
    quick: Mapping[str, float]
    answer: Answer
    runtimes: tuple[str, ...] = MAIN
    native: bool = False
    goals: Mapping[str, tuple[GoalOrCeiling, ...]] = field(default_factory=dict)
    outside_mean: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ()
    needs_commands: tuple[str, ...] = ()

    def sizes(self, quick: bool) -> dict[str, float]:
        """The parameters of a full or a quick run."""
        return {**self.parameters, **(self.quick if quick else {})}

    def goals_of(self, measure: str) -> tuple[GoalOrCeiling, ...]:
        """The goals of one measure."""
        return self.goals.get(measure, self.goals.get("", NEVER_SLOWER))


def _echoed(sizes: Parameters) -> object:
    ends = sizes.get("connections") or sizes["clients"]
    return {"echoed": ends * sizes["messages"] * sizes["repeats"]}


def _echo(
    name: str,
    about: str,
    connections: int,
    messages: int,
    *,
    quick: int,
    goals: tuple[GoalOrCeiling, ...],
    runtimes: tuple[str, ...] = (*MAIN, *ORIENTATION),
    **more: float,
) -> Case:
    return Case(
        name,
        about,
        "echo.py",
        {"connections": connections, "messages": messages, "size": 64, "repeats": 5, **more},
        {"messages": quick, "repeats": 3},
        _echoed,
        runtimes=runtimes,
        goals={"": goals},
    )


def _udp(name: str, clients: int, messages: int, quick: int) -> Case:
    return Case(
        name,
        f"datagrams there and back, {clients} client(s), one server thread",
        "udp_echo.py",
        {"clients": clients, "messages": messages, "repeats": 5},
        {"messages": quick, "repeats": 3},
        _echoed,
    )


def _idle(sizes: Parameters) -> object:
    return {
        "echoed": 2 * sizes["connections"] * sizes["messages"] * sizes["repeats"],
        "idle": sizes["idle"],
        "closed": sizes["connections"] + sizes["idle"],
        "silent": sizes["idle"],
    }


def _sum_to(number: float) -> float:
    return number * (number - 1) / 2


def _uncontended(sizes: Parameters) -> object:
    operations = sizes["operations"]
    done = dict.fromkeys(("lock", "rlock", "condition", "event", "semaphore"), operations)
    return {**done, "queue": _sum_to(operations), "simplequeue": _sum_to(operations)}


def _contended(sizes: Parameters) -> object:
    operations = sizes["operations"]
    turns = dict.fromkeys(("lock", "rlock", "semaphore", "condition", "event"), operations)
    return {**turns, "queue": _sum_to(operations), "simplequeue": _sum_to(operations)}


def _pingpong(sizes: Parameters) -> object:
    names = [
        "lock",
        "semaphore",
        "event",
        "event-timeout",
        "condition",
        "queue",
        "queue-timeout",
        "simplequeue",
    ]
    return dict.fromkeys(names, 2 * sizes["rounds"])


def _executor(sizes: Parameters) -> object:
    total = _sum_to(sizes["tasks"] + 1)
    return {"map": total, "round-trip": total}


def _asleep(sizes: Parameters) -> object:
    number = sizes.get("threads") or sizes["greenlets"]
    return {"asleep": number, "woken": number}


def _fired(sizes: Parameters) -> object:
    return {"fired": sizes["timers"] * sizes["repeats"], "different": sizes["timers"]}


def _imap(sizes: Parameters) -> object:
    return {"in_order": True, "sum": _sum_to(sizes["items"] + 1)}


# Over all cases, by the geometric mean.
MEAN = Goal("gevent", 1.5, aim=2.0)
WITHOUT = (Goal("gevent", 1.5),)
WITH_TIMEOUTS = (Goal("gevent", 2.0),)
MANY = (Goal("threads", 1.0),)
TWICE_LOCK: tuple[GoalOrCeiling, ...] = (Goal("gevent", 1.5),)
MEMORY = (Goal("gevent", 1.0, aim=1 / 0.85),)

CASES: tuple[Case, ...] = (
    # -- sockets
    _echo(
        "echo-1",
        "1 connection, 64 bytes",
        1,
        5000,
        quick=1000,
        goals=(*WITHOUT, Goal("floor", 0.65), Goal("uvloop", 1.0)),
    ),
    _echo(
        "echo-1-timeouts",
        "1 connection, 64 bytes, every socket with a timeout",
        1,
        5000,
        quick=1000,
        goals=WITH_TIMEOUTS,
        runtimes=MAIN,
        timeout=30,
    ),
    _echo(
        "echo-100",
        "100 connections, 64 bytes",
        100,
        100,
        quick=20,
        goals=(*WITHOUT, *MANY, Goal("uvloop", 1.0)),
    ),
    _echo(
        "echo-100-timeouts",
        "100 connections, 64 bytes, every socket with a timeout",
        100,
        100,
        quick=20,
        goals=(*WITH_TIMEOUTS, *MANY),
        runtimes=MAIN,
        timeout=30,
    ),
    _echo(
        "echo-1000",
        "1,000 connections, 64 bytes",
        1000,
        20,
        quick=5,
        goals=(*WITHOUT, *MANY, Goal("uvloop", 1.0)),
    ),
    _echo(
        "echo-1000-timeouts",
        "1,000 connections, 64 bytes, every socket with a timeout",
        1000,
        20,
        quick=5,
        goals=(*WITH_TIMEOUTS, *MANY),
        runtimes=MAIN,
        timeout=30,
    ),
    _echo(
        "echo-64k-1",
        "1 connection, 64 KiB",
        1,
        1500,
        quick=300,
        goals=NEVER_SLOWER,
        runtimes=MAIN,
        size=65536,
    ),
    _echo(
        "echo-64k-100",
        "100 connections, 64 KiB",
        100,
        30,
        quick=10,
        goals=NEVER_SLOWER,
        runtimes=MAIN,
        size=65536,
    ),
    _echo(
        "tls-1",
        "1 connection, 64 bytes, TLS",
        1,
        3000,
        quick=500,
        goals=(Goal("gevent", 1.1),),
        runtimes=MAIN,
        tls=1,
    ),
    _echo(
        "tls-100",
        "100 connections, 64 bytes, TLS",
        100,
        60,
        quick=15,
        goals=(Goal("gevent", 1.1),),
        runtimes=MAIN,
        tls=1,
    ),
    _udp("udp-1", 1, 4000, 800),
    _udp("udp-100", 100, 80, 20),
    Case(
        "idle-10000",
        "100 active connections among 10,000 idle ones",
        "active_among_idle.py",
        {"connections": 100, "idle": 10_000, "messages": 80, "repeats": 5},
        {"idle": 1000, "messages": 20, "repeats": 3},
        _idle,
        goals={"cost-of-idle": (Ceiling(1.10),)},
        outside_mean=frozenset({"without-idle", "cost-of-idle"}),
    ),
    # -- HTTP
    Case(
        "http-urllib3",
        "urllib3 against http.server, 50 threads, keep-alive",
        "http_urllib3.py",
        {"clients": 50, "requests": 1000, "repeats": 3},
        {"requests": 300, "repeats": 2},
        lambda sizes: {"answered": sizes["requests"]},
        needs=("urllib3",),
    ),
    Case(
        "http-wsgi-wrk",
        "wsgiref with a thread a request under wrk, 50 connections",
        "wsgi_under_wrk.py",
        {"connections": 50, "seconds": 1, "repeats": 3},
        {"repeats": 1},
        lambda sizes: {"good": True},
        needs_commands=("wrk",),
    ),
    # -- threads
    Case(
        "churn",
        "threads started and joined",
        "thread_churn.py",
        {"threads": 2000, "repeats": 5},
        {"threads": 500, "repeats": 3},
        lambda sizes: {"wrong": 0},
        goals={"": (Goal("gevent", 1.3), *MANY)},
    ),
    Case(
        "uncontended",
        "primitives with nobody else about",
        "primitives_uncontended.py",
        {"operations": 50_000, "repeats": 5},
        {"operations": 10_000, "repeats": 3},
        _uncontended,
        goals={
            "lock": TWICE_LOCK,
            "rlock": TWICE_LOCK,
            # The exception: gevent replaces the class by a compiled one.
            "queue": (Goal("gevent", 0.25),),
        },
    ),
    Case(
        "contended",
        "primitives that ten threads want at once",
        "primitives_contended.py",
        {"operations": 9000, "repeats": 5},
        {"operations": 1800, "repeats": 3},
        _contended,
        goals={
            "lock": TWICE_LOCK,
            "rlock": TWICE_LOCK,
            "queue": (*NEVER_SLOWER, *MANY),
            "simplequeue": (*NEVER_SLOWER, *MANY),
        },
    ),
    Case(
        "pingpong",
        "two threads that hand a turn to and fro",
        "primitives_pingpong.py",
        {"rounds": 5000, "repeats": 5},
        {"rounds": 1000, "repeats": 3},
        _pingpong,
    ),
    Case(
        "local",
        "threading.local",
        "thread_locals.py",
        {"operations": 100_000, "repeats": 5},
        {"operations": 20_000, "repeats": 3},
        lambda sizes: {
            "main": "main's",
            "sum": sizes["operations"],
            "value": 1,
        },
        goals={"": (Goal("gevent", 0.8),)},
    ),
    Case(
        "executor",
        "ThreadPoolExecutor with ten workers",
        "executor.py",
        {"tasks": 5000, "workers": 10, "repeats": 5},
        {"tasks": 1000, "repeats": 3},
        _executor,
        goals={"": (Goal("gevent", 1.2),)},
    ),
    Case(
        "sleepers-10000",
        "10,000 threads asleep at once",
        "sleepers.py",
        {"threads": 10_000},
        {"threads": 2000},
        _asleep,
        goals={"time": (*NEVER_SLOWER, *MANY), "memory": MEMORY},
        outside_mean=frozenset({"memory"}),
    ),
    Case(
        "sleepers-100000",
        "100,000 threads asleep at once",
        "sleepers.py",
        {"threads": 100_000},
        {"threads": 10_000},
        _asleep,
        # No native threads: the system has a limit. No eventlet: its `current_thread` walks through
        # all threads, which makes it a minute of processor time; see it in sleepers-10000.
        runtimes=("graftlet", "gevent"),
        goals={"memory": MEMORY},
        outside_mean=frozenset({"memory"}),
    ),
    Case(
        "timers",
        "threading.Timer",
        "timers.py",
        {"timers": 1000, "repeats": 5},
        {"timers": 300, "repeats": 3},
        _fired,
    ),
    # -- the rest of the standard library
    Case(
        "subprocess-1gb",
        "a command run from a process of 1 GB",
        "spawn_process.py",
        {"megabytes": 1024, "processes": 20, "repeats": 5},
        {"megabytes": 256, "processes": 10, "repeats": 3},
        lambda sizes: {"codes": [0], "heap": sizes["megabytes"] * 1000, "big_enough": True},
        goals={"": (Goal("gevent", 5.0),)},
    ),
    Case(
        "dns",
        "socket.getaddrinfo without a name server",
        "resolve_names.py",
        {"operations": 1000, "repeats": 5},
        {"operations": 200, "repeats": 3},
        lambda sizes: {"wrong": 0},
    ),
    # -- the runtimes' own API
    Case(
        "import",
        "import the runtime and patch",
        "native_import.py",
        {"repeats": 5},
        {"repeats": 3},
        lambda sizes: {"patched": True},
        runtimes=GREEN,
        native=True,
        # gevent does not look through the modules.
        goals={"": (Goal("gevent", 2.0),), "thousand": (Ceiling(0.1),)},
        outside_mean=frozenset({"thousand"}),
    ),
    Case(
        "spawn",
        "start, finish and join greenlets that run Python code",
        "native_spawn.py",
        {"greenlets": 100_000, "repeats": 3},
        {"greenlets": 20_000, "repeats": 2},
        lambda sizes: {"sums": [_sum_to(sizes["greenlets"])]},
        runtimes=GREEN,
        native=True,
        # One by one is a round trip through the hub for each, not only a start and an end.
        goals={"": (Goal("gevent", 4.0),), "one-by-one": NEVER_SLOWER},
    ),
    Case(
        "sleep0",
        "100 greenlets that yield round the hub",
        "native_sleep0.py",
        {"greenlets": 100, "yields": 2000, "repeats": 5},
        {"yields": 400, "repeats": 3},
        lambda sizes: {"yields": sizes["greenlets"] * sizes["yields"] * sizes["repeats"]},
        runtimes=GREEN,
        native=True,
    ),
    Case(
        "imap",
        "Pool(10).imap over small calls",
        "native_imap.py",
        {"items": 10_000, "size": 10, "repeats": 5},
        {"items": 2000, "repeats": 3},
        _imap,
        runtimes=GREEN,
        native=True,
    ),
    Case(
        "greenlet-sleepers",
        "100,000 greenlets asleep at once",
        "native_sleepers.py",
        {"greenlets": 100_000},
        {"greenlets": 10_000},
        _asleep,
        runtimes=GREEN,
        native=True,
        goals={"memory": MEMORY},
        outside_mean=frozenset({"memory"}),
    ),
)


def chosen(patterns: list[str]) -> list[Case]:
    """The cases that the patterns name, in the table's order; all of them without a pattern.

    Raises ValueError for a pattern that names none.
    """
    if not patterns:
        return list(CASES)

    def named(case: Case, pattern: str) -> bool:
        return (
            case.name == pattern
            or case.name.startswith(f"{pattern}-")
            or fnmatchcase(case.name, pattern)
        )

    for pattern in patterns:
        if not any(named(case, pattern) for case in CASES):
            raise ValueError(f"no case is called {pattern!r}; `--list` shows them")
    return [case for case in CASES if any(named(case, pattern) for pattern in patterns)]
