"""Calls in native threads when there is no thread to be had: an error at once, and nothing is left behind."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

import graftlet
from graftlet.core import _original
from graftlet.core._current import get_hub
from graftlet.ext._calls import Calls
from graftlet.io import _offload


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
