"""`local`: attributes that each greenlet (and each native thread) has its own values of.

Rule: a local keeps one namespace per greenlet, and a greenlet that ends takes its own out. It knows
the locals it has used by weak references only: a local that nobody else refers to is gone with all its
values, also one that refers to itself, and needs no finalizer for it. The namespace is found by the running greenlet at each
access, so nothing has to be done when greenlets switch.

The behaviour is that of ``threading.local`` (Modules/_threadmodule.c): a subclass's ``__init__`` runs
again, with the same arguments, for every greenlet that touches the object.
"""

import sys
from typing import Any, Final, NoReturn
from weakref import WeakValueDictionary

from graftlet.core._current import blocking_hub, per_thread

Namespace = dict[str, Any]


class Spaces(dict[Any, Namespace]):
    """The namespaces of one local, by greenlet (a dict that can be referred to weakly)."""

    __slots__ = ("__weakref__",)


class _Slots:
    __slots__ = ("__weakref__", "_local__arguments", "_local__spaces")

    _local__spaces: Spaces


class local(_Slots):  # noqa: N801 - the name that threading.local has
    """Greenlet-local data, as `threading.local`."""

    __slots__ = ()

    def __new__(cls, /, *args: Any, **kwargs: Any) -> "local":
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self: local = object.__new__(_quick.get(cls, cls))
        spaces = Spaces()
        _set_spaces(self, spaces)
        _set_arguments(self, (args, kwargs))
        # Python calls __init__ for this first namespace.
        enter(spaces, _me())
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle '{type(self).__module__}.{type(self).__qualname__}' object")

    def __getattribute__(self, name: str) -> Any:
        space = _space(self)
        if name in space:
            if name not in data_descriptors(type(self)):
                return space[name]
        elif name == "__dict__":
            return space
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__dict__":
            raise AttributeError(
                f"{type(self).__name__!r} object attribute '__dict__' is read-only"
            )
        space = _space(self)
        if name in data_descriptors(type(self)):
            object.__setattr__(self, name, value)
        else:
            space[name] = value

    def __delattr__(self, name: str) -> None:
        if name == "__dict__":
            raise AttributeError(
                f"{type(self).__name__!r} object attribute '__dict__' is read-only"
            )
        space = _space(self)
        if name in data_descriptors(type(self)):
            object.__delattr__(self, name)
            return
        try:
            del space[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            ) from None


class ThreadLocal(local):
    """What takes the place of ``_thread._local``: in everything that it says of itself, too."""

    __module__ = "_thread"
    __slots__ = ()


ThreadLocal.__name__ = ThreadLocal.__qualname__ = "_local"

# Slots are read past __getattribute__.
_get_spaces: Final = _Slots.__dict__["_local__spaces"].__get__
_set_spaces: Final = _Slots.__dict__["_local__spaces"].__set__
_get_arguments: Final = _Slots.__dict__["_local__arguments"].__get__
_set_arguments: Final = _Slots.__dict__["_local__arguments"].__set__


class _HublessThread:
    """Stands for a native thread that has no hub: as the owner of namespaces, which refer to it."""

    __slots__ = ("locals",)

    def __init__(self) -> None:
        self.locals: WeakValueDictionary[int, Spaces] | None = None


class _Presence:
    """Dropped with the native thread's own data, at its end: takes the thread's namespaces out."""

    __slots__ = ("thread",)

    def __init__(self) -> None:
        self.thread = _HublessThread()

    def __del__(self) -> None:
        thread = self.thread
        for spaces in list((thread.locals or {}).values()):
            spaces.pop(thread, None)


def _me() -> Any:
    hub = blocking_hub()
    if hub is not None:
        return hub.current
    try:
        return per_thread.presence.thread
    except AttributeError:
        per_thread.presence = presence = _Presence()
        return presence.thread


def enter(spaces: Spaces, owner: Any) -> Namespace:
    space: Namespace = {}
    spaces[owner] = space
    if owner.locals is None:
        owner.locals = WeakValueDictionary()
    owner.locals[id(spaces)] = spaces
    return space


def forget(owner: Any, spaces: Spaces) -> None:
    kept = owner.locals
    if kept is not None:
        kept.pop(id(spaces), None)
    spaces.pop(owner, None)


def _space(self: _Slots) -> Namespace:
    spaces = _get_spaces(self)
    owner = _me()
    space: Namespace | None = spaces.get(owner)
    if space is None:
        space = enter(spaces, owner)
        kind = type(self)
        if kind.__init__ is not object.__init__:
            args, kwargs = _get_arguments(self)
            try:
                kind.__init__(self, *args, **kwargs)
            except BaseException:
                forget(owner, spaces)
                raise
    return space


_descriptors: Final[dict[type, frozenset[str]]] = {}


def data_descriptors(kind: type) -> frozenset[str]:
    """The names that ``kind`` itself decides about (slots, properties), whatever a namespace has."""
    names = _descriptors.get(kind)
    if names is None:
        names = _descriptors[kind] = frozenset(
            name
            for base in kind.__mro__
            for name, value in vars(base).items()
            if hasattr(type(value), "__set__")
        )
    return names


# -- Those that no class is derived from


# What a `local` of no subclass really is: it says that it is one, and asks itself fewer questions.
#
# On 3.12 and newer it has no ``__getattribute__``, so that its slots are read at the interpreter's full speed, and half of
# each access is saved (benchmarks, local). The price: attributes of the class come first. There are none but special
# ones, and who gives an object one of those names has made it a common `local`.
class _Quick(_Slots):
    __slots__ = ()

    @property  # type: ignore[misc] # that of object can be set
    def __class__(self) -> Any:
        return local

    if sys.version_info >= (3, 12):

        def __getattr__(self, name: str) -> Any:
            try:
                return self._local__spaces[per_thread.hub.current][name]
            except (AttributeError, KeyError):
                return _read(self, name)

        def __setattr__(self, name: str, value: Any) -> None:
            if name not in _OF_CLASS:
                try:
                    self._local__spaces[per_thread.hub.current][name] = value
                except (AttributeError, KeyError):
                    _space(self)[name] = value
            else:
                _set_class(self, self.__class__)
                setattr(self, name, value)

    else:  # goes with 3.11, where a miss in front of __getattr__ costs 250 ns

        def __getattribute__(self, name: str) -> Any:
            try:
                return _get_spaces(self)[per_thread.hub.current][name]
            except (AttributeError, KeyError):
                return _read(self, name)

        def __setattr__(self, name: str, value: Any) -> None:
            if name not in _OF_CLASS:
                try:
                    _get_spaces(self)[per_thread.hub.current][name] = value
                except (AttributeError, KeyError):
                    _space(self)[name] = value
            else:
                _set_class(self, self.__class__)
                setattr(self, name, value)

    __delattr__ = local.__delattr__
    __reduce__ = local.__reduce__


class QuickThreadLocal(_Quick):
    __module__ = "_thread"
    __slots__ = ()

    @property  # type: ignore[misc] # as above
    def __class__(self) -> Any:
        return ThreadLocal


_OF_CLASS: Final = frozenset((*dir(_Quick), "__dict__"))
_set_class: Final[Any] = object.__dict__["__class__"].__set__
_read: Final[Any] = local.__getattribute__
#: By class: what its objects are instead.
_quick: Final[dict[type, type]] = {local: _Quick, ThreadLocal: QuickThreadLocal}
for _kind in _quick:
    _quick[_kind].__name__ = _quick[_kind].__qualname__ = _kind.__name__
    _quick[_kind].__doc__ = _kind.__doc__


# Not methods: a local has no attributes but those that its users give it.


def local_of(native: Any) -> local:
    """A greenlet-local object in which the current greenlet has what its thread has in ``native``."""
    made = ThreadLocal()
    vars(made).update(vars(native))
    return made


def give_back_local(made: local, native: Any) -> bool:
    """Undo `local_of`: the thread has in ``native`` what the current greenlet has now."""
    vars(native).clear()
    vars(native).update(vars(made))
    return True
