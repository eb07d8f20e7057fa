"""``faulthandler`` shows the threads that are greenlets, too.

Rule: its C code knows native threads, and of the one that all greenlets share it shows whatever runs there,
be it the hub. So what is asked for from Python is answered here: the stack of each parked greenlet and of
each native thread, as far as it is the program's own; where graftlet has put a method in the place of one in
Python, that one is named, by the line where it begins. After a time-out a native thread writes that; should it not get to
run, because C code holds the GIL, C's own watchdog writes what it sees a second later.

What a fatal error or a signal prints (``enable``, ``register``) is C's alone: nothing else works then.
"""

import faulthandler
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

from graftlet.core import _original, _signals
from graftlet.core._current import blocking_hub, hub_or_none
from graftlet.core._hub import Hub
from graftlet.core._own_threads import own_threads, start_own_thread
from graftlet.io._builtin import Functions
from graftlet.patch._applied import every_change

#: So many stacks at most, and so many frames of each (as C has it, Python/traceback.c).
_MOST_STACKS: Final = 100
_MOST_FRAMES: Final = 100
_LONGEST_TEXT: Final = 500
#: How many seconds C's watchdog waits longer than ours.
_GRACE: Final = 1.0


class FaultHandlerFunctions(Functions):
    """What takes the place of functions of module ``faulthandler``."""

    __slots__ = ()

    def dump_traceback(
        self, file: Any = None, all_threads: bool = True, *, max_threads: int = _MOST_STACKS
    ) -> None:
        """As ``faulthandler.dump_traceback`` (``max_threads``: since 3.15); parked greenlets come first."""
        descriptor = _descriptor(file)
        here = sys._getframe(1)
        if not all_threads:
            os.write(descriptor, _text("Stack", here))
            return
        hub = hub_or_none()
        me = _original.get_ident() if hub is None else hub.ident_of(hub.current)
        others = [*(() if hub is None else _parked(hub, max_threads)), *_native(hub)]
        os.write(descriptor, b"".join(each + b"\n" for each in others))
        os.write(descriptor, _text(f"Current thread {me:#018x}", here))

    def dump_traceback_later(
        self,
        timeout: float,
        repeat: bool = False,
        file: Any = None,
        exit: bool = False,
        **more: Any,
    ) -> None:
        """As ``faulthandler.dump_traceback_later``; parked greenlets come first."""
        _Watchdog.cancel()
        given = {} if file is None else {"file": file}
        hub = blocking_hub()
        if hub is None or not timeout > 0:
            native_later(timeout, repeat=repeat, exit=exit, **given, **more)
            return
        native_later(timeout + _GRACE, repeat=False, exit=exit, **given, **more)
        _Watchdog(hub, timeout, repeat, _descriptor(file), exit).start()

    def cancel_dump_traceback_later(self) -> None:
        """As ``faulthandler.cancel_dump_traceback_later``."""
        _Watchdog.cancel()
        native_cancel()


class _Watchdog:
    """A native thread that writes the stacks when the time is up."""

    __slots__ = ("_descriptor", "_exit", "_gate", "_hub", "_repeat", "_timeout")

    #: The one that waits, there is one at most.
    current: "_Watchdog | None" = None

    def __init__(
        self, hub: Hub, timeout: float, repeat: bool, descriptor: int, leave: bool
    ) -> None:
        self._hub = hub
        self._timeout = timeout
        self._repeat = repeat
        self._descriptor = descriptor
        self._exit = leave
        self._gate = _original.allocate_lock()
        self._gate.acquire()

    def start(self) -> None:
        _Watchdog.current = self
        start_own_thread(self._run)

    @staticmethod
    def cancel() -> None:
        """Nothing more is written once this has returned."""
        watchdog, _Watchdog.current = _Watchdog.current, None
        if watchdog is not None:
            watchdog._gate.release()

    def _run(self) -> None:
        """In the native thread."""
        _signals.take_none()
        me = _original.get_ident()
        own_threads.add(me)
        head = f"Timeout ({timedelta(seconds=self._timeout)})!\n".encode()
        while not self._gate.acquire(True, self._timeout) and _Watchdog.current is self:
            hub = self._hub
            stacks = [*_parked(hub, _MOST_STACKS), *_native(hub)]
            frame = sys._current_frames().get(hub.thread)
            if frame is not None:
                stacks.append(_text(f"Thread {hub.ident_of(hub.current):#018x}", frame))
            os.write(self._descriptor, head + b"\n".join(filter(None, stacks)))
            native_cancel()
            if self._exit:
                os._exit(1)
            if not self._repeat:
                break
            native_later(self._timeout + _GRACE, file=self._descriptor, exit=self._exit)
        own_threads.discard(me)


def _descriptor(file: Any) -> int:
    if file is None:
        file = sys.stderr
        if file is None:
            raise RuntimeError("sys.stderr is None")
    if isinstance(file, int):
        return file
    descriptor: int = file.fileno()
    file.flush()
    return descriptor


def _parked(hub: Hub, most: int) -> Iterator[bytes]:
    """The stack of each greenlet that does not run, the newest first."""
    tasks = [worker.task for worker in list(hub.workers) if worker.task is not None]
    for count, task in enumerate([*sorted(tasks, key=id, reverse=True), hub.main]):
        if count == most:
            yield b"...\n"
            return
        frame = None if task.raw is None else task.raw.gr_frame
        if frame is not None and (text := _text(f"Thread {hub.ident_of(task):#018x}", frame)):
            yield text


def _native(hub: Hub | None) -> Iterator[bytes]:
    """The stack of each native thread that is neither graftlet's, nor that of ``hub``, nor this one."""
    known = {*own_threads, _original.get_ident(), None if hub is None else hub.thread}
    for ident, frame in sys._current_frames().items():
        if ident not in known and (text := _text(f"Thread {ident:#018x}", frame)):
            yield text


def _text(head: str, frame: FrameType) -> bytes:
    """One stack, in C's format; nothing if all of it is graftlet's own."""
    lines: list[str] = []
    here: FrameType | None = frame
    replaced = _replaced()
    while here is not None and len(lines) < _MOST_FRAMES:
        code: CodeType | None = here.f_code
        line = here.f_lineno
        if str(here.f_globals.get("__name__")).startswith("graftlet."):
            code = replaced.get(here.f_code)
            line = 0 if code is None else code.co_firstlineno
        if code is not None:
            file, function = _shortened(code.co_filename), _shortened(code.co_name)
            lines.append(f'  File "{file}", line {line} in {function}\n')
        here = here.f_back
    if not lines:
        return b""
    text = "".join([head, " (most recent call first):\n", *lines])
    return text.encode("ascii", "backslashreplace")


def _replaced() -> dict[CodeType, CodeType]:
    """The code of functions in Python that stand in for others in Python, and those others'."""
    found = {}
    for each in every_change():
        here, before = each.change.replacement, each.before
        if isinstance(here, FunctionType) and isinstance(before, FunctionType):
            found[here.__code__] = before.__code__
    return found


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."


native_later: Final = faulthandler.dump_traceback_later
native_cancel: Final = faulthandler.cancel_dump_traceback_later
functions: Final = FaultHandlerFunctions()
