"""Hearing of the import of a few named modules, the moment that they have been executed.

Rule: nothing is imported here in order to be patched. What is not loaded yet is patched when the program
imports it, and what it imports afresh (a second ``_queue`` module, say, with a type of its own) is patched
again. Before anybody else gets to see the module: ``from _asyncio import ...`` finds what has taken the
place.

There is one finder in ``sys.meta_path``, while anybody listens. It costs each import of a module that is
not loaded one look into a dict. It finds nothing itself: it asks those behind it, and for a named module
stands between the import system and the loader for as long as the module's code runs. Specs and modules
end up as they would without it.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

Listener = Callable[[str], object]

_listeners: Final[dict[str, list[Listener]]] = {}


class _Finder:
    """Stands first in ``sys.meta_path``."""

    def __repr__(self) -> str:
        return "<graftlet hears of imports>"

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """As the protocol of importlib.abc.MetaPathFinder says."""
        if name not in _listeners:
            return None
        spec = self._find_behind(name, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec)
        return spec

    def _find_behind(self, name: str, path: Any, target: Any) -> Any:
        """What the finders that come after this one make of it."""
        finders = list(sys.meta_path)
        start = finders.index(self) + 1 if self in finders else 0
        for finder in finders[start:]:
            find_spec = getattr(finder, "find_spec", None)
            if find_spec is not None and (spec := find_spec(name, path, target)) is not None:
                return spec
        return None


class _Loader:
    """In the place of a spec's loader until it has executed the module."""

    def __init__(self, spec: Any) -> None:
        self._spec = spec
        self._loader = spec.loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: Any) -> None:
        """As the protocol of importlib.abc.Loader says."""
        loader = self._spec.loader = self._loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = loader
        loader.exec_module(module)
        name = self._spec.name
        for listener in list(_listeners.get(name, ())):
            listener(name)


_finder: Final = _Finder()


def on_import(names: Iterable[str], listener: Listener) -> None:
    """From now on call ``listener(name)`` whenever one of the modules has just been executed.

    The module is in ``sys.modules`` then, and the import that waits for it has not returned. What the
    listener raises makes the import fail. Modules that are loaded already are not told of.
    """
    for name in names:
        listeners = _listeners.setdefault(name, [])
        if listener not in listeners:
            listeners.append(listener)
    if _listeners and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def no_longer(listener: Listener) -> None:
    """Take every `on_import` of ``listener`` back."""
    for name in list(_listeners):
        listeners = [each for each in _listeners[name] if each != listener]
        if listeners:
            _listeners[name] = listeners
        else:
            del _listeners[name]
    if not _listeners and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
