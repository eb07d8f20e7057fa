"""The native threads that graftlet itself starts.

Rule: what starts one does it here. The interpreter must not end before such a thread has begun: up to Python 3.11 it
crashes if one begins while it ends. (``threading.Thread.start`` waits for its thread, so that no program meets this.)
"""

import atexit
import os
from collections.abc import Callable
from typing import Final

from graftlet.core import _original

#: Their idents, for as long as they do nothing but graftlet's work: idle ones wake nobody.
own_threads: Final[set[int]] = set()
#: Those that were started and have not begun yet.
_beginning: Final[set[object]] = set()

#: What the system has not let begin within so many seconds is given up.
_PATIENCE: Final = 5.0


def start_own_thread(function: Callable[..., object], *args: object) -> None:
    """Call ``function`` in a native thread. Raises: RuntimeError: there is none to be had."""
    thread = object()
    _beginning.add(thread)
    try:
        _original.start_new_thread(_begin, (thread, function, args))
    except BaseException:
        _beginning.discard(thread)
        raise


def _begin(thread: object, function: Callable[..., object], args: tuple[object, ...]) -> None:
    _beginning.discard(thread)
    function(*args)


def _wait_until_all_have_begun() -> None:
    until = _original.monotonic() + _PATIENCE
    while _beginning and _original.monotonic() < until:
        _original.sleep(0.0005)


atexit.register(_wait_until_all_have_begun)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_beginning.clear)  # there are none
