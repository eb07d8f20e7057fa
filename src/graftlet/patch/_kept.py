"""What stays native when the program is patched: objects of `graftlet.native`, and whole packages.

Rule: a package is an *island* by its name (``patch_all(native={"grpc"})``), with all its submodules, whether they
are loaded or not.

A C lock can't be told from the one that ``threading.Lock()`` gave to the program earlier, nor can a
class derive from it. So those that must be left alone are known here, for as long as they live.
"""

import sys
import weakref
from collections.abc import Collection
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


#: The islands: names of packages and modules.
natives: Final[set[str]] = set()


def native_names(names: Collection[str], where: str = "patch_all: native") -> set[str]:
    """``names``, when they can be islands.

    Raises:
        TypeError: it is no collection of strings.
        ValueError: one can't be the name of a package, or is that of one that is patched itself.
    """
    if isinstance(names, (str, bytes)) or not isinstance(names, Collection):
        raise TypeError(
            f'{where} is a collection of package names, not {names!r}; for one: native={{"grpc"}}'
        )
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{where} has {name!r}, which is no package's name")
        if not name or not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(
                f"{where} has {name!r}, which can't be a package's name; the name is that of "
                "the import statement, not that on PyPI"
            )
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in ("graftlet", "greenlet"):
            raise ValueError(
                f"{where} has {name!r}, which is part of what is patched; to leave "
                "a whole group alone: patch_all(threading=False)"
            )
    return set(names)


def is_native_name(name: object) -> bool:
    """Whether ``name`` is that of a module of an island."""
    if not natives or not isinstance(name, str):
        return False
    while name:
        if name in natives:
            return True
        name = name.rpartition(".")[0]
    return False
