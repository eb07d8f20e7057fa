"""asyncio behaves on graftlet as on real threads: loops in many threads, synchronous code beside."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

COROUTINES = Suite("coroutines", pollers=True)


@pytest.mark.parametrize("case", COROUTINES.names)
def test_coroutines(case: str) -> None:
    COROUTINES.check(case)
