"""What other processes keep us waiting for: children that change state, file locks.

Rules:

* *Nothing is reaped that nobody asked for.* Each function makes the very call that it takes the place of,
  with WNOHANG, and makes it again when something has happened. What is waited for meanwhile is a pidfd
  (pidfd_open(2)), which becomes readable when that child ends. Where a pidfd can't tell (any child, a
  process group, stopped and continued children, old kernels) a native thread waits with WNOWAIT, which
  leaves the child as it is. There is no SIGCHLD handler.
* *A native thread of its own* (`NativeCall`) for what can only block: a child or a lock may keep it waiting
  for ever, and would keep a thread of a bounded pool. It ends with its call, so a program that forks
  later has no more threads then than it had before.
* *A lock is for a greenlet that waits for it.* If that has left (kill, time-out) when its native thread gets
  the lock at last, the lock is given back.
"""

import os
from collections.abc import Callable
from fcntl import LOCK_NB, LOCK_UN
from operator import index
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import hub_or_none
from graftlet.core._deadlock import own_threads
from graftlet.core._hub import Hub, Task
from graftlet.core._waiting import sleep_until
from graftlet.core._waitqueue import WaitQueue
from graftlet.io._builtin import Functions
from graftlet.io._wait import READ, wait_descriptor

_WNOHANG: Final[int] = os.WNOHANG
_WNOWAIT: Final[int] = getattr(os, "WNOWAIT", 0)
_WEXITED: Final[int] = getattr(os, "WEXITED", 0)
_P_PID: Final[int] = getattr(os, "P_PID", -1)
_P_ALL: Final[int] = getattr(os, "P_ALL", -1)
_P_PGID: Final[int] = getattr(os, "P_PGID", -1)
_P_PIDFD: Final[int] = getattr(os, "P_PIDFD", -1)
#: None where there is none: elsewhere than on Linux.
_pidfd_open: Final = getattr(os, "pidfd_open", None)

#: Seconds between two looks at a child where neither pidfd_open(2) nor waitid(2) is to be had.
_SHORTEST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05


# -- A native thread for one call


class NativeCall:
    """One call in a native thread of its own, for one greenlet."""

    __slots__ = (
        "_args",
        "_back",
        "_ended",
        "_function",
        "_guard",
        "_hub",
        "_task",
        "error",
        "value",
    )

    def __init__(self, hub: Hub, function: Callable[..., Any], *args: Any) -> None:
        self._hub = hub
        self._task: Task = hub.current
        self._function = function
        self._args = args
        self.value: Any = None
        #: What the call has raised; and before it has ended, something, too.
        self.error: BaseException | None = RuntimeError("the native thread has not ended")
        self._guard = _original.allocate_lock()
        #: Whether the thread has its outcome, or the greenlet has left: what comes second sees it.
        self._ended = False
        #: Whether the outcome has come back to the hub.
        self._back = False

    def __repr__(self) -> str:
        return f"{getattr(self._function, '__name__', self._function)}() in a native thread"

    def outcome(self) -> Any:
        """Make the call, and return or raise what it does. For a greenlet that leaves it goes on."""
        hub = self._hub
        try:
            _original.start_new_thread(self._make, ())
        except BaseException:
            self.end(False)
            raise
        hub.external += 1
        try:
            while not self._back:
                hub.park(self)
        except BaseException:
            if self._is_second():
                self.end(False)
            else:
                hub.external -= 1
                self.leave()
            raise
        self.end(True)
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # its traceback refers to this frame
        return self.value

    def leave(self) -> None:
        """The greenlet has left, the call goes on."""

    def end(self, wanted: bool) -> None:
        """The call has ended. If its outcome is not wanted: undo what it did. In either thread, once."""

    def _is_second(self) -> bool:
        with self._guard:
            before, self._ended = self._ended, True
            return before

    def _make(self) -> None:
        """In the native thread."""
        me = _original.get_ident()
        own_threads.add(me)
        try:
            self.value = self._function(*self._args)
            self.error = None
        except BaseException as error:
            self.error = error
        if self._is_second():
            self.end(False)
        else:
            self._hub.post(self._come_back)
        own_threads.discard(me)  # another thread may get this ident

    def _come_back(self) -> None:
        """On the hub."""
        self._back = True
        self._hub.external -= 1
        self._hub.wake(self._task, self)


# -- Children


class _Look:
    """What is waited for when a native thread looks at children: for the deadlock report."""

    __slots__ = ("_id", "_kind")

    def __init__(self, kind: int, number: int) -> None:
        self._kind = kind
        self._id = number

    def __repr__(self) -> str:
        if self._kind == _P_ALL:
            return "any child process"
        if self._kind == _P_PGID:
            return f"a child process of group {self._id}"
        return f"child process {self._id}"


#: Who waits for the native thread that makes this very call of waitid: at most one thread for each call,
#: however many greenlets wait, and leave.
_lookers: Final[dict[tuple[int, int, int], WaitQueue]] = {}


def _look(call: tuple[int, int, int], turns: WaitQueue) -> None:
    """In a native thread: return when waitid(2) would, without reaping anybody."""
    assert _original.waitid is not None
    me = _original.get_ident()
    own_threads.add(me)
    try:
        _original.waitid(*call)
    except OSError:
        pass  # ECHILD, for one: those who asked will meet the same error
    _dismiss(call, turns)
    turns.wake_all()
    own_threads.discard(me)


def _dismiss(call: tuple[int, int, int], turns: WaitQueue) -> None:
    if _lookers.get(call) is turns:
        del _lookers[call]


def _park_for_look(hub: Hub, kind: int, number: int, states: int) -> None:
    """Park until waitid(2) would return for such children."""
    call = (kind, number, states | _WNOWAIT)
    turns = _lookers.get(call)
    if turns is None:
        turns = _lookers[call] = WaitQueue()
        try:
            _original.start_new_thread(_look, (call, turns))
        except BaseException:
            _dismiss(call, turns)
            raise
    turn = turns.enter(_Look(kind, number))
    hub.external += 1
    try:
        # Invariant: the thread takes its queue out of the table before it wakes those who are in it.
        if _lookers.get(call) is turns:
            turn.park()
    finally:
        hub.external -= 1
        turns.leave(turn, True)


def _begin_anew() -> None:
    """In the child of a fork: there are no threads here."""
    _lookers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _pidfd(pid: int) -> int:
    """A descriptor that becomes readable when process ``pid`` ends; -1 if there is none to be had."""
    try:
        return -1 if _pidfd_open is None else int(_pidfd_open(pid))
    except OSError:
        return -1  # an old kernel, no more descriptors, a seccomp filter; or it has been reaped


def _waited(hub: Hub, kind: int, number: int, states: int, look: Callable[[], Any]) -> Any:
    """What ``look()`` returns, as soon as that is not None.

    Args:
        kind: what ``number`` is: ``os.P_PID`` etc.
        states: what is waited for, as waitid(2) takes it: ``os.WEXITED`` etc.
        look: asks for the state of the children, and does not wait.
    """
    if (found := look()) is not None:
        return found
    pidfd = -1
    if states == _WEXITED:
        if kind == _P_PID:
            pidfd = _pidfd(number)
        elif kind == _P_PIDFD:
            pidfd = os.dup(number)  # ours, whatever becomes of the number
    pause = _SHORTEST_PAUSE
    try:
        # Looked at once more before the wait: only now it is certain that the pidfd is that of our child,
        # and not of a process that got the number after somebody else had reaped it.
        while (found := look()) is None:
            if pidfd >= 0:
                wait_descriptor(hub, pidfd, READ)
            elif _original.waitid is not None:
                _park_for_look(hub, kind, number, states)
            else:  # pragma: no cover - neither Linux nor a BSD
                sleep_until(hub, hub.clock() + pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
    finally:
        if pidfd >= 0:
            _original.close(pidfd)
    return found


class ProcessFunctions(Functions):
    """What takes the place of functions of modules ``os`` and ``fcntl`` that wait for other processes."""

    __slots__ = ()

    def wait(self) -> Any:
        """As ``os.wait``; other greenlets run meanwhile."""
        hub = hub_or_none()
        if hub is None:
            return _original.wait()
        return _reaped(hub, -1, 0, _original.waitpid, -1)

    def waitpid(self, pid: int, options: int, /) -> Any:
        """As ``os.waitpid``; other greenlets run meanwhile."""
        pid, options = index(pid), index(options)
        hub = hub_or_none()
        if hub is None or options & _WNOHANG:
            return _original.waitpid(pid, options)
        return _reaped(hub, pid, options, _original.waitpid, pid)

    def wait3(self, options: int) -> Any:
        """As ``os.wait3``; other greenlets run meanwhile."""
        options = index(options)
        hub = hub_or_none()
        if hub is None or options & _WNOHANG:
            return _original.wait3(options)
        return _reaped(hub, -1, options, _original.wait3)

    def wait4(self, pid: int, options: int) -> Any:
        """As ``os.wait4``; other greenlets run meanwhile."""
        pid, options = index(pid), index(options)
        hub = hub_or_none()
        if hub is None or options & _WNOHANG:
            return _original.wait4(pid, options)
        return _reaped(hub, pid, options, _original.wait4, pid)

    def waitid(self, idtype: int, id: int, options: int, /) -> Any:
        """As ``os.waitid``; other greenlets run meanwhile."""
        waitid = _original.waitid
        assert waitid is not None
        kind, number, options = index(idtype), index(id), index(options)
        hub = hub_or_none()
        if (
            hub is None
            or options & _WNOHANG
            # waitid(2): a pidfd that was opened with PIDFD_NONBLOCK makes it fail with EAGAIN.
            or (kind == _P_PIDFD and not os.get_blocking(number))
        ):
            return waitid(kind, number, options)
        look = options | _WNOHANG
        states = options & ~_WNOWAIT
        return _waited(hub, kind, number, states, lambda: waitid(kind, number, look))

    def system(self, command: Any) -> int:
        """As ``os.system``; other greenlets run meanwhile."""
        hub = hub_or_none()
        if hub is None:
            return _original.system(command)
        status: int = NativeCall(hub, _original.system, command).outcome()
        return status

    def flock(self, fd: Any, operation: int, /) -> None:
        """As ``fcntl.flock``; other greenlets run meanwhile."""
        _locked(_original.flock, fd, operation)

    def lockf(self, fd: Any, cmd: int, len: int = 0, start: int = 0, whence: int = 0, /) -> Any:
        """As ``fcntl.lockf``; other greenlets run meanwhile."""
        return _locked(_original.lockf, fd, cmd, len, start, whence)


functions: Final = ProcessFunctions()


def _reaped(hub: Hub, pid: int, options: int, function: Callable[..., Any], *args: int) -> Any:
    """Wait as waitpid(2) with ``pid`` and ``options`` does, by ``function(*args, options)``."""

    def look() -> Any:
        result = function(*args, options | _WNOHANG)
        return result if result[0] else None

    # On all systems that have both, WUNTRACED and WCONTINUED are WSTOPPED and WCONTINUED of waitid(2).
    states = options | _WEXITED
    if pid > 0:
        return _waited(hub, _P_PID, pid, states, look)
    if pid == -1:
        return _waited(hub, _P_ALL, 0, states, look)
    return _waited(hub, _P_PGID, -pid or os.getpgrp(), states, look)


# -- File locks


class _Locking(NativeCall):
    """A native thread waits for a file lock.

    A greenlet that leaves must not leave a lock behind: unless another greenlet has locked the same file
    since, for the kernel takes locks of one process (or of one open file) for one and the same.
    """

    __slots__ = ("_file", "_unlock", "left", "unwanted")

    def __init__(self, hub: Hub, function: Callable[..., Any], descriptor: int, *args: int) -> None:
        super().__init__(hub, function, descriptor, *args)
        self._unlock = (descriptor, LOCK_UN, *args[1:])
        self._file = _identity(descriptor)
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
            if _identity(self._unlock[0]) == self._file:
                self._function(*self._unlock)
        except OSError:
            pass  # closed, and the lock with it


#: By file: the native threads that wait for its lock. Also those whose greenlet has left.
_locking: Final[dict[tuple[int, int], list[_Locking]]] = {}
_table_guard: Final = _original.allocate_lock()


def _identity(descriptor: int) -> Any:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _note(descriptor: int, unwanted: bool) -> None:
    """This process wants to have (or not to have) locks on the file from now on."""
    if _locking:
        file = _identity(descriptor)
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
        _note(descriptor, unwanted=True)
        return result
    try:
        result = function(descriptor, operation | LOCK_NB, *args)
    except (BlockingIOError, PermissionError):  # fcntl(2): EAGAIN or EACCES
        if operation & LOCK_NB:
            raise
        _note(descriptor, unwanted=False)
        return _Locking(hub, function, descriptor, operation, *args).outcome()
    _note(descriptor, unwanted=False)
    return result
