"""psycopg2: its wait callback.

Rule: psycopg2 has an official place for this, ``psycopg2.extensions.set_wait_callback``: libpq is then used
without blocking, and the callback waits. A callback that the program has set itself is left alone. When one
raises (the greenlet is killed, a `Timeout` passes) psycopg2 closes the connection: nobody reads the rest of
an answer that was meant for somebody else.

With a callback psycopg2 ignores ``connect_timeout``, so it is heeded here. And it refuses a second thread that
uses a connection at the same time; without one it has it wait. So does what stands for ``connection`` and
``cursor``, C types that can't be changed in place: each method that talks to the server waits for its turn.
"""

import sys
from functools import wraps
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._deadlines import INFINITY
from graftlet.ext._calls import Calls, parking_hub
from graftlet.io._builtin import Functions, builtin
from graftlet.io._wait import READ, WRITE, wait_descriptor
from graftlet.patch._changes import Change

#: ``psycopg2.extensions``: what ``poll`` returns; and the status of a connection that is being made.
_OK, _READ, _WRITE = 0, 1, 2
_SETUP: Final = 0

#: libpq, "connect_timeout": never shorter than this (fe-connect.c, connectDBComplete).
_SHORTEST: Final = 2


def _module() -> Any:
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
            raise _module().OperationalError(f"unexpected answer of poll(): {state!r}")
        fd = connection.fileno()
        if hub is None:
            ready = _wait_natively(fd, state, deadline)
        else:
            ready = wait_descriptor(hub, fd, READ if state == _READ else WRITE, deadline)
        if not ready:
            raise _module().OperationalError("connection to server failed: timeout expired")


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
    module = _module()
    if module is None:
        return
    current = module.get_wait_callback()
    if patched and current is None:
        module.set_wait_callback(wait)
    elif not patched and current is wait:
        module.set_wait_callback(None)


# -- One thread at a time for each connection

_CONNECTION: Final = (
    "__exit__ commit lobject reset rollback set_client_encoding set_isolation_level set_session "
    "tpc_begin tpc_commit tpc_prepare tpc_recover tpc_rollback"
)
_CURSOR: Final = "callproc copy_expert copy_from copy_to execute executemany"
#: A named cursor lives in the server.
_NAMED: Final = "__exit__ __next__ close fetchall fetchmany fetchone scroll"


def _apply(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)


def _of_connection(native: Any) -> Any:
    @wraps(native)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        turn: Calls = self._graftlet_turn
        return turn.here(_apply, native, (self, *args), kwargs)

    return method


def _of_cursor(native: Any, named: bool) -> Any:
    @wraps(native)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        turn = getattr(self.connection, "_graftlet_turn", None)
        if turn is None or (named and self.name is None):
            return native(self, *args, **kwargs)
        return turn.here(_apply, native, (self, *args), kwargs)

    return method


class _StandIns:
    """What stands for the types of one ``psycopg2._psycopg``, and for the function that makes connections."""

    __slots__ = ("connect", "connection", "cursor", "native_connect", "native_connection")

    def __init__(self, module: Any) -> None:
        # Not in variables of the functions below: the sweep would find the originals there.
        self.native_connection: Any = module.connection
        self.native_connect: Any = module._connect
        common = {"__module__": module.cursor.__module__, "_of_graftlet": True}
        self.cursor: Any = type(
            "cursor",
            (module.cursor,),
            {
                **common,
                "__slots__": (),
                "__doc__": module.cursor.__doc__,
                **{
                    name: _of_cursor(getattr(module.cursor, name), name in _NAMED.split())
                    for name in f"{_CURSOR} {_NAMED}".split()
                },
            },
        )

        def init(connection: Any, /, *args: Any, **kwargs: Any) -> None:
            connection._graftlet_turn = Calls()
            self.native_connection.__init__(connection, *args, **kwargs)

        @wraps(module.connection.cursor)
        def cursor(connection: Any, /, *args: Any, **kwargs: Any) -> Any:
            chosen = args[1] if len(args) > 1 else kwargs.get("cursor_factory")
            if chosen is None and connection.cursor_factory is None:
                if len(args) > 1:
                    args = (args[0], self.cursor, *args[2:])
                else:
                    kwargs["cursor_factory"] = self.cursor
            return self.native_connection.cursor(connection, *args, **kwargs)

        self.connection: Any = type(
            "connection",
            (module.connection,),
            {
                **common,
                "__slots__": ("_graftlet_turn",),
                "__doc__": module.connection.__doc__,
                "__init__": init,
                "cursor": cursor,
                **{
                    name: _of_connection(getattr(module.connection, name))
                    for name in _CONNECTION.split()
                    if hasattr(module.connection, name)
                },
            },
        )

        def _connect(_functions: Functions, /, *args: Any, **kwargs: Any) -> Any:
            """As ``psycopg2._psycopg._connect``."""
            if len(args) < 2 and kwargs.get("connection_factory") is None:
                kwargs["connection_factory"] = self.connection
            return self.native_connect(*args, **kwargs)

        self.connect = builtin("psycopg2._psycopg", _connect)


#: By module: always the same objects, however often it is patched.
_stand_ins: Final[dict[Any, _StandIns]] = {}


def find() -> list[Change]:
    """What the adapter changes."""
    module = _module()
    if module is None or not hasattr(module, "_connect"):
        return []
    if module not in _stand_ins:
        _stand_ins[module] = _StandIns(module)
    stand_ins = _stand_ins[module]
    return [
        Change(module, "connection", stand_ins.connection),
        Change(module, "cursor", stand_ins.cursor),
        Change(module, "_connect", stand_ins.connect),
    ]
