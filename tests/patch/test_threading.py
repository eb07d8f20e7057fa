"""threading and _thread behave on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

CASES = Suite("threads")


@pytest.mark.parametrize(
    "case",
    CASES.parameters(
        {"settrace_and_setprofile": "sys.settrace and sys.setprofile belong to the native thread"}
    ),
)
def test_same_as_with_threads(case: str) -> None:
    CASES.check(case)
