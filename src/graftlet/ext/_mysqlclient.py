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
    "__init__ autocommit change_user close commit discard_result dump_debug_info kill ping "
    "query read_query_result rollback select_db send_query set_character_set set_server_option "
    "shutdown stat store_result use_result show_warnings set_sql_mode begin"
)

_SHUT_RDWR: Final = 2


class _Line(Calls):
    """The calls of one connection, and where its server is."""

    __slots__ = ("descriptor",)

    def __init__(self) -> None:
        super().__init__()
        #: Of the socket; -1 as long as there is none.
        self.descriptor = -1

    def shut_down(self) -> None:
        """End the call that a killed greenlet has left behind, and the connection with it."""
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):  # not connected any more
                end = _original.socket(fileno=self.descriptor)
                try:
                    end.shutdown(_SHUT_RDWR)
                finally:
                    end.detach()

    def make(
        self, function: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """One call, in its turn: mysqlclient allows not even a question at any other time."""
        self.descriptor = connection.fileno() if _is_open(connection) else -1
        return function(*args, **kwargs)


def _is_open(connection: Any) -> bool:
    return bool(getattr(connection, "open", False)) and hasattr(connection, "fileno")


def _line(connection: Any) -> _Line:
    line: _Line | None = connection.__dict__.get("_graftlet_line")
    if line is None:
        line = connection.__dict__.setdefault("_graftlet_line", _Line())
    return line


def _offloaded(native: Any) -> Any:
    """A method of connections."""

    @wraps(native)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        line = _line(self)
        return line.call(line.shut_down, line.make, native, self, (self, *args), kwargs)

    return method


def _offloaded_of_cursor(native: Any) -> Any:
    """A method of cursors that asks the server several things in a row, or reads rows from it."""

    @wraps(native)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        connection = getattr(self, "connection", None)
        if connection is None:  # closed
            return native(self, *args, **kwargs)
        line = _line(connection)
        return line.call(line.shut_down, line.make, native, connection, (self, *args), kwargs)

    return method


def _more(connection: Any) -> bool:
    """Whether there are more results to come, or nobody knows."""
    more = getattr(connection, "more_results", None)  # since mysqlclient 2.3
    return more is None or bool(_line(connection).here(more))


def _offloaded_if_any(native: Any) -> Any:
    """``_discard`` and ``nextset``, which every ``execute`` calls: mostly there is nothing to be read."""
    waits = _offloaded_of_cursor(native)

    @wraps(native)
    def method(self: Any) -> Any:
        if self._result is None and self.connection is not None and not _more(self.connection):
            return native(self)
        return waits(self)

    return method


def _next_result(native: Any) -> Any:
    """``Connection.next_result``: says at once that there is none."""
    waits = _offloaded(native)

    @wraps(native)
    def method(self: Any) -> Any:
        return waits(self) if _more(self) else _line(self).here(native, self)

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
        changes.append(_change(kind, "next_result", _next_result, kind.next_result))
    cursors: Any = sys.modules.get("MySQLdb.cursors")
    if cursors is not None and hasattr(cursors, "BaseCursor"):
        # One call of a thread for all that one statement asks: within it the others are made at once.
        base = cursors.BaseCursor
        for name, make in (
            ("_query", _offloaded_of_cursor),
            ("nextset", _offloaded_if_any),
            ("_fetch_row", _offloaded_of_cursor),
            ("_discard", _offloaded_if_any),
        ):
            changes.append(_change(base, name, make, getattr(base, name)))
    return changes
