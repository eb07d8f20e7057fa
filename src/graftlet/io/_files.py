"""Files on pipes, terminals and sockets, cooperative; all other files stay C from top to bottom.

Rules:

* *Only what may wait is ours.* ``open`` makes what it always made. If that is a file on a pipe, a terminal or
  a socket, its three layers are made anew: a raw `FileIO` that parks, a `BufferedReader` or
  `BufferedWriter` that greenlets take turns in (the C ones call it a "reentrant call" if a second greenlet
  of the same thread comes while one is parked inside), and the C ``TextIOWrapper`` above. They derive from
  the C classes, so ``isinstance`` holds.
* *One owner of the descriptor.* Where a C raw file existed first, it stays the one that closes the
  descriptor, and the `FileIO` that took its place has it closed (`FileIO.of`).
"""

from __future__ import annotations

import atexit
import os
import sys
import warnings
import weakref
from _io import text_encoding
from abc import ABCMeta
from functools import partial
from io import BufferedReader as _BufferedReader
from io import BufferedWriter as _BufferedWriter
from io import FileIO as _FileIO
from io import TextIOWrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from graftlet.core import _original
from graftlet.core._current import hub_or_none
from graftlet.io import _os
from graftlet.io._builtin import Functions
from graftlet.sync._rlock import RLock

if TYPE_CHECKING:
    from io import BufferedIOBase as _Layer
else:
    _Layer = object

#: One call of ``readall`` asks for so many bytes: what a pipe holds.
_CHUNK: Final = 65536


# -- The raw layer


class _FileIOType(ABCMeta):
    """``io.FileIO`` itself: makes files of this class only where that is of use, and owns the others, too."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is not FileIO:
            return super().__call__(*args, **kwargs)
        raw = _opened(_FileIO, *args, **kwargs)
        return FileIO.of(raw) if _os.may_wait(raw.fileno()) else raw

    def __setattr__(cls, name: str, value: Any) -> None:
        if "_immutable" in vars(cls) and "_abc_impl" in vars(cls):  # it has been made
            raise TypeError(f"cannot set {name!r} attribute of immutable type '_io.FileIO'")
        super().__setattr__(name, value)

    def __instancecheck__(cls, instance: Any) -> bool:
        return (
            isinstance(instance, _FileIO) if cls is FileIO else super().__instancecheck__(instance)
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        return (
            issubclass(subclass, _FileIO) if cls is FileIO else super().__subclasscheck__(subclass)
        )


class FileIO(_FileIO, metaclass=_FileIOType):
    """As ``io.FileIO``, but lets other greenlets run while it waits."""

    __module__ = "_io"  # the class that ``io.FileIO`` is, as ``pickle`` and others ask for it
    __slots__ = ("_ahead", "_owner", "_waits")

    #: For the sweep, which must not be deceived by the name.
    _of_graftlet: Final = True
    #: As the class of C is; a class that derives from it is not.
    _immutable: Final = True
    #: What has been read already, by a buffer that is no more.
    _ahead: bytes
    _owner: _FileIO | None
    _waits: bool
    #: Set by C when nobody refers to the file any more.
    _finalizing: bool

    def __new__(cls, *_args: Any, **_kwargs: Any) -> FileIO:
        self: FileIO = super().__new__(cls)
        self._ahead = b""
        self._owner = None
        self._waits = False
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _opened(super().__init__, *args, **kwargs)
        self._waits = _os.may_wait(self.fileno())

    @classmethod
    def of(cls, raw: _FileIO) -> FileIO:
        """A cooperative file with the descriptor, and the life, of ``raw``."""
        self = cls.__new__(cls)
        _FileIO.__init__(self, raw.fileno(), raw.mode, closefd=False)
        self.name = raw.name
        self._owner = raw
        self._waits = True
        return self

    def __repr__(self) -> str:
        return _as_in_c(self, super().__repr__() if self._owner is None else repr(self._owner))

    def read_ahead(self, data: bytes) -> None:
        """Let ``data``, which has been read already, be read first."""
        self._ahead = data

    def give_back(self, raw: _FileIO) -> bool:
        """``raw``, of which this file was made, takes its place again; False if it can't any more."""
        if self._ahead:
            return False
        if self._owner is not None:
            self._owner = None
            super().close()  # not the descriptor
        return not raw.closed

    @property
    def closefd(self) -> bool:
        """Whether closing the file closes the descriptor."""
        owner = self._owner
        return bool(super().closefd if owner is None else owner.closefd)

    def _dealloc_warn(self, source: Any) -> None:
        opened: Any = super() if self._owner is None else self._owner
        if self.closed or not self.closefd:
            return
        try:
            # At the line that has dropped the file, not at one of ours.
            level, frame = 2, sys._getframe(1)
            while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
                level, frame = level + 1, frame.f_back
            warnings.warn(f"unclosed file {source!r}", ResourceWarning, level, source)
        except Exception:  # noqa: S110 - made an error; or modules are gone, at the end: C can do it
            pass
        else:
            return
        opened._dealloc_warn(source)

    def close(self) -> None:
        """As ``io.FileIO.close``; whoever waits for the descriptor is woken."""
        if self._waits and not self.closed and self.closefd:
            _os.forget(self.fileno())
        try:
            super().close()
        finally:
            # A file that is only dropped leaves the owner to those who have that.
            if self._owner is not None and not self._finalizing:
                self._owner.close()

    def readinto(self, buffer: Any, /) -> Any:
        """As ``io.FileIO.readinto``."""
        if self._ahead:
            with memoryview(buffer) as view, view.cast("B") as octets:
                count = min(len(octets), len(self._ahead))
                octets[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
            return count
        hub = hub_or_none()
        if hub is None or not self._waits or not self.readable():
            return super().readinto(buffer)
        try:
            return _os.read_into(hub, self.fileno(), (buffer,))
        except BlockingIOError:
            return None

    def read(self, size: int | None = -1, /) -> Any:
        """As ``io.FileIO.read``."""
        if not self._waits:
            return super().read(size)
        if size is None or size < 0:
            return self.readall()
        buffer = bytearray(min(size, _os.LONGEST_READ))
        count = self.readinto(buffer)
        if count is None:
            return None
        del buffer[count:]
        return bytes(buffer)

    def readall(self) -> Any:
        """As ``io.FileIO.readall``."""
        if not self._waits:
            return super().readall()
        chunks: list[bytes] = []
        while chunk := self.read(_CHUNK):
            chunks.append(chunk)
        return b"".join(chunks) if chunks or chunk is not None else None

    def write(self, data: Any, /) -> Any:
        """As ``io.FileIO.write``."""
        hub = hub_or_none()
        if hub is None or not self._waits or not self.writable():
            return super().write(data)
        try:
            return _os.write_all(hub, self.fileno(), data)
        except BlockingIOError:
            return None


def _as_in_c(file: Any, text: str) -> str:
    """``repr`` of a file, which is what that of the C class would be."""
    name = type(file).__name__
    ours = type(file) in (FileIO, BufferedReader, BufferedWriter)
    return text.replace(f"<{name} ", f"<_io.{name} ", 1) if ours else text


def _opened(make: Any, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None) -> Any:
    """``make(file, mode, closefd, opener)``; opening a FIFO lets other greenlets run."""
    return make(_name_or_number(file, 4), mode, closefd, _opener(file, opener))


def _name_or_number(file: Any, level: int) -> Any:
    """What C takes without a warning, which would point at a line of ours."""
    if isinstance(file, bool) and sys.version_info >= (3, 13):
        warnings.warn("bool is used as a file descriptor", RuntimeWarning, level)
        return int(file)
    return file


def _opener(file: Any, opener: Any) -> Any:
    if opener is not None or hub_or_none() is None or isinstance(file, int):
        return opener
    return partial(_os.functions.open, mode=0o666) if _os.is_fifo(file) else None


# -- The buffered layer


class _Turns(_Layer):
    """One greenlet at a time in a buffer, as one thread at a time in those of C."""

    __slots__ = ()

    _turn: RLock

    def __repr__(self) -> str:
        return _as_in_c(self, super().__repr__())

    def begin_anew(self) -> None:
        """In the child of a fork: nobody is inside. What is in it, its greenlet in the parent writes."""
        file: Any = self
        if self._turn.locked():
            type(file).__init__(file, file.raw, size_of(file))

    def close(self) -> None:
        with self._turn:
            super().close()


class BufferedReader(_Turns, _BufferedReader):
    """As ``io.BufferedReader``, over a raw file that parks."""

    __slots__ = ("_turn",)

    def __init__(self, raw: Any, buffer_size: int) -> None:
        self._turn = RLock()
        super().__init__(raw, buffer_size)
        note_buffer(self)

    def peek(self, size: int = 0, /) -> bytes:
        with self._turn:
            return super().peek(size)

    def read(self, size: int | None = -1, /) -> bytes:
        with self._turn:
            return super().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        with self._turn:
            return super().read1(size)

    def readinto(self, buffer: Any, /) -> int:
        with self._turn:
            return super().readinto(buffer)

    def readinto1(self, buffer: Any, /) -> int:
        with self._turn:
            return super().readinto1(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        with self._turn:
            return super().readline(size)


class BufferedWriter(_Turns, _BufferedWriter):
    """As ``io.BufferedWriter``, over a raw file that parks."""

    __slots__ = ("_turn",)

    def __init__(self, raw: Any, buffer_size: int) -> None:
        self._turn = RLock()
        super().__init__(raw, buffer_size)
        note_buffer(self)

    def flush(self) -> None:
        with self._turn:
            super().flush()

    def write(self, data: Any, /) -> int:
        with self._turn:
            return super().write(data)


_buffers: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def note_buffer(buffer: Any) -> None:
    """Have ``buffer.begin_anew()`` called in every child of a fork."""
    _buffers.add(buffer)


def _begin_anew() -> None:
    for buffer in list(_buffers):
        buffer.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)

COOPERATIVE: Final[dict[type, Any]] = {
    _BufferedReader: BufferedReader,
    _BufferedWriter: BufferedWriter,
}


def size_of(buffered: Any) -> int:
    """A buffer's size in bytes: what it takes beyond the object itself."""
    return int(buffered.__sizeof__() - type(buffered).__basicsize__)


# -- open


def cooperative(file: Any, newline: str | None) -> Any:
    """What ``open`` returns instead of ``file``, which it has just made with such a ``newline``."""
    if isinstance(file, TextIOWrapper):
        attributes = attributes_of(file, newline)
        text = TextIOWrapper(cooperative(file.detach(), None), **attributes)
        text.mode = file.mode  # type: ignore[misc] # as io.open does
        return text
    if type(file) in COOPERATIVE:
        size = size_of(file)
        return COOPERATIVE[type(file)](FileIO.of(file.detach()), size)
    return FileIO.of(file) if type(file) is _FileIO else file


def attributes_of(text: TextIOWrapper, newline: str | None) -> dict[str, Any]:
    """What to make a text file like ``text`` with."""
    return {
        "encoding": text.encoding,
        "errors": text.errors,
        "newline": newline,
        "line_buffering": text.line_buffering,
        "write_through": text.write_through,
    }


_NO_LINES: Final = "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used"


class FileFunctions(Functions):
    """What takes the place of functions of module ``io``."""

    __slots__ = ()

    def open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        """As ``open``; files on pipes, terminals and sockets let other greenlets run while they wait."""
        # The warnings of C would point here.
        if encoding is None and sys.flags.warn_default_encoding and "b" not in mode:
            encoding = text_encoding(None)
        if buffering == 1 and "b" in mode:
            warnings.warn(_NO_LINES, RuntimeWarning, 2)
            buffering = -1
        file = _name_or_number(file, 3)
        opener = _opener(file, opener)
        made = _original.open_file(
            file, mode, buffering, encoding, errors, newline, closefd, opener
        )
        # What is seekable never waits, as far as it has a name. Asked this way it costs next to nothing.
        if _os.may_wait(file) if isinstance(file, int) else not made.seekable():
            return cooperative(made, newline)
        return made


functions: Final = FileFunctions()


def _close_at_the_end(self: FileIO, close: Any = _FileIO.close) -> None:
    """`FileIO.close`, without a name that may be gone."""
    try:
        close(self)
    finally:
        if self._owner is not None and not self._finalizing:
            self._owner.close()


def leave_to_c(kind: type) -> None:
    """Take the methods of a class away, so that those of its base do."""
    for name, value in list(vars(kind).items()):
        if isinstance(value, FunctionType) and name not in _KEPT:
            delattr(kind, name)


#: What must still be there when the interpreter ends.
_KEPT: Final = frozenset(("__init__", "_dealloc_warn", "begin_anew"))


def _leave_to_c() -> None:
    """The interpreter ends: who still prints when its modules have gone must not need any code of ours."""
    for kind in (FileIO, BufferedReader, BufferedWriter, _Turns):
        leave_to_c(kind)
    type.__setattr__(FileIO, "close", _close_at_the_end)


atexit.register(_leave_to_c)
