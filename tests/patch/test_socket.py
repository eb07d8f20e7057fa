"""Sockets behave on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

STREAM = Suite("stream", pollers=True)


@pytest.mark.parametrize("case", STREAM.names)
def test_stream(case: str) -> None:
    STREAM.check(case)

