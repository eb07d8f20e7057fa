"""What takes the place of a function written in C.

Rule: such a function must not become a method when somebody stores it in a class (``class Poller: pause =
time.sleep``), which a Python function would; it is pickled by its name, and is printed as what it stands
for. So each is the one object of a class of its own, whose ``__call__`` is the function: a call costs
50 ns more than that of a Python function, which no call that may block will notice.
"""

from collections.abc import Callable
from typing import Any


class Functions:
    """A collection of functions that take the place of those of one C module: see `builtin`."""

    __slots__ = ()


class Builtin:
    """Stands for a function written in C."""

    __slots__ = ()

    __name__: str

    def __repr__(self) -> str:
        return f"<built-in function {self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__  # pickle looks it up in ``__module__``

    def __getattr__(self, name: str) -> Any:
        if name == "__qualname__":
            return self.__name__
        raise AttributeError(f"'builtin_function_or_method' object has no attribute {name!r}")


def builtin(module: str, function: Callable[..., Any]) -> Any:
    """The object that stands for a C function of ``module``.

    Args:
        function: a function with the same name and arguments, after a first one that it ignores.
    """
    name = function.__name__
    return type(
        name,
        (Builtin,),
        {
            "__slots__": (),
            "__call__": function,
            "__module__": module,
            "__name__": name,
            "__doc__": function.__doc__,
        },
    )()
