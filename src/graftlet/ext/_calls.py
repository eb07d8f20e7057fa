"""The blocking calls of one connection of a C library, each in a native thread.

Rule: one call at a time for each connection, for hardly any C library allows two; and a thread for every
connection that is in a call, never one out of a bounded pool: the connection that all others wait for
must not wait for a thread. A greenlet that is killed (or times out) leaves its call behind; whoever
uses the connection next waits until that call has ended.

The library may call back into Python from its thread (an SQL function, a row's converter, an iterator of
parameters), and that may use the connection again. So a thread that makes a call is known as the
deputy of the greenlet that asked for it: what is the greenlet's turn is the thread's, too.
"""

from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final

from greenlet import getcurrent

from graftlet.core import _original
from graftlet.core._current import blocking_hub
from graftlet.core._greenlet import spawn_raw
from graftlet.core._hub import Hub
from graftlet.io._offload import NativePool, NoThread
from graftlet.sync._lock import Lock

#: As many threads as there are connections in a call. Some stay for the next calls.
threads: Final = NativePool(1_000_000, keep=8)

#: By the ident of a native thread: the call that it makes.
_deputies: Final[dict[int, "_Call"]] = {}


def parking_hub() -> Hub | None:
    """The hub in which the caller may wait; None if it must go on natively, or at once (on the hub)."""
    hub = blocking_hub()
    return None if hub is None or getcurrent() is hub.raw else hub


def me() -> int:
    """As ``threading.get_ident()``; in a native thread that makes a call, who asked for it."""
    hub = blocking_hub()
    if hub is not None:
        return hub.ident_of(hub.current)
    ident = _original.get_ident()
    call = _deputies.get(ident)
    return ident if call is None else call.asker


def _owner() -> object:
    """Whose turn it is when the caller takes one: a greenlet's, a call's, or a native thread's."""
    hub = blocking_hub()
    if hub is not None:
        return hub.current
    ident = _original.get_ident()
    return _deputies.get(ident, ident)


class Calls:
    """The calls of one connection, one after the other."""

    __slots__ = ("_first", "_owner", "_turn")

    def __init__(self) -> None:
        self._turn = Lock()
        #: What a finalizer has asked for: before anything else.
        self._first: list[Callable[[], object]] = []
        # Invariant: set by who has the turn. It is a call, not its greenlet: one that has been killed
        # and left its call behind must wait for its turn like everybody else.
        self._owner: object = None

    def call(
        self, abandoned: Callable[[], object] | None, function: Callable[..., Any], /, *args: Any
    ) -> Any:
        """Return ``function(*args)``, carried out in a native thread.

        Args:
            abandoned: called if the greenlet is killed while the call goes on: makes that end soon.
        """
        if parking_hub() is None:
            return self.here(function, *args)
        if self._owner is not None and self._owner == _owner():
            return function(*args)
        self._turn.acquire()
        call = _Call(self, function, args)
        try:
            return threads.call(call.make)
        except NoThread:
            call.end()
            raise
        except BaseException:
            if abandoned is not None and not call.ended:
                abandoned()
            raise

    def here(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Return ``function(*args)``, carried out right here, when it is this call's turn."""
        owner = _owner()
        if self._owner is not None and self._owner == owner:
            return function(*args)
        while True:
            if self._first and parking_hub() is not None:
                self.call(None, _nothing)
            with self._turn:
                if self._first and parking_hub() is not None:
                    continue
                self._owner = owner
                try:
                    self._do_first()
                    return function(*args)
                finally:
                    self._owner = None

    def do_first(self, function: Callable[[], object]) -> None:
        """Have ``function()`` called soon, and before whatever is asked for from now on. For finalizers.

        It is called in a native thread and must not raise.
        """
        self._first.append(function)
        spawn_raw(self._do_soon)

    def _do_soon(self) -> None:
        if self._first:
            self.call(None, _nothing)

    def _do_first(self) -> None:
        # Invariant: called only by who has the turn.
        while self._first:
            self._first.pop(0)()


def _nothing() -> None:
    pass


class _Call:
    """One of them: it gives the turn back, whether or not anybody waits for its outcome."""

    __slots__ = ("_args", "_calls", "_context", "_function", "asker", "ended")

    def __init__(self, calls: Calls, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._calls = calls
        self._function = function
        self._args = args
        self._context = copy_context()
        self.asker = me()
        self.ended = False
        calls._owner = self

    def make(self) -> Any:
        """In the native thread."""
        ident = _original.get_ident()
        _deputies[ident] = self
        try:
            self._calls._do_first()
            return self._context.run(self._function, *self._args)
        finally:
            del _deputies[ident]
            self.end()

    def end(self) -> None:
        """It has ended, or will never begin: it is the next one's turn."""
        # Invariant: nothing of them is left when the caller goes on (see `graftlet.io._offload`).
        self._function, self._args = _nothing, ()
        self.ended = True
        self._calls._owner = None
        self._calls._turn.release()
