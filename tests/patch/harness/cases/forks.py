"""fork: in the child there is one thread, the one that forked."""

from __future__ import annotations

import logging
import os
import queue
import select
import signal
import socket
import threading
import time
import traceback
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.patch.harness.tools import LONG, SHORT, Background, kind, outcome, settle, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Callable

old = SimpleNamespace()
LOCK = threading.Lock()
RLOCK = threading.RLock()
LOCAL = threading.local()
LOCAL.value = "main's"


def prepare() -> None:
    old.a, old.b = tcp_pair()


def finish() -> None:
    old.a.close()
    old.b.close()


def in_child(function: Callable[[], Any]) -> Any:
    """What the function returns in the child of a fork."""
    readable, writable = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        child = os.fork()
    if child == 0:
        signal.alarm(round(2 * LONG))  # a child that hangs dies
        try:
            os.close(readable)
            try:
                text = repr(function())
            except BaseException:
                text = traceback.format_exc()
            os.write(writable, text.encode())
        finally:
            os._exit(7)
    os.close(writable)
    with open(readable, encoding="utf-8") as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    return [text, os.waitstatus_to_exitcode(status)]


def with_others(function: Callable[[], Any]) -> Any:
    """As `in_child`, while other threads wait for this and that."""
    event = threading.Event()
    a, b = socket.socketpair()
    with a, b:
        others = [Background(time.sleep, 4 * SHORT), Background(event.wait), Background(a.recv, 1)]
        settle()
        got = in_child(function)
        event.set()
        b.sendall(b"x")
        return [got, [other.result() for other in others]]


def case_one_thread_is_left() -> Any:
    def look() -> Any:
        return [
            [thread.name for thread in threading.enumerate()],
            threading.active_count(),
            threading.current_thread() is threading.main_thread(),
            threading.get_ident() == threading.main_thread().ident,
            LOCAL.value,
        ]

    return with_others(look)


def case_fork_in_a_thread() -> Any:
    def look() -> Any:
        main = threading.main_thread()
        return [
            [thread.name for thread in threading.enumerate()],
            threading.current_thread() is main,
            main.name,
            threading.get_ident() == main.ident,
            hasattr(LOCAL, "value"),
            use_everything(),
        ]

    thread = threading.Thread(target=lambda: results.append(in_child(look)), name="forking")
    results: list[Any] = []
    other = Background(time.sleep, 2 * SHORT)
    thread.start()
    thread.join()
    return [results, other.result()]


def use_everything() -> Any:
    """All that can wait works."""
    a, b = tcp_pair()
    lock = threading.Lock()
    made: queue.Queue[int] = queue.Queue()
    received = threading.Event()

    def work() -> None:
        with lock:
            time.sleep(SHORT / 4)
            data = a.recv(10)
            received.set()  # main reads from the same end, and comes after
            b.sendall(data.upper())
            made.put(7)

    with a, b:
        thread = threading.Thread(target=work)
        thread.start()
        b.sendall(b"abc")
        received.wait()
        got = [a.recv(10), made.get()]
        with lock:
            got.append(select.select([a], [], [], SHORT / 4))
        thread.join()
        return [*got, kind(made.get, True, SHORT / 4), socket.gethostbyname("localhost")]


def case_everything_works_in_the_child() -> Any:
    return with_others(use_everything)


def case_locks_of_the_parent() -> Any:
    def look() -> Any:
        got: list[Any] = [LOCK.locked(), RLOCK.acquire(False), LOCK.acquire(timeout=SHORT / 2)]
        LOCK.release()
        got += [Background(LOCK.acquire, timeout=SHORT).result(), LOCK.locked()]
        return got

    with LOCK, RLOCK:
        return [in_child(look), LOCK.locked()]


def case_locks_held_by_lost_threads() -> Any:
    lock = threading.Lock()
    go = threading.Event()

    def hold() -> None:
        with lock:
            go.wait(LONG)

    holder = Background(hold)
    settle()
    got = in_child(lambda: [lock.locked(), lock.acquire(timeout=SHORT / 2)])
    go.set()
    return [got, holder.result(), lock.locked()]


def case_others_do_not_go_on_in_the_child() -> Any:
    seen: list[str] = []

    def work() -> None:
        time.sleep(20 * SHORT)  # the fork comes first, even on a busy machine
        seen.append("went on")

    other = Background(work)
    settle()

    def look() -> Any:
        before = list(seen)
        time.sleep(22 * SHORT)
        return seen == before

    return [in_child(look), other.result(), seen]


def case_a_lock_that_others_wait_for() -> Any:
    found = []
    for make in (threading.Lock, threading.RLock):
        lock: Any = make()
        lock.acquire()

        def take(lock: Any = lock) -> bool:
            with lock:
                return True

        others = [Background(take) for _ in range(2)]
        settle()

        def in_the_child(lock: Any = lock, take: Any = take) -> Any:
            mine = [Background(take) for _ in range(3)]
            settle()
            lock.release()
            return [each.result() for each in mine]

        found.append(in_child(in_the_child))
        lock.release()
        found.append([each.result() for each in others])
    return found


def case_nothing_is_unwound_in_the_child() -> Any:
    readable, writable = os.pipe()

    def work() -> None:
        try:
            time.sleep(SHORT)
        finally:
            os.write(writable, b"x")

    other = Background(work)
    settle()
    got = in_child(lambda: time.sleep(2 * SHORT))
    other.result()
    found = os.read(readable, 10)
    os.close(readable)
    os.close(writable)
    return [got, found]


def case_sockets_of_the_parent() -> Any:
    reader = Background(old.a.recv, 100)
    settle()
    old.b.sendall(b"x")
    got: list[Any] = [reader.result()]

    def child() -> Any:
        data = old.a.recv(100)
        old.a.sendall(b"answer")
        return data

    def send() -> Any:
        time.sleep(SHORT)
        old.b.sendall(b"to the child")
        return old.b.recv(100)

    sender = Background(send)
    got.append(in_child(child))
    got.append(sender.result())
    reader = Background(old.a.recv, 100)
    settle()
    old.b.sendall(b"to the parent")
    return [*got, reader.result()]


def case_closed_in_the_child() -> Any:
    a, b = tcp_pair()
    reader = Background(b.recv, 10)
    settle()

    def child() -> Any:
        b.close()
        a.close()
        return outcome(a.recv, 1)

    got = in_child(child)
    a.sendall(b"still here")
    with a, b:
        return [got, reader.result()]


def case_listener_shared_with_children() -> Any:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()

    def serve() -> Any:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(10).upper())
        return "served"

    def ask() -> Any:
        with socket.create_connection(address) as client:
            client.sendall(b"abc")
            return client.recv(10)

    client = Background(ask)
    with listener:
        return [in_child(serve), client.result()]


def case_grandchildren() -> Any:
    return in_child(lambda: in_child(lambda: in_child(use_everything)))


def case_fork_while_waited_for() -> Any:
    """Whoever waits for what the child does goes on in the parent only."""
    event = threading.Event()
    waiter = Background(event.wait, LONG)
    settle()
    got = in_child(lambda: [event.set(), event.wait(SHORT), threading.active_count()])
    settle()
    before = waiter.is_alive()
    event.set()
    return [got, before, waiter.result()]


def case_logging() -> Any:
    handler = logging.StreamHandler()
    handler.acquire()
    waiter = Background(handler.acquire)
    settle()
    got = in_child(lambda: [handler.lock.acquire(False) if handler.lock else None])
    handler.release()
    result = waiter.result()
    return [got, result]


def case_exit_status() -> Any:
    got = []
    for leave in (lambda: os._exit(3), lambda: os.kill(os.getpid(), 9)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            leave()
        got.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return got


def case_at_fork() -> Any:
    """The program's own functions run, in the order that POSIX says."""
    return in_child(lambda: EVENTS)[0].startswith("['before', 'in child'")


EVENTS: list[str] = []
os.register_at_fork(
    before=lambda: EVENTS.append("before") if not EVENTS else None,
    after_in_child=lambda: EVENTS.append("in child"),
)
