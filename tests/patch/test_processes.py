"""Processes behave on graftlet as on real threads: those that multiprocessing makes by fork."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

PROCESSES = Suite("processes")


@pytest.mark.parametrize("case", PROCESSES.names)
def test_processes(case: str) -> None:
    PROCESSES.check(case)
