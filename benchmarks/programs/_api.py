"""The greenlet functions that graftlet, gevent and eventlet each have, under one set of names.

Rule: an adapter binds the runtime's own functions and adds no call of its own on a measured path,
except where a runtime lacks one (eventlet has no `joinall`; its users write the loop).
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Iterable
from operator import attrgetter, methodcaller
from typing import Any

from _measure import PROBES, native_threads


class Api:
    """spawn(f, *args), joinall(greenlets), value(greenlet), sleep(seconds), pool(size).imap."""

    spawn: Callable[..., Any]
    joinall: Callable[[list[Any]], object]
    value: Callable[[Any], Any]
    sleep: Callable[[float], object]

    def __init__(self, name: str) -> None:
        module: types.ModuleType = importlib.import_module(name)
        self.name = name
        self.module = module
        self.spawn = module.spawn
        self.sleep = module.sleep
        if name == "eventlet":
            self.joinall = _wait_for_each
            self.value = methodcaller("wait")
        else:
            self.joinall = module.joinall
            self.value = attrgetter("value")

    def pool(self, size: int) -> Any:
        """A pool of greenlets with `imap`."""
        if self.name == "eventlet":
            return self.module.GreenPool(size)
        return importlib.import_module(f"{self.name}.pool").Pool(size)

    def facts(self) -> dict[str, Any]:
        """Whose greenlets these are, and that they cost the operating system no threads."""
        before = native_threads()
        sleeping = [self.spawn(self.sleep, 0.01) for _ in range(PROBES)]
        self.sleep(0)
        during = native_threads()
        self.joinall(sleeping)
        return {
            "kind": "greenlets",
            "api": type(sleeping[0]).__module__.partition(".")[0],
            "native_threads_for_8": during - before,
        }


def _wait_for_each(greenlets: Iterable[Any]) -> None:
    for greenlet in greenlets:
        greenlet.wait()
