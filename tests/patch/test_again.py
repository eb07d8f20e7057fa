"""Patching, un-patching and patching again: every round is as the first."""

from tests.isolated import run_ok

ROUNDS = """
import threading, time, graftlet

for _ in range(3):
    with graftlet.patched():
        ran = []
        threads = [threading.Thread(target=lambda: (time.sleep(0.05), ran.append(1))) for _ in range(20)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(ran), time.monotonic() - began < 0.5)
    print(threading.Lock().acquire(), graftlet.is_patched("threading"))
"""


def test_every_round_is_as_the_first() -> None:
    assert run_ok(ROUNDS) == "20 True\nTrue False\n" * 3
