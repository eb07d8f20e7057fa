"""fork(2): in the child only the greenlet that forked goes on, as POSIX says of threads.

Rule: the child gets a hub of its own, whose main greenlet is the one that forked, with the ident that it
had. Everything of the old hub (its epoll, its run queue, its deadlines) belongs to the parent. The other
greenlets are frozen where they were: they are kept, and never resumed, for a greenlet that is thrown
away runs its ``finally`` blocks, a second time in the child.
"""

import errno
import os
from typing import Any, Final

from greenlet import greenlet

from graftlet.core._current import hub_or_none, per_thread
from graftlet.core._hub import Hub
from graftlet.core._own_threads import own_threads
from graftlet.core._task import Task

_frozen: Final[list[tuple[Hub, list[greenlet]]]] = []


def _begin_anew() -> None:
    own_threads.clear()
    old = hub_or_none()
    if old is None:
        return
    _frozen.append((old, [worker.raw for worker in old.workers]))
    task = old.current
    ident = old.ident_of(task)
    old.forked = True
    old.close()  # this process's copies of the descriptors
    task.pending = None
    task.armed = None  # in the old hub's heap, where a deadline of long ago may still lie
    hub = _new_hub(task, old)
    hub.main_ident = ident
    hub.on_stuck = old.on_stuck
    hub.on_unhandled = old.on_unhandled
    hub.carried = old.carried
    per_thread.hub = hub


def _new_hub(task: Task, old: Hub) -> Hub:
    """A hub for the child, which has no use for the old one's descriptors."""
    try:
        return Hub(task, old.clock)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    # Those that have just been closed had high numbers. A program that has lowered its limit since, and used up all
    # that are left, can have none; but it could fork, and go on.
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return Hub(task, old.clock)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def free_in_children(lock: Any) -> Any:
    """``lock``, a native one, which is free in every child of a fork: another thread may have it just then."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lock._at_fork_reinit)
    return lock


def begin_anew_in_children() -> None:
    """From now on, every child of a fork gets a hub of its own."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_begin_anew)
