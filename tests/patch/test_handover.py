"""A million hand-overs between greenlets and native threads, in every direction; no wake-up is lost.

A *game* has two sides. Each waits for its turn, counts it, and hands the turn over to the other. The count
is neither locked nor atomic: only whoever has the turn touches it. A wake-up that is lost ends in a hang.

A side is a native thread, or greenlets of this or of another thread's hub. It plays many games at once, so
that there is work on both sides of the border all the time; one script more has a single game each, in which
every turn waits. The interpreter's switch interval is at its smallest.
"""

from __future__ import annotations

import random
import sys
import threading
from typing import Any, Final

import pytest

import graftlet
from tests.isolated import run_ok

PRELUDE: Final = """
import sys
import graftlet
graftlet.patch_all()
import queue, threading
from concurrent.futures import Future
from graftlet import native
from graftlet.event import AsyncResult

sys.setswitchinterval(1e-6)

class Game:
    count = 0
    def play(self, me, turns):
        for _ in range(turns):
            self.wait_for_turn(me)
            self.count += 1
            self.hand_over(1 - me)

class Locks(Game):
    def __init__(self):
        self.gates = threading.Lock(), threading.Lock()
        for gate in self.gates:
            gate.acquire()
    def hand_over(self, other):
        self.gates[other].release()
    def wait_for_turn(self, me):
        self.gates[me].acquire()

class Semaphores(Locks):
    def __init__(self):
        self.gates = threading.Semaphore(0), threading.BoundedSemaphore(1)
        self.gates[1].acquire()

class Events(Game):
    def __init__(self):
        self.events = threading.Event(), threading.Event()
    def hand_over(self, other):
        self.events[other].set()
    def wait_for_turn(self, me):
        self.events[me].wait()
        self.events[me].clear()

class Conditions(Game):
    def __init__(self):
        self.condition = threading.Condition()
        self.turn = None
    def hand_over(self, other):
        with self.condition:
            self.turn = other
            self.condition.notify_all()  # at the beginning both may wait
    def wait_for_turn(self, me):
        with self.condition:
            while self.turn != me:
                self.condition.wait()
            self.turn = None

class Queues(Game):
    kind = queue.Queue
    def __init__(self):
        self.queues = self.kind(), self.kind()
    def hand_over(self, other):
        self.queues[other].put(self.count)
    def wait_for_turn(self, me):
        item = self.queues[me].get()
        assert item == self.count, (item, self.count)

class BoundedQueues(Queues):
    def __init__(self):
        self.queues = queue.Queue(1), queue.LifoQueue(1)

class SimpleQueues(Queues):
    kind = queue.SimpleQueue

class Futures(Game):
    def __init__(self):
        self.next = [Future(), Future()]
    def hand_over(self, other):
        self.next[other].set_result(self.count)
    def wait_for_turn(self, me):
        assert self.next[me].result() == self.count
        self.next[me] = Future()

class Results(Game):
    def __init__(self):
        self.next = [AsyncResult(), AsyncResult()]
    def hand_over(self, other):
        self.next[other].set(self.count)
    def wait_for_turn(self, me):
        assert self.next[me].get() == self.count
        self.next[me] = AsyncResult()

def native_side(me, games, turns):
    for _ in range(turns):
        for game in games:
            game.play(me, 1)

def greenlet_side(me, games, turns):
    graftlet.joinall([graftlet.spawn(game.play, me, turns) for game in games], raise_error=True)

def start_native(side, *arguments):
    failures = []
    def run():
        try:
            side(*arguments)
        except BaseException as failure:
            failures.append(failure)
    thread = native.Thread(target=run)
    thread.start()
    def join():
        thread.join()
        if failures:
            raise failures[0]
    return join

def start_here(side, *arguments):
    return graftlet.spawn(side, *arguments).get

PAIRINGS = {
    "greenlets and a native thread": (start_here, greenlet_side, native_side),
    "greenlets of two hubs": (start_here, greenlet_side, greenlet_side),
    "native threads": (start_native, native_side, native_side),
}

def play(kind, width, turns):
    played = 0
    for start, first, second in PAIRINGS.values():
        games = [kind() for _ in range(width)]
        joins = [start(first, 0, games, turns), start_native(second, 1, games, turns)]
        for game in games:
            game.hand_over(0)
        for join in joins:
            join()
        assert [game.count for game in games] == [2 * turns] * width
        played += sum(game.count for game in games)
    return played
"""

WIDTH: Final = 50
#: Turns of each side in each game: a game has twice as many hand-overs, and there are three pairings.
TURNS: Final = {
    "Locks": 600,
    "Semaphores": 150,
    "Events": 600,
    "Conditions": 200,
    "Queues": 500,
    "BoundedQueues": 150,
    "SimpleQueues": 500,
    "Futures": 300,
    "Results": 350,
}
SINGLE_TURNS: Final = 300

slow = pytest.mark.slow  # a hundred thousand hand-overs take seconds


def test_it_is_a_million() -> None:
    assert 3 * 2 * WIDTH * sum(TURNS.values()) >= 1_000_000


@slow
@pytest.mark.parametrize("kind", TURNS)
def test_hand_overs(kind: str) -> None:
    turns = TURNS[kind]
    out = run_ok(f"{PRELUDE}\nprint(play({kind}, {WIDTH}, {turns}))\n")
    assert int(out) == 3 * 2 * WIDTH * turns


@slow
def test_hand_overs_that_all_wait() -> None:
    calls = "".join(f"print(play({kind}, 1, {SINGLE_TURNS}))\n" for kind in TURNS)
    out = run_ok(PRELUDE + calls)
    assert out.split() == [str(3 * 2 * SINGLE_TURNS)] * len(TURNS)


CROWD: Final = (
    PRELUDE
    + """
def everywhere(work, workers):
    '''Run ``work(number)`` in greenlets here, in greenlets of another hub and in native threads.'''
    def in_greenlets(first):
        graftlet.joinall(
            [graftlet.spawn(work, first + number) for number in range(workers)], raise_error=True
        )
    joins = [start_native(in_greenlets, 0)]
    joins += [start_native(work, workers + number) for number in range(workers)]
    in_greenlets(2 * workers)
    for join in joins:
        join()
"""
)


@slow
def test_a_crowd_at_one_lock() -> None:
    out = run_ok(
        CROWD
        + """
for lock in (threading.Lock(), threading.RLock(), threading.Semaphore()):
    count = 0
    def work(number):
        global count
        for round in range(1000):
            if round % 10 == 0 and not lock.acquire(timeout=0.0001):
                lock.acquire()
            elif round % 10:
                lock.acquire()
            count += 1
            if number >= 8 and round % 7 == 0:
                graftlet.sleep(0)
            lock.release()
    everywhere(work, 4)
    print(count)
"""
    )
    assert out == "12000\n12000\n12000\n"


@slow
def test_a_crowd_at_one_condition_and_one_queue() -> None:
    out = run_ok(
        CROWD
        + """
condition = threading.Condition()
turn = 0
def work(number):
    global turn
    for _ in range(100):
        with condition:
            while turn % 9 != number:
                condition.wait()
            turn += 1
            condition.notify_all()
everywhere(work, 3)
print(turn)
items = queue.Queue(2)
got = []
def work(number):
    for count in range(500):
        if number % 2:
            items.put((number, count))
        else:
            got.append(items.get())
everywhere(work, 4)
print(sorted(got) == [(number, count) for number in range(1, 12, 2) for count in range(500)])
barrier = threading.Barrier(9)
everywhere(lambda number: [barrier.wait() for _ in range(100)], 3)
print(barrier.n_waiting)
"""
    )
    assert out == "900\nTrue\n0\n"


@pytest.mark.usefixtures("may_block_hub")
def test_links_to_a_greenlet_that_ends_meanwhile_in_another_thread() -> None:
    """Each is told exactly once, whoever makes it in the instant in which the greenlet ends."""
    rounds, linkers = 1500, 3
    told: list[tuple[int, int]] = []
    current: list[Any] = [None]
    gates = [threading.Barrier(linkers + 1) for _ in range(2)]
    delays = random.Random(1)

    def link(number: int) -> None:
        for round_ in range(rounds):
            gates[0].wait()
            greenlet = current[0]
            greenlet.link(repr)  # taken back while the others make theirs
            greenlet.rawlink(lambda _, round_=round_: told.append((round_, number)))
            greenlet.unlink(repr)
            gates[1].wait()

    threads = [threading.Thread(target=link, args=(number,)) for number in range(linkers)]
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        length = delays.randrange(300)
        greenlet = current[0] = graftlet.spawn(sum, range(length))
        gates[0].wait()
        greenlet.join()
        gates[1].wait()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(switch_interval)
    for _ in range(3):
        graftlet.sleep(0)
    assert sorted(told) == [
        (round_, number) for round_ in range(rounds) for number in range(linkers)
    ]
