"""Objects made before patching: locks, queues, thread-local data, selectors.

Rule: each gets a cooperative successor in the same state, which works on the *same native object* inside
wherever there is one: a reference that the sweep can't reach then still excludes the others.
"""

import gc
from typing import Any

from graftlet.core import _original
from graftlet.io._select import epoll
from graftlet.patch._sweep import is_ours, is_ours_name
from graftlet.patch._threads import ThreadHandle
from graftlet.sync._local import local
from graftlet.sync._lock import Lock, RLock

Pairs = dict[int, tuple[Any, Any]]


def existing(groups: list[str]) -> Pairs:
    """Pairs of every convertible object that exists and its cooperative successor."""
    kinds: dict[type, Any] = {}
    if "threading" in groups:
        kinds[_original.LockType] = Lock.of
        kinds[_original.RLock] = RLock.of
        kinds[_original.ThreadLocal] = local.of
        if _original.ThreadHandle is not None:
            kinds[_original.ThreadHandle] = ThreadHandle.of
    if "select" in groups and _original.epoll is not None:
        kinds[_original.epoll] = epoll.of
    if "queue" in groups:
        from graftlet.sync._simple_queue import SimpleQueue

        kinds[_original.SimpleQueue] = SimpleQueue.of
    found = [each for each in gc.get_objects() if type(each) in kinds]
    ours = _held_by_graftlet(found)
    pairs: Pairs = {}
    for each in found:
        if id(each) not in ours and (successor := kinds[type(each)](each)) is not None:
            pairs[id(each)] = (each, successor)
    return pairs


def _held_by_graftlet(found: list[Any]) -> set[int]:
    """Ids of the objects that graftlet itself refers to: these stay native."""
    ours: set[int] = set()
    for holder in gc.get_referrers(*found):
        if is_ours(holder) or (type(holder) is dict and is_ours_name(holder.get("__name__"))):
            ours.update(map(id, gc.get_referents(holder)))
    return ours


def describe(thing: Any) -> str:
    """For the report."""
    return repr(thing)
