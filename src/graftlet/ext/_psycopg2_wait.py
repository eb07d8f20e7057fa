"""psycopg2: its wait callback, and calls that must not find one.

Rule: psycopg2 has an official place for this, ``psycopg2.extensions.set_wait_callback``: libpq is then used
without blocking, and the callback waits. A callback that the program has set itself is left alone. When one
raises (the greenlet is killed, a `Timeout` passes) psycopg2 closes the connection: nobody reads the rest of
an answer that was meant for somebody else.

With a callback psycopg2 ignores ``connect_timeout``, so it is heeded here. And what libpq can't do without
blocking it refuses: ``COPY`` and large objects. Those are carried out in native threads, and the callback is away
for the moment in which psycopg2 looks whether there is one: a moment without any Python code, so nobody else
sees it.
"""

import contextlib
import sys
from functools import partial
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._deadlines import INFINITY
from graftlet.ext._calls import parking_hub
from graftlet.io._wait import READ, WRITE, wait_descriptor

#: ``psycopg2.extensions``: what ``poll`` returns; and the status of a connection that is being made.
_OK, _READ, _WRITE = 0, 1, 2
_SETUP: Final = 0

#: libpq, "connect_timeout": never shorter than this (fe-connect.c, connectDBComplete).
_SHORTEST: Final = 2


def loaded() -> Any:
    """``psycopg2._psycopg``; None if it is not loaded."""
    return sys.modules.get("psycopg2._psycopg")


def wait(connection: Any) -> None:
    """Wait until ``connection`` has finished what it is doing; other greenlets run meanwhile."""
    hub = parking_hub()
    deadline = INFINITY
    if connection.status == _SETUP:
        seconds = _connect_timeout(connection)
        if seconds:
            deadline = _original.monotonic() + seconds
    while True:
        state = connection.poll()
        if state == _OK:
            return
        if state not in (_READ, _WRITE):
            raise loaded().OperationalError(f"unexpected answer of poll(): {state!r}")
        fd = connection.fileno()
        if hub is None:
            ready = _wait_natively(fd, state, deadline)
        else:
            ready = wait_descriptor(hub, fd, READ if state == _READ else WRITE, deadline)
        if not ready:
            raise loaded().OperationalError("connection to server failed: timeout expired")


def _connect_timeout(connection: Any) -> int:
    """Seconds; 0 if there is none."""
    parameters = sys.modules["psycopg2.extensions"].parse_dsn(connection.dsn)
    try:
        seconds = int(parameters.get("connect_timeout", 0))
    except ValueError:
        return 0  # libpq has complained about it already
    return max(seconds, _SHORTEST) if seconds > 0 else 0


def _wait_natively(fd: int, state: int, deadline: float) -> bool:
    """In a native thread without a hub, or on the hub itself, nobody else could run."""
    left = None if deadline == INFINITY else max(0.0, deadline - _original.monotonic())
    wanted = ([fd], []) if state == _READ else ([], [fd])
    return any(_original.select(*wanted, [], left))


def settle(patched: bool) -> None:
    """Set the callback, or take it back."""
    module = loaded()
    if module is None:
        return
    current = module.get_wait_callback()
    if patched and current is None:
        module.set_wait_callback(wait)
    elif not patched and current is wait:
        module.set_wait_callback(None)


# -- Calls that must not find a callback

_SHUT_RDWR: Final = 2


class Watch:
    """Notices that psycopg2 has found no callback: the first Python code that it calls then tells us."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        #: Whether it has.
        self.over = False

    def found_none(self) -> None:
        """So the callback comes back."""
        if not self.over:
            self.over = True
            settle(True)


def uncalled(watch: Watch, function: Any, /, *args: Any) -> Any:
    """``function(*args)`` of psycopg2, in a native thread; it finds that there is no callback."""
    calls = partial(loaded().set_wait_callback, None), partial(function, *args)
    try:
        # From C to C: between the two no other thread, greenlet or signal handler gets its turn.
        _, result = map(partial.__call__, calls)
        return result
    finally:
        watch.found_none()  # if it has complained about something else


def shut_down(connection: Any) -> None:
    """End the call that a killed greenlet has left behind in a native thread, and the connection with it."""
    with contextlib.suppress(OSError, loaded().Error):  # not connected any more
        end = _original.socket(fileno=connection.fileno())
        try:
            end.shutdown(_SHUT_RDWR)
        finally:
            end.detach()
