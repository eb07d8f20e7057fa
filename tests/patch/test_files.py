"""Files behave on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

FILES = Suite("files", pollers=True)


@pytest.mark.parametrize("case", FILES.names)
def test_files(case: str) -> None:
    FILES.check(case)
