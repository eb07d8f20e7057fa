"""Files made by ``socket.makefile``: several greenlets may write to one, as several threads may.

Rule: CPython's own ``makefile`` runs; only the buffers that it makes for writing are others, which greenlets
take turns in (`graftlet.io._files`). Those of C take all greenlets of a native thread for one, and call it a
"reentrant call" if a second one comes while the first waits for the socket.

A file that is only read keeps the buffer of C: a line costs 0.15 µs there and 1 µs with turns, every HTTP
message has a dozen, and who shares a connection among threads lets one of them read.
"""

import atexit
import io
import socket
from io import BufferedRWPair as _BufferedRWPair
from types import FunctionType, SimpleNamespace
from typing import Any, Final

from graftlet.io._files import BufferedWriter, leave_to_c, note_buffer
from graftlet.sync._rlock import RLock


class BufferedRWPair(_BufferedRWPair):
    """As ``io.BufferedRWPair``: one greenlet at a time reads, and one writes."""

    __slots__ = ("_raws", "_reading", "_writing")

    def __init__(self, reader: Any, writer: Any, buffer_size: int) -> None:
        self._raws = (reader, writer, buffer_size)
        self._reading = RLock()
        self._writing = RLock()
        super().__init__(reader, writer, buffer_size)
        note_buffer(self)

    def __repr__(self) -> str:
        return f"<_io.BufferedRWPair object at {id(self):#x}>"

    def begin_anew(self) -> None:
        """In the child of a fork: nobody is inside. What is in it, its greenlet in the parent writes."""
        if self._reading.locked() or self._writing.locked():
            self.__init__(*self._raws)  # type: ignore[misc] # a C object can be initialised again

    def close(self) -> None:
        with self._writing, self._reading:
            super().close()

    def peek(self, size: int = 0, /) -> bytes:
        with self._reading:
            return super().peek(size)

    def read(self, size: int | None = -1, /) -> bytes:
        with self._reading:
            return super().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        with self._reading:
            return super().read1(size)

    def readinto(self, buffer: Any, /) -> int:
        with self._reading:
            return super().readinto(buffer)

    def readinto1(self, buffer: Any, /) -> int:
        with self._reading:
            return super().readinto1(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        with self._reading:
            return super().readline(size)

    def flush(self) -> None:
        with self._writing:
            super().flush()

    def write(self, data: Any, /) -> int:
        with self._writing:
            return super().write(data)


atexit.register(leave_to_c, BufferedRWPair)  # as `_files` does with the others

_io: Final = SimpleNamespace(
    **{**vars(io), "BufferedRWPair": BufferedRWPair, "BufferedWriter": BufferedWriter}
)


def _with_our_buffers(function: Any) -> Any:
    """CPython's function, in a namespace where ``io`` has other buffers."""
    if not isinstance(function, FunctionType):
        return function  # somebody has put something else there, which knows what it does
    ours = FunctionType(
        function.__code__,
        {**vars(socket), "io": _io},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    ours.__kwdefaults__ = function.__kwdefaults__
    ours.__doc__ = function.__doc__
    ours.__qualname__ = function.__qualname__
    return ours


makefile: Final[Any] = _with_our_buffers(socket.socket.makefile)
