"""File locks that somebody else holds: fcntl.flock and lockf, os.lockf.

Rules:

* a lock is asked for without waiting first; only if that fails a native thread waits for it (the kernel
  serves those who wait in turn, and never those who only ask again and again).
* a lock is for a greenlet that waits for it. If that has left (kill, time-out) when the native thread gets
  the lock at last, the lock is given back.
"""

import os
from collections.abc import Callable
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN
from operator import index
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import hub_or_none
from graftlet.core._fork import free_in_children
from graftlet.core._hub import Hub
from graftlet.io._builtin import Functions
from graftlet.io._native_call import NativeCall


class _Locking(NativeCall):
    """A native thread waits for a file lock.

    A greenlet that leaves must not leave a lock behind: unless another greenlet has locked the same file
    since, for the kernel takes locks of one process (or of one open file) for one and the same.
    """

    __slots__ = ("_file", "_lock", "_unlock", "left", "unwanted")

    def __init__(self, hub: Hub, function: Callable[..., Any], descriptor: int, *args: int) -> None:
        super().__init__(hub, function, descriptor, *args)
        self._lock = function
        self._unlock = (descriptor, LOCK_UN, *args[1:])
        self._file = _identity(function, descriptor)
        self.left = False
        self.unwanted = True
        with _table_guard:
            _locking.setdefault(self._file, []).append(self)

    def leave(self) -> None:
        """Now nobody wants the lock, unless another greenlet waits for it."""
        with _table_guard:
            self.left = True
            calls = _locking.get(self._file, [])
            if all(call.left for call in calls):
                for call in calls:
                    call.unwanted = True

    def end(self, wanted: bool) -> None:
        """Give the lock back if nobody wants it."""
        with _table_guard:
            calls = _locking[self._file]
            calls.remove(self)
            if not calls:
                del _locking[self._file]
        if wanted or self.error is not None or not self.unwanted:
            return
        try:
            if _identity(self._lock, self._unlock[0]) == self._file:
                self._lock(*self._unlock)
        except OSError:
            pass  # closed, and the lock with it


#: By what is locked: the native threads that wait for it. Also those whose greenlet has left.
_locking: Final[dict[tuple[int, int, int], list[_Locking]]] = {}
_table_guard: Final = free_in_children(_original.allocate_lock())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_locking.clear)  # nobody waits there


def _identity(function: Callable[..., Any], descriptor: int) -> tuple[int, int, int]:
    """What is locked. The kernel's two kinds of locks know nothing of each other.

    One is the process's (fcntl(2)): whatever descriptors it has, the file counts. The other is that of the open file
    (flock(2)), for which the descriptor's number has to stand.
    """
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, descriptor if function is _original.flock else -1


def _note(function: Callable[..., Any], descriptor: int, unwanted: bool) -> None:
    """This process wants to have (or not to have) the lock from now on."""
    if _locking:
        file = _identity(function, descriptor)
        with _table_guard:
            for call in _locking.get(file, ()):
                call.unwanted = unwanted


def _locked(function: Callable[..., Any], file: Any, operation: int, *args: int) -> Any:
    """``function(file, operation, ...)``, where a native thread waits if somebody must."""
    hub = hub_or_none()
    fileno = getattr(file, "fileno", None)
    if hub is None or not (fileno or isinstance(file, int)):
        return function(file, operation, *args)
    operation = index(operation)
    descriptor: int = index(fileno() if fileno else file)
    if operation & LOCK_UN:
        result = function(descriptor, operation, *args)
        _note(function, descriptor, unwanted=True)
        return result
    try:
        result = function(descriptor, operation | LOCK_NB, *args)
    except (BlockingIOError, PermissionError):  # fcntl(2): EAGAIN or EACCES
        if operation & LOCK_NB:
            raise
        _note(function, descriptor, unwanted=False)
        return _Locking(hub, function, descriptor, operation, *args).outcome()
    _note(function, descriptor, unwanted=False)
    return result


class LockFunctions(Functions):
    """What takes the place of functions of module ``fcntl``."""

    __slots__ = ()

    def flock(self, fd: Any, operation: int, /) -> None:
        """As ``fcntl.flock``; other greenlets run meanwhile."""
        _locked(_original.flock, fd, operation)

    def lockf(self, fd: Any, cmd: int, len: int = 0, start: int = 0, whence: int = 0, /) -> Any:
        """As ``fcntl.lockf``; other greenlets run meanwhile."""
        return _locked(_original.lockf, fd, cmd, len, start, whence)


functions: Final = LockFunctions()


class OsLockFunctions(Functions):
    """What takes the place of functions of module ``os``."""

    __slots__ = ()

    def lockf(self, fd: int, command: int, length: int, /) -> None:
        """As ``os.lockf``; other greenlets run meanwhile."""
        if command == os.F_LOCK and hub_or_none() is not None:
            # lockf(3) is fcntl(2) on the bytes from here on.
            start = os.lseek(fd, 0, os.SEEK_CUR)
            _locked(_original.lockf, fd, LOCK_EX, length, start, os.SEEK_SET)
        else:
            _original.os_lockf(fd, command, length)


os_functions: Final = OsLockFunctions()
