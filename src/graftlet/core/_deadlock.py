"""Can anybody still wake this program? If not: who waits for what, held by whom, from which line.

Rule: `Deadlock` is raised only where a program on real threads would hang for ever *and* nobody outside
could change that. A handler that the program installed may run at any time and release a lock; so may
a native thread. Then the hub waits, as CPython would.

This runs only when the hub is about to sleep without a deadline and with no descriptor to wait for, so
it may be slow.
"""

import os
import sys
from typing import Final

from graftlet.core import _original
from graftlet.core._current import in_main_thread
from graftlet.core._hub import Hub, Task
from graftlet.core._signals import program_has_handlers

#: The native threads that graftlet itself keeps: idle ones wake nobody.
own_threads: Final[set[int]] = set()
#: Native threads that were started and have not begun yet: ``sys._current_frames`` does not show them.
starting: Final[set[object]] = set()


def describe_if_stuck(hub: Hub) -> str | None:
    """The text of a `Deadlock`; None if somebody may still wake this hub."""
    if not in_main_thread() or _other_threads() or program_has_handlers():
        return None
    return describe_parked(hub)


def _other_threads() -> bool:
    frames = sys._current_frames()
    return (
        bool(starting)
        or any(ident not in own_threads and ident != _original.get_ident() for ident in frames)
        # Threads of C libraries, which the interpreter learns of when they first call it.
        or _native_threads() > len(frames)
    )


def _native_threads() -> int:
    """How many native threads this process has; 0 if the platform does not tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0


def parked_tasks(hub: Hub) -> list[Task]:
    """Every task of ``hub`` that is parked, main first."""
    tasks = [worker.task for worker in hub.workers if worker.task is not None]
    return [hub.main, *sorted((task for task in tasks if task.waiting is not None), key=id)]


def describe_parked(hub: Hub) -> str:
    """Each parked greenlet, what it waits for, who holds that, and from which line."""
    lines = ["no greenlet can ever run again:"]
    for task in parked_tasks(hub):
        waiting = task.waiting
        line = f"  {task!r} waits for {waiting!r}"
        holder = _holder(waiting)
        if holder is not None and holder is not task:  # a Condition's waiters hold their own lock
            line += f", held by {holder!r}"
        where = where_is(task)
        if where:
            line += f", at {where}"
        lines.append(line)
    return "\n".join(lines)


def _holder(waiting: object) -> object:
    """Who holds what is waited for: a lock may tell with an attribute ``holder``."""
    return getattr(getattr(waiting, "what", waiting), "holder", None)


def where_is(task: Task) -> str | None:
    """File, line and function in which a parked task waits: its innermost frame outside graftlet
    and the standard library's own waiting code."""
    frame = task.raw.gr_frame if task.raw is not None else None
    first = None
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("graftlet."):
            here = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
            if module not in ("threading", "queue"):
                return here
            first = first or here
        frame = frame.f_back
    return first
