"""Threads that never wait: CPython takes the GIL away from them, and the others go on."""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

from tests.patch.harness.tools import SHORT, Background, outcome

old = SimpleNamespace()


def prepare() -> None:
    old.lock = threading.Lock()


class Flag:
    """What a busy thread looks at, again and again."""

    def __init__(self) -> None:
        self.up = False
        self.rounds = 0

    def spin(self) -> None:
        while not self.up:
            self.rounds += 1

    def raise_(self) -> None:
        self.up = True


def case_a_thread_spins_until_another_has_slept() -> Any:
    flag = Flag()
    spinning = Background(flag.spin)
    time.sleep(SHORT)
    flag.raise_()
    return spinning.result()


def case_main_spins_until_a_thread_has_slept() -> Any:
    flag = Flag()

    def wait() -> None:
        time.sleep(SHORT)
        flag.raise_()

    waiting = Background(wait)
    flag.spin()
    return waiting.result()


def case_three_spin_side_by_side() -> Any:
    flags = [Flag() for _ in range(3)]
    spinning = [Background(flag.spin) for flag in flags]
    while not all(flag.rounds for flag in flags):
        pass
    for flag in flags:
        flag.raise_()
    return [each.result() for each in spinning]


def case_a_lock_held_by_who_is_preempted_stays_held() -> Any:
    shared = SimpleNamespace(inside=0, most=0, rounds=0)
    until = time.process_time() + 0.15

    def enter() -> None:
        while time.process_time() < until:
            with old.lock:
                shared.inside += 1
                shared.most = max(shared.most, shared.inside)
                for _ in range(200):
                    pass
                shared.inside -= 1
            shared.rounds += 1

    threads = [Background(enter) for _ in range(3)]
    return [each.result() for each in threads], shared.most, shared.rounds > 0


def case_put_and_get_without_ever_waiting() -> Any:
    """As legacy consumers do: ``get_nowait``, and again if it was empty."""
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
    got: list[int] = []

    def take() -> None:
        while len(got) < 300:
            try:
                got.append(numbers.get_nowait())
            except queue.Empty:
                continue

    def fill() -> None:
        for number in range(300):
            numbers.put(number)
            if number % 100 == 0:
                time.sleep(0.001)

    taking, filling = Background(take), Background(fill)
    return taking.result(), filling.result(), got == list(range(300))


def case_the_finally_blocks_of_who_spins() -> Any:
    flag = Flag()
    trace: list[str] = []

    def spin() -> None:
        try:
            flag.spin()
            trace.append("spun")
        finally:
            trace.append("ended")

    spinning = Background(spin)
    time.sleep(SHORT)
    flag.raise_()
    spinning.result()
    return trace


def case_a_thread_spins_in_a_finalizer() -> Any:
    flag = Flag()

    class Finalized:
        def __del__(self) -> None:
            flag.spin()

    def throw_away() -> None:
        Finalized()

    throwing = Background(throw_away)
    time.sleep(SHORT)
    flag.raise_()
    return throwing.result()


def case_a_thread_collects_garbage_that_spins() -> Any:
    flag = Flag()

    class Finalized:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            flag.spin()

    def collect() -> None:
        Finalized()
        gc.collect()

    collecting = Background(collect)
    time.sleep(SHORT)
    flag.raise_()
    return collecting.result()


def case_the_state_of_an_exception_stays_each_ones_own() -> Any:
    flag = Flag()

    def spin(number: int) -> Any:
        try:
            raise ValueError(number)
        except ValueError:
            flag.spin()
            return str(sys.exc_info()[1])

    found: list[Any] = []
    spinning = [Background(lambda n=n: found.append(spin(n))) for n in range(2)]
    time.sleep(SHORT)
    flag.raise_()
    ended = [each.result() for each in spinning]
    return ended, sorted(found)


def case_the_program_uses_the_timer_itself() -> Any:
    """ITIMER_VIRTUAL and its signal are the program's as soon as it wants them."""
    flag = Flag()
    seen = [outcome(signal.getsignal, signal.SIGVTALRM), signal.getitimer(signal.ITIMER_VIRTUAL)]
    seen.append(signal.signal(signal.SIGVTALRM, lambda *_: flag.raise_()))
    seen.append(signal.setitimer(signal.ITIMER_VIRTUAL, 0.01))
    flag.spin()
    seen.append(signal.getitimer(signal.ITIMER_VIRTUAL))
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    return seen


def case_no_signal_of_ours_is_written_to_the_wakeup_descriptor() -> Any:
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    before = signal.set_wakeup_fd(writable)
    Background(lambda: None).result()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    signal.set_wakeup_fd(before)
    written = outcome(os.read, readable, 100)
    os.close(readable)
    os.close(writable)
    return written
