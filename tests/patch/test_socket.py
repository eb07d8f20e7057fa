"""Sockets behave on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

STREAM = Suite("stream", pollers=True)
SOCKETS = Suite("sockets", pollers=True)


@pytest.mark.parametrize(
    "case",
    STREAM.parameters({}),
)
def test_stream(case: str) -> None:
    STREAM.check(case)


@pytest.mark.parametrize(
    "case",
    SOCKETS.parameters({}),
)
def test_sockets(case: str) -> None:
    SOCKETS.check(case)
