"""TLS sockets behave on graftlet as on real threads, whenever they were made."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

TLS = Suite("tls", pollers=True)


@pytest.mark.parametrize("case", TLS.names)
def test_tls(case: str) -> None:
    TLS.check(case)
