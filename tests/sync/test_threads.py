"""The same objects in greenlets of several hubs and in native threads without one, all at once."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import graftlet
from graftlet.event import AsyncResult, Event
from graftlet.lock import BoundedSemaphore, Condition, Lock, RLock, Semaphore
from graftlet.queue import (
    Channel,
    Empty,
    Full,
    LifoQueue,
    PriorityQueue,
    Queue,
    ShutDown,
    SimpleQueue,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("may_block_hub")


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    """Native threads take turns after a few bytecodes instead of 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def everywhere(work: Callable[[int], object], workers: int = 2) -> None:
    """Run ``work(number)`` in native threads, in greenlets here and in greenlets of other threads."""
    failures: list[BaseException] = []
    arrived = Semaphore(0)
    begin = Event()

    def start() -> None:
        for _ in range(4 * workers):
            arrived.acquire()
        begin.set()

    def guarded(number: int) -> None:
        try:
            arrived.release()
            begin.wait()
            work(number)
        except BaseException as error:
            failures.append(error)

    def in_greenlets(first: int) -> None:
        graftlet.joinall([graftlet.spawn(guarded, first + number) for number in range(workers)])

    threads = [
        *(
            threading.Thread(target=guarded, args=(number,), daemon=True)
            for number in range(workers)
        ),
        threading.Thread(target=in_greenlets, args=(workers,), daemon=True),
        threading.Thread(target=in_greenlets, args=(2 * workers,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    graftlet.spawn(start)
    in_greenlets(3 * workers)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "a wake-up was lost"
    if failures:
        raise failures[0]


@pytest.mark.parametrize("make", [Lock, RLock])
def test_a_lock_with_kills_and_timeouts(make: Callable[[], Lock | RLock]) -> None:
    """Who waits here is killed and times out all the while; others hold it as they like, and take it again."""
    lock = make()
    inside = 0
    rounds = Counter[str]()
    over = False

    def use(name: str, most: float) -> None:
        nonlocal inside
        while not over and rounds[name] < most:
            if not lock.acquire(timeout=-1 if rounds[name] % 3 else 0.001):
                continue
            try:
                inside += 1
                assert inside == 1
                rounds[name] += 1
                if rounds[name] % 2:
                    graftlet.sleep(0)
            finally:
                inside -= 1
                lock.release()

    def use_natively(name: str) -> None:
        for _ in range(500):
            with lock:
                rounds[name] += 1

    def in_greenlets() -> None:
        graftlet.joinall([graftlet.spawn(use, f"there {number}", 300) for number in range(3)])

    threads = [
        threading.Thread(target=in_greenlets, daemon=True),
        *(
            threading.Thread(target=use_natively, args=(f"native {number}",), daemon=True)
            for number in range(2)
        ),
    ]
    for thread in threads:
        thread.start()
    users = [graftlet.spawn(use, "here", float("inf")) for _ in range(4)]
    while any(thread.is_alive() for thread in threads) or rounds["here"] < 50:
        graftlet.sleep(0)
        users.pop(0).kill()
        users.append(graftlet.spawn(use, "here", float("inf")))
    over = True
    graftlet.joinall(users)
    assert [rounds[f"there {number}"] for number in range(3)] == [300, 300, 300]
    assert [rounds[f"native {number}"] for number in range(2)] == [500, 500]
    assert lock.acquire(blocking=False)
    lock.release()
    assert not lock._turns


@pytest.mark.parametrize("make", [Semaphore, BoundedSemaphore])
def test_a_semaphore(make: Callable[[int], Semaphore]) -> None:
    semaphore = make(2)
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(300):
            with semaphore:
                inside.append(number)
                most.append(len(inside))
                inside.pop()

    everywhere(work)
    assert max(most) <= 2
    assert len(most) == 8 * 300
    assert semaphore.counter == 2
    assert len(semaphore._turns) == 0


def test_a_semaphore_with_timeouts_that_pass() -> None:
    semaphore = Semaphore(1)
    taken: list[int] = []

    def work(number: int) -> None:
        for _ in range(60):
            if semaphore.acquire(timeout=0.0001):
                taken.append(number)
                semaphore.release()

    everywhere(work)
    assert taken
    assert semaphore.counter == 1


def test_a_condition() -> None:
    condition = Condition()
    turn = 0

    def work(number: int) -> None:
        nonlocal turn
        for _ in range(100):
            with condition:
                while turn % 8 != number:
                    condition.wait()
                turn += 1
                condition.notify_all()

    everywhere(work)
    assert turn == 8 * 100


def test_events_and_results() -> None:
    rounds = 100
    events = [Event() for _ in range(rounds)]
    results = [AsyncResult[int]() for _ in range(rounds)]
    arrived = [Semaphore(0) for _ in range(rounds)]

    def work(number: int) -> None:
        for event, result, here in zip(events, results, arrived, strict=True):
            if number == 0:
                event.set()
                event.clear()
                event.set()
                for _ in range(7):
                    here.acquire()
                result.set(number)
            else:
                assert event.wait()
                here.release()
                assert result.get() == 0

    everywhere(work)


@pytest.mark.parametrize("make", [Queue, LifoQueue, PriorityQueue, SimpleQueue, Channel])
def test_a_queue(make: type[Any]) -> None:
    there = make(3) if issubclass(make, Queue) else make()
    got: Counter[int] = Counter()
    each = 500

    def work(number: int) -> None:
        if number % 2:
            for count in range(each):
                there.put(number * each + count)
        else:
            for _ in range(each):
                got[there.get()] += 1

    everywhere(work)
    expected = Counter(number * each + count for number in (1, 3, 5, 7) for count in range(each))
    # The books are kept in one dict without a lock: each item has its own key.
    assert got == expected
    assert there.qsize() == 0
    if isinstance(there, Queue):
        assert there.unfinished_tasks == 4 * each


@pytest.mark.parametrize("make", [Queue, SimpleQueue, Channel])
def test_a_queue_with_kills_and_timeouts(make: type[Any]) -> None:
    """Getters here are killed and time out all the while (the fake clock jumps when all are parked)."""
    there = make(2) if make is Queue else make()
    got: list[int] = []
    each = 300
    putting = 3

    def put(first: int) -> None:
        for number in range(first, first + each):
            while True:
                try:
                    there.put(number, timeout=5)
                except Full:
                    continue
                break

    def get() -> None:
        while True:
            try:
                item = there.get(timeout=1)
            except Empty:
                continue
            got.append(item)

    threads = [
        threading.Thread(target=put, args=(number * each,), daemon=True)
        for number in range(putting)
    ]
    for thread in threads:
        thread.start()
    getters = [graftlet.spawn(get) for _ in range(4)]
    while any(thread.is_alive() for thread in threads) or there.qsize():
        graftlet.sleep(0)
        getters.pop(0).kill()
        getters.append(graftlet.spawn(get))
    graftlet.killall(getters)
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(putting * each))


def test_shutdown_ends_the_waits_everywhere() -> None:
    full: Queue[int] = Queue(1)
    empty: Queue[int] = Queue()
    full.put(1)
    waiting = Semaphore(0)

    def work(number: int) -> None:
        if number == 7:
            for _ in range(7):
                waiting.acquire()
            full.shutdown()
            empty.shutdown()
        else:
            waiting.release()
            with pytest.raises(ShutDown):
                full.put(2) if number % 2 else empty.get()

    everywhere(work)
    assert full.get() == 1
