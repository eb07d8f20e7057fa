"""Which hub belongs to the native thread that asks.

Rule: a hub is made when a thread first needs one. The main thread needs one as soon as something
blocks in it; any other native thread only when it asks for greenlets itself (`graftlet.spawn`,
`graftlet.get_hub`). A native thread without a hub simply blocks, as it always did.
"""

import os
from collections.abc import Callable
from typing import Final

from graftlet.core import _original
from graftlet.core._hub import Hub

#: ``per_thread.hub``: the hub of this native thread, if it has one.
per_thread: Final = _original.ThreadLocal()


class _Makers:
    """How a hub is made: set by the module that knows what a main greenlet is."""

    make: Callable[[], Hub] | None = None


class _Closer:
    """Closes the hub of a native thread that ends: dropped with the thread's other local data."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def __del__(self) -> None:
        self._hub.main.end_with_thread()
        self._hub.close()


def set_hub_maker(make: Callable[[], Hub]) -> None:
    """Say how the hub of a thread is made (it must not be registered by ``make``)."""
    _Makers.make = make


def get_hub() -> Hub:
    """The hub of the current native thread; made at the first call."""
    try:
        hub: Hub = per_thread.hub
        return hub
    except AttributeError:
        assert _Makers.make is not None
        hub = per_thread.hub = _Makers.make()
        if not in_main_thread():
            per_thread.closer = _Closer(hub)
        return hub


def hub_or_none() -> Hub | None:
    """The hub of the current native thread, if it has one."""
    return getattr(per_thread, "hub", None)


def blocking_hub() -> Hub | None:
    """The hub in which a blocking call should park; None where it should block natively."""
    try:
        hub: Hub = per_thread.hub
        return hub
    except AttributeError:
        return get_hub() if in_main_thread() else None


def in_main_thread() -> bool:
    """Whether this is the process's main native thread.

    On Linux the main thread's id is the process's (gettid(2)), also in the child of a fork that
    another thread made, which is what ``threading`` goes by too.
    """
    return _original.get_native_id() == os.getpid() if _LINUX else _not_linux_main()


_LINUX: Final = os.path.exists("/proc/self")


def _not_linux_main() -> bool:  # pragma: no cover - not Linux
    import threading

    return threading.main_thread().ident == _original.get_ident()
