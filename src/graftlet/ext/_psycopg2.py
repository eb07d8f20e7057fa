"""psycopg2: connections and cursors that heed whose turn it is, and ``COPY``.

Rule: with a wait callback (`graftlet.ext._psycopg2_wait`) psycopg2 refuses a second thread that uses a connection
at the same time, where without one it has it wait; some calls even wait for the first one natively, in the very
thread that it needs to go on. So what stands for ``connection`` and ``cursor``, C types that can't be changed in
place, has each method that talks to the server, or waits for those that do, wait for its turn.

``COPY``, which psycopg2 refuses with a callback, is carried out in a native thread. So are large objects
(`graftlet.ext._psycopg2_lobject`).
"""

from functools import partial, wraps
from typing import Any, Final

from graftlet.core import _original
from graftlet.ext._calls import Calls
from graftlet.ext._psycopg2_lobject import large_objects
from graftlet.ext._psycopg2_wait import Watch, loaded, shut_down, uncalled, wait
from graftlet.io._builtin import Functions, builtin
from graftlet.patch._changes import Change

# -- One thread at a time for each connection

_CONNECTION: Final = (
    "__exit__ close commit reset rollback set_client_encoding set_isolation_level set_session "
    "tpc_begin tpc_commit tpc_prepare tpc_recover tpc_rollback"
)
_CURSOR: Final = "callproc execute executemany"
#: Whoever sets one of these waits natively for the query of another greenlet.
_ATTRIBUTES: Final = "autocommit deferrable isolation_level readonly"
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


def _attribute(native: Any) -> Any:
    def set_value(self: Any, value: Any) -> None:
        turn: Calls = self._graftlet_turn
        turn.here(native.__set__, self, value)

    return property(native.__get__, set_value, doc=native.__doc__)


def _of_cursor(native: Any, named: bool) -> Any:
    @wraps(native)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        turn = getattr(self.connection, "_graftlet_turn", None)
        if turn is None or (named and self.name is None):
            return native(self, *args, **kwargs)
        return turn.here(_apply, native, (self, *args), kwargs)

    return method


# -- COPY


class _CopiedFile:
    """The program's file, in a ``COPY``; psycopg2 asks whether it is an ``io.TextIOBase``."""

    def __init__(self, file: Any, connection: Any) -> None:
        self._file = file
        self._connection = connection
        self._abandoned = False
        self.watch = Watch()

    @property  # type: ignore[misc] # what `isinstance` goes by, as in `unittest.mock`
    def __class__(self) -> Any:
        return self._file.__class__

    def __getattr__(self, name: str) -> Any:
        # Invariant: psycopg2 looks for ``read`` and ``write`` first thing when it has found no callback.
        self.watch.found_none()
        method = getattr(self._file, name)
        return self._read if name == "read" else method

    def _read(self, *size: int) -> Any:
        # libpq itself says nothing of a connection that has ended until there is no more to be sent.
        if self._abandoned:
            raise loaded().OperationalError("the greenlet was killed that asked for this COPY")
        data = self._file.read(*size)
        # libpq does not block, as long as there is a callback: what the server does not take it would keep
        # in memory. In a native thread nobody else waits with us.
        _original.select([], [self._connection.fileno()], [])
        return data

    def abandon(self) -> None:
        """End the ``COPY`` that a killed greenlet has left behind, and the connection with it."""
        self._abandoned = True
        shut_down(self._connection)


def _copy_expert(module: Any) -> Any:
    native = module.cursor.copy_expert

    @wraps(native)
    def copy_expert(self: Any, /, sql: Any, file: Any, *size: Any, **more: Any) -> Any:
        turn = getattr(self.connection, "_graftlet_turn", None)
        if turn is None or more.keys() - {"size"} or module.get_wait_callback() is not wait:
            return native(self, sql, file, *size, **more)
        if hasattr(sql, "as_string"):  # psycopg2.sql
            sql = sql.as_string(self)
        if not hasattr(file, "read") and not hasattr(file, "write"):
            return native(self, sql, file)  # complains
        copied = _CopiedFile(file, self.connection)
        size = (*size, *more.values())
        return turn.call(copied.abandon, uncalled, copied.watch, native, self, sql, copied, *size)

    del copy_expert.__wrapped__  # the sweep would find it
    return copy_expert


def _copies(module: Any, name: str, method: str, direction: str) -> Any:
    """``copy_from`` and ``copy_to``, by the statement that psycopg2 makes of their arguments."""
    native = getattr(module.cursor, name)

    def copy(
        self: Any,
        /,
        file: Any,
        table: str,
        sep: str = "\t",
        null: str = "\\N",
        size: int = 8192,
        columns: Any = None,
    ) -> Any:
        if module.get_wait_callback() is not wait or self.closed:
            return native(self, file, table, sep=sep, null=null, columns=columns)
        if not hasattr(file, method):
            raise TypeError(f"argument 1 must have a .{method}() method")
        quoted = partial(module.quote_ident, scope=self)
        names = "" if columns is None else f" ({','.join(map(quoted, columns))})"
        strings = []
        for text in (sep, null):
            string = module.QuotedString(text)
            string.prepare(self.connection)
            strings.append(string.getquoted().decode(string.encoding))
        return self.copy_expert(
            f"COPY {quoted(table)}{names} {direction} WITH DELIMITER AS {strings[0]} NULL AS {strings[1]}",
            file,
            size,
        )

    copy.__name__ = copy.__qualname__ = name
    copy.__doc__ = native.__doc__
    return copy


class _StandIns:
    """What stands for the types of one ``psycopg2._psycopg``, and for the function that makes connections."""

    __slots__ = (
        "connect",
        "connection",
        "cursor",
        "lobject",
        "native_connect",
        "native_connection",
    )

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
                "copy_expert": _copy_expert(module),
                "copy_from": _copies(module, "copy_from", "read", "FROM stdin"),
                "copy_to": _copies(module, "copy_to", "write", "TO stdout"),
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

        self.lobject, lobject = large_objects(module)
        self.connection: Any = type(
            "connection",
            (module.connection,),
            {
                **common,
                "__slots__": ("_graftlet_turn",),
                "__doc__": module.connection.__doc__,
                "__init__": init,
                "cursor": cursor,
                "lobject": lobject,
                **{
                    name: _attribute(getattr(module.connection, name))
                    for name in _ATTRIBUTES.split()
                },
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
    module = loaded()
    if module is None or not hasattr(module, "_connect"):
        return []
    if module not in _stand_ins:
        _stand_ins[module] = _StandIns(module)
    stand_ins = _stand_ins[module]
    return [
        Change(module, "connection", stand_ins.connection),
        Change(module, "cursor", stand_ins.cursor),
        Change(module, "lobject", stand_ins.lobject),
        Change(module, "_connect", stand_ins.connect),
    ]
