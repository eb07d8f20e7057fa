"""Threads that are greenlets: what takes the place of ``_thread``'s functions under ``threading``.

Rule: class ``threading.Thread`` and everything else in ``threading.py`` is CPython's own, and runs unmodified
above these few names. A thread is a `ThreadGreenlet`; its ident is as unique as a native one's; the main
greenlet of a native thread has that thread's ident. What the C code does at a thread's end (release the
sentinel lock of 3.10 to 3.12, set the handle of 3.13 and later) happens at the greenlet's end.

Threads beget their own kind. What greenlets start is a greenlet. What a native thread without a hub starts is
a native thread, as it would be without graftlet: its hub would run only while it waits, and end with it.
"""

import _signal  # type: ignore[import-not-found] # typeshed has no stubs of it
import errno
import os
import sys
from collections.abc import Callable
from itertools import count
from operator import index
from types import MethodType
from typing import Any, Final

from greenlet import GreenletExit

from graftlet.core import _original
from graftlet.core._current import (
    blocking_hub,
    get_hub,
    hub_or_none,
    in_main_thread,
    per_thread,
)
from graftlet.core._deadlines import INFINITY
from graftlet.core._deadlock import starting
from graftlet.core._fork import free_in_children
from graftlet.core._greenlet import Greenlet, getcurrent
from graftlet.core._hub import Hub
from graftlet.core._own_threads import own_threads
from graftlet.core._preempt import bases, preempter
from graftlet.core._task import Task
from graftlet.core._waitqueue import WaitQueue, deadline_after
from graftlet.io._builtin import Functions
from graftlet.io._native_call import NativeCall
from graftlet.io._os import STANDARD, has_another_file
from graftlet.patch._kept import is_native_name, natives
from graftlet.patch._lean import give_own, settle
from graftlet.patch._sentinel import NativeSentinelLock, SentinelLock
from graftlet.patch._versions import (
    check_may_start,
    forget_dummy,
    native_name,
    report_thread_exception,
    warn_of_fork,
)
from graftlet.sync._lock import ThreadLock, make_lock


class ThreadGreenlet(Greenlet):
    """The greenlet that is a thread."""

    __slots__ = ("_ended_as", "handle", "native_id", "native_name", "sentinel")

    is_thread = True

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__(function, *args, **kwargs)
        self._ended_as: str | None = None
        #: What ``threading.get_native_id`` says; 0: nobody has asked yet.
        self.native_id = 0
        #: What ``_thread.set_name`` (Python 3.14 and newer) has set; None: it has that of its native thread.
        self.native_name: str | None = None
        #: Released when it ends: what ``Thread.join`` of Python 3.12 and older waits for.
        self.sentinel: SentinelLock | None = None
        #: Set when it ends: what ``Thread.join`` of Python 3.13 and newer waits for.
        self.handle: ThreadHandle | None = None

    def _describe_call(self) -> str:
        return f"thread {self._ended_as or _name_of(self._run_function)}"

    def execute(self) -> None:
        # Without that of `Greenlet` below: each frame costs a switch 7 ns since Python 3.12, and 192 bytes.
        function = self._run_function
        assert function is not None
        try:
            try:
                if self.args or self.kwargs:
                    function(*self.args, **self.kwargs)
                else:
                    function()  # leaves 0.9 KiB less on the C stack if that is a method
            except (SystemExit, GreenletExit):
                pass  # as thread_run in Modules/_threadmodule.c: it ends this thread only
            except BaseException as error:
                report_thread_exception(error, function)
            finally:
                self._end_thread(function)
        except BaseException as error:
            self._exception = error
            self._traceback = error.__traceback__
        try:
            self._end()
        except BaseException as error:
            self._report(error)

    def _end_thread(self, function: Callable[..., Any]) -> None:
        """Tell those who know it as a thread."""
        _live.discard(self)
        forget_dummy(id(self))
        # Somebody may keep the greenlet: the Thread, and what it was called with, can go now.
        self._ended_as = _name_of(function)
        self._run_function = _ended
        if self.sentinel is not None:
            self.sentinel.end()
        if self.handle is not None:
            self.handle._set_done()

    def _end_unstarted(self, thrown: BaseException) -> None:
        super()._end_unstarted(thrown)
        _live.discard(self)
        if self.handle is not None:
            self.handle._set_done()


bases.add(ThreadGreenlet.execute.__code__)
_making: Final = free_in_children(_original.allocate_lock())


class StaysNative:
    """A ``threading.Thread`` that derives from this, too, is a native thread, whoever starts it."""

    __slots__ = ()


def _is_native(function: Callable[..., Any]) -> bool:
    """Whether a thread that is to call ``function`` must be a native one."""
    thread = getattr(function, "__self__", None)
    return (
        isinstance(thread, StaysNative)
        or blocking_hub() is None
        or (bool(natives) and _is_of_island(function, thread))
    )


def _is_of_island(function: Callable[..., Any], thread: Any) -> bool:
    """Whether it is a thread of a package that stays native: by its class, or by what it is to call."""
    calls = (function, getattr(thread, "_target", None), getattr(thread, "function", None))
    return is_native_name(type(thread).__module__) or any(
        is_native_name(getattr(call, "__module__", None)) for call in calls
    )


class _Begins:
    """What a native thread is to call; known as starting until it does."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        starting.add(self)

    def __repr__(self) -> str:
        return repr(self._function)  # in what C says of an exception that ends the thread

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        starting.discard(self)
        self._function(*args, **kwargs)


def start_native(start: Callable[..., Any], function: Callable[..., Any], *args: Any) -> Any:
    """Start a native thread by ``start``, a function of C's; it is to call ``function``."""
    begins = _Begins(function)
    try:
        return start(begins, *args)
    except BaseException:
        starting.discard(begins)
        raise


def thread_of(ident: int) -> Task | None:
    """The greenlet that is the thread of that ident, or main if it is that; None: a native thread, or none."""
    for thread in list(_live):
        if thread.ident == ident:
            return thread
    hub = hub_or_none()
    return hub.main if hub is not None and hub.main_ident == ident else None


def native_thread_of(ident: int) -> int:
    """The ident of the native thread in which the thread of that ident runs.

    C takes it for a pointer, and that of a greenlet points to anything but a thread.

    Raises:
        ProcessLookupError: there is no such thread.
    """
    task = thread_of(ident)
    if task is not None and task.hub is not None:
        return task.hub.thread
    if ident not in sys._current_frames():
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return ident


def _name_of(function: Any) -> str:
    name = getattr(getattr(function, "__self__", None), "name", None)
    if isinstance(name, str):
        return name  # a threading.Thread: people know it by its name
    return getattr(function, "__qualname__", None) or repr(function)


def _ended() -> None:  # pragma: no cover - never called
    """In the place of the function of a thread that has ended."""


#: Linux numbers its threads below 2**22 (``PID_MAX_LIMIT``).
_native_ids: Final = count(1 << 22)
#: The threads that run: `ThreadFunctions._count`.
_live: Final[set[ThreadGreenlet]] = set()
#: Those that the interpreter waits for at its end (Python 3.13 and newer), oldest first.
_joined_at_exit: Final[dict["ThreadHandle", None]] = {}
#: The same for native threads; C waits for these, too, but would keep all greenlets waiting with it.
_natives_joined_at_exit: Final[dict["ThreadHandle", None]] = {}


class ThreadHandle:
    """As ``_thread._ThreadHandle`` of Python 3.13 and newer."""

    __slots__ = ("__weakref__", "_done", "_joiners", "_native", "_process", "_thread", "ident")

    def __init__(self) -> None:
        #: The thread's ident; 0 before it is started.
        self.ident = 0
        self._done = False
        self._joiners: WaitQueue | None = None
        #: Where it was started.
        self._process = 0
        #: As long as it runs: a handle that is kept must not keep what the thread left behind.
        self._thread: ThreadGreenlet | None = None
        #: The handle of a native thread: C sets it at the thread's end.
        self._native: Any = None

    def __repr__(self) -> str:
        return f"<_thread._ThreadHandle object: ident={self.ident}>"

    @classmethod
    def of(cls, native: Any) -> "ThreadHandle":
        """A handle of a native thread that exists already, the main thread above all."""
        self = cls()
        if native.ident == 0 and not native.is_done():
            return self  # not started: its thread will be a greenlet
        self.ident = native.ident
        self._process = os.getpid()
        self._native = native
        self._done = native.is_done()
        return self

    def give_back(self, native: Any) -> bool:
        """Undo `of`."""
        return native is self._native

    def is_done(self) -> bool:
        """Whether the thread has ended; in the child of a fork all have but the one that forked."""
        return (
            self._done
            or (self._native is not None and bool(self._native.is_done()))
            or (
                self.ident != 0  # which may be started in the child as well
                and self._process != os.getpid()
                and self.ident != functions.get_ident()
            )
        )

    def _set_done(self) -> None:
        if self.ident == 0:
            raise RuntimeError("thread not started")
        self._done = True
        self._thread = None
        if self._native is not None:
            self._native._set_done()
        _joined_at_exit.pop(self, None)
        if self._joiners is not None:
            self._joiners.wake_all()

    def join(self, timeout: float | None = None, /) -> None:
        """Wait for the thread's end, at most ``timeout`` seconds (None or negative: for ever)."""
        if self.ident == 0 and not self._done:
            raise RuntimeError("thread not started")
        if self.is_done():
            return
        if self.ident == functions.get_ident():
            raise RuntimeError("Cannot join current thread")
        if self._native is not None:
            hub = blocking_hub()
            if hub is None:
                self._native.join(timeout)
                return
            if self.ident != hub.thread:
                NativeCall(hub, self._native.join, timeout).outcome()
                return
        deadline = INFINITY if timeout is None or timeout < 0 else deadline_after(timeout)
        joiners = self._joiners
        if joiners is None:
            with _making:  # two native threads may come here at once: one queue wins
                joiners = self._joiners
                if joiners is None:
                    joiners = self._joiners = WaitQueue()
        turn = joiners.enter(self._thread or self)
        try:
            # Invariant: looked at after the turn is in the queue, which is in its place.
            while not self._done and turn.park(deadline):
                pass
        finally:
            joiners.leave(turn, True)


class ThreadFunctions(Functions):
    """What takes the place of functions of module ``_thread``."""

    __slots__ = ()

    def start_new_thread(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any = None, /
    ) -> int:
        """As ``_thread.start_new_thread``: the thread is a greenlet."""
        check_may_start()
        if not callable(function):
            raise TypeError("first arg must be callable")
        if not isinstance(args, tuple):
            raise TypeError("2nd arg must be a tuple")
        if kwargs is not None and not isinstance(kwargs, dict):
            raise TypeError("optional 3rd arg must be a dictionary")
        if _is_native(function):
            return int(start_native(_original.start_new_thread, function, args, kwargs or {}))
        return _start(function, args, kwargs or {}).ident

    def start_joinable_thread(
        self,
        function: Callable[..., Any],
        handle: ThreadHandle | None = None,
        daemon: bool = True,
    ) -> ThreadHandle:
        """As ``_thread.start_joinable_thread`` of Python 3.13 and newer."""
        check_may_start(daemon)
        if not callable(function):
            raise TypeError("thread function must be callable")
        if handle is None:
            handle = ThreadHandle()
        elif not isinstance(handle, ThreadHandle):
            raise TypeError("'handle' must be a _ThreadHandle")
        elif handle.ident != 0 or handle._done:
            raise RuntimeError("thread already started")
        if _is_native(function):
            native = _original.ThreadHandle()
            start_native(native_start_joinable, function, native, daemon)
            handle._process = os.getpid()
            handle._native = native
            handle.ident = native.ident
            if not daemon:
                for each in [each for each in _natives_joined_at_exit if each.is_done()]:
                    _natives_joined_at_exit.pop(each, None)
                _natives_joined_at_exit[handle] = None
            return handle
        thread = _start(function, (), {})
        thread.handle = handle
        handle._process = thread.hub.process  # type: ignore[union-attr] # it has one from `_start` on
        handle._thread = thread
        handle.ident = id(thread)
        if not daemon:
            _joined_at_exit[handle] = None
        return handle

    def _make_thread_handle(self, ident: int, /) -> ThreadHandle:
        """As ``_thread._make_thread_handle``: of a thread that ``threading`` did not start."""
        handle = ThreadHandle()
        handle.ident = ident
        handle._process = os.getpid()
        return handle

    def _shutdown(self) -> None:
        """As ``_thread._shutdown``: wait for all threads that are not daemons."""
        me = functions.get_ident()
        while True:
            waited = (*_joined_at_exit, *_natives_joined_at_exit)
            handle = next((each for each in waited if each.ident != me), None)
            if handle is None:
                break
            handle.join()
            _joined_at_exit.pop(handle, None)
            _natives_joined_at_exit.pop(handle, None)
        if native_shutdown is not None:
            native_shutdown()

    def allocate_lock(self) -> ThreadLock:
        """As ``_thread.allocate_lock``."""
        return make_lock()

    def _set_sentinel(self) -> SentinelLock:
        """As ``_thread._set_sentinel`` of Python 3.12 and older."""
        if blocking_hub() is None:
            return NativeSentinelLock(native_set_sentinel())
        sentinel = SentinelLock(make_lock())
        current = getcurrent()
        if isinstance(current, ThreadGreenlet):
            current.sentinel = sentinel
        return sentinel

    def get_ident(self) -> int:
        """As ``_thread.get_ident``: of the greenlet, or of the native thread if it is the main one."""
        try:
            hub = per_thread.hub
        except AttributeError:
            return _original.get_ident()
        task = hub.current
        return hub.main_ident if task is hub.main else id(task)

    def get_native_id(self) -> int:
        """As ``_thread.get_native_id``: of a greenlet a number that no native thread can have."""
        try:
            hub = per_thread.hub
        except AttributeError:
            return int(native_id())
        task = hub.current
        if not isinstance(task, ThreadGreenlet):
            return int(native_id())
        if task.native_id == 0:
            task.native_id = next(_native_ids)
        return task.native_id

    def pthread_kill(self, thread_id: int, signalnum: int, /) -> None:
        """As ``signal.pthread_kill``: a greenlet's signals go to its native thread."""
        native_pthread_kill(native_thread_of(index(thread_id)), signalnum)

    def pthread_getcpuclockid(self, thread_id: int, /) -> int:
        """As ``time.pthread_getcpuclockid``: a greenlet's clock is that of its native thread."""
        assert _original.pthread_getcpuclockid is not None
        return int(_original.pthread_getcpuclockid(native_thread_of(index(thread_id))))

    def _get_main_thread_ident(self) -> int:
        """As ``_thread._get_main_thread_ident``."""
        hub = hub_or_none()
        if hub is None or not in_main_thread():
            return int(native_main_ident())
        # In the child of a fork, before the hub has begun anew, main is whoever forked.
        return hub.main_ident if hub.process == os.getpid() else functions.get_ident()

    def fork(self) -> int:
        """As ``os.fork``: in the child only this greenlet goes on."""
        pid: int = os_fork()
        if pid:
            warn_of_fork("fork", len(_live))
        return pid

    def forkpty(self) -> tuple[int, int]:
        """As ``os.forkpty``: in the child only this greenlet goes on."""
        pid, fd = os_forkpty()
        if pid:
            warn_of_fork("forkpty", len(_live))
        else:
            for standard in STANDARD:
                has_another_file(standard)
        return pid, fd

    def set_name(self, name: str, /) -> None:
        """As ``_thread.set_name``: a greenlet's name is none that the kernel knows."""
        hub = hub_or_none()
        if hub is None or hub.current is hub.main:
            native_set_name(name)
        elif isinstance(hub.current, ThreadGreenlet):
            hub.current.native_name = native_name(name)

    def _get_name(self) -> str:
        """As ``_thread._get_name``."""
        hub = hub_or_none()
        current = None if hub is None else hub.current
        if isinstance(current, ThreadGreenlet) and current.native_name is not None:
            return current.native_name
        return str(native_get_name())

    def _count(self) -> int:
        """As ``_thread._count``: the threads started by ``_thread`` that run, but for graftlet's own."""
        native: int = native_count()
        return max(0, native - len(own_threads)) + len(_live)


class Started:
    """Has the event of each `threading.Thread` settle, when the next thread starts: by then it is set for ever."""

    __slots__ = ("_event", "_hub")

    def __init__(self) -> None:
        self._event: Any = None
        self._hub: Hub | None = None

    def follow(self, function: Any, hub: Hub) -> None:
        """``function`` starts in a thread of this hub."""
        threading = sys.modules.get("threading")
        if threading is None or type(function) is not MethodType:
            return
        # By its type: an object of the program's own might answer to anything.
        if issubclass(type(function.__self__), threading.Thread):
            before, of_hub = self._event, self._hub
            self._event, self._hub = getattr(function.__self__, "_started", None), hub
            if of_hub is hub and type(before) is threading.Event:
                settle(before)


started: Final = Started()


def _start(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ThreadGreenlet:
    thread = ThreadGreenlet(function, args, kwargs)
    hub = get_hub()
    thread.hub = hub
    started.follow(function, hub)
    frame = sys._getframe(2)
    if frame.f_globals.get("__name__") == "threading" and frame.f_back is not None:
        frame = frame.f_back  # who called Thread.start
    thread._remember_site(frame)
    _live.add(thread)
    hub.ready.append(thread)
    if preempter.process != hub.process:
        preempter.start()
    return thread


#: Where a `threading.Thread` has its handle: in Python 3.13, and from 3.14 on.
_HANDLES: Final = ("_handle", "_os_thread_handle")


def give_back_unstarted() -> None:
    """Before un-patching: the interpreter's own functions can start those threads that have not been started."""
    for thread in list(getattr(sys.modules.get("threading"), "_dangling", ())):
        attributes = vars(thread)
        for name in _HANDLES:
            handle = attributes.get(name)
            if type(handle) is ThreadHandle and handle.ident == 0 and not handle._done:
                attributes[name] = _original.ThreadHandle()
        if hasattr(attributes.get("_started"), "_cond"):
            give_own(thread._started)


def _native(name: str) -> Any:
    import _thread

    return getattr(_thread, name, None)


def _begin_anew() -> None:
    """In the child of a fork: only the thread that forked is left."""
    starting.clear()
    me = functions.get_ident()
    threading = sys.modules.get("threading")
    survivor = threading and threading._active.get(me)
    for name in _HANDLES:
        handle = getattr(survivor, name, None)
        if isinstance(handle, ThreadHandle):
            handle._process = os.getpid()
    for thread in [each for each in _live if each.ident != me]:
        _live.discard(thread)
    for handles in (_joined_at_exit, _natives_joined_at_exit):
        for handle in [each for each in handles if each.ident != me]:
            handles.pop(handle)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)

native_shutdown: Final = _native("_shutdown")
native_start_joinable: Final[Any] = _native("start_joinable_thread")
native_set_sentinel: Final[Any] = _native("_set_sentinel")
native_set_name: Final = _native("set_name")
native_get_name: Final = _native("_get_name")
os_fork: Final[Any] = getattr(os, "fork", None)
os_forkpty: Final[Any] = getattr(os, "forkpty", None)
native_count: Final = _native("_count")
native_id: Final = _native("get_native_id")
native_pthread_kill: Final[Any] = getattr(_signal, "pthread_kill", None)
native_main_ident: Final = _native("_get_main_thread_ident")

functions: Final = ThreadFunctions()
