"""Children behave on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

CHILDREN = Suite("children", pollers=True)


@pytest.mark.parametrize("case", CHILDREN.names)
def test_children(case: str) -> None:
    CHILDREN.check(case)
