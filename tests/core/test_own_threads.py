"""The native threads that graftlet starts."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from graftlet.core import _original, _own_threads
from tests.isolated import run_ok


def test_the_interpreter_does_not_end_before_they_have_begun() -> None:
    out = run_ok(
        """
        import os, sys
        from graftlet.core._own_threads import start_own_thread
        sys.setswitchinterval(1000)  # whoever runs goes on
        for _ in range(20):
            start_own_thread(os.write, 1, b".")
        """
    )
    assert out == "." * 20


def test_one_that_can_not_be_started_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_original, "start_new_thread", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        _own_threads.start_own_thread(int)
    assert not _own_threads._beginning
