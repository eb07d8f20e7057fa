"""Wake-up from other native threads: nothing that is posted is late, lost or run elsewhere."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

import graftlet
from graftlet import GreenletExit
from graftlet.core._current import blocking_hub, hub_or_none, in_main_thread
from graftlet.core._task import Reason
from graftlet.testing import FakeClock, wait_all_parked

if TYPE_CHECKING:
    from graftlet.core._hub import Hub


def test_a_post_is_called_on_the_hubs_own_thread(hub: Hub) -> None:
    idents: list[int] = []
    thread = threading.Thread(target=hub.post, args=(lambda: idents.append(threading.get_ident()),))
    thread.start()
    thread.join()
    wait_all_parked()
    assert idents == [hub.thread] == [threading.get_ident()]


def test_posts_are_called_in_their_order(hub: Hub) -> None:
    seen: list[int] = []
    for number in range(100):
        hub.post(lambda number=number: seen.append(number))  # type: ignore[misc] # mypy: lambda with a default
    wait_all_parked()
    assert seen == list(range(100))


def test_a_hub_that_sleeps_without_a_deadline_is_woken(hub: Hub) -> None:
    """Again and again: the race is between its last look into the inbox and its sleep."""
    count = 500
    me = hub.current
    waits = [Reason(str(number)) for number in range(count)]
    step = threading.Semaphore(0)

    def wake(number: int) -> None:
        hub.wake(me, waits[number])

    def run() -> None:
        for number in range(count):
            step.acquire()
            hub.post(lambda number=number: wake(number))  # type: ignore[misc] # as above

    thread = threading.Thread(target=run)
    thread.start()
    for wait in waits:
        step.release()
        assert hub.park(wait)
    thread.join()


def test_many_threads_post_at_once(hub: Hub, clock: FakeClock) -> None:
    count, threads = 200, 4
    seen: list[int] = []
    done = Reason("all posts")
    me = hub.current

    def arrive(number: int) -> None:
        seen.append(number)
        if len(seen) == count * threads:
            hub.wake(me, done)

    def run(start: int) -> None:
        for number in range(start, start + count):
            hub.post(lambda number=number: arrive(number))  # type: ignore[misc] # as above

    running = [threading.Thread(target=run, args=(n * count,)) for n in range(threads)]
    for thread in running:
        thread.start()
    assert hub.park(done)
    for thread in running:
        thread.join()
    assert sorted(seen) == list(range(count * threads))
    for start in range(0, count * threads, count):
        own = [number for number in seen if start <= number < start + count]
        assert own == sorted(own), "the posts of one thread stay in order"


def test_hubs_of_two_threads_join_and_kill_each_others_greenlets(clock: FakeClock) -> None:
    outcomes: list[object] = []
    mine = graftlet.spawn(graftlet.sleep, 5)
    victim = graftlet.spawn(graftlet.sleep, 1000)
    theirs: list[graftlet.Greenlet] = []
    started = threading.Event()

    def run() -> None:
        other = graftlet.spawn(lambda: mine.join() and "joined from another hub")
        theirs.append(other)
        victim.kill()
        started.set()
        other.join()
        outcomes.append(victim.join())
        outcomes.append(mine.get())

    thread = threading.Thread(target=run)
    with clock.hold():
        thread.start()
        started.wait()
        victim.join()
    graftlet.sleep(5)
    with clock.hold():
        assert theirs[0].get() == "joined from another hub"
        thread.join()
    assert outcomes == [True, None]
    assert isinstance(victim.value, GreenletExit)


def test_a_thread_kills_a_greenlet_of_a_sleeping_hub(hub: Hub) -> None:
    parked = graftlet.spawn(hub.park, Reason("what never comes"))
    wait_all_parked()
    thread = threading.Timer(0.01, parked.kill)
    thread.start()
    parked.join()
    thread.join()
    assert isinstance(parked.value, GreenletExit)


# -- Which hub


def test_only_threads_that_ask_have_a_hub() -> None:
    found: list[object] = []

    def run() -> None:
        found.extend([hub_or_none(), blocking_hub(), in_main_thread()])
        graftlet.sleep(0)
        found.append(hub_or_none())
        graftlet.spawn(lambda: None).join()
        found.append(blocking_hub() is hub_or_none() is graftlet.get_hub())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [None, None, False, None, True]
    assert in_main_thread()
    assert blocking_hub() is hub_or_none() is graftlet.get_hub()


def test_threads_with_hubs_that_end_leave_no_descriptor() -> None:
    def count() -> int:
        return (
            len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
        )  # only a number

    def run() -> None:
        graftlet.joinall([graftlet.spawn(graftlet.sleep, 0) for _ in range(3)])

    before = count()
    for _ in range(20):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    for _ in range(1000):  # a thread may be joined a moment before its local data are dropped
        if count() == before:
            break
        threading.Event().wait(0.001)
    assert count() == before


@pytest.mark.parametrize("parked", ["sleep", "descriptor"])
def test_a_thread_may_end_while_greenlets_of_its_hub_are_parked(parked: str) -> None:
    """They never go on, as threads that are daemons never do; nothing crashes."""
    ended: list[object] = []

    def run() -> None:
        graftlet.spawn(graftlet.sleep, 1000 if parked == "sleep" else 10)
        graftlet.sleep(0)
        ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended == [True]
