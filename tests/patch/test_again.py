"""Patching, un-patching and patching again: every round is as the first."""

from tests.isolated import run_ok

ROUNDS = """
import threading, time, graftlet

for _ in range(3):
    with graftlet.patched():
        ran = []
        asleep, most = [], []
        def sleep():
            asleep.append(1)
            most.append(len(asleep))
            time.sleep(0.05)
            ran.append(asleep.pop())
        threads = [threading.Thread(target=sleep) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(ran), max(most) > 1)
    print(threading.Lock().acquire(), graftlet.is_patched("threading"))
"""


def test_every_round_is_as_the_first() -> None:
    assert run_ok(ROUNDS) == "20 True\nTrue False\n" * 3


CROWD = """
import gc, threading, time
from time import sleep

gc.disable()
conditions = [threading.Condition(threading.Lock()) for _ in range(200)]
import graftlet

for _ in range(3):
    with graftlet.patched() as report:
        print(sleep is time.sleep, len(report.unreached))
    print(sleep is time.sleep, type(conditions[0]._lock) is type(threading.Lock()))
print(sum(type(each).__name__ == "_Applied" for each in gc.get_objects()))
"""


def test_many_locks_that_exist_leave_nothing_behind() -> None:
    assert run_ok(CROWD) == "True 0\nTrue True\n" * 3 + "0\n"
