"""Objects made before patching: locks, queues, thread-local data, selectors.

Rule: each gets a cooperative successor in the same state, which works on the *same native object* inside
wherever there is one: a reference that the sweep can't reach then still excludes the others.
"""

import gc
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import compress
from types import BuiltinMethodType
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._poller import EpollPoller, LevelPoller
from graftlet.io._select import Poll, epoll
from graftlet.patch._applied import every_change
from graftlet.patch._kept import is_kept, is_native_name, natives
from graftlet.patch._referrers import holders_of, unexplained
from graftlet.patch._report import Place
from graftlet.patch._sentinel import NativeSentinelLock, sentinels
from graftlet.patch._sweep import is_ours_name, is_ours_or_namespace
from graftlet.patch._threads import ThreadHandle
from graftlet.sync._local import ThreadLocal, give_back_local, local_of
from graftlet.sync._lock import ThreadLock
from graftlet.sync._old_local import adopt_subclasses, give_back_subclasses
from graftlet.sync._rlock import ThreadRLock

Pairs = dict[int, tuple[Any, Any]]


def existing(groups: list[str], olds: Pairs) -> tuple[Pairs, list[Place], list[Any]]:
    """Pairs of every convertible object that exists and its cooperative successor.

    Args:
        olds: what else is about to be swept.

    Returns: the pairs; what has no successor, such as a process's RLock that another native thread holds; and who
        refers to any of all that, for the sweep.
    """
    kinds = _kinds(groups)
    sought = _sought(groups, kinds)
    objects = gc.get_objects()
    some = list(compress(objects, map(sought.__contains__, map(type, objects))))
    islands = _of_islands(objects) if natives else set()
    del objects
    pairs, left = _in_place(groups, some)
    found = [each for each in some if type(each) in kinds]
    if _original.SemLock in kinds:
        from graftlet.patch._multiprocessing import untracked_semaphores

        found += untracked_semaphores(some)
    methods = [each for each in some if type(each) is BuiltinMethodType]
    hubs_own = gc.get_referents(*(each for each in some if type(each) in _POLLERS))
    del some

    hidden = [_NoInstances, *(kind for kind in kinds if kind in (_original.epoll, _Poll))]
    swept = (*olds.values(), *pairs.values())
    own = [*swept, swept, found, hidden, kinds, sought, methods, hubs_own]

    def asked() -> list[Any]:
        """Who refers to all that. The question takes as long as all the rest."""
        things = set(map(id, found))
        bound = (each for each in methods if id(each.__self__) in things)
        return holders_of([*(old for old, _ in swept), *found, *bound, *hidden], own)

    holders = asked()
    if _has_hidden(hidden, [*holders, *every_change(), *own], hubs_own):
        found += _untracked(gc.get_objects(), hidden)
        holders = asked()
    ours = islands | _held_by_graftlet(holders)
    ends = sentinels() if "threading" in groups else set()
    for each in found:
        if id(each) in ours or is_kept(each):
            continue
        successor = NativeSentinelLock(each) if id(each) in ends else kinds[type(each)](each)
        if successor is None:
            left.append(Place("another native thread", each))
        else:
            pairs[id(each)] = (each, successor)
    # ``Condition`` keeps ``lock.acquire``: such methods go with the lock.
    for each in methods:
        pair = pairs.get(id(each.__self__))
        if pair is not None and not isinstance(pair[1], type):
            pairs[id(each)] = (each, getattr(pair[1], each.__name__))
    return pairs, left, holders


def _kinds(groups: list[str]) -> dict[type, Any]:
    """The types of what gets a successor, each with what makes one."""
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
    return kinds


def _sought(groups: list[str], kinds: dict[type, Any]) -> set[type]:
    """The types of all that is looked for: `kinds`, and what helps to find them or is changed in place."""
    sought = {*kinds, BuiltinMethodType, *_POLLERS}
    if "files" in groups:
        from graftlet.patch import _existing_files

        sought.update(_existing_files.KINDS)
    if "ssl" in groups:
        from ssl import SSLSocket

        sought.update(_with_subclasses(SSLSocket))
    if "multiprocessing.synchronize" in sys.modules:
        from multiprocessing.synchronize import SemLock

        sought.update(_with_subclasses(SemLock))
    return sought


def _in_place(groups: list[str], some: list[Any]) -> tuple[Pairs, list[Place]]:
    """Make sockets, TLS and files cooperative; pairs of what nevertheless needs a successor, and what is left."""
    pairs: Pairs = _socket_methods(some) if "socket" in groups else {}
    left = []
    if "files" in groups:
        from graftlet.patch import _existing_files

        raw_files, busy_files = _existing_files.make_cooperative(some)
        pairs.update(raw_files)
        left += [Place("another native thread, or a full pipe,", each) for each in busy_files]
    if "ssl" in groups:
        from graftlet.io._ssl import adopt_existing

        adopt_existing(some)
    return pairs, left


def _has_hidden(kinds: list[type], holders: list[Any], hubs_own: list[Any]) -> bool:
    """Whether any of ``kinds`` has instances that the collector does not know, besides those of hubs.

    Mostly it knows all who refer to the type, and nobody need look for instances.
    """
    references = unexplained(kinds, holders)
    hubs = Counter(type(each) for each in hubs_own if not gc.is_tracked(each))
    return any(
        count - hubs[kind] > references[0] for kind, count in zip(kinds, references, strict=True)
    )


def _with_subclasses(kind: Any) -> Iterator[type]:
    yield kind
    for each in kind.__subclasses__():
        yield from _with_subclasses(each)


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
        if successor.__class__ is ThreadLocal or hasattr(type(successor), "give_back")
    ]


def back(converted: list[Remembered]) -> Pairs:
    """Pairs of every successor that lives and the native object it was made of, in its state again."""
    give_back_subclasses()
    pairs: Pairs = {}
    for each in converted:
        native, successor = each.native, each.successor()
        if successor is None:
            continue
        if successor.__class__ is ThreadLocal:
            done = give_back_local(successor, native)
        else:
            done = successor.give_back(native)
        if done:
            pairs[id(successor)] = (successor, native)
    return pairs


def _untracked(objects: list[Any], kinds: list[type]) -> list[Any]:
    """The instances of ``kinds``, which the garbage collector does not know but by what refers to them."""
    wanted = set(kinds)
    return list(
        {id(each): each for each in gc.get_referents(*objects) if type(each) in wanted}.values()
    )


class _NoInstances:
    """There is none, so it tells how many of a type's references nobody knows anyway."""


#: Each hub has an epoll (or poll) of its own, which stays native.
_POLLERS: Final = (EpollPoller, LevelPoller)
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


def _held_by_graftlet(holders: list[Any]) -> set[int]:
    """Ids of the objects that graftlet itself refers to: these stay native."""
    ours: set[int] = set()
    for holder in holders:
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


def described(pairs: Pairs) -> list[str]:
    """The objects that were converted, for the report: methods go with what they are of."""
    return [repr(old) for old, _ in pairs.values() if type(old) is not BuiltinMethodType]
