"""Which libraries get an adapter, as data: group ``drivers`` of the table reads it.

Rule: an adapter is for a library that blocks inside its own C code, where no patching of the standard
library reaches. It names the modules of which it has to hear; it is asked for its changes when one of
them is loaded, be it before patching or after, and never imports one itself.

The adapters are floors above this one (`graftlet.ext`): they are put in here, and taken from here.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Final

from graftlet.patch._changes import Change


class Adapter:
    """What makes one library cooperative.

    Attributes:
        library: its name on PyPI, or in the standard library.
        modules: the modules whose import is waited for.
        how: for people: what becomes of the library's blocking calls.
        find: makes the list of changes for those of ``modules`` that are loaded.
        settle: for what is no change of an attribute; None if there is nothing of the kind.

    ``settle`` is called with True when one of ``modules`` is loaded and patched, perhaps several times, and with False
    before un-patching.
    """

    __slots__ = ("find", "how", "library", "modules", "settle")

    def __init__(
        self,
        library: str,
        modules: Iterable[str],
        how: str,
        find: Callable[[], list[Change]],
        settle: Callable[[bool], object] | None = None,
    ) -> None:
        self.library = library
        self.modules = tuple(modules)
        self.how = how
        self.find = find
        self.settle = settle

    def __repr__(self) -> str:
        return f"Adapter({self.library!r}: {self.how})"

    @property
    def loaded(self) -> bool:
        """Whether one of its modules has been imported."""
        return any(name in sys.modules for name in self.modules)


#: All of them, by module. The engine looks here whenever a module is imported.
by_module: Final[dict[str, Adapter]] = {}


def add(adapter: Adapter) -> None:
    """Take an adapter in.

    Raises:
        ValueError: there is one for that module.
    """
    for name in adapter.modules:
        if name in by_module:
            raise ValueError(f"graftlet.ext: module {name!r} has an adapter: {by_module[name]!r}")
    by_module.update(dict.fromkeys(adapter.modules, adapter))


def adapters() -> list[Adapter]:
    """Every adapter that there is, in the order in which they were added."""
    return list(dict.fromkeys(by_module.values()))


def changes() -> list[Change]:
    """What the adapters of all loaded libraries change."""
    return [change for adapter in adapters() if adapter.loaded for change in adapter.find()]


def settle(patched: bool) -> None:
    """All loaded libraries have been patched, or are about to be un-patched."""
    for adapter in adapters():
        if adapter.settle is not None and adapter.loaded:
            adapter.settle(patched)


def imported(module: str) -> None:
    """A module has just been imported, and patched."""
    adapter = by_module.get(module)
    if adapter is not None and adapter.settle is not None:
        adapter.settle(True)
