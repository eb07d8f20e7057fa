"""Who refers to any of many objects: asked of the garbage collector, and as seldom as can be.

Rule: a question is a pass over all that exists, in which ``gc.get_referrers`` compares each reference with each of
the objects. So the namespaces of modules, which hold most of it, are looked through first; and then only those
objects are asked about of which the count of references says that somebody else has them.
"""

import gc
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, Final

from graftlet.patch._applied import every_change

#: Up to so many objects ``gc.get_referrers`` is faster than looking them up by number.
FEW: Final = 150
#: So many containers are looked through at once. In most there is nothing.
_PART: Final = 64


def holders_of(wanted: list[Any], own: Iterable[Any]) -> list[Any]:
    """The containers that refer to any of ``wanted``.

    Args:
        own: containers of the caller's, which are left out.
    """
    asked = (object(), *wanted)  # to the first one there is no other reference: the measure
    spaces = _namespaces()
    own = [*own, *every_change(), asked, wanted]
    nothing_in = set(map(id, wanted)).isdisjoint
    found = [space for space in spaces if not nothing_in(map(id, gc.get_referents(space)))]
    elsewhere = unexplained(asked, [*found, *own])
    left = tuple(each for each, more in zip(asked, elsewhere, strict=True) if more > elsewhere[0])
    known = {*map(id, spaces), *map(id, own), id(left)}
    return found + [each for each in referrers(left) if id(each) not in known]


def unexplained(things: Sequence[Any], holders: Iterable[Any]) -> list[int]:
    """How many references each of ``things`` has besides those in ``holders``, and a few that all have."""
    numbers = list(map(id, things))
    counts = Counter(filter(set(numbers).__contains__, map(id, gc.get_referents(*holders))))
    return [
        count - counts[number]
        for count, number in zip(map(sys.getrefcount, things), numbers, strict=True)
    ]


def referrers(wanted: tuple[Any, ...]) -> list[Any]:
    """The containers that refer to any of ``wanted``; this is one of them itself."""
    if not wanted:
        return []
    if len(wanted) <= FEW:
        return gc.get_referrers(*wanted)
    nothing_in = set(map(id, wanted)).isdisjoint
    referents = gc.get_referents
    containers = gc.get_objects()
    found = []  # made afterwards: it may hold some of those that are asked about, and must not hold itself
    for start in range(0, len(containers), _PART):
        part = containers[start : start + _PART]
        if not nothing_in(map(id, referents(*part))):
            found += [each for each in part if not nothing_in(map(id, referents(each)))]
    return found


def _namespaces() -> list[dict[str, Any]]:
    """Those of all modules, each once: a module may have several names."""
    modules: list[Any] = list(sys.modules.values())  # anything may lie in there
    spaces = [vars(each) for each in modules if isinstance(each, ModuleType)]
    return list({id(space): space for space in spaces}.values())
