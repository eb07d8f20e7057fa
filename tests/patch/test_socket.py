"""Sockets behave on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

STREAM = Suite("stream", pollers=True)
SOCKETS = Suite("sockets", pollers=True)


@pytest.mark.parametrize(
    "case",
    STREAM.parameters(
        {
            "peer_goes_while_writing-unix": (
                "a send that blocks in the kernel gets ECONNRESET; one that is polled for, EPIPE:"
                " as with a time-out in CPython"
            ),
        }
    ),
)
def test_stream(case: str) -> None:
    STREAM.check(case)


@pytest.mark.parametrize(
    "case",
    SOCKETS.parameters(
        {
            "connect_again": (
                "Linux reports EISCONN only after the second connect(2) on a socket that was"
                " connected without blocking: as with a time-out in CPython"
            ),
        }
    ),
)
def test_sockets(case: str) -> None:
    SOCKETS.check(case)
