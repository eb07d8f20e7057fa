"""psycopg2: large objects.

Rule: libpq has no way to use them without blocking, so what they ask the server is carried out in native
threads, when it is the connection's turn; ``lobject`` is a C type that can't be changed in place, and this makes
what stands for it. A greenlet that is killed (or times out) in such a call leaves an answer behind that nobody
reads: the connection is shut down then.

Two things libpq and psycopg2 do not do for a connection with a wait callback. It is in libpq's non-blocking mode, in
which libpq gives up a call that the kernel does not take at once, and the connection with it: what is written goes
in parts. And a large object that nobody refers to any more is closed by psycopg2 right there, in a lock for which
the query of another greenlet may have to end first, in the same native thread: it is closed before the next
call on the connection instead, and by a greenlet if there is none soon. Not after it: the server closes the large
objects that are unlinked, and who closes one of them once more has ended the transaction.
"""

import _socket
import contextlib
from functools import partial, wraps
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import hub_or_none
from graftlet.ext._psycopg2_wait import Watch, shut_down, uncalled, wait

_METHODS: Final = "close export read seek tell truncate unlink"

#: A socket's buffer also holds what the kernel notes down about the data: half of it (socket(7), SO_SNDBUF). What
#: is no longer than a quarter is taken at once when nothing else is in the buffer.
_PART: Final = 4


def _call(connection: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """In a native thread, when it is the connection's turn."""
    turn = getattr(connection, "_graftlet_turn", None)
    if turn is None:  # a connection from before patching, or of a class from then
        return function(*args, **kwargs)
    return turn.call(partial(shut_down, connection), partial(function, *args, **kwargs))


def _taken_at_once(connection: Any) -> int:
    """How many bytes the kernel takes at once when all that was sent before has been answered."""
    end = _original.socket(fileno=connection.fileno())
    try:
        return int(end.getsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF)) // _PART
    finally:
        end.detach()


def large_objects(module: Any) -> tuple[Any, Any]:
    """What stands for ``lobject``, and for the method of connections that makes them."""
    # Not the type itself in variables of the functions below: the sweep would find it there.
    native_init, native_write = module.lobject.__init__, module.lobject.write
    native_close = module.lobject.close
    open_native = module.connection.lobject

    def of(function: Any) -> Any:
        @wraps(function)
        def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            return _call(self._graftlet_connection, function, self, *args, **kwargs)

        return method

    def write_parts(large: Any, data: bytes) -> int:
        part = _taken_at_once(large._graftlet_connection)
        return sum(
            native_write(large, data[begin : begin + part])
            for begin in range(0, len(data) or 1, part)
        )

    @wraps(native_write)
    def write(self: Any, data: Any, /) -> Any:
        connection = self._graftlet_connection
        if isinstance(data, str):  # in the connection's encoding, as psycopg2 does it
            string = module.QuotedString("")
            string.prepare(connection)
            data = data.encode(string.encoding)
        if self.closed or not isinstance(data, bytes):
            return native_write(self, data)  # complains
        return _call(connection, write_parts, self, data)

    def init(self: Any, /, connection: Any, *args: Any, **kwargs: Any) -> None:
        self._graftlet_connection = connection
        _call(connection, native_init, self, connection, *args, **kwargs)

    def close_forgotten(large: Any) -> None:
        with contextlib.suppress(module.Error):  # the transaction or the connection has ended
            native_close(large)

    def finalize(self: Any) -> None:
        # No hub: psycopg2 closes it, and nobody in this native thread can be in the way.
        turn = getattr(self._graftlet_connection, "_graftlet_turn", None)
        if turn is not None and not self.closed and hub_or_none() is not None:
            turn.do_first(partial(close_forgotten, self))

    stand_in = type(
        "lobject",
        (module.lobject,),
        {
            "__module__": module.lobject.__module__,
            "__slots__": ("_graftlet_connection",),
            "__doc__": module.lobject.__doc__,
            "_of_graftlet": True,
            "__init__": init,
            "__del__": finalize,
            "write": write,
            **{name: of(getattr(module.lobject, name)) for name in _METHODS.split()},
        },
    )

    @wraps(open_native)
    def lobject(
        self: Any,
        /,
        oid: Any = 0,
        mode: Any = "",
        new_oid: Any = 0,
        new_file: Any = None,
        lobject_factory: Any = stand_in,
    ) -> Any:
        if module.get_wait_callback() is not wait:
            return open_native(self, oid, mode, new_oid, new_file, lobject_factory)
        watch = Watch()

        def make(*args: Any) -> Any:
            # Invariant: psycopg2 calls this first thing when it has found no callback.
            watch.found_none()
            return lobject_factory(*args)

        return _call(self, uncalled, watch, open_native, self, oid, mode, new_oid, new_file, make)

    del lobject.__wrapped__  # the sweep would find it
    return stand_in, lobject
