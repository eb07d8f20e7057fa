"""Did it give up control? Did it leave anything behind?

Rule: a check looks and changes nothing; its message names what it found.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from greenlet import gettrace, greenlet, settrace

from graftlet.core import _original
from graftlet.core._current import get_hub
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.core._task import Task, Timer
from graftlet.testing._fresh import living_tasks

# -- Switches


class _Observers:
    """The observers of one native thread, and the one trace function that serves them all."""

    def __init__(self) -> None:
        self.all: list[_Observer] = []
        self.previous: Any = None

    def trace(self, event: str, switch: tuple[greenlet, greenlet]) -> None:
        if self.previous is not None:
            self.previous(event, switch)
        origin, target = switch
        for observer in self.all:
            observer.see(origin, target)

    def add(self, observer: "_Observer") -> None:
        if not self.all:
            self.previous = gettrace()
            settrace(self.trace)
        self.all.append(observer)

    def remove(self, observer: "_Observer") -> None:
        self.all.remove(observer)
        if not self.all:
            settrace(self.previous)
            self.previous = None


class _Observer:
    """Notes where the current greenlet gives up control, to the hub or to the next greenlet."""

    def __init__(self) -> None:
        self._hub = get_hub()
        self._task = self._hub.current
        self.places: list[str] = []

    def see(self, origin: greenlet, target: greenlet) -> None:
        hub = self._hub
        task = self._task
        # `Hub.park` notes in which greenlet it was called, and which task is the next if it does not leave that
        # to the hub. (A task may have other greenlets of its own, and switch between them as it likes.)
        if origin is not task.raw or task.done:
            return
        if target is hub.raw or (hub.current is not task and target is hub.current.raw):
            self.places.append(_place(origin))


_per_thread: Final = _original.ThreadLocal()


@contextmanager
def _observed() -> Iterator[_Observer]:
    observers = getattr(_per_thread, "observers", None)
    if observers is None:
        observers = _per_thread.observers = _Observers()
    observer = _Observer()
    observers.add(observer)
    # A task that is woken by its own poll gave up control, too, and no switch would show it.
    hub = get_hub()
    before, hub.in_place = hub.in_place, False
    try:
        yield observer
    finally:
        hub.in_place = before
        observers.remove(observer)


def _place(origin: greenlet) -> str:
    """The innermost line outside graftlet at which a suspended greenlet stands."""
    frame = origin.gr_frame
    while frame is not None and frame.f_globals.get("__name__", "").startswith("graftlet."):
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    name = os.path.basename(frame.f_code.co_filename)
    return f"{name}:{frame.f_lineno} in {frame.f_code.co_name}"


@contextmanager
def assert_switches() -> Iterator[None]:
    """The current greenlet must give up control within the ``with`` statement, also if it raises.

    Raises:
        AssertionError: it did not.
    """
    with _observed() as observer:
        try:
            yield
        finally:
            if not observer.places:
                raise AssertionError("the block should have given up control, but never did")


@contextmanager
def assert_no_switches() -> Iterator[None]:
    """The current greenlet must not give up control within the ``with`` statement.

    Raises:
        AssertionError: it did; the text tells where.
    """
    with _observed() as observer:
        try:
            yield
        finally:
            if observer.places:
                where = ", ".join(observer.places)
                raise AssertionError(
                    f"the block should not have given up control, but did so at {where}"
                )


# -- Leaks


def assert_hub_empty(hub: Hub | None = None) -> None:
    """Nothing but the current greenlet (and main) is left in ``hub``.

    Args:
        hub: None means that of the current native thread.

    Raises:
        AssertionError: the text names every greenlet that is ready or parked, every timer that still
            runs, every file descriptor that is watched, everything that threads have posted and
            every native call under way.
    """
    hub = get_hub() if hub is None else hub
    left = list(_leftovers(hub))
    if left:
        raise AssertionError("\n  ".join([f"{hub!r} is not empty:", *left]))


def _leftovers(hub: Hub) -> Iterator[str]:
    bystanders = (hub.main, hub.current)
    for task in living_tasks(hub):
        if task not in bystanders:
            yield _describe(task)
    for task in (*hub.idlers, *hub.finishers):
        if task not in bystanders:
            yield f"{task!r} among those who wait for the end"
    for exception in hub.main.pending or ():
        yield f"{exception!r}, not raised in the main greenlet yet"
    for when, _, alarm in sorted(hub.deadlines.heap, key=lambda entry: entry[:2]):
        if isinstance(alarm, Timer) and alarm.deadline != INFINITY:
            yield f"a timer for {_owner(alarm)!r}, {when - hub.clock():g} s ahead"
    for watch in hub.watches.values():
        readers, writers = watch.waits(False), watch.waits(True)
        waited = " and ".join(("reading",) * readers + ("writing",) * writers)
        yield f"{watch!r} is watched" + (f", somebody waits for {waited}" if waited else "")
    for callback in hub.inbox:
        yield f"{callback!r} was posted and not called yet"
    if hub.external:
        yield f"native calls are under way: {hub.external}"


def _describe(task: Task) -> str:
    if task.raw is None:
        return f"{task!r} has not begun"
    if task.waiting is None:
        return f"{task!r} is ready to go on"
    return f"{task!r} waits for {task.waiting!r}"


def _owner(timer: Timer) -> object:
    callback = timer._callback
    return getattr(callback, "__self__", callback)
