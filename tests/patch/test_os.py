"""Descriptors behave on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

DESCRIPTORS = Suite("descriptors", pollers=True)


@pytest.mark.parametrize("case", DESCRIPTORS.names)
def test_descriptors(case: str) -> None:
    DESCRIPTORS.check(case)
