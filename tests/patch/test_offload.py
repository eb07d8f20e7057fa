"""Calls in native threads: what they leave behind, also when there is no thread to be had."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import graftlet
from graftlet.core import _original
from graftlet.core._current import get_hub
from graftlet.ext._calls import Calls
from graftlet.io import _offload
from graftlet.io._native_call import NativeCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def refuse(*_: Any) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_original, "start_new_thread", refuse)
    return monkeypatch


def test_a_pool_says_so_and_serves_when_there_is_one_again(no_threads: pytest.MonkeyPatch) -> None:
    pool = _offload.NativePool(2, keep=0)
    external = get_hub().external
    for _ in range(3):  # more often than the pool has threads
        with pytest.raises(_offload.NoThread, match=r"abs\(\) in a native thread: can't start"):
            pool.call(abs, -1)
    assert get_hub().external == external
    no_threads.undo()
    assert pool.call(abs, -1) == 1


def test_a_connection_gives_its_turn_back(no_threads: pytest.MonkeyPatch) -> None:
    calls = Calls()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        calls.call(None, abs, -1)
    no_threads.undo()
    with graftlet.Timeout(1):
        assert calls.call(None, abs, -2) == 2


# -- Nothing that a call was given or has returned is kept by its native thread


class Finalized:
    """Notes where its finalizer runs."""

    def __init__(self, where: list[int]) -> None:
        self._where = where

    def __del__(self) -> None:
        self._where.append(_original.get_ident())


@pytest.fixture
def busy_interpreter() -> Iterator[None]:
    """Native threads lose control at whatever bytecode."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_thread_of_its_own(function: Callable[..., object], *args: object) -> Any:
    return NativeCall(get_hub(), function, *args).outcome()


WAYS: dict[str, Callable[..., Any]] = {
    "offload": graftlet.offload,
    "connection": partial(Calls().call, None),
    "thread of its own": in_thread_of_its_own,
}


@pytest.mark.usefixtures("busy_interpreter")
@pytest.mark.parametrize("way", list(WAYS))
def test_finalizers_run_at_once_and_in_the_thread_that_drops_the_last_reference(way: str) -> None:
    call = WAYS[way]
    here = _original.get_ident()
    for _ in range(300):
        where: list[int] = []
        returned = call(Finalized, where)
        assert where == []
        del returned
        assert where == [here]
        call(str, Finalized(where))
        assert where == [here] * 2
        call(partial(str, Finalized(where)))
        assert where == [here] * 3
