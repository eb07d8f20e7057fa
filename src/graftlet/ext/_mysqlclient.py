"""mysqlclient (``MySQLdb``): connections whose calls are carried out in native threads.

Rule: the client library is written in C and blocks in its own reads; it allows one call at a time for each
connection. So every method that talks to the server goes to a native thread, when it is the connection's
turn. The classes stay what they are; ``MySQLdb._mysql``, the layer in C below, is not touched.

A greenlet that is killed (or times out) in the middle of a call leaves an answer behind that nobody reads. So
the connection is shut down then: the call ends at once, and whoever tries to use the connection again gets
the error of mysqlclient for a server that has gone away.
"""

import contextlib
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from graftlet.core import _original
from graftlet.ext._calls import Calls
from graftlet.patch._changes import Change

#: Methods of connections that send something, or wait for an answer.
_BLOCKS: Final = (
    "__init__ autocommit change_user close commit discard_result dump_debug_info kill next_result ping "
    "query read_query_result rollback select_db send_query set_character_set set_server_option "
    "shutdown stat store_result use_result show_warnings set_sql_mode begin"
)

_SHUT_RDWR: Final = 2


def _calls(connection: Any) -> Calls:
    calls: Calls | None = connection.__dict__.get("_graftlet_calls")
    if calls is None:
        calls = connection.__dict__.setdefault("_graftlet_calls", Calls())
    return calls


def _shut_down(connection: Any) -> Callable[[], None]:
    """What ends the call that a killed greenlet has left behind, and the connection with it."""

    def shut_down() -> None:
        if getattr(connection, "open", False):
            with contextlib.suppress(Exception):  # not connected yet, or closed at this very moment
                end = _original.socket(fileno=connection.fileno())
                try:
                    end.shutdown(_SHUT_RDWR)
                finally:
                    end.detach()

    return shut_down


def _offloaded(native: Any) -> Any:
    """A method of connections."""

    @wraps(native)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _calls(self).call(_shut_down(self), _apply, native, (self, *args), kwargs)

    return method


def _apply(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)


def _offloaded_of_cursor(native: Any) -> Any:
    """A method of cursors that asks the server several things in a row, or reads rows from it."""

    @wraps(native)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        connection = getattr(self, "connection", None)
        if connection is None:  # closed
            return native(self, *args, **kwargs)
        call = (native, (self, *args), kwargs)
        return _calls(connection).call(_shut_down(connection), _apply, *call)

    return method


def _offloaded_if_any(native: Any) -> Any:
    """``BaseCursor._discard``, which every ``close`` calls: mostly there is nothing to be read."""
    waits = _offloaded_of_cursor(native)

    @wraps(native)
    def method(self: Any) -> Any:
        more = getattr(self.connection, "more_results", None)  # since mysqlclient 2.3
        if self._result is None and more is not None and not more():
            return native(self)
        return waits(self)

    return method


#: By class and name: always the same objects, however often it is patched.
_methods: Final[dict[tuple[Any, str], Any]] = {}


def _change(owner: Any, name: str, make: Callable[[Any], Any], native: Any) -> Change:
    key = owner, name
    if key not in _methods:
        _methods[key] = make(native)
    return Change(owner, name, _methods[key], sweep=False)


def find() -> list[Change]:
    """What the adapter changes."""
    changes = []
    connections: Any = sys.modules.get("MySQLdb.connections")
    if connections is not None and hasattr(connections, "Connection"):
        kind = connections.Connection
        changes += [
            _change(kind, name, _offloaded, getattr(kind, name))
            for name in _BLOCKS.split()
            if hasattr(kind, name)
        ]
    cursors: Any = sys.modules.get("MySQLdb.cursors")
    if cursors is not None and hasattr(cursors, "BaseCursor"):
        # One call of a thread for all that one statement asks: within it the others are made at once.
        base = cursors.BaseCursor
        for name, make in (
            ("_query", _offloaded_of_cursor),
            ("nextset", _offloaded_of_cursor),
            ("_fetch_row", _offloaded_of_cursor),
            ("_discard", _offloaded_if_any),
        ):
            changes.append(_change(base, name, make, getattr(base, name)))
    return changes
