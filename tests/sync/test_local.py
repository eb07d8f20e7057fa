"""`graftlet.local.local` in native threads, too: each has its own values, and takes them along when it ends."""

from __future__ import annotations

import weakref

import graftlet
from graftlet.core import _original
from graftlet.local import local


class Value:
    """Something to refer to weakly."""


def test_a_greenlet_that_ends_gives_up_its_values() -> None:
    here = local()

    def use() -> weakref.ref[Value]:
        here.value = Value()
        assert isinstance(here.value, Value)
        return weakref.ref(here.value)

    used = graftlet.spawn(use)
    assert used.get()() is None
    assert not hasattr(here, "value")


def test_a_native_thread_that_ends_gives_up_its_values() -> None:
    here = local()
    here.value = "main's"
    used: list[weakref.ref[Value]] = []

    def use() -> None:
        here.value = Value()
        used.append(weakref.ref(here.value))

    for _ in range(3):
        _original.start_new_thread(use, ())
    until = _original.monotonic() + 60
    while len(used) < 3 or any(each() for each in used):
        assert _original.monotonic() < until, used
        graftlet.sleep(0.001)
    assert here.value == "main's"
