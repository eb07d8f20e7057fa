"""Any other library whose functions block inside C: its calls go to native threads, by the program's word.

Rule: three lines in the program, and nothing in the library. What is named is replaced in its module, like
everything else that is patched: other references are found, and un-patching puts everything back. A class
that is written in C can't be changed, and that is said at once.
"""

import sys
from collections.abc import Callable
from functools import wraps
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from graftlet.ext._calls import parking_hub
from graftlet.io._offload import NativePool, pool
from graftlet.patch import _adapters
from graftlet.patch._changes import Change
from graftlet.patch._engine import watch_again


def offload_module(module: str, *names: str, threads: int | None = None) -> None:
    """Have the functions of a library that blocks inside C carried out in native threads.

        import graftlet.ext

        graftlet.ext.offload_module("ibm_db", "connect", "exec_immediate", "fetch_tuple")
        graftlet.ext.offload_module("slowlib.client", "Client.send", "Client.wait", threads=1)

    It may be said before the library is imported or after, before patching or after. Other greenlets run
    while a call goes on; a greenlet that is killed meanwhile leaves at once, and the call goes on.
    Without ``names`` it is all public functions that the module itself defines. A library that must always be
    called from one and the same thread needs ``threads=1``.

    Args:
        module: the module's full name, as in ``sys.modules``.
        names: its functions, and methods of its classes as ``Class.method``.
        threads: how many native threads its calls have for themselves; None: those of `graftlet.offload`.

    Raises:
        ValueError: the module has been named before, or has an adapter.
        AttributeError: there is no such function or method. When the module is imported later: then.
        TypeError: what is named can't be called, or belongs to a class that is written in C.
    """
    library = _Library(module, names, pool if threads is None else NativePool(threads))
    if module in sys.modules:
        library.find()  # complains now
    _adapters.add(
        _adapters.Adapter(
            module.partition(".")[0],
            [module],
            "functions in native threads, as the program has said (offload_module)",
            library.find,
        )
    )
    watch_again()


class _Library:
    """One module, and what was named of it."""

    __slots__ = ("_module", "_names", "_pool", "_stand_ins")

    def __init__(self, module: str, names: tuple[str, ...], threads: NativePool) -> None:
        self._module = module
        self._names = names
        self._pool = threads
        #: By name: always the same objects, however often it is patched.
        self._stand_ins: dict[str, Any] = {}

    def find(self) -> list[Change]:
        """What is to be replaced; nothing as long as the module is not loaded."""
        module = sys.modules.get(self._module)
        if module is None:
            return []
        names = self._names or tuple(self._stand_ins) or _public(module)
        return [self._change(module, name) for name in names]

    def _change(self, module: ModuleType, dotted: str) -> Change:
        kind, _, name = dotted.rpartition(".")
        owner: Any = module
        for part in filter(None, kind.split(".")):
            owner = getattr(owner, part)
        function = getattr(owner, name)
        full = f"{self._module}.{dotted}"
        if isinstance(owner, type):
            # Py_TPFLAGS_HEAPTYPE and Py_TPFLAGS_IMMUTABLETYPE (Include/object.h)
            if not owner.__flags__ & 1 << 9 or owner.__flags__ & 1 << 8:
                raise TypeError(
                    f"offload_module: {full}: the class is written in C, its methods can't be replaced; "
                    f"call graftlet.offload(instance.{name}, ...) where the program uses it"
                )
            function = vars(owner).get(name, function)
        if not callable(function):
            raise TypeError(f"offload_module: {full} is {function!r}, which can't be called")
        if isinstance(function, type):
            raise TypeError(
                f"offload_module: {full} is a class; name a function, or {dotted}.__init__"
            )
        if dotted not in self._stand_ins:
            self._stand_ins[dotted] = _in_thread(self._pool, function)
        return Change(owner, name, self._stand_ins[dotted], sweep=owner is module)


def _public(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            isinstance(value, BuiltinFunctionType)
            or (isinstance(value, FunctionType) and value.__module__ == module.__name__)
        )
    ]


class _Original:
    """What a stand-in stands for. An object of our own, which the sweep leaves alone."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


def _in_thread(threads: NativePool, function: Callable[..., Any]) -> Callable[..., Any]:
    original = _Original(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if parking_hub() is None:
            return original.function(*args, **kwargs)
        return threads.call(original.function, *args, **kwargs)

    del call.__wrapped__  # the sweep would find it
    del function
    return call
