"""Finding every other reference to an object in this process, and putting another one there.

Rule: what holds a reference is asked of the garbage collector, which knows at C speed; what can be changed
is changed, and what can't is reported, never passed over in silence. graftlet's own references (above
all those of ``core/_original.py``) are left alone.

A sweep is two passes over all containers: the first finds those that refer to what is swept, the second finds
whose they are (a class's dict must be changed through the class, a tuple of defaults through its function).
Each pass takes 8 ms where 103,000 containers exist, and a quarter of a millisecond for each object that is asked about.
"""

import gc
import sys
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from types import (
    BuiltinMethodType,
    CellType,
    ClassMethodDescriptorType,
    FrameType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

from graftlet.core import _original
from graftlet.patch._frames import Variables, variables_of_callers
from graftlet.patch._kept import is_native_name
from graftlet.patch._referrers import holders_of, referrers
from graftlet.patch._report import Place
from graftlet.patch._sentinel import released_by_c
from graftlet.patch._threads import StaysNative
from graftlet.sync._local import QuickThreadLocal, ThreadLocal
from graftlet.sync._lock import ThreadLock
from graftlet.sync._rlock import ThreadRLock

#: Attributes under which graftlet's own classes may hold an original.
_OURS: Final = "graftlet."
#: Classes of graftlet's that don't say so.
_DISGUISED: Final = (ThreadLock, ThreadRLock, ThreadLocal, QuickThreadLocal)


#: Holders that need no change: functions and modules (what is in their dicts, tuples and cells comes by
#: itself), a C type's own methods, classes.
_PASSED_OVER: Final = (
    FunctionType,
    ModuleType,
    type,
    WrapperDescriptorType,
    MethodDescriptorType,
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
)


class Undo:
    """One reference that was changed, in something that lasts, and what it was before."""

    __slots__ = ("_get", "_name", "_new", "_old", "_set")

    def __init__(
        self,
        get: Callable[[str], Any],
        put: Callable[[str, Any], object],
        name: str,
        old: Any,
        new: Any,
    ) -> None:
        self._get = get
        self._set = put
        self._name = name
        self._old = old
        self._new = new

    def undo(self) -> None:
        """Put the old object back, unless somebody has put something else there meanwhile."""
        if self._get(self._name) is self._new:
            self._set(self._name, self._old)


def rebind(
    mapping: dict[int, tuple[Any, Any]],
    log: list[Undo] | None = None,
    holders: list[Any] | None = None,
) -> tuple[list[Place], list[Place]]:
    """Put the second object of each pair wherever the first one is referred to.

    Args:
        mapping: by ``id`` of the old object: the old one and the new one.
        log: gets an entry for each change in a module, a class or a function's defaults.
        holders: who refers to the old ones (and to others, perhaps), if that is known.

    Returns: the places that were changed, and those that could not be.
    """
    log = [] if log is None else log
    changed: list[Place] = []
    unreached: list[Place] = []
    while mapping:
        sweep = _Sweep(mapping, log)
        sweep.run(holders)
        holders = sweep.holders_of_dependent()
        changed += sweep.changed
        unreached += sweep.unreached
        # ``Condition`` keeps ``lock.acquire``, a new object each time: those are references, too. So is
        # a tuple, which can't be changed itself.
        mapping = sweep.dependent
    return changed, unreached


class _Sweep:
    def __init__(self, mapping: dict[int, tuple[Any, Any]], log: list[Undo]) -> None:
        self.mapping = mapping
        self.log = log
        self.changed: list[Place] = []
        self.unreached: list[Place] = []
        #: Bound methods of old objects that somebody keeps, and tuples that hold some, and the same with
        #: the new ones.
        self.dependent: dict[int, tuple[Any, Any]] = {}
        #: By ``id`` of a tuple in `dependent`: who refers to it.
        self.owners: dict[int, list[Any]] = {}

    def holders_of_dependent(self) -> list[Any] | None:
        """Who refers to what is in `dependent`, if that is known."""
        owners = self.owners
        self.owners = {}  # or the next sweep would find them there
        if owners.keys() != self.dependent.keys():
            return None
        return list({id(each): each for held in owners.values() for each in held}.values())

    def run(self, holders: list[Any] | None) -> None:
        pairs = tuple(self.mapping.values())
        own = {id(pairs), id(self.mapping), id(self), id(self.__dict__), id(holders)}
        own.update(map(id, pairs))
        if holders is None:
            holders = holders_of([old for old, _ in pairs], [pairs, *pairs])
            own.add(id(holders))
        modules = {
            id(vars(module)): name
            for name, module in list(sys.modules.items())
            if hasattr(module, "__dict__")  # anything may lie in sys.modules
        }
        indirect: list[Any] = []
        own.add(id(indirect))
        for holder in holders:
            if id(holder) in own or id(type(holder)) in self.mapping or is_ours(holder):
                continue  # ... or an instance, which refers to its type
            if not self._refers(holder):
                continue  # it refers to something else that was asked for
            if type(holder) is dict:
                name = modules.get(id(holder))
                if name is not None:
                    if not is_ours_name(name):
                        self._in_dict(holder, name, lasts=True)
                elif (kind := _class_of(holder)) is None:
                    indirect.append(holder)
                elif not is_ours(kind):
                    self._in_class(kind)
            elif isinstance(holder, tuple):
                if not _is_mro(holder):  # that goes with a class's bases
                    indirect.append(holder)
            else:
                self._in_object(holder)
        if indirect:
            self._in_indirect(indirect, own | {id(modules)})
        for old, new in pairs:
            self._in_weak_references(old, new)
        for variables in variables_of_callers(is_ours_name):
            self._in_variables(variables)

    # -- One kind of holder each

    def _refers(self, holder: Any) -> bool:
        return any(id(each) in self.mapping for each in gc.get_referents(holder))

    def _new(self, value: Any) -> Any:
        pair = self.mapping.get(id(value))
        return None if pair is None else pair[1]

    def _in_dict(self, holder: dict[Any, Any], where: str, lasts: bool) -> None:
        for key, value in list(holder.items()):
            if (new := self._new(value)) is not None:
                holder[key] = new
                self.changed.append(Place(f"{where}.{key}"))
                if lasts:
                    self.log.append(Undo(holder.get, holder.__setitem__, key, value, new))
            if self._new(key) is not None:
                self.unreached.append(Place(f"{where}: a key of a dict", value=key))

    def _in_indirect(self, holders: list[Any], own: set[int]) -> None:
        """Dicts and tuples: whose are they?"""
        owners: dict[int, list[Any]] = {}
        wanted = {id(holder) for holder in holders}
        asked = tuple(holders)
        own = {*own, id(asked)}
        for owner in referrers(asked):
            if id(owner) in own or owner is owners:
                continue
            for held in _held_by(owner):
                if id(held) in wanted:
                    owners.setdefault(id(held), []).append(owner)
        for holder in holders:
            known = owners.get(id(holder), [])
            if any(is_ours_or_namespace(owner) for owner in known):
                continue
            if isinstance(holder, tuple):
                self._in_tuple(holder, known)
                continue
            kind = next((owner for owner in known if isinstance(owner, type)), None)
            if kind is not None:
                self._in_class(kind)
            else:
                self._in_dict(holder, _describe_held(holder, known), lasts=False)

    def _in_class(self, kind: type) -> None:
        for name, value in list(vars(kind).items()):
            if (new := self._new(value)) is not None:
                try:
                    setattr(kind, name, new)
                except (AttributeError, TypeError):
                    self.unreached.append(Place(_describe(kind) + f".{name}", value=value))
                else:
                    self.changed.append(Place(f"{_describe(kind)}.{name}"))
                    put = partial(setattr, kind)
                    self.log.append(Undo(vars(kind).get, put, name, value, new))

    def _in_tuple(self, holder: tuple[Any, ...], owners: list[Any]) -> None:
        functions = [owner for owner in owners if isinstance(owner, FunctionType)]
        for function in functions:
            if function.__defaults__ is holder:
                defaults = self._new_tuple(holder)
                function.__defaults__ = defaults
                get, put = partial(getattr, function), partial(setattr, function)
                self.log.append(Undo(get, put, "__defaults__", holder, defaults))
                self.changed.append(Place(_describe(function) + ": a default argument"))
        derived = [owner for owner in owners if isinstance(owner, type)]
        if any(id(kind) in self.mapping for kind in derived):
            return  # the bases of the old class itself
        if derived:
            for kind in derived:
                if holder is kind.__bases__:
                    base = next(value for value in holder if self._new(value) is not None)
                    self.unreached.append(Place(f"{_describe(kind)}, as its base,", base))
        elif owners and not functions and (new := self._new_tuple(holder)) is not None:
            self.dependent[id(holder)] = (holder, new)
            self.owners[id(holder)] = owners
        elif not functions:
            value = next(value for value in holder if self._new(value) is not None)
            self.unreached.append(Place("a tuple (nobody knows whose)", value=value))

    def _new_tuple(self, holder: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The same with the new objects; None if it is of a kind that can't be made again."""
        values = [value if (new := self._new(value)) is None else new for value in holder]
        kind = type(holder)
        if kind is tuple:
            return tuple(values)
        if hasattr(holder, "__dict__"):
            return None
        try:
            return tuple.__new__(kind, values)
        except TypeError:
            return None  # one of C's own (``time.struct_time``)

    def _in_object(self, holder: Any) -> None:
        if isinstance(holder, CellType):
            if is_ours(holder.cell_contents):
                return  # what ``super()`` in a class of our own stands on
            holder.cell_contents = self._new(holder.cell_contents)
            self.changed.append(Place("a closure's variable"))
        elif isinstance(holder, (list, deque)):
            for position, value in enumerate(list(holder)):
                if (new := self._new(value)) is not None:
                    holder[position] = new
                    self.changed.append(Place(f"item {position} of a {type(holder).__name__}"))
        elif isinstance(holder, dict):
            self._in_dict_of_a_kind(holder)
        elif isinstance(holder, (set, frozenset)):
            self._in_set(holder)
        elif type(holder) is partial:
            self._in_partial(holder)
        elif isinstance(holder, BuiltinMethodType) or (
            isinstance(holder, MethodType) and self._new(holder.__self__) is not None
        ):
            self._in_method(holder)
        elif type(holder) in (staticmethod, classmethod):
            new = self._new(holder.__func__)
            if new is not None:
                self.dependent[id(holder)] = (holder, type(holder)(new))
        elif isinstance(holder, FrameType):
            self._in_frame(holder)
        elif isinstance(holder, _PASSED_OVER):
            pass
        else:
            self._in_attributes(holder)

    def _in_method(self, holder: Any) -> None:
        new = self._new(holder.__self__)
        if new is None or isinstance(new, type) or id(holder) in self.mapping:
            return
        method = getattr(new, holder.__name__, None)
        if method is None:
            self.unreached.append(Place(_describe(holder), value=holder))
        else:
            self.dependent[id(holder)] = (holder, method)

    def _in_frame(self, holder: FrameType) -> None:
        """That of a generator outlasts the call. Can go with Python 3.10: later ones hold it themselves."""
        for owner in gc.get_referrers(holder):
            if type(owner) is GeneratorType and owner.gi_frame is holder and not owner.gi_running:
                values = holder.f_locals.values()
                value = next((each for each in values if self._new(each) is not None), None)
                self.unreached.append(Place(_describe(owner), value=value))

    def _in_set(self, holder: "set[Any] | frozenset[Any]") -> None:
        if isinstance(holder, frozenset):
            values = (value if (new := self._new(value)) is None else new for value in holder)
            self.dependent[id(holder)] = (holder, frozenset(values))
            return
        for value in [value for value in holder if self._new(value) is not None]:
            holder.remove(value)
            holder.add(self._new(value))
            self.changed.append(Place("a set"))

    def _in_dict_of_a_kind(self, holder: dict[Any, Any]) -> None:
        """An ``OrderedDict``, a ``defaultdict`` and the like."""
        for key, value in list(dict.items(holder)):
            if (new := self._new(value)) is not None:
                dict.__setitem__(holder, key, new)
                self.changed.append(Place(f"{_describe(holder)}: an item"))
            if self._new(key) is not None:
                self.unreached.append(Place(f"{_describe(holder)}: a key", value=key))
        if isinstance(holder, defaultdict):
            factory: Any = self._new(holder.default_factory)
            if factory is not None:
                old = holder.default_factory
                holder.default_factory = factory
                get, put = partial(getattr, holder), partial(setattr, holder)
                self.log.append(Undo(get, put, "default_factory", old, factory))
                self.changed.append(Place(f"{_describe(holder)}: its default factory"))
        if any(True for _ in _attribute_names(holder)):
            self._in_attributes(holder)

    def _in_weak_references(self, old: Any, new: Any) -> None:
        """Those to an old object: it lives on within its successor, and nobody would wake who waits there."""
        if isinstance(old, (type, _original.ThreadLocal)):
            return  # those that C has
        for reference in weakref.getweakrefs(old):
            if not {id(old), id(new)}.isdisjoint(released_by_c()):
                break  # it is C's own
            kind = type(reference)
            try:
                if kind is weakref.ref:
                    made: Any = weakref.ref(new, reference.__callback__)
                elif kind is weakref.KeyedRef:
                    made = weakref.KeyedRef(new, reference.__callback__, reference.key)
                else:
                    raise TypeError(kind)
            except TypeError:
                self.unreached.append(Place(f"a {kind.__module__}.{kind.__qualname__} object", old))
            else:
                self.dependent[id(reference)] = (reference, made)

    def _in_variables(self, variables: Variables) -> None:
        """The local variables of a function that is under way."""
        for name, value in list(variables.values.items()):
            if (new := self._new(value)) is not None:
                where = f"{variables.where}: a local variable {name!r}"
                if variables.assign(name, new):
                    self.changed.append(Place(where))
                else:
                    self.unreached.append(Place(where, value=value))
        variables.forget()

    def _in_partial(self, holder: "partial[Any]") -> None:
        function = self._new(holder.func)
        args = self._new(holder.args)  # a tuple that depends on something, or one that holds it
        if args is None:
            args = tuple(v if (n := self._new(v)) is None else n for v in holder.args)
        keywords = {k: v if (n := self._new(v)) is None else n for k, v in holder.keywords.items()}
        holder.__setstate__(  # type: ignore[attr-defined] # as pickle does
            (function or holder.func, args, keywords, vars(holder) or None)
        )
        self.changed.append(Place(_describe(holder)))

    def _in_attributes(self, holder: Any) -> None:
        """An object with attributes in a dict, or in slots."""
        found = False
        for name in _attribute_names(holder):
            try:
                value = object.__getattribute__(holder, name)
            except AttributeError:
                continue
            if (new := self._new(value)) is not None:
                found = True
                try:
                    object.__setattr__(holder, name, new)
                except (AttributeError, TypeError):
                    self.unreached.append(Place(f"{_describe(holder)}.{name}", value=value))
                else:
                    self.changed.append(Place(f"{_describe(holder)}.{name}"))
        if not found and not isinstance(holder, type):
            old = next((o for o, _ in self.mapping.values() if _refers(holder, o)), None)
            if old is not None and type(old) is not type(holder) and not _is_instance(holder, old):
                self.unreached.append(Place(_describe(holder), value=old))


def _class_of(namespace: dict[Any, Any]) -> type | None:
    """The class whose namespace it is, if that is seen from it: not that of a subclass, mostly."""
    member = namespace.get("__dict__")
    if type(member) is not GetSetDescriptorType:
        return None
    kind = member.__objclass__
    return kind if any(each is namespace for each in gc.get_referents(kind)) else None


def _is_mro(holder: tuple[Any, ...]) -> bool:
    return isinstance(holder[0], type) and holder[0].__mro__ is holder


def _is_instance(holder: Any, old: Any) -> bool:
    """Whether ``holder`` refers to ``old`` only because that is its class."""
    return isinstance(old, type) and type(holder) is old


def _refers(holder: Any, old: Any) -> bool:
    return any(each is old for each in gc.get_referents(holder))


def _attribute_names(holder: Any) -> Iterator[str]:
    try:
        names = list(object.__getattribute__(holder, "__dict__"))
    except AttributeError:
        names = []
    yield from names
    for kind in type(holder).__mro__:
        slots = vars(kind).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _held_by(owner: Any) -> list[Any]:
    return gc.get_referents(owner)


def is_ours(holder: Any) -> bool:
    """Whether it is graftlet's own: there the originals stay."""
    if isinstance(holder, ModuleType):
        name = holder.__name__
    elif isinstance(holder, type):
        if holder in _DISGUISED or "_of_graftlet" in vars(holder):
            return True  # it has the name of what it stands for
        name = holder.__module__
    elif isinstance(holder, FunctionType):
        name = holder.__module__ or ""
    elif type(holder) in _DISGUISED or "_of_graftlet" in vars(type(holder)):
        return True
    elif isinstance(holder, StaysNative):
        return False  # patched as any other ``threading.Thread``, but for how it starts
    else:
        name = getattr(type(holder), "__module__", None) or ""
    return is_ours_name(name)


def is_ours_or_namespace(holder: Any) -> bool:
    """As `is_ours`, also for the dict of one of graftlet's modules."""
    return is_ours(holder) or (type(holder) is dict and is_ours_name(holder.get("__name__")))


def is_ours_name(name: object) -> bool:
    """Whether ``name`` is that of one of graftlet's modules, or of a package that stays native."""
    return isinstance(name, str) and (
        name.startswith(_OURS) or name == "graftlet" or is_native_name(name)
    )


def _describe_held(holder: dict[Any, Any], owners: list[Any]) -> str:
    """`_describe`, for a dict: by the name that a module has for it, or by who else refers to it."""
    for owner in owners:
        if type(owner) is dict and "__name__" in owner and "__spec__" in owner:
            name = next((key for key, value in owner.items() if value is holder), None)
            return f"{owner['__name__']}.{name} ({owner.get('__file__')})"
    return _describe(owners[0]) if owners else "a dict"


def _describe(thing: Any) -> str:
    """A name for people, with file and line where that is known."""
    if isinstance(thing, ModuleType):
        return thing.__name__
    if isinstance(thing, FunctionType):
        code = thing.__code__
        return f"{thing.__module__}.{thing.__qualname__} ({code.co_filename}:{code.co_firstlineno})"
    if isinstance(thing, type):
        return f"{thing.__module__}.{thing.__qualname__}{_place_of_class(thing)}"
    if isinstance(thing, GeneratorType):
        code = thing.gi_code
        return f"a generator {code.co_name} ({code.co_filename}:{code.co_firstlineno})"
    kind = f"a {type(thing).__module__}.{type(thing).__qualname__} object"
    function = getattr(thing, "__wrapped__", None)
    # ``functools.lru_cache``
    return f"{kind} of {_describe(function)}" if isinstance(function, FunctionType) else kind


def _place_of_class(kind: type) -> str:
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None:
        return ""
    lines = [
        value.__code__.co_firstlineno
        for value in vars(kind).values()
        if isinstance(value, FunctionType) and value.__code__.co_filename == file
    ]
    line = vars(kind).get("__firstlineno__") or min(lines, default=None)  # since Python 3.13
    return f" ({file}:{line})" if line else f" ({file})"
