"""A handler that raises finds every lock, condition and queue as it would find those written in C.

Rule: the signals come in at every moment, thousands of them, from a timer of microseconds; nothing is left
locked. Without the care of `graftlet.core._signals` each of these fails within a second.
(CPython's own Event and Queue are written in Python, and don't stand this.)
"""

from __future__ import annotations

import pytest

from tests.isolated import run_ok

SCRIPT = """
import queue, random, signal, threading, time
import graftlet; graftlet.patch_all()

class Stop(Exception):
    pass

class Raise:
    on = False

def handler(number, frame):
    if Raise.on:
        Raise.on = False
        raise Stop

signal.signal(signal.SIGALRM, handler)
seed = random.randrange(10**6)
pick = random.Random(seed)
stopped = 0

def repeat(operation, check, times=1500):
    global stopped
    for _ in range(times):
        try:
            # Armed within: what raises before or after the operation would tell nothing.
            Raise.on = True
            signal.setitimer(signal.ITIMER_REAL, pick.uniform(2e-6, 6e-5))
            for _ in range(12):
                operation()
        except Stop:
            stopped += 1
        finally:
            Raise.on = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        check()
{body}
assert stopped > 100, stopped
"""

BODIES = {
    "lock": """
lock = threading.Lock()
def operation():
    with lock:
        pass
def check():
    assert not lock.locked(), seed
repeat(operation, check)
""",
    "recursive lock": """
lock = threading.RLock()
def operation():
    with lock:
        with lock:
            pass
def free():
    assert lock.acquire(False)
    lock.release()
def check():
    assert not lock._is_owned(), seed
    # The native lock, too: another thread can take it.
    lock.acquire()
    lock.release()
repeat(operation, check)
thread = threading.Thread(target=free)
thread.start()
thread.join()
""",
    "queue": """
items = queue.Queue()
def operation():
    items.put(1)
    items.get()
def check():
    assert not items.mutex.locked(), seed
    assert items.qsize() <= 1, seed
    while items.qsize():
        items.get_nowait()
repeat(operation, check)
""",
    "event": """
event = threading.Event()
def operation():
    event.set()
    event.wait(0.1)
    event.clear()
    event.wait(0)
def check():
    assert not event._cond._waiters, seed
repeat(operation, check)
""",
}


@pytest.mark.parametrize("what", BODIES)
def test_a_raising_handler_leaves_nothing_locked(what: str) -> None:
    run_ok(SCRIPT.format(body=BODIES[what]))
