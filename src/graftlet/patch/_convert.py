"""Objects made before patching: locks, queues, thread-local data, selectors.

Rule: each gets a cooperative successor in the same state, which works on the *same native object* inside
wherever there is one: a reference that the sweep can't reach then still excludes the others.
"""

import gc
import sys
import weakref
from collections.abc import Callable
from types import BuiltinMethodType
from typing import Any, Final

from graftlet.core import _original
from graftlet.io._select import Poll, epoll
from graftlet.patch._kept import is_kept, is_native_name, natives
from graftlet.patch._report import Place
from graftlet.patch._sentinel import NativeSentinelLock, sentinels
from graftlet.patch._sweep import is_ours_name, is_ours_or_namespace
from graftlet.patch._threads import ThreadHandle
from graftlet.sync._local import ThreadLocal, give_back_local, local_of
from graftlet.sync._lock import ThreadLock, ThreadRLock
from graftlet.sync._old_local import adopt_subclasses, give_back_subclasses

Pairs = dict[int, tuple[Any, Any]]


def existing(groups: list[str]) -> tuple[Pairs, list[Place]]:
    """Pairs of every convertible object that exists and its cooperative successor.

    And those that have none: an RLock that another native thread holds.
    """
    kinds: dict[type, Any] = {}
    if "threading" in groups:
        kinds[_original.LockType] = ThreadLock.of
        kinds[_original.RLock] = ThreadRLock.of
        kinds[_original.ThreadLocal] = local_of
        adopt_subclasses(is_ours_name)
        if _original.ThreadHandle is not None:
            kinds[_original.ThreadHandle] = ThreadHandle.of
    if "select" in groups and _original.epoll is not None:
        kinds[_original.epoll] = epoll.of
    if "select" in groups and _Poll is not None:
        kinds[_Poll] = Poll.of
    if "queue" in groups:
        from graftlet.sync._simple_queue import SimpleQueue

        kinds[_original.SimpleQueue] = SimpleQueue.of
    if "multiprocessing" in groups and _original.SemLock is not None:
        from graftlet.io._semaphores import SemLock

        kinds[_original.SemLock] = SemLock.of
    objects = gc.get_objects()
    found = [each for each in objects if type(each) in kinds]
    if _original.SemLock in kinds:
        from graftlet.patch._multiprocessing import untracked_semaphores

        found += untracked_semaphores(objects)
    if "select" in groups:
        found += _untracked(objects, [kind for kind in kinds if kind in (_original.epoll, _Poll)])
    ours = _held_by_graftlet(found)
    if natives:
        ours |= _of_islands(objects)
    pairs: Pairs = _socket_methods(objects) if "socket" in groups else {}
    left = []
    if "files" in groups:
        from graftlet.patch._existing_files import make_cooperative

        raw_files, busy_files = make_cooperative(objects)
        pairs.update(raw_files)
        left += [Place("another native thread, or a full pipe,", each) for each in busy_files]
    del objects
    ends = sentinels() if "threading" in groups else set()
    for each in found:
        if id(each) in ours or is_kept(each):
            continue
        successor = NativeSentinelLock(each) if id(each) in ends else kinds[type(each)](each)
        if successor is None:
            left.append(Place("another native thread", each))
        else:
            pairs[id(each)] = (each, successor)
    return pairs, left


class Remembered:
    """A native object, and a weak reference to its successor.

    Not a tuple: it must be seen whose this reference is, which the sweep must leave alone.
    """

    __slots__ = ("native", "successor")

    def __init__(self, native: Any, successor: Any) -> None:
        self.native = native
        self.successor: Callable[[], Any] = weakref.ref(successor)


def remembered(pairs: Pairs) -> list[Remembered]:
    """What `back` needs to know."""
    return [
        Remembered(native, successor)
        for native, successor in pairs.values()
        if type(successor) is ThreadLocal or hasattr(type(successor), "give_back")
    ]


def back(converted: list[Remembered]) -> Pairs:
    """Pairs of every successor that lives and the native object it was made of, in its state again."""
    give_back_subclasses()
    pairs: Pairs = {}
    for each in converted:
        native, successor = each.native, each.successor()
        if successor is None:
            continue
        if type(successor) is ThreadLocal:
            done = give_back_local(successor, native)
        else:
            done = successor.give_back(native)
        if done:
            pairs[id(successor)] = (successor, native)
    return pairs


def _untracked(objects: list[Any], kinds: list[type]) -> list[Any]:
    """The instances of ``kinds``, which the garbage collector does not know but by what refers to them.

    That takes long, and mostly there are none: each would refer to its type.
    """
    if not _have_hidden_references([_NoInstances, *kinds]):
        return []
    wanted = set(kinds)
    return list(
        {id(each): each for each in gc.get_referents(*objects) if type(each) in wanted}.values()
    )


def _have_hidden_references(kinds: list[type]) -> bool:
    """Whether more refers to any of ``kinds`` than the garbage collector knows; the first is the measure."""
    known = gc.get_referents(*gc.get_referrers(*kinds))
    counts = [sum(each is kind for each in known) for kind in kinds]
    del known
    hidden = [sys.getrefcount(kind) - count for kind, count in zip(kinds, counts, strict=True)]
    return max(hidden) > hidden[0]


class _NoInstances:
    """There is none."""


_Poll: Final = None if _original.poll is None else type(_original.poll())


def _socket_methods(objects: list[Any]) -> Pairs:
    """Bound methods that somebody keeps (``recv = sock.recv``): those of C, where there are ours now."""
    from socket import socket

    pairs: Pairs = {}
    for each in objects:
        if type(each) is BuiltinMethodType and issubclass(type(each.__self__), socket):
            successor = getattr(each.__self__, each.__name__)
            if type(successor) is not BuiltinMethodType:
                pairs[id(each)] = (each, successor)
    return pairs


def _held_by_graftlet(found: list[Any]) -> set[int]:
    """Ids of the objects that graftlet itself refers to: these stay native."""
    ours: set[int] = set()
    for holder in gc.get_referrers(*found):
        if is_ours_or_namespace(holder):
            ours.update(map(id, gc.get_referents(holder)))
    return ours


#: What an island's Condition, Queue or pool is made of is the island's, too.
_PARTS: Final = ("threading", "queue", "_thread", "_queue", "collections", "concurrent.futures")


def _of_islands(objects: list[Any]) -> set[int]:
    """Ids of all that packages which stay native have made and hold."""
    reached = [vars(module) for name, module in list(sys.modules.items()) if is_native_name(name)]
    reached += [
        each
        for each in objects
        if is_native_name(
            getattr(each if isinstance(each, type) else type(each), "__module__", None)
        )
    ]
    seen = {id(each) for each in reached}
    while reached:
        for each in gc.get_referents(reached.pop()):
            kind = type(each)
            if id(each) in seen or isinstance(each, type):
                continue
            seen.add(id(each))
            if kind in (dict, list, tuple, set, frozenset) or kind.__module__.startswith(_PARTS):
                reached.append(each)
    return seen


def describe(thing: Any) -> str:
    """For the report."""
    return repr(thing)
