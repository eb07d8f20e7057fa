"""Children: waiting for them as waitpid(2) does, cooperatively.

Rule: *nothing is reaped that nobody asked for.* Each function makes the very call that it takes the place of,
with WNOHANG, and makes it again when something has happened. What is waited for meanwhile is a pidfd
(pidfd_open(2)), which becomes readable when that child ends. Where a pidfd can't tell (any child, a process
group, stopped and continued children, old kernels) a native thread waits with WNOWAIT, which leaves the
child as it is. There is no SIGCHLD handler.
"""

import os
from collections.abc import Callable
from operator import index
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import hub_or_none
from graftlet.core._hub import Hub
from graftlet.core._own_threads import own_threads, start_own_thread
from graftlet.core._waiting import sleep_until
from graftlet.core._waitqueue import WaitQueue
from graftlet.io._builtin import Functions
from graftlet.io._native_call import NativeCall
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
            start_own_thread(_look, call, turns)
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
    """What takes the place of functions of module ``os`` that wait for children."""

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
