"""What the running version of CPython does around a program, where the versions differ.

Rule: everything in the launcher that depends on the version is in this file, as it can be seen from
the interpreters. Where it happens: Python/pylifecycle.c ``add_main_module`` and Python/pythonrun.c
``_PyRun_SimpleFile``, ``_PyRun_SimpleStringFlagsWithName``; Python/fileutils.c ``_Py_abspath``.
"""

from __future__ import annotations

import builtins
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Final

# When the module of a file loses its ``__file__`` (see forget_file): before an uncaught exception
# is reported, or after that, and not at all if it is SystemExit. Can go with 3.13.
FORGETS_FIRST: Final = sys.version_info >= (3, 14)


def new_main(loader: object = None, file: str | None = None) -> ModuleType:
    """A fresh ``__main__`` module, not yet in ``sys.modules``.

    :param loader: ``__loader__``; without one the class that loads built-in modules, which is
        what CPython gives to code that does not come from a file.
    :param file: ``__file__``, for code that comes from a file.
    """
    module = type(sys)("__main__")
    namespace = module.__dict__
    spec = builtins.__spec__
    namespace["__loader__"] = spec.loader if loader is None and spec is not None else loader
    if sys.version_info < (3, 14):  # can go with 3.13
        namespace["__annotations__"] = {}
    namespace["__builtins__"] = builtins  # the module: exec() would put in its dictionary
    if file is not None:
        namespace["__file__"] = file
        if sys.version_info < (3, 15):  # can go with 3.14
            namespace["__cached__"] = None
    return module


def forget_file() -> None:
    """Take ``__file__`` out of ``__main__`` again, as CPython does before the atexit callbacks."""
    namespace = sys.modules["__main__"].__dict__
    namespace.pop("__file__", None)
    namespace.pop("__cached__", None)


def absolute_path(name: str) -> str:
    """The full path of a program; not normalized, ``./x.py`` keeps its dot."""
    if os.path.isabs(name):
        return name
    try:
        directory = os.getcwd()
    except FileNotFoundError:
        return name
    if name in ("", ".") and sys.version_info >= (3, 11):  # can go with 3.10
        return directory
    return os.path.join(directory, name)


def command_source(text: str) -> str:
    """What ``python -c`` compiles for ``text``: one line end more, and dedented since 3.14."""
    text += "\n"
    if sys.version_info >= (3, 14) and text.lstrip("\n")[:1] in (" ", "\t"):
        from textwrap import dedent

        text = dedent(text)
    return text


def remember_source(code: CodeType, text: str) -> None:
    """Let tracebacks show the lines of ``-c`` code, as CPython does since 3.13."""
    if sys.version_info >= (3, 14):
        import linecache

        # The function that CPython itself calls from C; there is no public one.
        linecache._register_code(code, text, code.co_filename)  # type: ignore[attr-defined]
    elif sys.version_info >= (3, 13):  # can go with 3.13
        import linecache

        lines = [line + "\n" for line in text.splitlines()]
        linecache.cache[code.co_filename] = (len(text), None, lines, code.co_filename)
