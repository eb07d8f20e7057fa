"""``queue.Queue``, ``threading.Condition`` and ``Event`` with graftlet's waiting: nothing is lost, whoever leaves.

The differential tests (test_queue.py, test_threading.py) say that they behave as CPython's. Here greenlets are
killed and time out at every moment, beside native threads that put and get, too.
"""

from __future__ import annotations

import pytest

from tests.isolated import run_ok

QUEUES = """
import queue, random, threading, time
import graftlet
graftlet.patch_all()
from graftlet import native

pick = random.Random({seed})
END = 10**9

def one_round(size):
    items = queue.Queue(size)
    got, put = [], []
    numbers = iter(range(END))

    def put_one(timeout=None):
        number = next(numbers)
        items.put(number, timeout=timeout)
        put.append(number)

    def get_one(timeout=None):
        item = items.get(timeout=timeout)
        if item != END:
            got.append(item)
        return item

    def producer():
        for _ in range(40):
            try:
                put_one(pick.choice([None, None, 0.0005]))
            except queue.Full:
                pass
            if pick.random() < 0.2:
                time.sleep(0)

    def consumer():
        while True:
            try:
                if get_one(pick.choice([None, None, 0.0005])) == END:
                    return
            except queue.Empty:
                pass
            if pick.random() < 0.2:
                time.sleep(0)

    consumers = [graftlet.spawn(consumer) for _ in range(4)]
    outside = [native.Thread(target=consumer) for _ in range({natives})]
    for thread in outside:
        thread.start()
    producers = [graftlet.spawn(producer) for _ in range(5)]
    for _ in range(20):
        # Killed while they wait, or woken and killed in the same instant: that was for somebody else.
        doomed = [graftlet.spawn(pick.choice([put_one, get_one])) for _ in range(3)]
        for _ in range(pick.randrange(3)):
            graftlet.sleep(0)
        graftlet.killall(doomed)
    graftlet.joinall(producers, raise_error=True)
    for _ in range(len(consumers) + len(outside)):
        items.put(END)
    graftlet.joinall(consumers, raise_error=True)
    for thread in outside:
        graftlet.offload(thread.join)
    assert sorted(got) == sorted(put), (len(got), len(put))
    assert items.empty() and not items.mutex.locked()
    assert not items.not_empty._waiters and not items.not_full._waiters

for _ in range({rounds}):
    one_round(pick.choice([1, 2, 7]))
print("all")
"""


@pytest.mark.parametrize(("natives", "rounds"), [(0, 20), (2, 6)])
def test_every_item_comes_through_a_queue(natives: int, rounds: int) -> None:
    for seed in range(2):
        assert run_ok(QUEUES.format(seed=seed, natives=natives, rounds=rounds)) == "all\n"


CONDITIONS = """
import random, threading, time
import graftlet
graftlet.patch_all()
from graftlet import native

pick = random.Random({seed})

def one_round():
    condition = threading.Condition(pick.choice([threading.Lock, threading.RLock])())
    permits = 0
    taken = 0

    def take(timeout=None):
        # As a semaphore: each permit is notified of once, so a lost notification is a permit lost.
        nonlocal permits, taken
        with condition:
            while permits == 0:
                if not condition.wait(timeout):
                    return
            permits -= 1
            taken += 1

    takers = [graftlet.spawn(take) for _ in range(30)]
    outside = [native.Thread(target=take) for _ in range({natives})]
    for thread in outside:
        thread.start()
    doomed = [graftlet.spawn(take, pick.choice([None, 0.0005])) for _ in range(30)]
    given = 0
    while any(takers) or any(thread.is_alive() for thread in outside):
        with condition:
            permits += 1
            given += 1
            condition.notify()
        if doomed and pick.random() < 0.7:
            doomed.pop(pick.randrange(len(doomed))).kill()
        time.sleep(pick.choice([0, 0, 0.0007]))
        # Whoever waits and is killed or times out leaves its permit to another: as many are taken as can be.
        assert given < 2000, (given, taken, sum(map(bool, takers)))
    graftlet.killall(doomed, block=True)
    assert not condition._waiters and condition.acquire(blocking=False)
    condition.release()

for _ in range({rounds}):
    one_round()
print("all")
"""


@pytest.mark.parametrize(("natives", "rounds"), [(0, 20), (3, 6)])
def test_no_notification_is_lost(natives: int, rounds: int) -> None:
    for seed in range(2):
        assert run_ok(CONDITIONS.format(seed=seed, natives=natives, rounds=rounds)) == "all\n"


def test_a_notification_goes_on_when_who_had_it_is_killed() -> None:
    out = run_ok(
        """
        import threading, graftlet
        graftlet.patch_all()
        condition = threading.Condition()
        woken = []

        def wait(name):
            with condition:
                condition.wait()
                woken.append(name)

        first, second = (graftlet.spawn(wait, name) for name in ("first", "second"))
        graftlet.sleep(0)
        with condition:
            condition.notify()
        first.kill()
        graftlet.joinall([first, second])
        print(woken)
        """
    )
    assert out == "['second']\n"


def test_an_item_goes_on_when_who_was_woken_for_it_is_killed() -> None:
    out = run_ok(
        """
        import queue, graftlet
        graftlet.patch_all()
        items = queue.Queue()
        first, second = (graftlet.spawn(items.get) for _ in range(2))
        graftlet.sleep(0)
        items.put("item")
        first.kill()
        print(second.get(timeout=1))
        """
    )
    assert out == "item\n"


def test_the_standard_librarys_own_waiters_and_these_wake_each_other() -> None:
    """Who holds CPython's own methods (a bound one, say) goes on to use them."""
    out = run_ok(
        """
        import queue, threading
        items = queue.Queue(1)
        old_put, old_get = items.put, items.get
        event = threading.Event()
        old_set, old_wait = event.set, event.wait
        import graftlet
        graftlet.patch_all()
        for put, get in ((old_put, items.get), (items.put, old_get), (old_put, old_get)):
            getters = [graftlet.spawn(get) for _ in range(3)]
            graftlet.sleep(0)
            for number in range(3):
                put(number)
            print(sorted(each.get(timeout=1) for each in getters))
        for raise_, wait in ((old_set, event.wait), (event.set, old_wait)):
            event.clear()
            waiting = graftlet.spawn(wait)
            graftlet.sleep(0)
            raise_()
            print(waiting.get(timeout=1))
        """
    )
    assert out == "[0, 1, 2]\n" * 3 + "True\n" * 2


def test_after_a_fork_those_who_waited_in_the_parent_wake_nobody() -> None:
    out = run_ok(
        """
        import os, queue, graftlet
        graftlet.patch_all()
        items = queue.Queue()
        waiting = [graftlet.spawn(items.get) for _ in range(2)]
        graftlet.sleep(0)
        items.put("woken for this, and not run yet")
        child = os.fork()
        if child == 0:
            items.get()
            here = graftlet.spawn(items.get)
            graftlet.sleep(0)
            items.put("the child's")
            os._exit(0 if here.get(timeout=1) == "the child's" else 1)
        print(os.waitpid(child, 0)[1])
        graftlet.killall(waiting)
        """
    )
    assert out == "0\n"


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("kills", [1, 2])
def test_who_is_killed_leaves_a_condition_with_its_lock(kind: str, kills: int) -> None:
    """Or the ``with`` statement around it would give back a lock that is somebody else's by then."""
    out = run_ok(
        f"""
        import threading, graftlet
        graftlet.patch_all()
        condition = threading.Condition(threading.{kind}())
        held = []

        def wait():
            with condition:
                try:
                    condition.wait()
                finally:
                    held.append(condition._is_owned())
                    held.append(inside.ready())

        def stay_inside():
            with condition:
                condition.notify()
                graftlet.sleep(0.02)

        first, second = graftlet.spawn(wait), graftlet.spawn(wait)
        graftlet.sleep(0)
        inside = graftlet.spawn(stay_inside)
        graftlet.sleep(0)
        # Notified, and waiting for the lock.
        for _ in range({kills}):
            first.kill()
            graftlet.sleep(0)
        graftlet.joinall([first, second, inside], raise_error=True)
        print(held, type(first.value).__name__, len(condition._waiters))
        print(condition.acquire(blocking=False))
        """
    )
    assert out == "[True, True, True, True] GreenletExit 0\nTrue\n"


@pytest.mark.parametrize("kills", [1, 2])
def test_who_is_killed_leaves_a_queue_with_its_mutex(kills: int) -> None:
    out = run_ok(
        f"""
        import queue, graftlet
        graftlet.patch_all()
        items = queue.Queue()
        getter = graftlet.spawn(items.get)
        graftlet.sleep(0)
        with items.mutex:
            for _ in range({kills}):
                getter.kill()
                graftlet.sleep(0)
            print(getter.ready(), items.mutex.locked())
        graftlet.joinall([getter])
        print(type(getter.value).__name__, items.mutex.locked(), len(items.not_empty._waiters))
        items.put("item")
        print(items.get(timeout=1))
        """
    )
    assert out == "False True\nGreenletExit False 0\nitem\n"


def test_the_events_of_threads_that_have_started_share_what_nobody_needs_until_they_are_waited_for_again() -> (
    None
):
    out = run_ok(
        """
        import os, threading, time, warnings
        import graftlet
        graftlet.patch_all()
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads

        go_on = threading.Event()
        threads = [threading.Thread(target=go_on.wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        threading.Thread(target=int).start()
        events = [thread._started for thread in threads]
        print(len({id(each) for each in events}), len({id(each._cond) for each in events}))
        print(all(each.is_set() and each.wait() for each in events))
        # Cleared and waited for, each is an event of its own.
        first, second = events[:2]
        first.clear()
        second.clear()
        print(events[2].is_set(), first.wait(0.01), second.wait(0.01), first._cond is not second._cond)
        woken = []
        def wait(event, name):
            woken.append((name, event.wait(10)))
        waiting = [graftlet.spawn(wait, first, "first"), graftlet.spawn(wait, second, "second")]
        time.sleep(0)
        first.set()
        time.sleep(0)
        print(woken)
        second.set()
        graftlet.joinall(waiting)
        print(woken)
        # A fork has each of them start anew; and so does undoing it all.
        pid = os.fork()
        if not pid:
            alive = [thread.is_alive() for thread in threads]
            threading.Thread(target=int).start()
            os._exit(any(alive))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        go_on.set()
        for thread in threads:
            thread.join()
        graftlet.unpatch_all()
        for event in events:
            event.clear()
            print(event.wait(0.001), end=" ")
            event.set()
            print(event.wait(), end=" ")
        """
    )
    assert out.splitlines() == [
        "5 1",
        "True",
        "True False False True",
        "[('first', True)]",
        "[('first', True), ('second', True)]",
        "0",
        "False True False True False True False True False True ",
    ]


def test_the_events_of_threads_that_have_not_started_share_what_nobody_needs_until_they_are_waited_for() -> (
    None
):
    out = run_ok(
        """
        import threading, time
        import graftlet
        graftlet.patch_all()

        class Event(threading.Event):
            pass

        threads = [threading.Thread(target=int) for _ in range(6)]
        events = [thread._started for thread in threads]
        print(len({id(each._cond) for each in events}), any(each.is_set() for each in events))
        # Events of the program's own have Conditions of their own.
        conditions = {id(each()._cond) for each in (Event, threading.Event) for _ in range(3)}
        print(id(events[0]._cond) in conditions)
        # C calls the class, and there is no caller with a frame.
        from graftlet.core import _original
        _original.start_new_thread(threading.Event, ())
        time.sleep(0.02)
        print(events[0].wait(0.001), events[0]._cond is not events[1]._cond)
        # Whoever starts waits for its own thread, and nobody else's wakes it.
        woken = []
        def wait(number):
            woken.append((number, events[number].wait(10)))
        waiting = [graftlet.spawn(wait, number) for number in (1, 2)]
        time.sleep(0)
        events[2].set()
        time.sleep(0)
        print(woken)
        for thread in threads[:2]:
            thread.start()
            thread.join()
        graftlet.joinall(waiting)
        print(woken)
        # As the standard library's own methods expect it.
        graftlet.unpatch_all()
        print(len({id(thread._started._cond) for thread in threads[3:]}))
        for thread in threads[3:]:
            thread.start()
            thread.join()
        print(threading.active_count())
        """
    )
    assert out.splitlines() == [
        "1 False",
        "False",
        "False True",
        "[(2, True)]",
        "[(2, True), (1, True)]",
        "3",
        "1",
    ]
