"""Locks that are held while they are patched: by who patches, and by another thread, in a ``with`` block or not.

Such a block ends with the method that it found at its beginning, which knows nothing of those who wait since then.
"""

from __future__ import annotations

import pytest

from tests.isolated import run_ok
from tests.patch.harness import scripts

MAKE = {
    "Lock": "threading.Lock()",
    "RLock": "threading.RLock()",
    "Condition": "threading.Condition()",
    "Condition-Lock": "threading.Condition(threading.Lock())",
}

BLOCK = """
import faulthandler, threading, time
lock = {make}
got, taken = [], []
def block():
    with lock:
        yield
def take(name):
    with lock:
        taken.append(name)
{before}
PATCH_HERE
faulthandler.dump_traceback_later(9, exit=True)
threads = [threading.Thread(target=take, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
time.sleep(0.05)
got.append("waits" if lock.acquire(False) is {nested} else "does not exclude")
{after}
for thread in threads:
    thread.join(5)
got.append(sorted(taken))
got.append([thread.is_alive() for thread in threads])
got.append(lock.acquire(False))
lock.release()
try:
    lock.release()
except RuntimeError as error:
    got.append(str(error))
print(got)
"""


@pytest.mark.parametrize(
    ("kind", "depth"),
    [*((kind, 1) for kind in MAKE), ("RLock", 2), ("Condition", 2)],
)
def test_a_block_of_who_patches(kind: str, depth: int) -> None:
    nested = kind in ("RLock", "Condition")
    said = scripts.check(
        BLOCK.format(
            make=MAKE[kind],
            before=f"blocks = [block() for _ in range({depth})]\n"
            "for each in blocks:\n    next(each)",
            nested=nested,
            after=("lock.release()\n" if nested else "")
            + "got.append(list(taken))\nfor each in blocks:\n    next(each, None)",
        )
    )
    assert said.startswith("status 0\n['waits', [], [0, 1, 2], [False, False, False], True, ")


@pytest.mark.parametrize("kind", MAKE)
def test_taken_before_and_released_afterwards(kind: str) -> None:
    nested = kind in ("RLock", "Condition")
    said = scripts.check(
        BLOCK.format(
            make=MAKE[kind],
            before="lock.acquire()",
            nested=nested,
            after=("lock.release()\n" if nested else "") + "lock.release()",
        )
    )
    assert said.startswith("status 0\n['waits', [0, 1, 2], [False, False, False], True, ")


@pytest.mark.parametrize("kind", MAKE)
def test_a_block_of_another_thread(kind: str) -> None:
    said = scripts.check(
        BLOCK.format(
            make=MAKE[kind],
            before="""
import os
inside, leave = os.pipe(), os.pipe()
def hold():
    with lock:
        os.write(inside[1], b"x")
        os.read(leave[0], 1)
holder = threading.Thread(target=hold)
holder.start()
os.read(inside[0], 1)
""",
            nested=False,
            after="got.append(list(taken))\nos.write(leave[1], b'x')\nholder.join()",
        )
    )
    assert said.startswith("status 0\n['waits', [], [0, 1, 2], [False, False, False], True, ")


WAITS_IN_THE_BLOCK = """
import faulthandler, threading
condition = threading.Condition()
got = []
def block():
    with condition:
        yield
        condition.notify_all()
        yield
held = block()
next(held)
PATCH_HERE
faulthandler.dump_traceback_later(9, exit=True)
def answer():
    with condition:
        got.append("notifies")
        condition.notify_all()
thread = threading.Thread(target=answer)
thread.start()
got.append(condition.wait(5))   # lets go of a lock that was taken before
thread.join()
got.append(condition._is_owned())
next(held)
next(held, None)
got.append(condition._is_owned())
try:
    condition.notify()
except RuntimeError as error:
    got.append(str(error))
print(got)
"""


def test_a_condition_waits_in_a_block_that_was_entered_before() -> None:
    said = scripts.check(WAITS_IN_THE_BLOCK)
    assert said.startswith("status 0\n['notifies', True, True, False, 'cannot notify")


UNDONE = """
import threading
import graftlet
lock = threading.{kind}()
with lock:
    graftlet.patch_all()
    graftlet.unpatch_all()
print(lock, type(lock) is type(threading.{kind}()))
graftlet.patch_all()
with lock:
    graftlet.unpatch_all()
print(lock)
with lock:
    with graftlet.patched():
        thread = threading.Thread(target=lambda: print(lock.acquire(False)))
        thread.start()
        thread.join()
        with lock if "{kind}" == "RLock" else threading.Lock():
            pass
    print("still", lock)
print(lock)
"""


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_undone_while_it_is_held(kind: str) -> None:
    lines = run_ok(UNDONE.format(kind=kind)).splitlines()
    assert lines[0].startswith("<unlocked _thread.")
    assert lines[0].endswith("> True")
    assert lines[1].startswith("<unlocked _thread.")
    assert lines[2] == "False"
    assert lines[3].startswith("still <locked ")
    assert lines[4].startswith("<unlocked _thread.")


DEADLOCK = """
import threading
import graftlet
lock = threading.Lock()
lock.acquire()
graftlet.patch_all()
try:
    lock.acquire()
except graftlet.Deadlock as error:
    print("found")
"""


def test_who_waits_for_what_it_holds_itself_is_a_deadlock() -> None:
    assert run_ok(DEADLOCK) == "found\n"
