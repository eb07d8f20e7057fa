"""select, poll, epoll and selectors."""

from __future__ import annotations

import os
import select
import selectors
import socket
import tempfile
import time
from select import select as old_select
from types import SimpleNamespace
from typing import Any

from tests.patch.harness.tools import (
    LONG,
    SHORT,
    STREAMS,
    Background,
    fill,
    kind,
    on,
    outcome,
    receive,
    settle,
    tcp_pair,
)

Socket = socket.socket

old = SimpleNamespace()


class OldSelector(selectors.DefaultSelector):
    """Defined before patching, in mode ``last``."""

    selected = 0

    def select(self, timeout: float | None = None) -> Any:
        self.selected += 1
        return super().select(timeout)


class Waits:
    """Keeps functions as a class attribute and as defaults."""

    pick = select.select

    def wait(self, sock: Socket, how: Any = select.select, *, poll: Any = select.poll) -> Any:
        poller = poll()
        poller.register(sock, select.POLLIN)
        return [how([sock], [], [], SHORT), poller.poll(SHORT * 1000)]


def prepare() -> None:
    old.a, old.b = tcp_pair()
    old.epoll = select.epoll()
    old.epoll.register(old.a, select.EPOLLIN)
    old.poll = select.poll()
    old.poll.register(old.a, select.POLLIN)
    old.selectors = [
        selectors.DefaultSelector(),
        selectors.SelectSelector(),
        selectors.PollSelector(),
        selectors.EpollSelector(),
        OldSelector(),
    ]
    for each in old.selectors:
        each.register(old.a, selectors.EVENT_READ, "the data")


def finish() -> None:
    for each in (old.a, old.b, old.epoll, *old.selectors):
        each.close()


# -- What existed before


def case_old_epoll() -> Any:
    return wait_and_drain(
        old.epoll.poll, lambda events: events == [(old.a.fileno(), select.EPOLLIN)]
    )


def case_old_poll() -> Any:
    return wait_and_drain(old.poll.poll, lambda events: events == [(old.a.fileno(), select.POLLIN)])


def wait_and_drain(wait: Any, check: Any) -> Any:
    waiter = Background(wait)
    settle()
    old.b.sendall(b"x")
    got = check(waiter.result())
    return [got, old.a.recv(10), outcome(wait, SHORT)]


def case_old_selectors() -> Any:
    got: list[Any] = []
    for each in old.selectors:
        got.append(type(each).__name__)
        got += wait_and_drain(each.select, lambda found: [(key.data, mask) for key, mask in found])
    return [*got, old.selectors[-1].selected]


def case_old_names() -> Any:
    waiter = Background(old_select, [old.a], [], [])
    settle()
    old.b.sendall(b"x")
    got: list[Any] = [waiter.result() == ([old.a], [], []), old.a.recv(1)]
    got += [Waits().wait(old.a), outcome(Waits.pick, [], [], [], 0)]
    got += [outcome(Waits().pick, [], [], [], 0)]
    waiter = Background(Waits.pick, [old.a], [], [])
    settle()
    old.b.sendall(b"x")
    return [*got, waiter.result() == ([old.a], [], []), old.a.recv(1)]


# -- select.select


def number_of(lists: Any, *sockets: Socket) -> Any:
    return [[sockets.index(each) for each in found] for found in lists]


@on(*STREAMS)
def case_select_reads(a: Socket, b: Socket) -> Any:
    got = [
        number_of(select.select([a], [], [], 0), a),
        number_of(select.select([a, b], [b, a], []), a, b),
    ]
    waiter = Background(select.select, [a, b], [], [a, b])
    settle()
    b.sendall(b"x")
    got.append(number_of(waiter.result(), a, b))
    return [*got, a.recv(1), select.select([a], [], [], SHORT)]


@on(*STREAMS)
def case_select_writes(a: Socket, b: Socket) -> Any:
    size = fill(a)
    got: list[Any] = [select.select([], [a], [], SHORT)]
    waiter = Background(select.select, [], [a], [])
    settle()
    got.append(len(receive(b, size)) == size)
    return [*got, number_of(waiter.result(), a)]


@on("tcp")
def case_select_urgent(a: Socket, b: Socket) -> Any:
    waiter = Background(select.select, [], [], [a])
    settle()
    b.send(b"!", socket.MSG_OOB)
    return [number_of(waiter.result(), a), a.recv(1, socket.MSG_OOB)]


@on(*STREAMS)
def case_select_takes_anything(a: Socket, b: Socket) -> Any:
    class HasFileno:
        def fileno(self) -> int:
            return a.fileno()

    b.sendall(b"x")
    settle()
    it = HasFileno()
    got: list[Any] = [
        select.select([it], [], [])[0] == [it],
        select.select((a.fileno(),), [], [])[0] == [a.fileno()],
    ]
    got.append(select.select(iter([a]), iter([]), iter([a]))[0] == [a])
    got.append(select.select({a}, set(), {a: 1})[0] == [a])
    got.append(len(select.select([a, a, it], [], [])[0]))
    a.recv(1)
    waiter = Background(select.select, iter([it, a, a]), (each for each in ()), [])
    settle()
    b.sendall(b"y")
    return [*got, waiter.result() == ([it, a, a], [], [])]


@on("tcp")
def case_select_bad_arguments(a: Socket, b: Socket) -> Any:
    anything: Any = select.select

    class BadFileno:
        def __init__(self, value: Any) -> None:
            self.value = value

        def fileno(self) -> Any:
            return self.value

    closed = socket.socket()
    closed.close()
    gone, other = os.pipe()
    os.close(gone)
    os.close(other)
    return [
        kind(anything),
        kind(anything, [], []),
        kind(anything, [], [], [], 1, 2),
        kind(anything, 1, [], []),
        kind(anything, [], None, []),
        kind(anything, ["x"], [], []),
        kind(anything, [object()], [], []),
        kind(anything, [BadFileno("1")], [], [], LONG),
        kind(anything, [BadFileno(-1)], [], []),
        kind(anything, [closed], [], [], LONG),
        outcome(anything, [gone], [], []),
        kind(anything, [], [], [], "1"),
        outcome(anything, [], [], [], -1),
        kind(anything, [a], [], [], float("nan")),
        kind(anything, [a], [], [], 1e300),
        kind(anything, [1 << 20], [], []),
        kind(anything, rlist=[], wlist=[], xlist=[]),
    ]


@on(*STREAMS)
def case_select_does_not_spin(a: Socket, b: Socket) -> Any:
    b.close()
    settle()
    start = time.process_time()
    got: list[Any] = [select.select([], [], [a], 0.1)]
    readable, writable = os.pipe()
    os.close(writable)
    got.append(select.select([], [readable], [readable], 0.1))
    os.close(readable)
    return [*got, time.process_time() - start < 0.1]


def case_select_sleeps() -> Any:
    start = time.monotonic()
    got = [
        select.select([], [], [], 0.03),
        select.select([], [], [], 0),
        select.select([], [], [], True - 1),
    ]
    other = Background(select.select, [], [], [], SHORT)
    return [*got, 0.025 < time.monotonic() - start < LONG, other.result()]


def case_select_on_pipes_and_files() -> Any:
    readable, writable = os.pipe()
    try:
        waiter = Background(select.select, [readable], [], [])
        settle()
        os.write(writable, b"x")
        got = [waiter.result() == ([readable], [], []), os.read(readable, 1)]
        with tempfile.TemporaryFile() as file:
            found = select.select([readable, file], [file], [], LONG)
            got.append([len(each) for each in found])
            poll = select.poll()
            poll.register(file)
            got.append(len(poll.poll()))
            got.append(kind(select.epoll().register, file))
        waiter = Background(select.select, [readable], [], [])
        settle()
    finally:
        os.close(writable)
    got.append(waiter.result() == ([readable], [], []))
    os.close(readable)
    return got


@on(*STREAMS)
def case_many_wait_for_one_socket(a: Socket, b: Socket) -> Any:
    poll, epoll = select.poll(), select.epoll()
    poll.register(a, select.POLLIN)
    epoll.register(a, select.EPOLLIN)
    waiters = [Background(select.select, [a], [], []) for _ in range(3)]
    waiters += [
        Background(poll.poll),
        Background(epoll.poll),
        Background(select.select, [a, b], [], []),
    ]
    reader = Background(a.recv, 3)
    settle()
    b.sendall(b"abc")
    got = [reader.result()]
    settle()
    b.sendall(b"def")  # the reader may have been faster than they
    got += [sum(map(len, waiter.result()[:1])) for waiter in waiters]
    epoll.close()
    return [*got, a.recv(3)]


# -- poll


@on(*STREAMS)
def case_poll(a: Socket, b: Socket) -> Any:
    poll = select.poll()
    poll.register(a, select.POLLIN)
    got: list[Any] = [poll.poll(0), poll.poll(SHORT * 1000), poll.poll(1)]
    waiter = Background(poll.poll)
    settle()
    b.sendall(b"x")
    got.append([mask for _, mask in waiter.result()])
    poll.modify(a, select.POLLOUT)
    got.append([mask for _, mask in poll.poll(-1)])
    poll.register(a, select.POLLIN | select.POLLOUT)
    got.append([mask for _, mask in poll.poll(None)])
    poll.unregister(a)
    got += [poll.poll(1), kind(poll.unregister, a), outcome(poll.modify, a, 1)]
    poll.register(a.fileno())
    got.append([mask for _, mask in poll.poll(LONG)])
    poll.modify(a, 0)
    return [*got, poll.poll(SHORT * 1000)]


def case_poll_bad_arguments() -> Any:
    poll: Any = select.poll()
    closed, other = os.pipe()
    os.close(other)
    os.close(closed)
    poll.register(closed)
    return [
        [mask for _, mask in poll.poll()],
        kind(poll.poll, "1"),
        kind(poll.poll, 1, 2),
        kind(poll.poll, 1 << 70),
        kind(poll.register),
        kind(poll.register, "x"),
        kind(poll.register, -1),
        kind(poll.register, 0, "x"),
        kind(poll.register, 0, 1 << 40),
        kind(poll.register, 0, -1),
        kind(poll.modify, 0),
        kind(poll.unregister, "x"),
        len(poll.poll(0.5)),
        kind(select.poll, 1),
    ]


@on(*STREAMS)
def case_poll_hang_up(a: Socket, b: Socket) -> Any:
    poll = select.poll()
    poll.register(a, select.POLLIN | select.POLLRDHUP)
    waiter = Background(poll.poll)
    settle()
    b.close()
    got = [[mask & select.POLLIN for _, mask in waiter.result()]]
    return [*got, [bool(mask & select.POLLRDHUP) for _, mask in poll.poll()]]


# -- epoll


@on(*STREAMS)
def case_epoll(a: Socket, b: Socket) -> Any:
    with select.epoll() as epoll:
        epoll.register(a, select.EPOLLIN)
        got: list[Any] = [epoll.poll(0), epoll.poll(SHORT), epoll.closed, kind(epoll.register, a)]
        waiter = Background(epoll.poll)
        settle()
        b.sendall(b"x")
        got.append([mask for _, mask in waiter.result()])
        epoll.modify(a, select.EPOLLOUT)
        got.append([mask for _, mask in epoll.poll(-1)])
        epoll.unregister(a)
        got += [epoll.poll(SHORT), kind(epoll.unregister, a), kind(epoll.modify, a, 1)]
        epoll.register(a.fileno())
        got.append([mask for _, mask in epoll.poll(timeout=LONG, maxevents=1)])
        got.append(epoll.fileno() >= 0)
    got += [
        epoll.closed,
        kind(epoll.poll),
        kind(epoll.fileno),
        kind(epoll.register, a),
        epoll.close(),
    ]
    return got


@on("tcp")
def case_epoll_bad_arguments(a: Socket, b: Socket) -> Any:
    with select.epoll() as epoll:
        anything: Any = epoll
        return [
            kind(anything.poll, "1"),
            kind(anything.poll, 1, 0),
            kind(anything.poll, 0, -2),
            kind(anything.poll, 1, "x"),
            kind(anything.poll, 1, 2, 3),
            kind(anything.poll, 1e300),
            kind(anything.register, "x"),
            kind(anything.register, 9999),
            kind(anything.register, a, -5),
            kind(anything.unregister, 9999),
            kind(select.epoll, "x"),
            kind(select.epoll, 0),
            kind(select.epoll, -1, 7),
            kind(select.epoll.fromfd, "x"),
        ]


@on(*STREAMS)
def case_epoll_edges(a: Socket, b: Socket) -> Any:
    with select.epoll() as epoll:
        epoll.register(a, select.EPOLLIN | select.EPOLLET)
        b.sendall(b"x")
        settle()
        got: list[Any] = [[mask for _, mask in epoll.poll()], epoll.poll(SHORT)]
        waiter = Background(epoll.poll)
        settle()
        b.sendall(b"y")
        got.append([mask for _, mask in waiter.result()])
        epoll.modify(a, select.EPOLLIN | select.EPOLLONESHOT)
        return [*got, [mask for _, mask in epoll.poll()], epoll.poll(SHORT)]


@on(*STREAMS)
def case_epoll_in_epoll_in_select(a: Socket, b: Socket) -> Any:
    inner, middle, poll = select.epoll(), select.epoll(), select.poll()
    with inner, middle:
        inner.register(a, select.EPOLLIN)
        middle.register(inner.fileno(), select.EPOLLIN)
        poll.register(middle, select.POLLIN)
        waiters = [Background(wait) for wait in (inner.poll, middle.poll, poll.poll)]
        waiters.append(Background(select.select, [middle, inner], [], []))
        settle()
        b.sendall(b"x")
        got: list[Any] = [len(waiter.result()) for waiter in waiters]
        got.append(a.recv(1))
        return [*got, middle.poll(SHORT), inner.poll(0)]


@on(*STREAMS)
def case_epoll_from_descriptor(a: Socket, b: Socket) -> Any:
    with select.epoll() as first, select.epoll.fromfd(os.dup(first.fileno())) as second:
        first.register(a, select.EPOLLIN)
        waiter = Background(second.poll)
        settle()
        b.sendall(b"x")
        return [
            len(waiter.result()),
            isinstance(second, select.epoll),
            type(second) is select.epoll,
        ]


@on(*STREAMS)
def case_epoll_registered_while_it_waits(a: Socket, b: Socket) -> Any:
    with select.epoll() as epoll:
        waiter = Background(epoll.poll)
        settle()
        b.sendall(b"x")
        epoll.register(a, select.EPOLLIN)
        got: list[Any] = [len(waiter.result())]
        a.recv(1)
        waiter = Background(epoll.poll)
        settle()
        epoll.modify(a, select.EPOLLOUT)
        return [*got, len(waiter.result())]


@on(*STREAMS)
def case_epoll_while_others_receive(a: Socket, b: Socket) -> Any:
    with select.epoll() as epoll:
        epoll.register(a, select.EPOLLIN)
        total = []

        def read() -> int:
            count = 0
            while len(total) < 30:
                if epoll.poll(SHORT):
                    a.setblocking(True)
                    data = a.recv(2, socket.MSG_DONTWAIT)
                    total.extend(data)
                    count += len(data)
            return count

        reader = Background(read)
        for _ in range(30):
            b.sendall(b"x")
            settle(0.001)
        return [reader.result(), len(total)]


# -- selectors


def each_selector() -> list[type[selectors.BaseSelector]]:
    return [
        selectors.DefaultSelector,
        selectors.SelectSelector,
        selectors.PollSelector,
        selectors.EpollSelector,
    ]


@on("tcp", "unix")
def case_selectors(a: Socket, b: Socket) -> Any:
    got: list[Any] = []
    for make in each_selector():
        with make() as selector:
            selector.register(a, selectors.EVENT_READ, "first")
            got += [selector.select(0), selector.select(SHORT), selector.select(-1)]
            waiter = Background(selector.select)
            settle()
            b.sendall(b"x")
            got.append([(key.data, mask) for key, mask in waiter.result()])
            selector.modify(a, selectors.EVENT_READ | selectors.EVENT_WRITE, "second")
            got.append([(key.data, mask) for key, mask in selector.select()])
            selector.unregister(a)
            got += [a.recv(1), len(selector.get_map()), kind(selector.unregister, a)]
            selector.register(a, selectors.EVENT_READ, b)
            reader = Background(a.recv, 10)
            settle()
            b.sendall(b"y")
            got += [reader.result(), selector.select(0)]
    return got


@on("tcp", "unix")
def case_selector_serves_while_threads_read(a: Socket, b: Socket) -> Any:
    with selectors.DefaultSelector() as selector, a.dup() as second:
        selector.register(second, selectors.EVENT_READ)
        got = []

        def serve() -> None:
            while True:
                for key, _ in selector.select(LONG):
                    sock: Any = key.fileobj
                    data = sock.recv(1)
                    if data == b".":
                        return
                    got.append(data)

        server = Background(serve)
        settle()
        for number in range(10):
            b.sendall(b"%d" % number)
            settle(0.001)
        b.sendall(b".")
        return [server.result(), got]


def case_selectors_know_their_class() -> Any:
    return [
        selectors.DefaultSelector.__name__,
        [issubclass(each, selectors.BaseSelector) for each in each_selector()],
        isinstance(select.epoll(), select.epoll),
        select.epoll.__name__,
        select.poll.__name__,
        select.select.__name__,
        select.EPOLLIN,
    ]
