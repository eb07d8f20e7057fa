"""The running event loop belongs to the greenlet, not to the native thread.

Rule: everything in asyncio is CPython's own, and waits in a selector, which is cooperative already. But its C
part, module ``_asyncio``, keeps the running loop (since Python 3.14 the current task, too) in the state of the
native thread; and ``run_forever`` sets the thread's hooks for asynchronous generators. A greenlet's switch
reaches none of these. So whoever sets a running loop is noted in its hub, which then has `RunningLoop` put
all this away while the greenlet is parked: synchronous code beside sees no loop, and other greenlets can
run theirs. Without a running loop nothing of this costs anything.

The thread-local loop of an event loop policy, and all of asyncio written in Python, stands on
``threading.local``, which is greenlet-local data.
"""

import sys
from typing import Any, Final

from graftlet.core._current import hub_or_none, set_hub_maker
from graftlet.core._greenlet import make_hub
from graftlet.core._hub import Hub
from graftlet.core._task import Carried
from graftlet.io._builtin import builtin


class RunningLoop(Carried):
    """The running loop of one ``_asyncio`` module, and what depends on it."""

    __slots__ = ("_get", "_set", "_swap_task", "module", "stand_in")

    def __init__(self, module: Any) -> None:
        self.module = module
        self._get = module._get_running_loop
        self._set = module._set_running_loop
        # Before 3.14 the current tasks are in a dict, by loop: nobody is in the others' way.
        self._swap_task: Any = module._swap_current_task if sys.version_info >= (3, 14) else None

        def _set_running_loop(_self: Any, loop: Any, /) -> None:
            """Set the running event loop.

            This is a low-level function intended to be used by event loops.
            This function is thread-specific.
            """
            self.set(loop)

        #: What takes the place of the function of that name.
        self.stand_in = builtin("_asyncio", _set_running_loop)

    def set(self, loop: Any) -> None:
        """As ``asyncio._set_running_loop``."""
        self._set(loop)
        hub = hub_or_none()
        if hub is not None:
            hub.carried = None if loop is None else self

    def adopt(self, hub: Hub) -> None:
        """A hub that knows of no loop yet: the greenlet that runs may have one."""
        if self._get() is not None:
            hub.carried = self

    def put_away(self) -> Any:
        """Take the loop out of the thread's state, with the current task and the thread's hooks."""
        loop = self._get()
        if loop is None:
            return None
        task = None if self._swap_task is None else self._swap_task(loop, None)
        self._set(None)
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        depth = sys.get_coroutine_origin_tracking_depth()
        if depth:
            sys.set_coroutine_origin_tracking_depth(0)
        return loop, task, hooks, depth

    def bring_back(self, kept: Any) -> None:
        """Put there again what `put_away` has returned."""
        loop, task, hooks, depth = kept
        self._set(loop)
        if task is not None:
            self._swap_task(loop, task)
        sys.set_asyncgen_hooks(*hooks)
        if depth:
            sys.set_coroutine_origin_tracking_depth(depth)


#: For each ``_asyncio`` module that has been seen.
_known: Final[list[RunningLoop]] = []


def stand_in(module: Any) -> Any:
    """What takes the place of ``_set_running_loop`` in an ``_asyncio`` module: always the same object."""
    running = next((known for known in _known if known.module is module), None)
    if running is None:
        running = RunningLoop(module)
        _known.append(running)
    return running.stand_in


def cooperative_loop() -> type:
    """What takes the place of ``uvloop.Loop``, which would wait in C: no other greenlet could run.

    Not even its own ``to_thread`` would end. That class can't be changed, so asyncio's loop does the work.
    """
    if not _cooperative:
        from asyncio import SelectorEventLoop

        _cooperative.append(
            type("Loop", (SelectorEventLoop,), {"__module__": "uvloop", "__qualname__": "Loop"})
        )
    return _cooperative[0]


_cooperative: Final[list[type]] = []


def settle(patched: bool) -> None:
    """A loop may be running already when it is patched, or when a thread gets its hub."""
    if patched:
        set_hub_maker(_make_hub)
        hub = hub_or_none()
        if hub is not None and hub.carried is None:
            _adopt(hub)


def _make_hub() -> Hub:
    hub = make_hub()
    _adopt(hub)
    return hub


def _adopt(hub: Hub) -> None:
    for running in _known:
        running.adopt(hub)
