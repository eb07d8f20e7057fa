"""The greenlets of package greenlet, which carry out tasks.

Rule: a worker that has finished its task takes the next, for CPython maps a fresh 16 KiB arena for every
new one and unmaps it at its end, which costs five times what the rest of a spawn does. All of them are started
by the hub, from its shallow C stack.
"""

import os
from typing import TYPE_CHECKING

from greenlet import greenlet

from graftlet.core._task import Task

if TYPE_CHECKING:
    from graftlet.core._hub import Hub


class Worker:
    """A recycled greenlet that executes one task after the other."""

    __slots__ = ("_hub", "raw", "task")

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self.task: Task | None = None
        self.raw = greenlet(self._work, hub.raw)

    def _work(self) -> None:
        hub = self._hub
        raw = self.raw
        ready = hub.ready
        try:
            while True:
                task = self.task
                assert task is not None
                raw.gr_context = task.context
                task.execute()
                if hub.carried is not None:
                    hub.drop_carried()
                if hub.forked:
                    os._exit(0)  # as when a process's last thread ends, pthread_exit(3)
                # Invariant: nothing of a task is left in the worker when it takes the next one.
                task.raw = task.context = None
                # The next one that starts in this round may as well start here: it saves two switches.
                # Invariant: never out of turn, and never more than the round's batch.
                if hub.batch > 0 and ready[0].raw is None:
                    hub.batch -= 1
                    task = self.task = ready.popleft()
                    if not task.done:
                        task.raw = raw
                        hub.current = task
                        continue
                self.task = task = None
                raw.gr_context = None
                if len(hub.idle) >= hub.MAX_IDLE:
                    break
                hub.idle.append(self)
                hub.raw.switch()
        finally:
            hub.workers.discard(self)
