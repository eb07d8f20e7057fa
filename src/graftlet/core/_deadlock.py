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
from graftlet.core._hub import Hub
from graftlet.core._own_threads import own_threads
from graftlet.core._signals import program_has_handlers
from graftlet.core._task import Task

#: Native threads that were started and have not begun yet: ``sys._current_frames`` does not show them.
starting: Final[set[object]] = set()


class Watchman:
    """Knows which native threads were there when its hub was made: what they could do is known by then.

    Later ones may be threads of C libraries, which call Python when they like (an audio library's, say). The
    interpreter learns of such a thread only when it calls.
    """

    __slots__ = ("_known", "_threads")

    def __init__(self) -> None:
        self._threads = _native_threads()
        self._known = _known_threads()

    def describe_if_stuck(self, hub: Hub) -> str | None:
        """The text of a `Deadlock`; "" if another thread may still wake this hub, None if anybody else may."""
        if not in_main_thread() or program_has_handlers():
            return None
        return "" if self._other_threads() else describe_parked(hub)

    def _other_threads(self) -> bool:
        # One that has just been joined may be listed by the kernel for a moment: the hub looks again.
        known = _known_threads()
        return (
            bool(starting)
            or bool(known - own_threads)
            or len(_native_threads() - self._threads) > len(known - self._known)
        )


def _known_threads() -> set[int]:
    """The idents of the native threads that the interpreter knows, but for this one."""
    return set(sys._current_frames()) - {_original.get_ident()}


def _native_threads() -> set[str]:
    """The ids of this process's native threads but main; empty if the platform does not tell."""
    try:
        return set(os.listdir("/proc/self/task")) - {str(os.getpid())}
    except OSError:
        return set()


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
