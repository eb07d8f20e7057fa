"""Subclasses of ``threading.local`` that were defined before patching.

Rule: such a class and its objects stay what they are. Its base alone changes, in place: to a class of the
same layout, derived from the native one, that keeps a namespace for each greenlet. What the main greenlet
(and each native thread) has is the native object's own, as it always was.

As in C (Modules/_threadmodule.c, ``local_getattro``), ``__init__`` runs again, with the arguments that the
object was made with, for every greenlet that touches it.
"""

import gc
import weakref
from collections.abc import Callable
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import per_thread
from graftlet.sync._local import Namespace, Spaces, data_descriptors, enter, forget

_Native: Final[Any] = _original.ThreadLocal

#: By the id of a native object, as long as that lives: the namespaces of greenlets.
_spaces: Final[dict[int, tuple[Any, Spaces]]] = {}
#: The classes whose base has been changed.
_adopted: Final[list[type]] = []


class _Bridge(_Native):  # type: ignore[misc] # mypy knows nothing of what it derives from
    __slots__ = ()

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Any:
        self = _Native.__new__(cls, *args, **kwargs)
        task = _greenlet()
        if task is not None:
            enter(_spaces_of(self), task)  # Python calls __init__ for this one
        return self

    def __getattribute__(self, name: str) -> Any:
        space = _space(self)
        if space is None:
            return _Native.__getattribute__(self, name)
        if name in space:
            if name not in data_descriptors(type(self)):
                return space[name]
        elif name == "__dict__":
            return space
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        space = _space(self)
        if space is None or name == "__dict__":
            _Native.__setattr__(self, name, value)
        elif name in data_descriptors(type(self)):
            object.__setattr__(self, name, value)
        else:
            space[name] = value

    def __delattr__(self, name: str) -> None:
        space = _space(self)
        if space is None or name == "__dict__":
            _Native.__delattr__(self, name)
        elif name in data_descriptors(type(self)):
            object.__delattr__(self, name)
        elif name in space:
            del space[name]
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _greenlet() -> Any:
    """The greenlet that runs; None if it is the main one of its native thread."""
    hub = getattr(per_thread, "hub", None)
    return None if hub is None or hub.current is hub.main else hub.current


def _spaces_of(self: Any) -> Spaces:
    key = id(self)
    known = _spaces.get(key)
    if known is None:
        known = _spaces[key] = (weakref.ref(self, lambda _: _spaces.pop(key, None)), Spaces())
    return known[1]


def _space(self: Any) -> Namespace | None:
    task = _greenlet()
    if task is None:
        return None
    spaces = _spaces_of(self)
    space: Namespace | None = spaces.get(task)
    if space is None:
        space = enter(spaces, task)
        kind = type(self)
        if kind.__init__ is not object.__init__:
            args, kwargs = _arguments(self)
            try:
                kind.__init__(self, *args, **kwargs)
            except BaseException:
                forget(task, spaces)
                raise
    return space


def _arguments(self: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a native local was made with: it keeps that, and shows it to the garbage collector only."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    for each in gc.get_referents(self):
        if type(each) is tuple:
            args = each
        elif type(each) is dict and each and all(type(key) is str for key in each):
            kwargs = each
    return args, kwargs


def adopt_subclasses(stays: Callable[[str], bool]) -> None:
    """Make the objects of every class that derives from the native local greenlet-local.

    Args:
        stays: tells whether the classes of the module with this name stay native.
    """
    for kind in _Native.__subclasses__():
        if not stays(kind.__module__):
            _change_base(kind, _Native, _Bridge)
            _adopted.append(kind)


def give_back_subclasses() -> None:
    """Undo `adopt_subclasses`."""
    while _adopted:
        _change_base(_adopted.pop(), _Bridge, _Native)


def _change_base(kind: type, old: type, new: type) -> None:
    kind.__bases__ = tuple(new if base is old else base for base in kind.__bases__)
