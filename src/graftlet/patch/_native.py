"""The classes of `graftlet.native`: CPython's own, on native locks, whatever is patched.

Rule: no class is written anew, and no source is copied. ``threading.Condition``, ``queue.Queue`` and the like
are Python code above a few names; here the same code runs in a namespace of its own, in which these names
stand for the originals (`_on`). Each class derives from the one that it stands beside, so ``isinstance``
says what it always said.

All of them were native before patching and stay so: patching leaves them and their locks alone
(`graftlet.patch._kept`, and the class of what C offers for a base).
"""

import os
import queue as queue_module
import selectors as selectors_module
import socket as socket_module
import sys
import threading as threading_module
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor as StandardExecutor
from types import CellType, FunctionType, MethodDescriptorType, SimpleNamespace
from typing import Any, Final, TypeVar

from graftlet.core import _original
from graftlet.io._socket import _python_close, _python_detach
from graftlet.patch._applied import every_change
from graftlet.patch._kept import keep
from graftlet.patch._threads import StaysNative, start_native

Kind = TypeVar("Kind", bound=type)

# As bases of classes: the type checker accepts no constants.
_RLock: Any = _original.RLock
_SimpleQueue: Any = _original.SimpleQueue
_Local: Any = _original.ThreadLocal


def _on(names: dict[str, Any], only: str | None = None) -> Callable[[Kind], Kind]:
    """A decorator: the class's last base, with its code in a namespace where ``names`` are others.

    Args:
        only: the one method that needs them, where the rest counts on its module's own namespace.
    """

    def rebuilt(kind: Kind) -> Kind:
        base = kind.__bases__[-1]
        space = {**vars(sys.modules[base.__module__]), **names}
        names.setdefault(kind.__name__, kind)
        space[kind.__name__] = kind
        for name in list(vars(base)):
            value = _untouched(base, name)
            if isinstance(value, FunctionType) and name not in vars(kind) and only in (None, name):
                setattr(kind, name, _moved(value, space, kind))
        return kind

    return rebuilt


def _untouched(kind: type, name: str) -> Any:
    """What ``kind`` has under ``name`` when nothing is patched."""
    for applied in every_change():
        if applied.change.owner is kind and applied.change.name == name:
            return applied.before
    return vars(kind)[name]


def _moved(function: FunctionType, space: dict[str, Any], kind: type) -> FunctionType:
    """``function`` as if it had been written in a module with the namespace ``space``, in ``kind``."""
    code = function.__code__
    closure = None
    if function.__closure__ is not None:
        closure = tuple(
            CellType(kind) if name == "__class__" else cell
            for name, cell in zip(code.co_freevars, function.__closure__, strict=True)
        )
    moved = FunctionType(code, space, function.__name__, function.__defaults__, closure)
    moved.__kwdefaults__ = function.__kwdefaults__
    moved.__doc__ = function.__doc__
    moved.__qualname__ = f"{kind.__name__}.{function.__name__}"
    return moved


# -- What C offers


def Lock() -> Any:  # noqa: N802 - a function in threading, too, up to Python 3.12
    """A new ``_thread.lock``: who waits for it keeps the whole native thread waiting."""
    return keep(_original.allocate_lock())


def start_new_thread(
    function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, /
) -> int:
    """As ``_thread.start_new_thread``: start a native thread; returns its ident."""
    return int(start_native(_original.start_new_thread, function, args, kwargs or {}))


class RLock(_RLock):  # type: ignore[misc] # as above
    """A ``_thread.RLock``, owned by a native thread: by all of its greenlets at once."""

    __slots__ = ()


class SimpleQueue(_SimpleQueue):  # type: ignore[misc] # as above
    """A ``_queue.SimpleQueue``: ``get`` keeps the whole native thread waiting."""

    __slots__ = ()


class local(_Local):  # type: ignore[misc] # noqa: N801 - the name that threading.local has
    """A ``_thread._local``: each native thread has its own values; its greenlets share them."""

    __slots__ = ()


# -- threading

_threading: Final[dict[str, Any]] = {
    "Lock": Lock,
    "_allocate_lock": Lock,
    "RLock": RLock,
    "_time": _original.monotonic,
}


@_on(_threading)
class Condition(threading_module.Condition):
    """``threading.Condition`` on a native lock."""


@_on(_threading)
class Semaphore(threading_module.Semaphore):
    """``threading.Semaphore`` on a native lock."""


@_on(_threading)
class BoundedSemaphore(Semaphore, threading_module.BoundedSemaphore):
    """``threading.BoundedSemaphore`` on a native lock."""


@_on(_threading)
class Event(threading_module.Event):
    """``threading.Event`` on a native lock."""


@_on(_threading)
class Barrier(threading_module.Barrier):
    """``threading.Barrier`` on a native lock."""


class Thread(StaysNative, threading_module.Thread):
    """A ``threading.Thread`` that is a native thread, whoever starts it.

    Without a hub of its own it blocks natively in whatever it calls, patched or not, and keeps nobody else
    waiting. Greenlets may join it; other greenlets run meanwhile.
    """


_threading["Thread"] = Thread


class Timer(Thread, threading_module.Timer):
    """A ``threading.Timer`` that waits, and makes its call, in a native thread."""


# -- queue

_queue: Final[dict[str, Any]] = {
    "threading": SimpleNamespace(Lock=Lock, RLock=RLock, Condition=Condition),
    "time": _original.monotonic,
}


@_on(_queue)
class Queue(queue_module.Queue):  # type: ignore[type-arg] # generic for the type checker only
    """``queue.Queue`` on native locks."""


@_on(_queue)
class LifoQueue(Queue, queue_module.LifoQueue):  # type: ignore[type-arg] # as above
    """``queue.LifoQueue`` on native locks."""


@_on(_queue)
class PriorityQueue(Queue, queue_module.PriorityQueue):  # type: ignore[type-arg] # as above
    """``queue.PriorityQueue`` on native locks."""


# -- concurrent.futures

_executor: Final[dict[str, Any]] = {
    "threading": SimpleNamespace(Thread=Thread),
}


# The rest of it works across both worlds as it is, and reads what its module sets at exit.
@_on(_executor, only="_adjust_thread_count")
class ThreadPoolExecutor(StandardExecutor):
    """A ``concurrent.futures.ThreadPoolExecutor`` of native threads. Greenlets may wait for its futures."""


# -- socket


class _PollSelector(selectors_module.SelectSelector):
    """The selector that ``socket.sendfile`` waits with."""

    def _select(self, reading: Any, writing: Any, _: Any, timeout: float | None = None) -> Any:
        return (*_original.select(reading, writing, [], timeout)[:2], [])


_socket: Final[dict[str, Any]] = {
    "os": SimpleNamespace(**{**vars(os), "sendfile": _original.sendfile}),
    "selectors": SimpleNamespace(
        PollSelector=_PollSelector, EVENT_WRITE=selectors_module.EVENT_WRITE
    ),
}


def _as_in_c(kind: Kind) -> Kind:
    """Every method that C has, and the two in Python that patching changes in ``socket.socket``."""
    for name, member in vars(_original.socket).items():
        if type(member) is MethodDescriptorType and not name.startswith("__"):
            setattr(kind, name, member)
    kind.close, kind.detach = _python_close, _python_detach  # type: ignore[attr-defined] # a type's
    return kind


@_on(_socket)
@_as_in_c
class socket(socket_module.socket):  # noqa: N801 - the name that socket.socket has
    """A ``socket.socket`` whose methods keep the whole native thread waiting, as C has them."""

    __slots__ = ()


for _kind in (
    *(Barrier, BoundedSemaphore, Condition, Event, LifoQueue, Lock, PriorityQueue, Queue, RLock),
    *(Semaphore, SimpleQueue, Thread, ThreadPoolExecutor, Timer, local, socket, start_new_thread),
):
    _kind.__module__ = "graftlet.native"  # by the name that users import
