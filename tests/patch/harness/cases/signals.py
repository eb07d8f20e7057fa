"""Signal handlers run in the main thread, whatever it waits for and whoever else runs."""

from __future__ import annotations

import _thread
import os
import queue
import select
import signal
import socket
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from tests.patch.harness.tools import (
    LONG,
    SHORT,
    Background,
    kind,
    outcome,
    settle,
    tcp_pair,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that a wait takes in which a signal is to come.
LASTS: Final = 10 * SHORT

old = SimpleNamespace()
events: list[Any] = []


class Stop(Exception):
    """What a handler raises."""


def note(number: int, frame: Any) -> None:
    events.append(
        [signal.Signals(number).name, threading.current_thread() is threading.main_thread()]
    )


def stop(number: int, frame: Any) -> None:
    note(number, frame)
    raise Stop


def prepare() -> None:
    signal.signal(signal.SIGUSR1, note)
    signal.signal(signal.SIGUSR2, stop)
    old.handler = note


def later(number: int = signal.SIGUSR1) -> Background:
    """Send a signal to this process, from another thread, once main has come to where it waits."""

    def send() -> None:
        settle()
        os.kill(os.getpid(), number)

    return Background(send)


def until_it_came(wait: Callable[[], Any]) -> Any:
    """Wait until a signal has come, and return what the last wait did, and whether it took its time.

    On a busy machine that may be the second one.
    """
    while True:
        start = time.monotonic()
        got = wait()
        if events:
            return got, time.monotonic() - start > LASTS / 2


def waits() -> dict[str, Callable[[], Any]]:
    """Each way to wait, in which nothing comes for `LASTS`."""
    a, b = tcp_pair()
    lock = threading.Lock()
    lock.acquire()
    condition = threading.Condition()
    made: queue.Queue[int] = queue.Queue()
    joined: list[threading.Thread] = []
    end = threading.Event()
    a.settimeout(LASTS)
    readable, writable = os.pipe()

    def wait_in_condition() -> Any:
        with condition:
            return condition.wait(LASTS)

    def join() -> None:
        joined.append(Background(end.wait, LASTS))
        joined[-1].join()

    def close() -> None:
        end.set()
        until(lambda: not set(joined).intersection(threading.enumerate()))
        a.close()
        b.close()
        os.close(readable)
        os.close(writable)

    return {
        "recv": lambda: outcome(a.recv, 1),
        "sleep": lambda: time.sleep(LASTS),
        "lock": lambda: lock.acquire(timeout=LASTS),
        "condition": wait_in_condition,
        "event": lambda: threading.Event().wait(LASTS),
        "queue": lambda: kind(made.get, True, LASTS),
        "simple queue": lambda: kind(queue.SimpleQueue().get, True, LASTS),
        "join": join,
        "select": lambda: len(select.select([a], [], [], LASTS)[0]),
        "close": close,
    }


WAYS = ("recv", "sleep", "lock", "condition", "event", "queue", "simple queue", "join", "select")


def case_handler_runs_and_main_waits_on() -> Any:
    got = []
    for way in WAYS:
        events.clear()
        ways = waits()
        sender = later()
        got.append([way, until_it_came(ways[way])])
        sender.join()
        got.append(list(events))
        ways["close"]()
    return got


def case_handler_raises_out_of_the_wait() -> Any:
    got: list[Any] = []
    for way in WAYS:
        events.clear()
        ways = waits()
        sender = later(signal.SIGUSR2)
        got.append([way, kind(lambda way: until_it_came(ways[way])[0], way), list(events)])
        sender.join()
        ways["close"]()
    return got


def case_signal_while_another_thread_computes() -> Any:
    events.clear()
    done = threading.Event()

    def compute() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        deadline = time.monotonic() + 2 * SHORT
        while time.monotonic() < deadline:
            pass
        done.set()

    thread = Background(compute)
    got = [done.wait(LONG), thread.result()]
    return [*got, list(events)]


def case_signal_while_all_sleep() -> Any:
    events.clear()
    before = signal.signal(signal.SIGALRM, note)
    sleepers = [Background(time.sleep, LASTS) for _ in range(3)]
    signal.setitimer(signal.ITIMER_REAL, SHORT)
    for sleeper in sleepers:
        sleeper.join()
    until(lambda: events)
    signal.signal(signal.SIGALRM, before)
    return [list(events), before]


def case_interval_timer() -> Any:
    events.clear()
    before = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, SHORT / 4, SHORT / 4)
    while len(events) < 3:
        time.sleep(SHORT)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    return [events[:3], signal.getitimer(signal.ITIMER_REAL)]


def case_alarm_as_a_timeout() -> Any:
    a, b = socket.socketpair()

    def handler(number: int, frame: Any) -> None:
        raise TimeoutError("alarm")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with a, b:
            # Wherever main is when the time is up, be it not yet in the call.
            got = [outcome(lambda: (signal.setitimer(signal.ITIMER_REAL, SHORT), a.recv(1)))]
            b.sendall(b"x")
            return [*got, a.recv(1)]
    finally:
        signal.signal(signal.SIGALRM, before)


def case_handler_that_waits_itself() -> Any:
    lock = threading.Lock()
    seen: list[Any] = []
    a, b = socket.socketpair()

    def handler(number: int, frame: Any) -> None:
        seen.append("begin")
        time.sleep(SHORT)
        with lock:
            seen.append("lock")
        seen.append(a.recv(1))

    before = signal.signal(signal.SIGUSR1, handler)

    def work() -> None:
        with lock:
            settle()
            os.kill(os.getpid(), signal.SIGUSR1)
            settle()
        time.sleep(2 * SHORT)
        b.sendall(b"x")
        seen.append("thread ends")

    with a, b:
        thread = Background(work)
        time.sleep(4 * SHORT)
        seen.append("main goes on")
        got = thread.result()
    signal.signal(signal.SIGUSR1, before)
    return [got, sorted(map(str, seen))]


def case_handler_that_starts_threads() -> Any:
    seen: list[Any] = []

    def handler(number: int, frame: Any) -> None:
        thread = Background(seen.append, "from the thread")
        thread.join()
        seen.append("joined")

    before = signal.signal(signal.SIGUSR1, handler)
    sender = later()
    time.sleep(LASTS)
    sender.join()
    signal.signal(signal.SIGUSR1, before)
    return seen


def case_handler_releases_what_main_waits_for() -> Any:
    lock = threading.Lock()
    lock.acquire()
    event = threading.Event()

    def handler(number: int, frame: Any) -> None:
        lock.release()
        event.set()

    before = signal.signal(signal.SIGUSR1, handler)
    got = []
    sender = later()
    got.append(lock.acquire())
    sender.join()
    event.clear()
    sender = later()
    got.append(event.wait())
    sender.join()
    signal.signal(signal.SIGUSR1, before)
    return got


def case_several_signals() -> Any:
    events.clear()

    def send() -> None:
        for _ in range(3):
            count = len(events)
            os.kill(os.getpid(), signal.SIGUSR1)
            until(lambda count=count: len(events) > count)  # two that are pending are one

    senders = [Background(send) for _ in range(2)]
    time.sleep(LASTS)
    for sender in senders:
        sender.join()
    return [len(events) >= 3, all(event == ["SIGUSR1", True] for event in events)]


def case_nested_signals() -> Any:
    seen: list[str] = []

    def outer(number: int, frame: Any) -> None:
        seen.append("outer begins")
        os.kill(os.getpid(), signal.SIGALRM)
        time.sleep(SHORT)
        seen.append("outer ends")

    def inner(number: int, frame: Any) -> None:
        seen.append("inner")

    before = signal.signal(signal.SIGUSR1, outer), signal.signal(signal.SIGALRM, inner)
    sender = later()
    time.sleep(LASTS)
    sender.join()
    signal.signal(signal.SIGUSR1, before[0])
    signal.signal(signal.SIGALRM, before[1])
    return seen


def case_interrupt() -> Any:
    got: list[Any] = []
    for way in WAYS:
        ways = waits()
        sender = later(signal.SIGINT)
        try:
            while True:
                ways[way]()
        except KeyboardInterrupt:
            got.append([way, "interrupted"])
        sender.join()
        ways["close"]()
    return got


def case_interrupt_reaches_main_only() -> Any:
    seen: list[Any] = []

    def work() -> None:
        settle()  # main joins
        try:
            os.kill(os.getpid(), signal.SIGINT)
            deadline = time.monotonic() + SHORT
            while time.monotonic() < deadline:
                pass
            time.sleep(SHORT)
            seen.append("thread went on")
        except KeyboardInterrupt:
            seen.append("thread was interrupted")
        ended.set()

    ended = threading.Event()
    thread = Background(work)
    try:
        thread.join()
    except KeyboardInterrupt:
        seen.append("main was interrupted")
    # Up to 3.11 a join that was interrupted may take a thread that runs for one that has ended.
    ended.wait(LONG)
    settle()
    return sorted(seen)


def case_interrupt_main() -> Any:
    got: list[Any] = []
    thread = Background(lambda: [settle(), _thread.interrupt_main()][1])
    try:
        while True:  # nothing is sent, so threads notice between two calls only
            time.sleep(LASTS)
    except KeyboardInterrupt:
        got.append("interrupted")
    thread.join()
    events.clear()
    thread = Background(_thread.interrupt_main, signal.SIGUSR1)
    time.sleep(SHORT)
    thread.join()
    return [*got, list(events)]


def case_signal_and_getsignal() -> Any:
    def other(number: int, frame: Any) -> None:
        pass

    got: list[Any] = [signal.getsignal(signal.SIGUSR1) is old.handler]
    got += [
        signal.signal(signal.SIGUSR1, other) is old.handler,
        signal.getsignal(signal.SIGUSR1) is other,
    ]
    got += [
        signal.signal(signal.SIGUSR1, signal.SIG_IGN) is other,
        signal.getsignal(signal.SIGUSR1),
    ]
    got += [
        signal.signal(signal.SIGUSR1, old.handler),
        signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    ]
    anything: Any = signal.signal
    got += [
        kind(anything, 9999, other),
        kind(anything, signal.SIGUSR1, "x"),
        kind(anything, signal.SIGKILL, other),
    ]
    got += [
        kind(anything),
        kind(anything, "x", other),
        kind(signal.getsignal, 9999),
        kind(anything, 1, None),
    ]
    got += [
        Background(signal.signal, signal.SIGUSR1, other).result(),
        Background(signal.getsignal, 9999).result(),
    ]
    got += [Background(lambda: signal.getsignal(signal.SIGUSR1) is old.handler).result()]
    return got


def case_pause() -> Any:
    events.clear()
    sender = later()
    signal.pause()
    sender.join()
    return list(events)


def case_wakeup_descriptor() -> Any:
    a, b = socket.socketpair()
    with a, b:
        b.setblocking(False)
        before = signal.set_wakeup_fd(b.fileno())
        try:
            events.clear()
            reader = Background(a.recv, 10)
            sender = later()
            time.sleep(2 * SHORT)
            sender.join()
            return [reader.result() == bytes([signal.SIGUSR1]), before, list(events)]
        finally:
            signal.set_wakeup_fd(before)


def case_interrupted_calls_go_on() -> Any:
    a, b = socket.socketpair()
    events.clear()
    with a, b:
        sender = later()
        other = Background(lambda: (time.sleep(2 * SHORT), b.sendall(b"x")))
        got: list[Any] = [a.recv(1)]
        sender.join()
        other.join()
    return [*got, len(events)]


def case_frame_of_main() -> Any:
    frames: list[Any] = []

    def handler(number: int, frame: Any) -> None:
        while frame is not None and frame.f_code.co_name != "case_frame_of_main":
            frame = frame.f_back
        frames.append(frame is not None)

    before = signal.signal(signal.SIGUSR1, handler)
    os.kill(os.getpid(), signal.SIGUSR1)
    sender = later()
    time.sleep(2 * SHORT)
    sender.join()
    signal.signal(signal.SIGUSR1, before)
    return frames


def case_masks() -> Any:
    events.clear()
    settle()  # a thread that has just been started by faulthandler takes signals, too
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.001)
    got: list[Any] = [list(events), signal.SIGUSR1 in signal.sigpending()]
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    time.sleep(0.001)
    return [*got, list(events)]


def case_signals_to_threads_by_their_ident() -> Any:
    def noted(count: int) -> None:
        # Of a signal that comes while its handler waits to be called nobody would know.
        until = time.monotonic() + LONG
        while len(events) < count and time.monotonic() < until:
            time.sleep(0.001)

    events.clear()
    end = threading.Event()
    running = Background(end.wait)
    signal.pthread_kill(running.ident or 0, signal.SIGUSR1)
    noted(1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    noted(2)
    signal.pthread_kill(running.ident or 0, 0)
    own = Background(lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    noted(3)
    end.set()
    running.result()
    own.result()
    clock = Background(
        lambda: time.clock_gettime(time.pthread_getcpuclockid(threading.get_ident())) >= 0
    )
    return [
        events,
        clock.result(),
        time.clock_gettime(time.pthread_getcpuclockid(threading.main_thread().ident or 0)) > 0,
        kind(signal.pthread_kill, threading.get_ident(), 12345),
        kind(signal.pthread_kill, "text", 0),
        kind(signal.pthread_kill, threading.get_ident()),
        kind(time.pthread_getcpuclockid, "text"),
    ]
