"""Native objects that stay native when the program is patched: those of `graftlet.native`.

Rule: a C lock can't be told from the one that ``threading.Lock()`` gave to the program earlier, nor can a
class derive from it. So those that must be left alone are known here, for as long as they live.
"""

import weakref
from typing import Any, Final, TypeVar

Kept = TypeVar("Kept")

#: By ``id``.
_kept: Final[dict[int, "weakref.ref[Any]"]] = {}


def keep(thing: Kept) -> Kept:
    """Leave ``thing`` alone when the program is patched."""
    key = id(thing)

    def gone(reference: object) -> None:
        if _kept.get(key) is reference:  # the next one may have the same id already
            del _kept[key]

    _kept[key] = weakref.ref(thing, gone)
    return thing


def is_kept(thing: object) -> bool:
    """Whether `keep` was called with ``thing``."""
    reference = _kept.get(id(thing))
    return reference is not None and reference() is thing
