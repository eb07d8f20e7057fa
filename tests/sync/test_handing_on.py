"""The two instants in which a wake-up could get lost, in every class that waits.

Rule: what another thread would do in such an instant is done by a stand-in for `Turn`, so it is
certain and needs no thread: between the first look and the entry into the queue, and between the
notification of a greenlet and its next step.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

import graftlet
from graftlet import event, lock, queue
from graftlet.core._waitqueue import Turn
from graftlet.testing import wait_all_parked

if TYPE_CHECKING:
    from collections.abc import Callable

Case = tuple[str, Any, "Callable[[Any], object]", "Callable[[Any], object]"]


def full_queue() -> queue.Queue[int]:
    there: queue.Queue[int] = queue.Queue(1)
    there.put(0)
    return there


def unfinished_queue() -> queue.Queue[int]:
    there: queue.Queue[int] = queue.Queue()
    there.put(0)
    return there


# The module, how it is made, who waits, who wakes exactly one (or all) of them.
ONE: list[Case] = [
    ("semaphore", lambda: lock.Semaphore(0), lambda it: it.acquire(), lambda it: it.release()),
    ("queue", queue.Queue, lambda it: it.get(), lambda it: it.put(1)),
    ("queue", queue.LifoQueue, lambda it: it.get(), lambda it: it.put(1)),
    ("queue", queue.PriorityQueue, lambda it: it.get(), lambda it: it.put(1)),
    ("queue", full_queue, lambda it: it.put(1), lambda it: it.get()),
    ("simple_queue", queue.SimpleQueue, lambda it: it.get(), lambda it: it.put(1)),
    ("channel", queue.Channel, lambda it: it.get(), lambda it: graftlet.spawn(it.put, 1)),
]
ALL: list[Case] = [
    ("linkable", event.Event, lambda it: it.wait(), lambda it: it.set()),
    ("linkable", event.AsyncResult, lambda it: it.get(), lambda it: it.set(1)),
    ("queue", unfinished_queue, lambda it: it.join(), lambda it: it.task_done()),
    ("queue", queue.Queue, list, lambda it: it.shutdown()),
]
IDS = [f"{case[0]}-{number}" for number, case in enumerate(ONE + ALL)]


@pytest.mark.parametrize("case", ONE + ALL, ids=IDS)
def test_woken_between_the_first_look_and_the_queue(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, make, wait, wake = case
    it = make()
    woken = False

    def late(what: object) -> Turn:
        nonlocal woken
        if not woken:
            woken = True
            wake(it)
        return Turn(what)

    monkeypatch.setattr(importlib.import_module(f"graftlet.sync._{module}"), "Turn", late)
    waiter = graftlet.spawn(wait, it)
    wait_all_parked()
    assert woken
    assert waiter.ready(), "it sleeps through what came before it was in the queue"


@pytest.mark.parametrize("case", ONE, ids=IDS[: len(ONE)])
@pytest.mark.parametrize("how", ["killed", "too late"])
def test_one_that_leaves_wakes_the_next(case: Case, how: str) -> None:
    _, make, wait, wake = case
    it = make()

    def wait_or_leave() -> object:
        if how == "too late":
            with graftlet.Timeout(1, False):
                return wait(it)
            return None
        return wait(it)

    first = graftlet.spawn(wait_or_leave)
    second = graftlet.spawn(wait, it)
    wait_all_parked()
    wake(it)
    if how == "killed":
        first.kill()
    else:
        first.kill(graftlet.Timeout(5))
    with graftlet.Timeout(5):
        second.join()
    assert second.ready()


@pytest.fixture(autouse=True)
def _expected(unhandled: list[object]) -> None:
    """A greenlet ends with the Timeout that is thrown at it."""
