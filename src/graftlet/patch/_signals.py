"""What takes the place of functions of module ``_signal``, which module ``signal`` stands on.

Rule: a handler is installed behind a `MainHandler`, and the program never gets to see that one. A thread's
signal mask says which thread the kernel may give a signal to; a greenlet is not the kernel's to choose, so
only main's mask is a real one.
"""

import _signal  # type: ignore[import-not-found] # typeshed has no stubs of it
import errno
import os
from operator import index
from typing import Any, Final
from weakref import WeakKeyDictionary

from graftlet.core import _signals
from graftlet.core._current import blocking_hub, get_hub, hub_or_none
from graftlet.core._deadlines import INFINITY
from graftlet.core._preempt import preempter
from graftlet.core._signals import wakeup
from graftlet.core._task import Reason
from graftlet.core._waitqueue import deadline_after
from graftlet.io._builtin import Functions
from graftlet.patch._threads import ThreadGreenlet


def _in_other_thread() -> bool:
    """Whether the program takes what runs here for another thread than its main one."""
    hub = hub_or_none()
    return (
        hub is not None
        and isinstance(hub.current, ThreadGreenlet)
        and hub.current is not hub.main
        # In the child of a fork it is main, even before that is known everywhere: somebody else's
        # function may run first (``os.register_at_fork``).
        and _process.number == os.getpid()
    )


class _Process:
    def __init__(self) -> None:
        self.number = os.getpid()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self.number = os.getpid()


_process: Final = _Process()


class SignalFunctions(Functions):
    """What takes the place of functions of module ``_signal``."""

    __slots__ = ()

    def signal(self, number: int, handler: Any, /) -> Any:
        """As ``_signal.signal``: the handler will be called in the main greenlet."""
        if _in_other_thread():
            raise ValueError("signal only works in main thread of the main interpreter")
        preempter.leave_to_program(signal=number)
        before = _signals.unwrapped(_signals.install(number, _signals.wrapped(handler)))
        _signals.restarting.discard(number)
        return before

    def siginterrupt(self, number: int, flag: int, /) -> None:
        """As ``signal.siginterrupt``."""
        native_siginterrupt(number, flag)
        if flag:
            _signals.restarting.discard(number)
        else:
            _signals.restarting.add(number)

    def getsignal(self, number: int, /) -> Any:
        """As ``_signal.getsignal``."""
        return _signals.unwrapped(_signals.installed(number))

    def set_wakeup_fd(self, fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
        """As ``signal.set_wakeup_fd``: only for the main greenlet."""
        if _in_other_thread():
            raise ValueError("set_wakeup_fd only works in main thread of the main interpreter")
        # Before the descriptor is set: a signal of ours that comes in between would be written to it.
        preempter.hold(True)
        try:
            before = int(native_set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer))
            wakeup.in_use = fd >= 0
        finally:
            preempter.hold(wakeup.in_use)
        return before

    def setitimer(
        self, which: int, seconds: float, interval: float = 0.0, /
    ) -> tuple[float, float]:
        """As ``signal.setitimer``."""
        preempter.leave_to_program(timer=which)
        before: tuple[float, float] = _signals.set_timer(which, seconds, interval)
        return before

    def getitimer(self, which: int, /) -> tuple[float, float]:
        """As ``signal.getitimer``."""
        if preempter.uses_timer(which):
            return 0.0, 0.0
        now: tuple[float, float] = _signals.get_timer(which)
        return now

    def pthread_sigmask(self, how: int, mask: Any, /) -> set[int]:
        """As ``_signal.pthread_sigmask``: another thread's mask is not that of main, where handlers run."""
        if not _in_other_thread():
            return set(native_pthread_sigmask(how, mask))
        thread = get_hub().current
        before = _masks.get(thread)
        if before is None:
            before = set(native_pthread_sigmask(_signal.SIG_BLOCK, ()))
        changed = {index(number) for number in mask}
        for number in changed:
            if not 1 <= number < _signal.NSIG:
                raise ValueError(f"signal number {number} out of range [1; {_signal.NSIG - 1}]")
        if how == _signal.SIG_BLOCK:
            changed |= before
        elif how == _signal.SIG_UNBLOCK:
            changed = before - changed
        elif how != _signal.SIG_SETMASK:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        # sigprocmask(2): these can't be blocked, which is silently ignored.
        _masks[thread] = changed - {_signal.SIGKILL, _signal.SIGSTOP}
        return before

    def sigwait(self, sigset: Any, /) -> int:
        """As ``signal.sigwait``; other greenlets run meanwhile."""
        if blocking_hub() is None:
            return int(native_sigwait(sigset))
        return int(_await_signal(sigset, INFINITY).si_signo)

    def sigwaitinfo(self, sigset: Any, /) -> Any:
        """As ``signal.sigwaitinfo``; other greenlets run meanwhile."""
        if blocking_hub() is None:
            return native_sigwaitinfo(sigset)
        return _await_signal(sigset, INFINITY)

    def sigtimedwait(self, sigset: Any, timeout: float, /) -> Any:
        """As ``signal.sigtimedwait``; other greenlets run meanwhile."""
        if blocking_hub() is None or not timeout > 0:
            return native_sigtimedwait(sigset, timeout)
        return _await_signal(sigset, deadline_after(timeout))

    def pause(self) -> None:
        """As ``signal.pause``: wait until a signal handler has run (in this greenlet: the main one)."""
        hub = get_hub()
        # Without a handler, too, this is no deadlock: what is waited for may be the end of the process.
        hub.external += 1
        try:
            hub.park(a_signal)
        finally:
            hub.external -= 1


#: Seconds between two looks for a pending signal.
LOOK_EVERY: Final = 0.01


def _await_signal(sigset: Any, deadline: float) -> Any:
    """The next of ``sigset`` that is pending, or None when the deadline has passed.

    It has to be looked for again and again: a signal that is blocked wakes nobody, and one that was sent
    to this native thread (pthread_kill(3), ``raise_signal``) can be taken by no other.
    """
    hub = get_hub()
    wanted = set(sigset)
    # As in the kernel, who waits for a signal gets it, and not its handler.
    open_before = wanted - set(native_pthread_sigmask(_signal.SIG_BLOCK, wanted))
    try:
        while True:
            info = native_sigtimedwait(wanted, 0)
            now = hub.clock()
            if info is not None or now >= deadline:
                return info
            hub.park(a_signal, min(deadline, now + LOOK_EVERY))
    finally:
        native_pthread_sigmask(_signal.SIG_UNBLOCK, open_before)


#: The masks of threads that are greenlets, of those that have set one.
_masks: Final[WeakKeyDictionary[Any, set[int]]] = WeakKeyDictionary()

a_signal: Final = Reason("a signal")
native_siginterrupt: Final[Any] = getattr(_signal, "siginterrupt", None)
native_pthread_sigmask: Final[Any] = getattr(_signal, "pthread_sigmask", None)
native_set_wakeup_fd: Final = _signal.set_wakeup_fd
native_sigwait: Final[Any] = getattr(_signal, "sigwait", None)
native_sigwaitinfo: Final[Any] = getattr(_signal, "sigwaitinfo", None)
native_sigtimedwait: Final[Any] = getattr(_signal, "sigtimedwait", None)

functions: Final = SignalFunctions()
