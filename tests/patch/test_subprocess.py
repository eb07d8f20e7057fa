"""Children behave on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.isolated import run_ok
from tests.patch.harness.run import Suite

CHILDREN = Suite("children", pollers=True)


@pytest.mark.parametrize("case", CHILDREN.names)
def test_children(case: str) -> None:
    CHILDREN.check(case)


def test_what_is_executed_after_a_preexec_function_has_no_timer_of_ours() -> None:
    """The timer that preempts threads would kill a program that knows nothing of it."""
    out = run_ok(
        """
        import graftlet
        graftlet.patch_all()
        import asyncio, subprocess, sys, threading  # asyncio has a function of its own for forks

        busy = threading.Thread(target=sum, args=[range(10)])
        busy.start()
        busy.join()
        child = subprocess.run(
            [sys.executable, "-c", "sum(range(3_000_000)); print('lives')"], preexec_fn=int
        )
        print(child.returncode)
        """
    )
    assert out == "lives\n0\n"
