"""queue behaves on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

CASES = Suite("queues")


@pytest.mark.parametrize(
    "case",
    CASES.parameters(
        {
            "old_subclass_of_simple_queue": (
                "a class written in C is the base of a class that exists: reported as out of reach"
            )
        }
    ),
)
def test_same_as_with_threads(case: str) -> None:
    CASES.check(case)
