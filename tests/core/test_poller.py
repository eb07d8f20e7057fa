"""Readiness: the three pollers behave alike, and every wait arms before it parks.

Which poller a hub gets is decided by the environment: `test_the_environment_*` look at that in fresh
interpreters, all other tests hand the poller to the hub.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

import graftlet
from graftlet.core._deadlines import INFINITY
from graftlet.core._poller import (
    HUP,
    IN,
    NVAL,
    OUT,
    READING,
    WRITING,
    EpollPoller,
    LevelPoller,
    Poller,
    Watch,
    default_poller,
)
from graftlet.testing import fresh_hub, wait_all_parked
from tests import isolated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graftlet.core._hub import Hub

POLLERS = ["epoll", "poll", "select"]


def make(name: str) -> Poller:
    if name == "epoll":
        return EpollPoller()
    return LevelPoller(use_select=name == "select")


@pytest.fixture(params=POLLERS)
def polled(request: pytest.FixtureRequest) -> Iterator[Hub]:
    """A hub on each of the pollers, and on real time: descriptors know no other."""
    with fresh_hub(time.monotonic) as hub:
        hub.poller.close()
        hub.poller = make(request.param)
        yield hub


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


def wait(hub: Hub, fd: int, writing: bool = False, timeout: float | None = None) -> bool:
    """Wait for a descriptor as the io floor does: register, arm, park, unregister."""
    watch = hub.watches.get(fd)
    if watch is None:
        watch = hub.watches[fd] = Watch(fd)
        watch.hub = hub
    task = hub.current
    first = watch.writer is None if writing else watch.reader is None
    if not first:
        watch.more = [*(watch.more or ()), (task, writing)]
    elif writing:
        watch.writer = task
    else:
        watch.reader = task
    try:
        if not watch.armed:
            hub.poller.arm(watch)
        return hub.park(watch, INFINITY if timeout is None else hub.clock() + timeout)
    finally:
        if not first:
            assert watch.more is not None
            watch.more.remove((task, writing))
        elif writing:
            watch.writer = None
        else:
            watch.reader = None


def rounds(hub: Hub, seconds: float) -> int:
    """How many rounds the hub makes while nothing happens: it reads the clock in each."""
    readings = 0

    def clock() -> float:
        nonlocal readings
        readings += 1
        return time.monotonic()

    hub.clock = clock
    graftlet.sleep(seconds)
    hub.clock = time.monotonic
    return readings


def forget(hub: Hub, *sockets: socket.socket) -> None:
    for each in sockets:
        watch = hub.watches.get(each.fileno())
        if watch is not None:
            hub.forget(watch)
    assert hub.watches == {}


Pair = tuple[socket.socket, socket.socket]


# -- Waiting


def test_a_reader_is_woken_by_data(polled: Hub, pair: Pair) -> None:
    left, right = pair
    reader = graftlet.spawn(wait, polled, left.fileno())
    wait_all_parked()
    assert not reader.ready()
    right.send(b"x")
    assert reader.get() is True
    assert left.recv(10) == b"x"
    forget(polled, left)


def test_what_is_ready_before_the_wait_ends_it_at_once(polled: Hub, pair: Pair) -> None:
    left, right = pair
    right.send(b"x")
    assert wait(polled, left.fileno())
    assert wait(polled, left.fileno(), writing=True) if not polled.poller.edge else True
    forget(polled, left)


def test_a_reader_may_wait_many_times(polled: Hub, pair: Pair) -> None:
    left, right = pair
    received = []

    def read() -> None:
        while True:
            try:
                data = left.recv(100)
            except BlockingIOError:
                wait(polled, left.fileno())
                continue
            if not data:
                return
            received.append(data)

    reader = graftlet.spawn(read)
    for number in range(10):
        wait_all_parked()
        right.send(b"%d" % number)
    wait_all_parked()
    right.shutdown(socket.SHUT_WR)
    reader.join()
    assert b"".join(received) == b"0123456789"
    forget(polled, left)


def test_a_writer_is_woken_when_there_is_room(polled: Hub, pair: Pair) -> None:
    left, right = pair
    sent = 0

    def write() -> int:
        nonlocal sent
        while sent < 1_000_000:
            try:
                sent += left.send(bytes(100_000))
            except BlockingIOError:
                wait(polled, left.fileno(), writing=True)
        return sent

    writer = graftlet.spawn(write)
    received = 0
    while not writer.ready() or received < sent:
        wait_all_parked()
        try:
            received += len(right.recv(100_000))
        except BlockingIOError:
            pass
    assert writer.get() == received
    forget(polled, left)


def test_a_reader_and_a_writer_on_one_descriptor(polled: Hub, pair: Pair) -> None:
    left, right = pair
    while True:
        try:
            left.send(bytes(100_000))
        except BlockingIOError:
            break

    def read() -> bytes:
        while True:
            wait(polled, left.fileno())
            try:
                return left.recv(10)
            except BlockingIOError:
                pass  # an event is only a hint to try again

    def write() -> int:
        while True:
            wait(polled, left.fileno(), writing=True)
            try:
                return left.send(b"x")
            except BlockingIOError:
                pass

    reader, writer = graftlet.spawn(read), graftlet.spawn(write)
    wait_all_parked()
    assert not writer.ready()
    right.send(b"y")
    assert reader.get() == b"y"
    assert not writer.ready()
    while not writer.ready():
        right.recv(1_000_000)
        wait_all_parked()
    assert writer.get() == 1
    forget(polled, left)


def test_many_wait_for_one_descriptor_and_all_are_woken(polled: Hub, pair: Pair) -> None:
    left, right = pair
    readers = [graftlet.spawn(wait, polled, left.fileno()) for _ in range(4)]
    wait_all_parked()
    right.send(b"x")
    graftlet.joinall(readers)
    assert [reader.value for reader in readers] == [True] * 4
    left.recv(10)
    forget(polled, left)


def test_the_end_of_the_peer_wakes_both(polled: Hub, pair: Pair) -> None:
    left, right = pair
    while True:
        try:
            left.send(bytes(100_000))
        except BlockingIOError:
            break
    reader = graftlet.spawn(wait, polled, left.fileno())
    writer = graftlet.spawn(wait, polled, left.fileno(), True)
    wait_all_parked()
    right.close()
    assert (reader.get(), writer.get()) == (True, True)
    forget(polled, left)


def test_a_wait_gives_up_in_time_and_leaves_nothing(polled: Hub, pair: Pair) -> None:
    left, right = pair
    assert wait(polled, left.fileno(), timeout=0.005) is False
    right.send(b"x")  # an interest that nobody has any more
    graftlet.sleep(0.005)
    assert left.recv(10) == b"x"
    reader = graftlet.spawn(wait, polled, left.fileno())
    wait_all_parked()
    right.send(b"y")
    assert reader.get() is True
    forget(polled, left)


def test_an_interest_that_nobody_has_any_more_does_not_keep_the_hub_busy(
    polled: Hub, pair: Pair
) -> None:
    left, right = pair
    wait(polled, left.fileno(), timeout=0.001)
    right.send(b"x")
    assert rounds(polled, 0.005) < 10, "the hub spins on a level that nobody reads"
    left.recv(10)
    forget(polled, left)


def test_a_killed_wait_leaves_nothing(polled: Hub, pair: Pair) -> None:
    left, _ = pair
    reader = graftlet.spawn(wait, polled, left.fileno())
    wait_all_parked()
    reader.kill(block=True)
    watch = polled.watches[left.fileno()]
    assert (watch.waits(False), watch.waits(True)) == (False, False)
    forget(polled, left)


def test_forgetting_wakes_everybody(polled: Hub, pair: Pair) -> None:
    left, _ = pair
    readers = [graftlet.spawn(wait, polled, left.fileno()) for _ in range(2)]
    wait_all_parked()
    watch = polled.watches[left.fileno()]
    polled.forget(watch)
    assert watch.closed
    assert [reader.get() for reader in readers] == [True, True]


def test_a_number_that_is_used_again_meets_no_stale_watch(polled: Hub) -> None:
    for _ in range(3):
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            reader = graftlet.spawn(wait, polled, left.fileno())
            wait_all_parked()
            assert not reader.ready()
            right.send(b"x")
            assert reader.get() is True
            forget(polled, left)


def test_a_descriptor_that_was_closed_behind_our_back(polled: Hub) -> None:
    left, right = socket.socketpair()
    watch = polled.watches[left.fileno()] = Watch(left.fileno())
    watch.reader = polled.current
    polled.poller.arm(watch)
    left.close()
    right.close()
    if polled.poller.edge:  # the kernel has forgotten it silently
        assert polled.park(watch, polled.clock() + 0.005) is False
    else:
        assert polled.park(watch, polled.clock() + 10) is True
    watch.reader = None
    polled.forget(watch)
    graftlet.sleep(0.005)


def test_arming_what_is_not_open_fails_in_the_greenlet_that_waits(polled: Hub) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    waiter = graftlet.spawn(wait, polled, reading)
    polled.on_unhandled = lambda *_: None
    waiter.join()
    assert isinstance(waiter.exception, OSError)
    polled.forget(polled.watches[reading])
    graftlet.sleep(0)


def test_the_bell_wakes_a_hub_that_polls(polled: Hub) -> None:
    me = polled.current
    threads = []
    for number in range(3):
        reason = f"thread {number}"
        thread = threading.Timer(0.003, polled.post, (lambda r=reason: polled.wake(me, r),))
        thread.start()
        threads.append(thread)
        assert polled.park(reason)
    for thread in threads:
        thread.join()


def test_a_bell_that_was_rung_too_often_still_rings(polled: Hub) -> None:
    for _ in range(1000):
        polled.poller.wake()
    graftlet.sleep(0.002)
    assert rounds(polled, 0.005) < 10, "the hub spins on a bell that is not hushed"


def test_a_deadline_is_not_early(polled: Hub) -> None:
    for seconds in (0.0004, 0.0015, 0.003):
        before = time.monotonic()
        assert rounds(polled, seconds) < 10, "the hub spins through the last millisecond"
        assert time.monotonic() - before >= seconds


# -- Events


def test_what_events_mean() -> None:
    for bits in (IN, HUP, NVAL):
        assert bits & READING
    for bits in (OUT, HUP, NVAL):
        assert bits & WRITING
    assert not OUT & READING
    assert not IN & WRITING


def test_data_and_the_end_in_one_edge_are_not_trusted(pair: Pair) -> None:
    """DESIGN, section 4: the trap of "drained means wait first"."""
    with fresh_hub(time.monotonic) as hub:
        hub.poller.close()
        hub.poller = EpollPoller()  # the others are level-triggered: they report the end again
        left, right = pair
        watch = hub.watches[left.fileno()] = Watch(left.fileno())
        watch.reader = hub.current
        hub.poller.arm(watch)
        edges = watch.edges
        right.send(b"x")
        hub.park(watch)
        seen = [(watch.edges > edges, watch.distrust)]
        right.close()
        hub.park(watch)
        seen.append((watch.edges > edges, watch.distrust))
        assert seen == [(True, False), (True, True)]
        watch.reader = None
        hub.forget(watch)


def test_a_watch_shows_itself() -> None:
    watch = Watch(7)
    assert repr(watch) == "file descriptor 7"
    assert (watch.waits(False), watch.waits(True)) == (False, False)
    task = graftlet.getcurrent()
    watch.more = [(task, True)]
    assert (watch.waits(False), watch.waits(True)) == (False, True)


# -- The environment


@pytest.mark.parametrize("name", POLLERS)
def test_the_environment_chooses_the_poller(name: str) -> None:
    out = isolated.run_ok(
        """
        import os
        import socket
        import threading
        import time

        import graftlet

        hub = graftlet.get_hub()
        poller = hub.poller
        print(type(poller).__name__, getattr(poller, "_poll", "epoll") is None)
        seen = []
        start = time.monotonic()
        clock, hub.clock = hub.clock, lambda: start  # all three are asked for at one time
        greenlets = [graftlet.spawn_later(n / 1000, seen.append, n) for n in (3, 1, 2)]
        hub.clock = clock
        timer = threading.Timer(0.004, graftlet.get_hub().post, (lambda: seen.append("post"),))
        timer.start()
        graftlet.joinall(greenlets)
        timer.join()
        graftlet.sleep(0)
        graftlet.sleep(0)
        print([number for number in seen if number != "post"], seen.count("post"))
        try:
            graftlet.get_hub().park("nothing")
        except graftlet.Deadlock as deadlock:
            print("Deadlock")
        """,
        environment={"GRAFTLET_POLLER": name},
    )
    kind = {"epoll": "EpollPoller False", "poll": "LevelPoller False", "select": "LevelPoller True"}
    assert out.splitlines() == [kind[name], "[1, 2, 3] 1", "Deadlock"]


def test_the_environment_may_name_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTLET_POLLER", "kqueue,select")
    poller = default_poller()
    poller.close()
    assert isinstance(poller, LevelPoller)
    monkeypatch.setenv("GRAFTLET_POLLER", "")
    poller = default_poller()
    poller.close()
    assert isinstance(poller, EpollPoller)


def test_a_poller_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTLET_POLLER", "kqueue")
    with pytest.raises(ValueError, match=r"GRAFTLET_POLLER='kqueue': .* use epoll, poll or select"):
        default_poller()
