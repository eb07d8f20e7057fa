"""Islands: packages that keep native threads, locks and sleeps while everything around them is patched.

Rule: who asks decides. ``import threading`` in a module of an island gives a *twin* of the module: the same module
in everything, but for the names that are patched, which are the originals there (or those of
`graftlet.native`, which are subclasses of what everybody knows). So it is with every import statement, at the
top of a module or in a function, in modules that are loaded already or later.

An extension module imports past ``builtins.__import__``; what it has got at its top level is exchanged as soon
as it is loaded, as it is in modules that were loaded before.

Threads of a class of the island, or that call a function of it, are native ones (`graftlet.patch._threads`), in
whatever way it has come by ``threading.Thread``. The locks, queues and pools that it holds already are left.
"""

import builtins
import sys
from types import FunctionType, ModuleType
from typing import Any, Final

from graftlet.core import _original
from graftlet.patch import _native
from graftlet.patch._applied import every_change
from graftlet.patch._kept import is_native_name
from graftlet.patch._sweep import Undo
from graftlet.sync._lock import ThreadLock

#: Names of Python modules above what is patched in C.
_ABOVE: Final[dict[str, tuple[str, ...]]] = {
    "threading": (
        *("Barrier", "BoundedSemaphore", "Condition", "Event", "RLock", "Semaphore", "Thread"),
        *("Timer", "local"),
    ),
    "queue": ("LifoQueue", "PriorityQueue", "Queue"),
    "socket": ("socket",),
    "concurrent.futures": ("ThreadPoolExecutor",),
    "concurrent.futures.thread": ("ThreadPoolExecutor",),
}

_import: Final = builtins.__import__


class Twin(ModuleType):
    """A module of the standard library as an island sees it."""

    def __init__(self, module: ModuleType, others: dict[str, Any]) -> None:
        super().__init__(module.__name__, module.__doc__)
        space = self.__dict__
        space.pop("__spec__", None)
        space.pop("__loader__", None)
        space.pop("__package__", None)
        space.update(others, _twin_of=module)

    def __getattr__(self, name: str) -> Any:
        module = self.__dict__["_twin_of"]
        if name == "__all__" and not hasattr(module, name):
            return [each for each in dir(module) if not each.startswith("_")]  # ``import *``
        return getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_twin_of"], name, value)
        self.__dict__.pop(name, None)

    def __delattr__(self, name: str) -> None:
        delattr(self.__dict__["_twin_of"], name)
        self.__dict__.pop(name, None)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_twin_of"])


def _what_makes_locks() -> Any:
    try:
        _original.LockType()  # from Python 3.13 on ``threading.Lock`` is the class
    except TypeError:
        return _original.allocate_lock
    return _original.LockType


_LOCK: Final = _what_makes_locks()


class _State:
    """What has been exchanged."""

    __slots__ = ("log", "settled", "twins")

    def __init__(self) -> None:
        #: By the real module's name; None: it has no need of one.
        self.twins: dict[str, Twin | None] = {}
        #: The ids of the namespaces that have been looked through.
        self.settled: set[int] = set()
        self.log: list[Undo] = []


_state: Final = _State()


def settle() -> None:
    """Packages have been named, or the library has been patched."""
    _state.twins.clear()
    _state.settled.clear()
    builtins.__import__ = _native_import
    _settle_loaded()


def give_back() -> None:
    """The library is about to be un-patched: nobody needs twins any more."""
    if builtins.__import__ is _native_import:
        builtins.__import__ = _import
    while _state.log:
        _state.log.pop().undo()
    _state.twins.clear()
    _state.settled.clear()


def _importing(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
) -> Any:
    """As ``builtins.__import__``."""
    module = _import(name, globals, locals, fromlist, level)
    if globals is not None and is_native_name(globals.get("__name__")):
        _settle_loaded()
        return _twin(module)
    if is_native_name(name):
        _settle_loaded()
    return module


# Under the name by which ``warnings`` knows frames of the import system, and passes them over.
_native_import: Final = FunctionType(
    _importing.__code__.replace(co_filename="<frozen importlib._bootstrap>"),
    globals(),
    "__import__",
    _importing.__defaults__,
)


def _twin(module: Any) -> Any:
    """The twin of ``module``, if any of its names is patched; otherwise the module itself."""
    if not isinstance(module, ModuleType) or isinstance(module, Twin):
        return module
    name = module.__name__
    if name.partition(".")[0] not in sys.stdlib_module_names or sys.modules.get(name) is not module:
        return module
    if name not in _state.twins:
        others = _others(module)
        _state.twins[name] = Twin(module, others) if others else None
    return _state.twins[name] or module


def _others(module: ModuleType) -> dict[str, Any]:
    """What is other in the twin: the originals of what is patched, and classes of `graftlet.native`."""
    originals = _originals()
    others = {
        name: originals[id(value)]
        for name, value in vars(module).items()
        if id(value) in originals and not name.startswith("__")
    }
    for name in _ABOVE.get(module.__name__, ()):
        others[name] = getattr(_native, name)
    for name, value in list(vars(module).items()):
        # ``concurrent.futures`` as an attribute of ``concurrent``
        if isinstance(value, ModuleType) and value.__name__ == f"{module.__name__}.{name}":
            twin = _twin(value)
            if twin is not value:
                others[name] = twin
    return others


def _originals() -> dict[int, Any]:
    """By the id of what stands in now: what was there before."""
    originals: dict[int, Any] = {}
    for applied in every_change():
        change = applied.change
        # One stand-in may have taken the place of several; a function serves everywhere.
        if change.sweep and (
            id(change.replacement) not in originals or not isinstance(applied.before, type)
        ):
            originals[id(change.replacement)] = applied.before
    originals[id(ThreadLock)] = _LOCK
    return originals


def _settle_loaded() -> None:
    """Exchange what the islands' modules have got by other ways than an import statement."""
    exchanges: dict[int, Any] | None = None
    for name, module in list(sys.modules.items()):
        if not is_native_name(name) or not isinstance(module, ModuleType):
            continue
        if id(vars(module)) in _state.settled or _is_being_loaded(module):
            continue
        _state.settled.add(id(vars(module)))
        if exchanges is None:
            exchanges = _exchanges()
        _exchange(vars(module), exchanges)


def _is_being_loaded(module: ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False))


def _exchanges() -> dict[int, Any]:
    """By its id what is exchanged: stand-ins, and classes that exist twice."""
    exchanges = _originals()
    for module_name, names in _ABOVE.items():
        module = sys.modules[module_name]
        for name in names:
            exchanges[id(getattr(module, name))] = getattr(_native, name)
    return exchanges


def _exchange(space: dict[str, Any], exchanges: dict[int, Any]) -> None:
    for name, value in list(space.items()):
        if name.startswith("__"):
            continue
        new = exchanges.get(id(value))
        if new is None and isinstance(value, ModuleType):
            new = _twin(value)
        if new is not None and new is not value:
            space[name] = new
            _state.log.append(Undo(space.get, space.__setitem__, name, value, new))
