"""psycopg 3: its function ``psycopg.waiting.wait``.

Rule: psycopg's protocol is written as generators that say what they wait for, be it in Python or in C. Only
the C function that waits for them blocks: one that parks takes its place, with the same arguments. The
functions of psycopg that wait in Python stand on module ``select``, which is cooperative, and stay.

A greenlet that is killed in the middle of a query leaves its connection in the state "active". psycopg refuses
to run anything else on it, and its pool throws it away.
"""

import sys
from typing import Any

from graftlet.core import _original
from graftlet.core._hub import Hub
from graftlet.ext._calls import parking_hub
from graftlet.io._select import wait_for_any
from graftlet.io._wait import READ, WRITE, wait_descriptor
from graftlet.patch._changes import Change

#: ``psycopg.waiting.Wait`` and ``Ready``: the same bits.
_R, _W = 1, 2


def wait(gen: Any, fileno: int, interval: float = 0.0, timeout: float | None = None) -> Any:
    """As ``psycopg.waiting.wait``; other greenlets run meanwhile."""
    hub = parking_hub()
    waiting = sys.modules["psycopg.waiting"]
    if hub is None:
        return waiting.wait_selector(gen, fileno, interval, *_optional(timeout))
    if interval is None:
        raise ValueError("indefinite wait not supported anymore")
    end = None if timeout is None else hub.clock() + timeout
    try:
        wanted = next(gen)
        while True:
            deadline = hub.clock() + max(interval, 0.0)
            if end is not None and end < deadline:
                deadline = end
            ready = _ready(hub, fileno, wanted, deadline)
            if ready:
                wanted = gen.send(ready)
            else:
                waiting._check_fd_closed(fileno)
                gen.send(0)
            # As in psycopg: after what was there already has been read.
            if end is not None and hub.clock() >= end:
                raise sys.modules["psycopg.errors"]._WaitTimeout("wait timeout expired")
    except StopIteration as done:
        return done.value


def _optional(timeout: float | None) -> tuple[float, ...]:
    return () if timeout is None else (timeout,)  # psycopg before 3.3 has none


def _ready(hub: Hub, fd: int, wanted: int, deadline: float) -> int:
    """For what ``fd`` is ready; 0 when the deadline has passed."""
    if wanted == _R:
        return _R if wait_descriptor(hub, fd, READ, deadline) else 0
    if wanted == _W:
        return _W if wait_descriptor(hub, fd, WRITE, deadline) else 0
    ready = _now(fd)  # there is nearly always room to write
    if not ready and wait_for_any(hub, {fd: READ | WRITE}, deadline):
        ready = _now(fd)
    return ready


def _now(fd: int) -> int:
    assert _original.poll is not None
    poll = _original.poll()
    poll.register(fd, READ | WRITE)
    events = poll.poll(0)
    found = events[0][1] if events else 0
    # A hang-up or an error: whoever reads will see it.
    return (_R if found & ~WRITE else 0) | (_W if found & WRITE else 0)


def find() -> list[Change]:
    """What the adapter changes."""
    waiting: Any = sys.modules.get("psycopg.waiting")
    if waiting is None or not hasattr(waiting, "wait_selector"):
        return []
    code = waiting.wait_selector.__code__
    # psycopg 3.1: the third argument was another one, and its function in Python serves as well.
    replacement = wait if "interval" in code.co_varnames else waiting.wait_selector
    names = [name for name in ("wait", "wait_c") if hasattr(waiting, name)]
    return [Change(waiting, name, replacement) for name in names]
