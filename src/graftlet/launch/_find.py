"""What a word on the command line stands for: an importable path, a file, an installed program.

Rule: decide like CPython's ``pymain_run_python`` (Modules/main.c). A path that one of
``sys.path_hooks`` accepts (a directory, a zip archive) holds a ``__main__``; anything else is a
file to be read. Only when there is no such file is PATH searched, which ``python`` would not do.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class NotPythonError(Exception):
    """The program on PATH is there, but the interpreter can't run it."""


def importable(path: str) -> bool:
    """Whether modules can be imported from ``path``; fills ``sys.path_importer_cache`` with it."""
    if path not in sys.path_importer_cache:
        sys.path_importer_cache[path] = None
        for hook in sys.path_hooks:
            try:
                sys.path_importer_cache[path] = hook(path)
            except ImportError:  # how a hook says no (PEP 302)
                continue
            break
    return sys.path_importer_cache[path] is not None


def installed_program(name: str) -> str | None:
    """Find the first Python program called ``name`` on PATH, or beside the interpreter.

    The second place makes ``venv/bin/graftlet program`` work when the environment is not
    activated, and when PATH leads to a wrapper in another language (pyenv's shims).

    :returns: its path, or None if there is nothing of that name.
    :raises NotPythonError: if there is, and none of them is in Python.
    """
    if os.path.dirname(name):
        return None
    foreign = None
    for candidate in _candidates(name):
        if not (os.path.isfile(candidate) and os.access(candidate, os.R_OK | os.X_OK)):
            continue
        if _is_python(candidate):
            return candidate
        foreign = foreign or candidate
    if foreign is None:
        return None
    raise NotPythonError(
        f"{foreign} is not a Python program (its first line names no Python interpreter), "
        "so it can't run under graftlet"
    )


def _candidates(name: str) -> Iterator[str]:
    directories = os.environ.get("PATH", os.defpath).split(os.pathsep)
    directories.append(os.path.dirname(sys.executable))
    endings = ("", ".exe") if os.name == "nt" else ("",)
    for directory in directories:
        for ending in endings if directory else ():
            yield os.path.join(directory, name + ending)


def _is_python(path: str) -> bool:
    with open(path, "rb") as file:
        first, second = file.readline(4096), file.readline(4096)
    if first.startswith(b"#!"):
        # Installers write the second form when the interpreter's path is too long for a '#!'
        # line or has a space: '#!/bin/sh', then an 'exec' that Python reads as a string.
        line = second if second.startswith(b"'''exec'") else first
        return b"python" in line or b"pypy" in line
    # Without a '#!' line: Windows' launchers are executables with an archive at the end.
    return path.endswith((".py", ".pyw", ".pyc")) or importable(path)
