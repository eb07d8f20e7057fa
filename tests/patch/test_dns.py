"""Names and addresses are looked up on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

CASES = Suite("names")


@pytest.mark.parametrize("case", CASES.parameters())
def test_same_as_with_threads(case: str) -> None:
    CASES.check(case)
