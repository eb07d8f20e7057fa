"""sqlite3: each connection that is in a call has a native thread.

Rule: what may wait for another connection's lock, or take long, is carried out in a native thread, one call
at a time for each connection. All else is done at once, when it is the connection's turn. The program's own
functions (SQL functions, progress handlers, authorizers) are called from that thread, as the deputy of the
greenlet that asked; so from the moment on that there are any, fetching a row counts as a call that may wait.

``Connection`` and ``Cursor`` are C types that can't be changed in place. What stands for them derives from
them, is called as they are and is as closed as they are, so ``isinstance``, factories and subclasses go on.
Connections made before patching stay what they were.

``check_same_thread`` is checked here, by the threads that the program sees. C would go by native threads.
"""

import _sqlite3
import contextlib
import sys
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Any, Final

from graftlet.ext._caller import Caller, in_the_name_of
from graftlet.ext._calls import Calls, me
from graftlet.io._builtin import Functions, builtin
from graftlet.patch._changes import Change

_NativeConnection: Final[Any] = _sqlite3.Connection
_NativeCursor: Final[Any] = _sqlite3.Cursor
_native_connect: Final[Any] = _sqlite3.connect

#: The position of ``check_same_thread`` among the arguments of ``Connection``, and that of ``factory``.
_CHECK, _FACTORY = 4, 5


class _Line(Calls):
    """The calls of one connection, and who may make them."""

    __slots__ = ("calls_back", "thread")

    def __init__(self, checked: bool) -> None:
        super().__init__()
        #: The only thread that may use the connection; 0 if all may.
        self.thread = me() if checked else 0
        #: Whether the program's own functions may be called from within SQLite.
        self.calls_back = False

    def check(self) -> None:
        """Raise what C raises if this is the wrong thread (pysqlite_check_thread)."""
        if self.thread and self.thread != (here := me()):
            raise _sqlite3.ProgrammingError(
                "SQLite objects created in a thread can only be used in that same thread. "
                f"The object was created in thread id {self.thread} and this is thread id {here}."
            )


def _interrupt(connection: Any) -> Callable[[], None]:
    """What ends a call that nobody waits for any more."""

    def end_soon() -> None:
        with contextlib.suppress(_sqlite3.Error):  # closed meanwhile
            _NativeConnection.interrupt(connection)

    return end_soon


def _waiting(line: _Line, connection: Any, caller: Caller, *call: Any) -> Any:
    line.check()
    return line.call(_interrupt(connection), caller, *call)


def _frame() -> FrameType:
    return sys._getframe(2)


# -- Connections


def _line_of(connection: Any) -> Any:
    """None for one that C will refuse, for its ``__init__`` was not called; or made before patching."""
    return getattr(connection, "_graftlet_line", None)


def _method(name: str, run: Callable[..., Any]) -> Any:
    """A method of connections, carried out by ``run(line, ...)``."""
    native = getattr(_NativeConnection, name)

    @wraps(native)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        caller = in_the_name_of(_frame())
        line = _line_of(self)
        if line is None:
            return caller(native, (self, *args), kwargs)
        line.check()
        return run(line, caller, native, (self, *args), kwargs)

    return method


def _to_the_end(line: _Line, *call: Any) -> Any:
    """For what may wait, and must not be interrupted: nobody would know what it has done."""
    return line.call(None, *call)


def _at_once(line: _Line, *call: Any) -> Any:
    """For what does not wait."""
    return line.here(*call)


def _calling_back(line: _Line, *call: Any) -> Any:
    """For what hands SQLite one of the program's functions."""
    line.calls_back = True
    return line.here(*call)


def _executes(name: str) -> Any:
    """``Connection.execute`` and its like: as in C, by a new cursor of the class that this module has."""
    native = getattr(_NativeConnection, name)
    execute = getattr(_NativeCursor, name)

    @wraps(native)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        caller = in_the_name_of(_frame())
        line = _line_of(self)
        if line is None:
            return caller(native, (self, *args), kwargs)
        line.check()
        cursor = line.here(caller, _NativeConnection.cursor, (self, Cursor), {})
        return _waiting(line, self, caller, execute, (cursor, *args), kwargs)

    return method


def _assigned(name: str) -> Any:
    """An attribute that ends a transaction when it is set."""
    native = getattr(_NativeConnection, name)

    def put(self: Any, value: Any) -> None:
        line = _line_of(self)
        if line is None:
            native.__set__(self, value)
        else:
            line.call(None, native.__set__, self, value)

    return property(native.__get__, put, native.__delete__, native.__doc__)


def _init_connection(self: Any, /, *args: Any, **kwargs: Any) -> None:
    """As ``sqlite3.Connection``."""
    caller = in_the_name_of(_frame())
    if len(args) > _CHECK:
        checked = args[_CHECK]
        args = (*args[:_CHECK], False, *args[_CHECK + 1 :])
    else:
        checked = kwargs.get("check_same_thread", True)
        kwargs["check_same_thread"] = False
    self._graftlet_line = line = _Line(bool(checked))
    line.call(None, caller, _NativeConnection.__init__, (self, *args), kwargs)


def _cursor(self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """As ``Connection.cursor``."""
    caller = in_the_name_of(_frame())
    line = _line_of(self)
    if not args and not kwargs:
        args = (Cursor,)
    if line is None:
        return caller(_NativeConnection.cursor, (self, *args), kwargs)
    line.check()
    return line.here(caller, _NativeConnection.cursor, (self, *args), kwargs)


_BLOCKS: Final = (
    "__exit__ backup blobopen close commit deserialize load_extension rollback serialize"
)
_AT_ONCE: Final = "enable_load_extension getconfig getlimit iterdump setconfig setlimit"
_CALLS_BACK: Final = (
    "create_aggregate create_collation create_function create_window_function set_authorizer "
    "set_progress_handler set_trace_callback"
)
#: In Python 3.10 these go by ``self.cursor()``; can go with 3.10.
_EXECUTES: Final = "execute executemany executescript" if sys.version_info >= (3, 11) else ""
_ASSIGNED: Final = "autocommit isolation_level"


def _existing(kind: Any, names: str) -> list[str]:
    return [name for name in names.split() if hasattr(kind, name)]


Connection: Final[Any] = type(
    "Connection",
    (_NativeConnection,),
    {
        "__slots__": ("_graftlet_line",),
        "__module__": _NativeConnection.__module__,
        "__doc__": _NativeConnection.__doc__,
        "__init__": _init_connection,
        "__call__": _method("__call__", _at_once),
        "_of_graftlet": True,
        "cursor": _cursor,
        **{
            name: _method(name, run)
            for names, run in (
                (_BLOCKS, _to_the_end),
                (_AT_ONCE, _at_once),
                (_CALLS_BACK, _calling_back),
            )
            for name in _existing(_NativeConnection, names)
        },
        **{name: _executes(name) for name in _existing(_NativeConnection, _EXECUTES)},
        **{name: _assigned(name) for name in _existing(_NativeConnection, _ASSIGNED)},
    },
)


# -- Cursors


def _cursor_blocks(name: str) -> Any:
    native = getattr(_NativeCursor, name)

    @wraps(native)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        caller = in_the_name_of(_frame())
        connection = getattr(self, "connection", None)
        line = _line_of(connection)
        if line is None:
            return caller(native, (self, *args), kwargs)
        return _waiting(line, connection, caller, native, (self, *args), kwargs)

    return method


def _cursor_at_once(name: str) -> Any:
    native = getattr(_NativeCursor, name)

    @wraps(native)
    def method(self: Any, /, *args: Any) -> Any:
        connection = getattr(self, "connection", None)
        line = _line_of(connection)
        caller = in_the_name_of(_frame())
        if line is None:
            return caller(native, (self, *args), {})
        if line.calls_back:
            return _waiting(line, connection, caller, native, (self, *args), {})
        line.check()
        return line.here(caller, native, (self, *args), {})

    return method


def _init_cursor(self: Any, /, *args: Any, **kwargs: Any) -> None:
    """As ``sqlite3.Cursor``."""
    line = _line_of(args[0]) if args else None
    if line is not None:
        line.check()
    _NativeCursor.__init__(self, *args, **kwargs)


Cursor: Final[Any] = type(
    "Cursor",
    (_NativeCursor,),
    {
        "__slots__": (),
        "__module__": _NativeCursor.__module__,
        "__doc__": _NativeCursor.__doc__,
        "__init__": _init_cursor,
        "_of_graftlet": True,
        **{
            name: _cursor_blocks(name)
            for name in ("execute", "executemany", "executescript", "fetchall", "fetchmany")
        },
        **{name: _cursor_at_once(name) for name in ("__next__", "close", "fetchone")},
    },
)


# -- The module


class Sqlite3Functions(Functions):
    """What takes the place of functions of module ``_sqlite3``."""

    __slots__ = ()

    def connect(self, /, *args: Any, **kwargs: Any) -> Any:
        """As ``sqlite3.connect``."""
        if len(args) <= _FACTORY:
            kwargs.setdefault("factory", Connection)
        return in_the_name_of(sys._getframe(1))(_native_connect, args, kwargs)


_connect: Final = builtin("sqlite3", Sqlite3Functions.connect)


def find() -> list[Change]:
    """What the adapter changes."""
    return [
        Change(_sqlite3, "Connection", Connection),
        Change(_sqlite3, "Cursor", Cursor),
        Change(_sqlite3, "connect", _connect),
    ]
